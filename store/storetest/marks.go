package storetest

import (
	"fmt"
	"slices"
	"sync"

	"github.com/gohub/gohub"
)

var markCases = []testCase{
	{"WatermarksOnlyForward", nil, func(r *run) {
		room := r.room("lobby")
		type mark struct{ delivered, seen int64 }
		for i, c := range []struct{ give, want mark }{
			{mark{10, 0}, mark{10, 0}},
			{mark{10, 0}, mark{10, 0}},
			{mark{5, 0}, mark{10, 0}},
			{mark{20, 15}, mark{20, 15}},
			{mark{19, 16}, mark{20, 16}},
			{mark{21, 3}, mark{21, 16}},
			{mark{0, 40}, mark{40, 40}}, // seen implies delivered
			{mark{30, 50}, mark{50, 50}},
			{mark{0, 0}, mark{50, 50}},
			{mark{60, 0}, mark{60, 50}},
		} {
			before := mark{}
			before.delivered, before.seen = r.mark(room, "bob")
			moved := r.advance(gohub.Watermark{Room: room, User: "bob", Delivered: c.give.delivered, Seen: c.give.seen})
			got := mark{}
			got.delivered, got.seen = r.mark(room, "bob")
			if got != c.want {
				r.Fatalf("step %d: %+v then Advance to %+v: got %+v, want %+v", i, before, c.give, got, c.want)
			}
			var want []gohub.Watermark
			if before != got {
				want = []gohub.Watermark{{Room: room, User: "bob", Delivered: got.delivered, Seen: got.seen}}
			}
			r.wantMoves(fmt.Sprintf("step %d: %+v then Advance to %+v", i, before, c.give), moved, want)
		}
	}},
	{"WatermarksShuffled", nil, func(r *run) {
		rooms := []gohub.RoomID{r.room("a"), r.room("b")}
		users := []string{"alice", "bob", "carol"}
		type key struct {
			room gohub.RoomID
			user string
		}
		type mark struct{ delivered, seen int64 }
		is := map[key]mark{}
		var ws []gohub.Watermark
		for i := range int64(40) {
			for _, room := range rooms {
				for _, user := range users {
					ws = append(ws, gohub.Watermark{Room: room, User: user, Delivered: i % 30, Seen: i - 10})
				}
			}
		}
		for i := range ws {
			ws[i].Seen = max(ws[i].Seen, 0)
		}
		shuffle(ws)
		for len(ws) > 0 {
			// A batch names each user of a room once.
			n := 0
			in := map[key]bool{}
			for n < len(ws) && n < 5 && !in[key{ws[n].Room, ws[n].User}] {
				in[key{ws[n].Room, ws[n].User}] = true
				n++
			}
			var want []gohub.Watermark
			for _, w := range ws[:n] {
				k := key{w.Room, w.User}
				old := is[k]
				now := mark{max(old.delivered, w.Delivered, w.Seen), max(old.seen, w.Seen)}
				if is[k] = now; now != old {
					want = append(want, gohub.Watermark{Room: w.Room, User: w.User, Delivered: now.delivered, Seen: now.seen})
				}
			}
			r.wantMoves(fmt.Sprintf("Advance(%+v)", ws[:n]), r.advance(ws[:n]...), want)
			ws = ws[n:]
		}
		for k, want := range is {
			if d, s := r.mark(k.room, k.user); d != want.delivered || s != want.seen {
				r.Errorf("%s in %v: delivered %d, seen %d; want %+v", k.user, k.room, d, s, want)
			}
		}
	}},
	{"WatermarksTwiceInBatch", nil, func(r *run) {
		room := r.room("lobby")
		moved := r.advance(
			gohub.Watermark{Room: room, User: "bob", Delivered: 30, Seen: 10},
			gohub.Watermark{Room: room, User: "bob", Delivered: 20, Seen: 20},
			gohub.Watermark{Room: room, User: "bob", Delivered: 5, Seen: 5, Listing: gohub.ListJoin})
		if d, s := r.mark(room, "bob"); d != 30 || s != 20 {
			r.Errorf("30/10, 20/20 and 5/5 in one batch: delivered %d, seen %d; want 30, 20", d, s)
		}
		if n := len(moved); n == 0 || moved[n-1].Delivered != 30 || moved[n-1].Seen != 20 {
			r.Errorf("30/10, 20/20 and 5/5 in one batch returned %+v, want 30/20 last", moved)
		}
	}},
	{"WatermarksRace", nil, func(r *run) { r.watermarksRace(r.s) }},
	{"WatermarksOrder", nil, func(r *run) {
		room := r.room("lobby")
		want := []gohub.Watermark{
			{Room: room, User: "dave", Delivered: 90, Seen: 90},
			{Room: room, User: "carol", Delivered: 99, Seen: 50},
			{Room: room, User: "alice", Delivered: 60, Seen: 50},
			{Room: room, User: "bob", Delivered: 60, Seen: 50},
			{Room: room, User: "erin", Delivered: 100},
		}
		give := slices.Clone(want)
		shuffle(give)
		give = append(give, gohub.Watermark{Room: r.room("other"), User: "frank", Seen: 1000})
		r.advance(give...)
		for _, limit := range []int{1, 3, 5, 100} {
			got, err := r.s.Watermarks(r.Context(), gohub.MarkQuery{Room: room, Limit: limit})
			if err != nil {
				r.Fatalf("Watermarks: %v", err)
			}
			if want := want[:min(limit, len(want))]; !slices.Equal(got, want) {
				r.Errorf("Watermarks, limit %d:\n got %+v\nwant %+v", limit, got, want)
			}
		}
	}},
	{"WatermarksByUser", nil, func(r *run) {
		room := r.room("lobby")
		// In the order of bytes: capitals, then small letters, and 9 behind 10.
		users := []string{"Bob", "Zoe", "alice", "bob", "bob-2", "bob.1", "bob1", "bob10", "bob9", "carol", "zoe"}
		var all []gohub.Watermark
		for i, user := range users {
			seen := int64(10 * (i*7%len(users) + 1))
			all = append(all, gohub.Watermark{Room: room, User: user, Seen: seen, Delivered: seen + int64(i%3)*10})
		}
		give := slices.Clone(all)
		shuffle(give)
		give = append(give,
			gohub.Watermark{Room: room, User: "listed", Listing: gohub.ListJoin},
			gohub.Watermark{Room: r.room("other"), User: "dave", Seen: 1000},
			gohub.Watermark{Room: gohub.RoomID{Tenant: r.unique + "x", Name: "lobby"}, User: "dave", Seen: 1000})
		r.advance(give...)
		page := func(seq int64, after string, limit int) []gohub.Watermark {
			q := gohub.MarkQuery{Room: room, Seq: seq, After: after, Limit: limit}
			ws, err := r.s.Watermarks(r.Context(), q)
			if err != nil {
				r.Fatalf("Watermarks(%+v): %v", q, err)
			}
			return ws
		}
		for _, seq := range []int64{1, 20, 50, 110, 120, 130, 1 << 60} {
			for _, after := range []string{"", "B", "Zoe", "alice", "bob", "bob0", "z", "zoe", "zz"} {
				var want []gohub.Watermark
				for _, w := range all {
					if w.Delivered >= seq && w.User > after {
						want = append(want, w)
					}
				}
				for _, limit := range []int{1, 3, len(want), 100} {
					got, want := page(seq, after, limit), want[:min(limit, len(want))]
					if !slices.Equal(got, want) {
						r.Errorf("Watermarks by user, Seq %d, After %q, Limit %d:\n got %+v\nwant %+v", seq, after, limit, got, want)
					}
				}
			}
		}
		// Everybody moves on between two pages, and is met once all the same.
		var met []string
		for after := ""; len(met) <= len(users); {
			ws := page(10, after, 2)
			for _, w := range ws {
				met = append(met, w.User)
			}
			if len(ws) < 2 {
				break
			}
			after = ws[1].User
			for i := range all {
				all[i].Seen += int64(100 * (len(met) + i*5%len(all)))
				all[i].Delivered = all[i].Seen
			}
			r.advance(all...)
		}
		if !slices.Equal(met, users) {
			r.Errorf("pages of two, while all users move on: met %v, want %v", met, users)
		}
	}},
	{"LeaveKeepsWatermarks", nil, func(r *run) {
		room := r.room("lobby")
		r.advance(gohub.Watermark{Room: room, User: "bob", Delivered: 20, Seen: 10, Listing: gohub.ListJoin})
		if moved := r.advance(gohub.Watermark{Room: room, User: "bob", Listing: gohub.ListLeave}); len(moved) != 0 {
			r.Errorf("Leave returned moves: %+v", moved)
		}
		if d, s := r.mark(room, "bob"); d != 20 || s != 10 {
			r.Errorf("after Leave: delivered %d, seen %d; want 20, 10", d, s)
		}
		r.wantRooms("after Leave", "bob")
		if moved := r.advance(gohub.Watermark{Room: room, User: "bob", Listing: gohub.ListJoin}); len(moved) != 0 {
			r.Errorf("Join without a move returned moves: %+v", moved)
		}
		r.wantRooms("after joining again", "bob", gohub.RoomState{Room: room, Seen: 10})
	}},
}

// wantMoves checks what Advance returned, in any order. Listing is not looked
// at.
func (r *run) wantMoves(what string, got, want []gohub.Watermark) {
	r.Helper()
	left := slices.Clone(want)
	for _, w := range got {
		w.Listing = gohub.ListKeep
		i := slices.Index(left, w)
		if i < 0 {
			r.Errorf("%s returned %+v, want the real moves %+v", what, got, want)
			return
		}
		left = slices.Delete(left, i, i+1)
	}
	if len(left) > 0 {
		r.Errorf("%s returned %+v; missing %+v", what, got, left)
	}
}

// watermarksRace moves one watermark from many goroutines at once. Its real
// moves are all different, whoever made them.
func (r *run) watermarksRace(stores ...gohub.Store) {
	room := r.room("lobby")
	const steps = 60
	var mu sync.Mutex
	times := map[gohub.Watermark]int{}
	parallel(r, func(i int) error {
		order := make([]int64, steps)
		for n := range order {
			order[n] = int64(n + 1)
		}
		shuffle(order)
		for _, n := range order {
			moved, err := stores[i%len(stores)].Advance(r.Context(), []gohub.Watermark{{Room: room, User: "bob", Delivered: n + 5, Seen: n}})
			if err != nil {
				return fmt.Errorf("Advance: %w", err)
			}
			mu.Lock()
			for _, w := range moved {
				w.Listing = gohub.ListKeep
				times[w]++
			}
			mu.Unlock()
		}
		return nil
	})
	for w, n := range times {
		if n > 1 {
			r.Errorf("the move to delivered %d, seen %d was returned %d times, want once: only one call really moved it", w.Delivered, w.Seen, n)
		}
	}
	if d, s := r.mark(room, "bob"); d != steps+5 || s != steps {
		r.Errorf("after %d goroutines: delivered %d, seen %d; want %d, %d", workers, d, s, steps+5, steps)
	}
	if len(times) == 0 || times[gohub.Watermark{Room: room, User: "bob", Delivered: steps + 5, Seen: steps}] != 1 {
		r.Errorf("the move to the end was not returned")
	}
}
