package clustertest

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/gohub/gohub"
)

var dedupCases = []testCase{
	{"Duplicate", 1, func(r *run) { r.duplicate() }},
	{"DuplicateAcrossNodes", 2, func(r *run) { r.duplicate() }},
	{"DuplicateInBatch", 1, func(r *run) {
		n, room := r.nodes[0], r.room("lobby")
		n.subscribe(room)
		a, b := msg(room, "alice", "a"), msg(room, "alice", "b")
		out := n.publish(0, a, b, a)
		if out[0].Err != nil || out[0].Duplicate || out[1].Err != nil || out[1].Duplicate || out[2] != (gohub.Ordered{Seq: out[0].Seq, Duplicate: true}) {
			r.Errorf("Publish of a, b, a again: got %+v, want a duplicate of the first at the end", out)
		}
		a.Seq, b.Seq = out[0].Seq, out[1].Seq
		end := n.fresh(0, msg(room, "alice", "end"))
		n.wantDelivered("a, b, a again, end", room, 0, append([]gohub.Message{a, b}, end...))
	}},
	{"DuplicateOfStored", 1, func(r *run) {
		n, room := r.nodes[0], r.room("lobby")
		n.subscribe(room)
		m := n.fresh(0, msg(room, "alice", "hi"))
		n.b.Stored(m...)
		if o := n.publish(m[0].Seq, m...)[0]; o != (gohub.Ordered{Seq: m[0].Seq, Duplicate: true}) {
			r.Errorf("Publish of a stored message again: got %+v, want Duplicate and Seq %d", o, m[0].Seq)
		}
		end := n.fresh(m[0].Seq, msg(room, "alice", "end")) // a room of which all is stored may be forgotten
		n.wantDelivered("a stored duplicate", room, 0, append(m, end...))
	}},
	{"DedupWindow", 1, func(r *run) {
		n, room := r.nodes[0], r.room("lobby")
		first := n.fresh(0, msg(room, "alice", "first"))
		n.b.Stored(first...)
		for left := r.f.DedupMessages - 1; left > 0; left -= 100 {
			n.b.Stored(n.fresh(0, msgs(room, "alice", min(left, 100))...)...)
		}
		if o := n.publish(0, first...)[0]; o != (gohub.Ordered{Seq: first[0].Seq, Duplicate: true}) {
			r.Errorf("the same message again after %d newer ones: got %+v, want Duplicate and Seq %d", r.f.DedupMessages-1, o, first[0].Seq)
		}
	}},
	{"DuplicateRace", 1, func(r *run) { r.duplicateRace() }},
	{"DuplicateRaceAcrossNodes", 2, func(r *run) { r.duplicateRace() }},
	{"Conflict", 1, func(r *run) {
		n, room := r.nodes[0], r.room("lobby")
		n.subscribe(room)
		first := n.fresh(0, msg(room, "alice", "alice's"))
		stolen := msg(room, "mallory", "stolen")
		stolen.ID = first[0].ID
		before, after := msg(room, "mallory", "before"), msg(room, "mallory", "after")
		out := n.publish(0, before, stolen, after)
		if !errors.Is(out[1].Err, gohub.ErrIDConflict) || out[1].Duplicate {
			r.Errorf("Publish of an id that another sender has used: got %+v, want ErrIDConflict", out[1])
		}
		for _, i := range []int{0, 2} {
			if out[i].Err != nil || out[i].Duplicate {
				r.Errorf("message %d beside the conflict: got %+v, want it ordered", i, out[i])
			}
		}
		before.Seq, after.Seq = out[0].Seq, out[2].Seq
		n.wantDelivered("a conflict in a batch", room, 0, append(first, before, after))
		n.b.Stored(first...)
		if o := n.publish(0, stolen)[0]; !errors.Is(o.Err, gohub.ErrIDConflict) {
			r.Errorf("Publish of the id of another's stored message: got %+v, want ErrIDConflict", o)
		}
	}},
	{"SameIDElsewhere", 1, func(r *run) {
		n := r.nodes[0]
		here := msg(r.room("here"), "alice", "here")
		there, abroad := here, here
		there.Room = r.room("there")
		abroad.Room, abroad.Sender = gohub.RoomID{Tenant: r.unique + "x", Name: "here"}, "bob"
		for _, m := range []gohub.Message{here, there, abroad} {
			n.subscribe(m.Room)
			n.wantDelivered("the same id in "+m.Room.String(), m.Room, 0, n.fresh(0, m))
		}
	}},
}

func (r *run) duplicate() {
	room := r.room("lobby")
	for _, n := range r.nodes {
		n.subscribe(room)
	}
	ms := r.nodes[0].fresh(0, msgs(room, "alice", 3)...)
	again := slices.Clone(ms)
	for i := range again {
		again[i].Seq, again[i].Body = 0, []byte(`"again"`)
	}
	for _, n := range slices.Backward(r.nodes) {
		for i, o := range n.publish(ms[2].Seq+5, again...) {
			if o != (gohub.Ordered{Seq: ms[i].Seq, Duplicate: true}) {
				r.Errorf("message %d published again: got %+v, want Duplicate and the first Seq %d", i, o, ms[i].Seq)
			}
		}
	}
	// What was not delivered before the next message never will be.
	ms = append(ms, r.nodes[0].fresh(0, msg(room, "alice", "end"))...)
	for _, n := range r.nodes {
		got := n.wait(room, len(ms))
		for i := range got {
			got[i].prev = 0 // may count what duplicates gave as their floor
		}
		list := make([]gohub.Message, len(got))
		for i, d := range got {
			list[i] = d.Message
		}
		if diff := difference(list, ms); diff != "" {
			r.Errorf("duplicates must not be delivered again: %s", diff)
		}
		if list, _ = n.log(room); difference(list, ms) != "" {
			r.Errorf("Log after duplicates: %s", difference(list, ms))
		}
	}
}

func (r *run) duplicateRace() {
	room := r.room("lobby")
	const publishers, count = 8, 20
	for _, n := range r.nodes {
		n.subscribe(room)
	}
	ms := msgs(room, "alice", count)
	var mu sync.Mutex
	seqs, fresh := map[string]int64{}, 0
	r.parallel(publishers, func(p int) error {
		n := r.nodes[p%len(r.nodes)]
		for _, m := range ms {
			out, err := n.try(0, m)
			if err != nil {
				return err
			}
			o := out[0]
			mu.Lock()
			if seqs[m.ID] == 0 {
				seqs[m.ID] = o.Seq
			}
			if !o.Duplicate {
				fresh++
			}
			first := seqs[m.ID]
			mu.Unlock()
			if o.Err != nil || o.Seq != first {
				return fmt.Errorf("one id published by %d at once: got %+v, another got Seq %d", publishers, o, first)
			}
		}
		return nil
	})
	if fresh != count {
		r.Errorf("%d publishers with the same %d ids: %d were told that theirs is new, want %d", publishers, count, fresh, count)
	}
	for i := range ms {
		ms[i].Seq = seqs[ms[i].ID]
	}
	slices.SortFunc(ms, bySeq)
	ms = append(ms, r.nodes[0].fresh(0, msg(room, "alice", "end"))...)
	for _, n := range r.nodes {
		n.wantDelivered("a race of duplicates", room, 0, ms)
	}
}
