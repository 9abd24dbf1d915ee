package clustertest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gohub/gohub"
)

var orderCases = []testCase{
	{"Order", 1, func(r *run) { r.order() }},
	{"OrderAcrossNodes", 2, func(r *run) { r.order() }},
	{"Batch", 1, func(r *run) {
		n, room := r.nodes[0], r.room("lobby")
		n.subscribe(room)
		give := msgs(room, "alice", 50)
		out := n.publish(0, give...)
		want := slices.Clone(give)
		for i, o := range out {
			if want[i].Seq = o.Seq; i > 0 && o.Seq <= out[i-1].Seq {
				r.Fatalf("a batch of 50: message %d got Seq %d after %d", i, o.Seq, out[i-1].Seq)
			}
		}
		n.wantDelivered("a batch of 50", room, 0, want)
		if out := n.b.Publish(r.Context(), 0); len(out) != 0 {
			r.Errorf("Publish of nothing returned %+v", out)
		}
	}},
	{"Floor", 1, func(r *run) {
		n, room := r.nodes[0], r.room("lobby")
		n.subscribe(room)
		floor := time.Now().Add(time.Hour).UnixMicro()
		first := n.fresh(floor, msg(room, "alice", "1"))
		if first[0].Seq <= floor {
			r.Fatalf("Publish with floor %d, an hour ahead of the clock: Seq %d, want more", floor, first[0].Seq)
		}
		second := n.fresh(0, msg(room, "bob", "2"))
		if second[0].Seq <= first[0].Seq {
			r.Fatalf("Publish with floor 0 after Seq %d: got Seq %d, want more", first[0].Seq, second[0].Seq)
		}
		n.wantDelivered("the first prev is at least the floor", room, floor, slices.Concat(first, second))
		higher := second[0].Seq + time.Hour.Microseconds()
		third := n.fresh(higher, msgs(room, "carol", 2)...)
		if third[0].Seq <= higher {
			r.Errorf("Publish with floor %d: Seq %d, want more", higher, third[0].Seq)
		}
	}},
	{"Clock", 1, func(r *run) {
		n := r.nodes[0]
		for i := range 3 {
			room := r.room(fmt.Sprint("room-", i))
			before := time.Now().Add(-r.f.Skew).UnixMicro()
			m := n.fresh(1000, msg(room, "alice", "hi"))[0]
			if after := time.Now().Add(r.f.Skew).UnixMicro(); m.Seq < before || m.Seq > after {
				r.Errorf("Seq %d is not the time in µs, between %d and %d", m.Seq, before, after)
			}
			time.Sleep(2 * time.Millisecond)
			next := n.fresh(0, msg(room, "alice", "hi"))[0]
			if d := next.Seq - m.Seq; d < 1500 {
				r.Errorf("two Seqs of one room, 2 ms apart, differ by %d µs", d)
			}
		}
	}},
	{"EverythingCarried", 1, func(r *run) {
		n, room := r.nodes[0], r.room("Room.with_all:of@A-Z,09")
		n.subscribe(room)
		to := msg(room, "Sender.with_all:of-A9", "private")
		to.To, to.Kind = "Bob", "x.y_z-0123456789abcdefghijklmno"
		unicode := msg(room, "alice", "")
		unicode.Body = []byte(`{"text":"\u0000 \ud800 ` + "ÄÖ 😀 \u2028\"}")
		binary := msg(room, "alice", "")
		binary.Binary, binary.Body = true, []byte("\x00\xff\xfe\x80 raw \x00\r\n\x1a'\"\\")
		empty := msg(room, "alice", "")
		empty.Binary, empty.Body = true, []byte{}
		large := msg(room, "alice", "")
		large.Binary, large.Body = true, make([]byte, 200_000)
		for i := range large.Body {
			large.Body[i] = byte(i * 31 >> 3)
		}
		want := n.fresh(0, to)
		want = append(want, n.fresh(0, unicode, binary, empty, large)...)
		n.wantDelivered("all kinds of messages", room, 0, want)
		got, _ := n.log(room)
		if diff := difference(got, want); diff != "" {
			r.Errorf("Log: %s", diff)
		}
	}},
	{"Tenants", 1, func(r *run) {
		n := r.nodes[0]
		name := "lobby." + r.unique
		rooms := []gohub.RoomID{
			{Tenant: r.unique, Name: name},
			{Tenant: r.unique + "x", Name: name},
			{Tenant: "", Name: name},
			{Tenant: r.unique, Name: "y:" + name},
			{Tenant: r.unique + ":y", Name: name},
			{Tenant: r.unique, Name: "Y:" + name},
		}
		n.subscribe(rooms[:5]...) // not to the last
		first := msg(rooms[0], "alice", "")
		want := map[gohub.RoomID][]gohub.Message{}
		for i, room := range rooms {
			m := first // the same id everywhere
			m.Room, m.Sender, m.Body = room, fmt.Sprint("alice", i), fmt.Append(nil, i)
			want[room] = n.fresh(0, m)
		}
		for i, room := range rooms {
			if got, _ := n.log(room); difference(got, want[room]) != "" {
				r.Errorf("Log of %v: %s", room, difference(got, want[room]))
			}
			if i < 5 {
				n.wantDelivered("one message a room", room, 0, want[room])
			}
		}
		r.quiet()
		if got := n.delivered(rooms[5]); len(got) != 0 {
			r.Errorf("%d messages of room %v were delivered, which is not subscribed", len(got), rooms[5])
		}
		n.b.Stored(want[rooms[1]]...)
		if got, _ := n.log(rooms[0]); difference(got, want[rooms[0]]) != "" {
			r.Errorf("Stored in another tenant changed the log of %v: %s", rooms[0], difference(got, want[rooms[0]]))
		}
	}},
}

// order lets many publishers write into one room, on all nodes.
func (r *run) order() {
	room := r.room("lobby")
	const publishers, steps, floor = 6, 30, 1_000_000
	for _, n := range r.nodes {
		n.subscribe(room)
	}
	var mu sync.Mutex
	var all []gohub.Message
	r.parallel(publishers, func(p int) error {
		n := r.nodes[p%len(r.nodes)]
		var last int64
		for step := range steps {
			ms := msgs(room, fmt.Sprint("user-", p), 1+step%3)
			out, err := n.try(floor, slices.Clone(ms)...)
			if err != nil {
				return err
			}
			for i, o := range out {
				if o.Err != nil || o.Duplicate {
					return fmt.Errorf("a new message got %+v", o)
				}
				if o.Seq <= last || o.Seq <= floor {
					return fmt.Errorf("got Seq %d after %d, with floor %d", o.Seq, last, floor)
				}
				last = o.Seq
				ms[i].Seq = o.Seq
			}
			mu.Lock()
			all = append(all, ms...)
			mu.Unlock()
		}
		return nil
	})
	slices.SortFunc(all, bySeq)
	for i := 1; i < len(all); i++ {
		if all[i].Seq == all[i-1].Seq {
			r.Fatalf("Seq %d was given to two messages of one room", all[i].Seq)
		}
	}
	for i, n := range r.nodes {
		n.wantDelivered(fmt.Sprintf("%d publishers, receiver %d of %d", publishers, i+1, len(r.nodes)), room, floor, all)
		got, _ := n.log(room)
		if diff := difference(got, all); diff != "" {
			r.Errorf("Log on node %d: %s", i+1, diff)
		}
	}
}

// parallel runs f(0) … f(n-1) from the same moment on and reports their
// errors.
func (r *run) parallel(n int, f func(i int) error) {
	r.Helper()
	var wg sync.WaitGroup
	errs := make([]error, n)
	start := make(chan struct{})
	for i := range n {
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
