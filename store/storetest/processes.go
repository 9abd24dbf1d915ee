package storetest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/gohub/gohub"
)

// What two processes see of each other's work, and what outlives them.
var processCases = []testCase{
	{"SecondReads", func(f Features) bool { return f.Second != nil }, func(r *run) {
		room := r.room("lobby")
		first, second := r.s, r.f.Second(r.T, r.s)
		for i := range 20 {
			m := r.private(room, "alice", "bob", fmt.Sprint(i))
			r.s = first
			r.fresh(m)
			r.advance(gohub.Watermark{Room: room, User: "bob", Seen: m.Seq, Listing: gohub.ListJoin})
			r.s = second // what was answered here is seen there
			r.wantRooms("in the other process", "bob", gohub.RoomState{Room: room, Head: m.Seq, Seen: m.Seq})
			if d, s := r.mark(room, "bob"); d != m.Seq || s != m.Seq {
				r.Errorf("watermark in the other process: delivered %d, seen %d; want %d", d, s, m.Seq)
			}
			got, found, err := r.s.Lookup(r.Context(), room, m.ID)
			if err != nil || !found {
				r.Fatalf("Lookup in the other process: found %t, %v", found, err)
			}
			r.wantMessages("Lookup in the other process", []gohub.Message{got}, []gohub.Message{m})
			if n := len(r.all(room, "bob")); n != i+1 {
				r.Fatalf("History in the other process: %d messages, want %d", n, i+1)
			}
			first, second = second, first
		}
	}},
	{"WatermarksRaceOfProcesses", func(f Features) bool { return f.Second != nil }, func(r *run) {
		r.watermarksRace(r.s, r.f.Second(r.T, r.s))
	}},
	{"ReopenAfterLoad", func(f Features) bool { return f.Reopen != nil }, func(r *run) {
		// Everything that was answered is there again, whoever asked and
		// however much was under way.
		rooms := []gohub.RoomID{r.room("a"), r.room("b"), gohub.DirectRoom(r.unique, "user-0", "user-1")}
		sent := make([][]gohub.Message, workers)
		for w := range sent {
			for i := range 40 {
				m := r.msg(rooms[i%len(rooms)], fmt.Sprint("user-", w%2), "")
				if i%5 == 0 {
					m.To = "user-1"
				}
				if i%7 == 0 {
					m.Binary, m.Body = true, []byte{0, byte(i), 0xff}
				}
				sent[w] = append(sent[w], m)
			}
		}
		parallel(r, func(w int) error {
			user := fmt.Sprint("reader-", w)
			for i := range sent[w] {
				m := sent[w][i]
				if _, err := try(r.Context(), r.s, sent[w][i:i+1]); err != nil {
					return fmt.Errorf("Append: %w", err)
				}
				listing := []gohub.Listing{gohub.ListJoin, gohub.ListLeave}[(i/len(rooms))%2]
				if i >= 39-w%2*len(rooms) {
					listing = gohub.ListKeep
				}
				if _, err := r.s.Advance(r.Context(), []gohub.Watermark{{Room: m.Room, User: user, Seen: m.Seq - 1, Delivered: m.Seq, Listing: listing}}); err != nil {
					return fmt.Errorf("Advance: %w", err)
				}
			}
			return nil
		})
		lists := map[string][]gohub.RoomState{}
		users := []string{"user-0", "user-1"}
		for w := range workers {
			users = append(users, fmt.Sprint("reader-", w))
		}
		for _, user := range users {
			lists[user] = r.rooms(user)
		}
		marks := map[gohub.RoomID][]gohub.Watermark{}
		for _, room := range rooms {
			marks[room], _ = r.s.Watermarks(r.Context(), gohub.MarkQuery{Room: room, Limit: 100})
		}
		r.s = r.f.Reopen(r.T, r.s)
		for _, room := range rooms {
			var want []gohub.Message
			for _, m := range slices.Concat(sent...) {
				if m.Room == room {
					want = append(want, m)
				}
			}
			slices.SortFunc(want, func(a, b gohub.Message) int { return int(a.Seq - b.Seq) })
			r.wantMessages("History of "+room.String()+" after reopening", r.all(room, ""), want)
			got, err := r.s.Watermarks(r.Context(), gohub.MarkQuery{Room: room, Limit: 100})
			if err != nil || len(got) != workers || !slices.Equal(got, marks[room]) {
				r.Errorf("Watermarks of %v after reopening: %v\n got %+v\nwant %+v", room, err, got, marks[room])
			}
		}
		for _, user := range users {
			r.wantRooms("after reopening", user, lists[user]...)
		}
		for i, o := range r.append(sent[0]...) {
			if o != (gohub.Ordered{Seq: sent[0][i].Seq, Duplicate: true}) {
				r.Errorf("a message again after reopening: got %+v, want Duplicate of Seq %d", o, sent[0][i].Seq)
			}
		}
		stolen := sent[1][0]
		stolen.Sender = "mallory"
		if o := r.append(stolen)[0]; !errors.Is(o.Err, gohub.ErrIDConflict) {
			r.Errorf("another sender's id after reopening: got %+v, want ErrIDConflict", o)
		}
	}},
}
