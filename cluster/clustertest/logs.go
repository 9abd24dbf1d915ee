package clustertest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/gohub/gohub"
)

var logCases = []testCase{
	{"Log", 1, func(r *run) {
		n, room := r.nodes[0], r.room("lobby")
		if ms, _ := n.log(r.room("nowhere")); len(ms) != 0 {
			r.Errorf("Log of an unknown room: %d messages", len(ms))
		}
		want := slices.Concat(n.fresh(0, msgs(room, "alice", 10)...), n.fresh(0, msgs(room, "bob", 15)...))
		first, last := want[0].Seq, want[24].Seq
		for _, c := range []struct {
			what     string
			after    int64
			limit    int
			from, to int
		}{
			{"all", 0, 100, 0, 25},
			{"just enough", 0, 25, 0, 25},
			{"a page", 0, 10, 0, 10},
			{"one", 0, 1, 0, 1},
			{"just before the first", first - 1, 100, 0, 25},
			{"after the first", first, 100, 1, 25},
			{"a page after the tenth", want[9].Seq, 10, 10, 20},
			{"the last page", want[19].Seq, 10, 20, 25},
			{"after the last", last, 100, 25, 25},
			{"far beyond", last + 1_000_000_000, 100, 25, 25},
		} {
			got, base, err := n.b.Log(r.Context(), room, c.after, c.limit)
			if err != nil {
				r.Fatalf("Log, %s: %v", c.what, err)
			}
			if diff := difference(got, want[c.from:c.to]); diff != "" {
				r.Errorf("Log after %d, limit %d (%s): %s", c.after, c.limit, c.what, diff)
			}
			if base >= first {
				r.Errorf("Log (%s): base %d, but the first message %d is not stored", c.what, base, first)
			}
		}
		got, _ := n.log(room)
		for i := range got {
			got[i] = gohub.Message{Sender: "overwritten"}
		}
		if got, _ = n.log(room); difference(got, want) != "" {
			r.Errorf("Log after an earlier answer was overwritten: %s", difference(got, want))
		}
	}},
	{"LogIsKept", 2, func(r *run) {
		// A message is in every node's log, with or without members there.
		room := r.room("lobby")
		want := r.nodes[0].fresh(0, msgs(room, "alice", 5)...)
		r.nodes[0].stop()
		if got, _ := r.nodes[1].log(room); difference(got, want) != "" {
			r.Errorf("Log on another node, after the publisher's node ended: %s", difference(got, want))
		}
	}},
	{"Stored", 1, func(r *run) {
		n := r.nodes[0]
		for _, order := range []string{"in order", "backwards", "shuffled"} {
			room := r.room(order[:4])
			all := n.fresh(0, msgs(room, "alice", 12)...)
			l := &ledger{room: room, all: all, stored: map[int64]bool{}}
			l.check(n, order+", nothing stored")
			rest := slices.Clone(all)
			switch order {
			case "backwards":
				slices.Reverse(rest)
			case "shuffled":
				rand.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
			}
			for len(rest) > 0 {
				now := rest[:min(len(rest), 1+len(rest)%3)]
				rest = rest[len(now):]
				for _, m := range now {
					l.stored[m.Seq] = true
				}
				n.b.Stored(now...)
				l.check(n, fmt.Sprintf("%s, %d of %d stored", order, len(all)-len(rest), len(all)))
			}
			n.b.Stored(all...) // again
			n.b.Stored(msg(room, "alice", "never published"))
			n.b.Stored()
			l.all = append(l.all, n.fresh(0, msgs(room, "bob", 3)...)...)
			l.check(n, order+", all stored, three more published")
		}
	}},
	{"StoredLetsGo", 1, func(r *run) {
		if !r.f.Prompt {
			r.Skip("not among the broker's features")
		}
		n, room := r.nodes[0], r.room("lobby")
		all := n.fresh(0, msgs(room, "alice", 10)...)
		n.b.Stored(all[:7]...)
		if got, base := n.log(room); difference(got, all[7:]) != "" || base < all[6].Seq {
			r.Errorf("after 7 of 10 were stored: base %d, want at least %d; log: %s", base, all[6].Seq, difference(got, all[7:]))
		}
		n.b.Stored(all[7:]...)
		if got, base := n.log(room); len(got) != 0 || base < all[9].Seq {
			r.Errorf("after all were stored: %d messages in the log, base %d, want none and at least %d", len(got), base, all[9].Seq)
		}
	}},
	{"LogThenStore", 1, func(r *run) { r.logThenStore() }},
	{"LogThenStoreAcrossNodes", 2, func(r *run) { r.logThenStore() }},
}

// ledger is what a test knows of one room.
type ledger struct {
	room   gohub.RoomID
	all    []gohub.Message // published, ascending
	stored map[int64]bool  // by Seq
}

// check holds the log against what was published and stored.
func (l *ledger) check(n *node, when string) {
	n.r.Helper()
	ms, base := n.log(l.room)
	in := map[int64]bool{}
	for _, m := range ms {
		in[m.Seq] = true
	}
	var want []gohub.Message
	for _, m := range l.all {
		if in[m.Seq] {
			want = append(want, m)
		}
		switch {
		case !l.stored[m.Seq] && !in[m.Seq]:
			n.r.Errorf("%s: the message with Seq %d is neither in the log nor stored", when, m.Seq)
		case m.Seq > base && !in[m.Seq]:
			n.r.Errorf("%s: base is %d, but the message with Seq %d is not in the log", when, base, m.Seq)
		case m.Seq <= base && !l.stored[m.Seq]:
			n.r.Errorf("%s: base is %d, but the message with Seq %d is not stored", when, base, m.Seq)
		}
	}
	if diff := difference(ms, want); diff != "" {
		n.r.Errorf("%s: the log: %s", when, diff)
	}
}

// logThenStore reads the log, then the store, while messages go from one to
// the other: nothing that was published before may be missing.
func (r *run) logThenStore() {
	writer, reader := r.nodes[0], r.nodes[len(r.nodes)-1]
	room := r.room("lobby")
	var mu sync.Mutex // protects published and store
	var published []gohub.Message
	store := map[int64]gohub.Message{}
	pending := make(chan []gohub.Message, 100)
	writing := make(chan struct{})
	const batches = 60
	r.parallel(3, func(i int) error {
		switch i {
		case 0: // publishes
			defer close(pending)
			for j := range batches {
				ms := msgs(room, "alice", 1+j%4)
				out, err := writer.try(0, ms...)
				if err != nil {
					return err
				}
				for k := range ms {
					ms[k].Seq = out[k].Seq
				}
				mu.Lock()
				published = append(published, ms...)
				mu.Unlock()
				pending <- ms
			}
		case 1: // stores, not in order
			defer close(writing)
			var held []gohub.Message
			for ms := range pending {
				held = append(held, ms...)
				for len(held) > 5 {
					j := rand.IntN(len(held))
					mu.Lock()
					store[held[j].Seq] = held[j]
					mu.Unlock()
					writer.b.Stored(held[j])
					held = slices.Delete(held, j, j+1)
				}
			}
		case 2: // reads
			for done := false; !done; {
				select {
				case <-writing:
					done = true // once more, and it is over
				default:
				}
				mu.Lock()
				known := slices.Clone(published)
				mu.Unlock()
				ms, base, err := reader.b.Log(r.Context(), room, 0, 100_000)
				if err != nil {
					return fmt.Errorf("Log: %w", err)
				}
				if !slices.IsSortedFunc(ms, bySeq) {
					return fmt.Errorf("the log is not ascending: %s", seqs(ms))
				}
				in := map[int64]bool{}
				for _, m := range ms {
					in[m.Seq] = true
				}
				mu.Lock()
				for _, m := range known {
					_, stored := store[m.Seq]
					if !in[m.Seq] && !stored || m.Seq > base && !in[m.Seq] || m.Seq <= base && !stored {
						err = fmt.Errorf("read log, then store: the message with Seq %d was published before; base %d, in the log %t, stored %t", m.Seq, base, in[m.Seq], stored)
					}
				}
				mu.Unlock()
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
}
