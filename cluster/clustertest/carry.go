package clustertest

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gohub/gohub"
)

var carryCases = []testCase{
	{"SubscribeBarrier", 1, func(r *run) { r.barrier() }},
	{"SubscribeBarrierAcrossNodes", 2, func(r *run) { r.barrier() }},
	{"SubscribeMidStream", 1, func(r *run) { r.midStream() }},
	{"SubscribeMidStreamAcrossNodes", 2, func(r *run) { r.midStream() }},
	{"SubscribeAgain", 1, func(r *run) { r.again() }},
	{"SubscribeAgainAcrossNodes", 2, func(r *run) { r.again() }},
	{"SubscribeTwice", 1, func(r *run) {
		n, room := r.nodes[0], r.room("lobby")
		n.subscribe(room, room)
		n.wantDelivered("subscribed twice", room, 0, n.fresh(0, msgs(room, "alice", 3)...))
	}},
	{"Unsubscribe", 1, func(r *run) {
		n, room, other := r.nodes[0], r.room("lobby"), r.room("other")
		n.b.Unsubscribe(n, room) // of what is not subscribed: nothing
		n.subscribe(room, other)
		ms := n.fresh(0, msg(room, "alice", "1"))
		n.wantDelivered("before Unsubscribe", room, 0, ms)
		n.b.Unsubscribe(n, room)
		r.quiet()
		missed := n.fresh(0, msg(room, "alice", "2"))
		n.wantDelivered("another room", other, 0, n.fresh(0, msg(other, "alice", "other")))
		r.quiet()
		n.wantDelivered("after Unsubscribe", room, 0, ms)
		n.subscribe(room)
		back := n.fresh(0, msg(room, "alice", "3"))
		got := n.wait(room, 2)
		if len(got) != 2 || got[1].ID != back[0].ID || got[1].prev != missed[0].Seq {
			r.Errorf("after subscribing again: got %+v, want the message with Seq %d after %d", got, back[0].Seq, missed[0].Seq)
		}
	}},
	{"UnsubscribeLeavesOthers", 2, func(r *run) {
		room := r.room("lobby")
		for _, n := range r.nodes {
			n.subscribe(room)
		}
		r.nodes[0].b.Unsubscribe(r.nodes[0], room)
		r.quiet()
		ms := r.nodes[0].fresh(0, msgs(room, "alice", 3)...)
		r.nodes[1].wantDelivered("another receiver unsubscribed", room, 0, ms)
		r.quiet()
		if got := r.nodes[0].delivered(room); len(got) != 0 {
			r.Errorf("%d messages were delivered after Unsubscribe", len(got))
		}
	}},
	{"Signal", 1, func(r *run) { r.signal() }},
	{"SignalAcrossNodes", 2, func(r *run) { r.signal() }},
}

// barrier: whatever is published after Subscribe returned is delivered.
func (r *run) barrier() {
	n, publisher := r.nodes[0], r.nodes[len(r.nodes)-1]
	for i := range 60 {
		room := r.room(fmt.Sprint("room-", i))
		n.subscribe(room)
		m := publisher.fresh(0, msg(room, "alice", "hi"))
		if got := n.wait(room, 1); len(got) == 0 {
			r.Fatalf("room %d: a message published after Subscribe returned was not delivered within %v", i, r.f.Patience)
		}
		n.wantDelivered("published after Subscribe returned", room, 0, m)
	}
}

// again: coming back to a room is as good as coming for the first time, however
// soon after leaving it.
func (r *run) again() {
	n, publisher := r.nodes[0], r.nodes[len(r.nodes)-1]
	room := r.room("lobby")
	var want []gohub.Message
	for i := range 100 {
		n.subscribe(room)
		want = append(want, publisher.fresh(0, msg(room, "alice", "hi"))...)
		if got := n.wait(room, len(want)); len(got) != len(want) {
			r.Fatalf("time %d: %d messages were published while the room was subscribed, %d were delivered", i, len(want), len(got))
		}
		n.b.Unsubscribe(n, room)
		if i%3 == 0 {
			time.Sleep(time.Duration(i) * 100 * time.Microsecond)
		}
	}
	n.wantDelivered("subscribed again and again", room, 0, want)
}

// midStream is barrier while a publisher is at work.
func (r *run) midStream() {
	n, publisher := r.nodes[0], r.nodes[len(r.nodes)-1]
	for i := range 10 {
		room := r.room(fmt.Sprint("room-", i))
		var started, subscribed atomic.Int32
		const count = 120
		all := msgs(room, "alice", count)
		from := count // the first one published after Subscribe returned
		done := make(chan error, 1)
		go func() { // ends with the last message
			for j := range all {
				if subscribed.Load() != 0 {
					from = min(from, j)
				}
				if j > count/2 && subscribed.Load() == 0 {
					time.Sleep(time.Millisecond) // a slow Subscribe must not miss all
				}
				out, err := publisher.try(0, all[j])
				if err != nil {
					done <- err
					return
				}
				all[j].Seq = out[0].Seq
				started.Add(1)
			}
			done <- nil
		}()
		for started.Load() < int32(i*5) {
			time.Sleep(50 * time.Microsecond)
		}
		n.subscribe(room)
		subscribed.Store(1)
		if err := <-done; err != nil {
			r.Fatal(err)
		}
		all = append(all, publisher.fresh(0, msg(room, "alice", "end"))...) // for sure after Subscribe: what began earlier is there before it
		want := all[from:]
		ok := n.until(r.f.Patience, func() bool {
			got := n.got[room]
			return len(got) > 0 && got[len(got)-1].ID == want[len(want)-1].ID
		})
		got := n.delivered(room)
		list := make([]gohub.Message, len(got))
		for j, d := range got {
			list[j] = d.Message
			if j > 0 && d.prev != got[j-1].Seq {
				r.Errorf("Subscribe in mid-stream: prev is %d, the delivery before had Seq %d", d.prev, got[j-1].Seq)
			}
		}
		if !ok || len(got) < len(want) {
			r.Fatalf("Subscribe in mid-stream: %d messages were published after it returned, only %d came", len(want), len(got))
		}
		// What began earlier may come, too, but then without a gap.
		if diff := difference(list, all[max(0, len(all)-len(list)):]); diff != "" {
			r.Errorf("Subscribe in mid-stream: %s", diff)
		}
	}
}

// signal: best effort means that some may be lost, none changed.
func (r *run) signal() {
	targets := []gohub.Target{
		{Tenant: r.unique, Room: "lobby"},
		{Tenant: r.unique, Room: "lobby", User: "bob", Except: "session-1"},
		{Tenant: r.unique, Room: "@alice,bob", User: "bob", Outside: true},
		{Tenant: r.unique, User: "bob"},
		{Room: r.unique},
		{Tenant: r.unique},
	}
	want := map[signal]bool{}
	for i, to := range targets {
		frame := "\x81\x7e\x01\x00" + strings.Repeat(string(rune('a'+i)), 256) + "\x00\xff"
		if i == 0 {
			frame = ""
		}
		want[signal{to, frame}] = true
	}
	for i, n := range r.nodes {
		all := func() bool {
			for s := range want {
				if !slices.Contains(n.signals, s) {
					return false
				}
			}
			return true
		}
		from := r.nodes[len(r.nodes)-1-i]
		for try := 0; ; try++ {
			for s := range want {
				from.b.Signal(s.to, []byte(s.frame))
			}
			if n.until(r.f.Patience/10, all) {
				break
			}
			if try == 10 {
				r.Fatalf("receiver %d of %d did not get all of %d signals that were sent %d times each", i+1, len(r.nodes), len(want), try+1)
			}
		}
	}
	for i, n := range r.nodes {
		n.mu.Lock()
		for _, s := range n.signals {
			if !want[s] {
				r.Errorf("receiver %d got a signal that nobody sent: %+v", i+1, s)
			}
		}
		n.mu.Unlock()
	}
}
