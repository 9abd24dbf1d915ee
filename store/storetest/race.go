package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gohub/gohub"
)

var raceCases = []testCase{
	{"DuplicateRace", nil, func(r *run) { r.duplicateRace(r.s, r.s) }},
	{"DuplicateRaceOfProcesses", func(f Features) bool { return f.Second != nil }, func(r *run) {
		r.duplicateRace(r.s, r.f.Second(r.T, r.s))
	}},
	{"ConflictRace", nil, func(r *run) {
		room := r.room("lobby")
		const n = 20
		all := make([][]gohub.Message, workers)
		ids := make([]string, n)
		for i := range ids {
			ids[i] = newID()
		}
		for w := range all {
			all[w] = r.msgs(room, fmt.Sprint("user-", w), n)
			for i := range all[w] {
				all[w][i].ID = ids[i]
			}
		}
		out := make([][]gohub.Ordered, workers)
		parallel(r, func(w int) (err error) {
			out[w], err = try(r.Context(), r.s, all[w])
			return err
		})
		stored := map[string]gohub.Message{}
		for _, m := range r.all(room, "") {
			stored[m.ID] = m
		}
		for i, id := range ids {
			winners := 0
			for w := range out {
				switch o := out[w][i]; {
				case o == gohub.Ordered{Seq: all[w][i].Seq}:
					winners++
					if stored[id].Sender != all[w][i].Sender {
						r.Errorf("%s was told that its message is stored, but the store has that of %q", all[w][i].Sender, stored[id].Sender)
					}
				case !errors.Is(o.Err, gohub.ErrIDConflict):
					r.Errorf("an id of another sender: got %+v, want ErrIDConflict", o)
				}
			}
			if winners != 1 {
				r.Errorf("%d of %d senders got the same id, want exactly one", winners, workers)
			}
		}
	}},
	{"CancelRace", nil, func(r *run) {
		// Whenever the cancellation comes, all of a batch is there or nothing.
		took := time.Hour // by an Append in peace: the shortest so far, for one may be held up
		const tries = 40
		for i := range tries {
			room, other := r.room(fmt.Sprint("room-", i)), r.room(fmt.Sprint("other-", i))
			ms := r.msgs(room, "alice", 40)
			for j := range ms {
				if j%2 == 1 {
					ms[j].Room = other
				}
			}
			ctx, cancel := context.WithCancel(r.Context())
			start := time.Now()
			timer := time.AfterFunc(2*took*time.Duration(tries-i)/tries, cancel)
			_, err := r.s.Append(ctx, ms)
			if err == nil {
				took = min(took, time.Since(start))
			}
			timer.Stop()
			cancel()
			there := func() int { return len(r.all(room, "")) + len(r.all(other, "")) }
			n := there()
			if err != nil && n != 0 {
				n = there() // it may have been committed between the two reads
			}
			switch {
			case err == nil && n != len(ms):
				r.Errorf("Append returned nil, but %d of %d messages are there", n, len(ms))
			case err != nil && n != 0 && n != len(ms):
				r.Errorf("Append returned %v, and %d of %d messages are there; want all or nothing", err, n, len(ms))
			}
			r.append(ms...)
			if n := there(); n != len(ms) {
				r.Fatalf("repeating the batch left %d of %d messages", n, len(ms))
			}
		}
	}},
	{"CancelRaceOfWatermarks", nil, func(r *run) {
		took := time.Hour // by an Advance in peace: the shortest so far, for one may be held up
		const tries, rooms = 30, 40
		for i := range tries {
			user := fmt.Sprint("user-", i)
			var ws []gohub.Watermark
			for n := range rooms {
				ws = append(ws, gohub.Watermark{Room: r.room(fmt.Sprint("room-", n)), User: user, Seen: 7, Listing: gohub.ListJoin})
			}
			ctx, cancel := context.WithCancel(r.Context())
			start := time.Now()
			timer := time.AfterFunc(2*took*time.Duration(tries-i)/tries, cancel)
			_, err := r.s.Advance(ctx, ws)
			if err == nil {
				took = min(took, time.Since(start))
			}
			timer.Stop()
			cancel()
			if n := len(r.rooms(user)); n != rooms && (err == nil || n != 0) {
				r.Errorf("Advance returned %v, and %d of %d rooms are listed; want all, or after an error none", err, n, rooms)
			}
			r.advance(ws...)
			for _, st := range r.rooms(user) {
				if st.Seen != 7 {
					r.Fatalf("after repeating it: %+v, want Seen 7", st)
				}
			}
		}
	}},
	{"Concurrent", nil, func(r *run) {
		// Writers and readers of everything at once: mostly for -race, and
		// every read must be a sensible one.
		const writers, batches, size = workers / 2, 15, 8
		rooms := []gohub.RoomID{r.room("a"), r.room("b"), gohub.DirectRoom(r.unique, "user-0", "user-1")}
		sent := make([][]gohub.Message, writers)
		for w := range sent {
			for i := range batches * size {
				sent[w] = append(sent[w], r.msg(rooms[i%len(rooms)], fmt.Sprint("user-", w), ""))
			}
		}
		parallel(r, func(w int) error {
			user := fmt.Sprint("user-", w%writers)
			for i := range batches {
				if w < writers {
					if _, err := try(r.Context(), r.s, sent[w][i*size:(i+1)*size]); err != nil {
						return fmt.Errorf("Append: %w", err)
					}
					continue
				}
				room := rooms[i%len(rooms)]
				ms, _, err := r.s.History(r.Context(), gohub.Query{Room: room, Viewer: user, Limit: 50, Newest: i%2 == 0})
				if err != nil {
					return fmt.Errorf("History: %w", err)
				}
				if !slices.IsSortedFunc(ms, func(a, b gohub.Message) int { return int(a.Seq - b.Seq) }) {
					return fmt.Errorf("History is not ascending: %s", seqs(ms))
				}
				var seen int64
				for _, m := range ms {
					seen = m.Seq
					if got, found, err := r.s.Lookup(r.Context(), room, m.ID); err != nil || !found || got.Seq != m.Seq {
						return fmt.Errorf("Lookup of a message that History gave: found %t, Seq %d for %d, %w", found, got.Seq, m.Seq, err)
					}
				}
				if _, err := r.s.Advance(r.Context(), []gohub.Watermark{{Room: room, User: user, Seen: seen, Listing: gohub.ListJoin}}); err != nil {
					return fmt.Errorf("Advance: %w", err)
				}
				if _, err := r.s.Rooms(r.Context(), r.unique, user); err != nil {
					return fmt.Errorf("Rooms: %w", err)
				}
				if _, err := r.s.Watermarks(r.Context(), gohub.MarkQuery{Room: room, Limit: 3}); err != nil {
					return fmt.Errorf("Watermarks: %w", err)
				}
			}
			return nil
		})
		for _, room := range rooms {
			var want []gohub.Message
			for _, m := range slices.Concat(sent...) {
				if m.Room == room {
					want = append(want, m)
				}
			}
			slices.SortFunc(want, func(a, b gohub.Message) int { return int(a.Seq - b.Seq) })
			r.wantMessages("History of "+room.String()+" in the end", r.all(room, ""), want)
		}
	}},
}

// duplicateRace appends the same ids with different Seqs from many goroutines
// at once: one message results, and everyone is told its Seq.
func (r *run) duplicateRace(stores ...gohub.Store) {
	room := r.room("lobby")
	const n = 30
	ids := make([]string, n)
	for i := range ids {
		ids[i] = newID()
	}
	batches := make([][]gohub.Message, workers)
	for w := range batches {
		batches[w] = r.msgs(room, "alice", n)
		for i := range batches[w] {
			batches[w][i].ID = ids[i]
		}
		shuffle(batches[w]) // locks taken in any order
	}
	out := make([][]gohub.Ordered, workers)
	parallel(r, func(w int) error {
		for part := range slices.Chunk(batches[w], 5) {
			o, err := try(r.Context(), stores[w%len(stores)], part)
			if err != nil {
				return fmt.Errorf("Append: %w", err)
			}
			out[w] = append(out[w], o...)
		}
		return nil
	})
	stored := map[string]int64{}
	ms := r.all(room, "")
	for _, m := range ms {
		stored[m.ID] = m.Seq
	}
	if len(ms) != n || len(stored) != n {
		r.Errorf("%d goroutines appended the same %d ids: %d messages with %d ids are stored", workers, n, len(ms), len(stored))
	}
	fresh := map[string]int{}
	for w := range out {
		for i, o := range out[w] {
			id := batches[w][i].ID
			if o.Err != nil || o.Seq != stored[id] {
				r.Errorf("got %+v for an id that is stored with Seq %d", o, stored[id])
			}
			if !o.Duplicate {
				fresh[id]++
			}
		}
	}
	for id, n := range fresh {
		if n > 1 {
			r.Errorf("%d callers were told that id %s is new, want one", n, id)
		}
	}
}

// workers is how many goroutines run at once.
const workers = 8

// parallel runs f(0) … f(workers-1) from the same moment on and reports their
// errors.
func parallel(r *run, f func(i int) error) {
	r.Helper()
	var wg sync.WaitGroup
	errs := make([]error, workers)
	start := make(chan struct{})
	for i := range workers {
		wg.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		r.Fatal(err)
	}
}
