package clustertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/gohub/gohub"
)

var lifeCases = []testCase{
	{"UnavailableBeforeRun", 0, func(r *run) { r.wantUnavailable("before Run", &node{r: r, b: r.b}) }},
	{"UnavailableAfterRun", 1, func(r *run) {
		n, room := r.nodes[0], r.room("lobby")
		n.subscribe(room)
		m := n.fresh(0, msg(room, "alice", "hi"))
		n.wantDelivered("while it runs", room, 0, m)
		n.stop()
		r.wantUnavailable("after Run", n)
		r.quiet()
		n.wantDelivered("after Run nothing more", room, 0, m)
	}},
	{"RunAgain", 1, func(r *run) {
		n, room := r.nodes[0], r.room("lobby")
		n.subscribe(room)
		before := n.fresh(0, msgs(room, "alice", 3)...)
		n.b.Stored(before...)
		n.stop()
		again := r.start(r.b)
		after := again.fresh(0, msg(room, "alice", "after"))
		if after[0].Seq <= before[2].Seq {
			r.Errorf("Run again: Seq %d after %d", after[0].Seq, before[2].Seq)
		}
		r.quiet()
		if got := again.delivered(room); len(got) != 0 {
			r.Errorf("Run again delivered %d messages of a room that was subscribed in the Run before", len(got))
		}
		again.subscribe(room)
		more := again.fresh(0, msg(room, "alice", "more"))
		again.wantDelivered("Run again", room, after[0].Seq, more)
	}},
	{"OneRunEnds", 2, func(r *run) {
		room := r.room("lobby")
		for _, n := range r.nodes {
			n.subscribe(room)
		}
		first := r.nodes[0].fresh(0, msg(room, "alice", "1"))
		r.nodes[0].wantDelivered("both run", room, 0, first)
		r.nodes[0].stop()
		all := append(first, r.nodes[1].fresh(0, msgs(room, "bob", 3)...)...)
		r.nodes[1].wantDelivered("the other one ended", room, 0, all)
		r.quiet()
		r.nodes[0].wantDelivered("the one that ended", room, 0, first)
	}},
	{"RunEndsInTraffic", 1, func(r *run) {
		// Nothing is delivered once Run has returned, even in the middle of
		// publishing. A hub that still runs keeps the broker available.
		n, room := r.nodes[0], r.room("lobby")
		n.subscribe(room)
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for range 4 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						n.b.Publish(r.Context(), 0, msg(room, "alice", "hi"))
					}
				}
			})
		}
		n.wait(room, 50)
		n.stop()
		count := len(n.delivered(room))
		r.quiet()
		if got := len(n.delivered(room)); got != count {
			r.Errorf("%d messages were delivered after Run returned", got-count)
		}
		close(stop)
		wg.Wait()
	}},
	{"CancelledContext", 1, func(r *run) {
		n, room := r.nodes[0], r.room("lobby")
		n.subscribe(room)
		ctx, cancel := context.WithCancel(r.Context())
		cancel()
		ms := msgs(room, "alice", 3)
		out := n.b.Publish(ctx, 0, ms...)
		if len(out) != len(ms) {
			r.Fatalf("Publish of %d messages with a cancelled context returned %d results", len(ms), len(out))
		}
		again := n.publish(0, ms...)
		for i, o := range out {
			switch {
			case o.Err == nil && again[i] != (gohub.Ordered{Seq: o.Seq, Duplicate: true}):
				r.Errorf("with a cancelled context: ordered (%+v), but the repetition got %+v", o, again[i])
			case errors.Is(o.Err, gohub.ErrUnavailable) && again[i].Duplicate:
				r.Errorf("with a cancelled context: %v, which means surely not ordered, but the repetition got %+v", o.Err, again[i])
			case o.Err != nil && !errors.Is(o.Err, gohub.ErrUnavailable) && !errors.Is(o.Err, gohub.ErrUnknown):
				r.Errorf("with a cancelled context: %v, want ErrUnavailable or ErrUnknown", o.Err)
			}
			if again[i].Err != nil {
				r.Errorf("repetition: %v", again[i].Err)
			}
			ms[i].Seq = again[i].Seq
		}
		n.wantDelivered("published twice, at first with a cancelled context", room, 0, ms)
		other := r.room("other")
		if err := n.b.Subscribe(ctx, n, other); err == nil {
			n.wantDelivered("Subscribe with a cancelled context returned nil", other, 0, n.fresh(0, msg(other, "alice", "hi")))
		}
		if err := n.b.Orphans(ctx, func([]gohub.Message) error { return nil }); err == nil {
			r.Error("Orphans with a cancelled context returned no error")
		}
		if _, _, err := n.b.Log(ctx, room, 0, 10); err == nil {
			r.Error("Log with a cancelled context returned no error")
		}
	}},
	{"CancelRace", 1, func(r *run) {
		// Whenever the cancellation comes: what is surely not ordered never
		// appears, and repeating gives one message.
		n, room := r.nodes[0], r.room("lobby")
		n.subscribe(room)
		var all []gohub.Message
		for i := range 40 {
			ctx, cancel := context.WithCancel(r.Context())
			done := make(chan struct{})
			go func() { // ends at once
				defer close(done)
				for range i * i {
					_ = ctx.Err() // a little later each time
				}
				cancel()
			}()
			m := msg(room, "alice", fmt.Sprint(i))
			o := n.b.Publish(ctx, 0, m)[0]
			<-done
			if again := n.publish(0, m)[0]; again.Err != nil || o.Err == nil && again.Seq != o.Seq || errors.Is(o.Err, gohub.ErrUnavailable) && again.Duplicate {
				r.Errorf("Publish gave %+v while its context was cancelled, its repetition %+v", o, again)
			} else {
				m.Seq = again.Seq
			}
			all = append(all, m)
		}
		n.wantDelivered("each published twice", room, 0, all)
	}},
	{"OrphansOfTheLiving", 1, func(r *run) { r.orphans() }},
	{"OrphansOfTheLivingAcrossNodes", 2, func(r *run) { r.orphans() }},
}

// wantUnavailable tries everything on a broker that does not run.
func (r *run) wantUnavailable(when string, n *node) {
	r.Helper()
	room := r.room("unavailable")
	ms := msgs(room, "alice", 2)
	out := n.b.Publish(r.Context(), 0, ms...)
	if len(out) != 2 || !errors.Is(out[0].Err, gohub.ErrUnavailable) || !errors.Is(out[1].Err, gohub.ErrUnavailable) {
		r.Errorf("Publish %s: got %+v, want ErrUnavailable for each", when, out)
	}
	if err := n.b.Subscribe(r.Context(), n, room); !errors.Is(err, gohub.ErrUnavailable) {
		r.Errorf("Subscribe %s: %v, want ErrUnavailable", when, err)
	}
	if _, _, err := n.b.Log(r.Context(), room, 0, 10); !errors.Is(err, gohub.ErrUnavailable) {
		r.Errorf("Log %s: %v, want ErrUnavailable", when, err)
	}
	err := n.b.Orphans(r.Context(), func([]gohub.Message) error { return nil })
	if !errors.Is(err, gohub.ErrUnavailable) {
		r.Errorf("Orphans %s: %v, want ErrUnavailable", when, err)
	}
	// These cannot fail, and must not crash or hang.
	n.b.Stored(ms...)
	n.b.Unsubscribe(n, room)
	n.b.Signal(gohub.Target{Tenant: r.unique, Room: room.Name}, []byte("frame"))
}

// orphans: messages of nodes that live are nobody's orphans, stored or not.
func (r *run) orphans() {
	room := r.room("lobby")
	var all []gohub.Message
	for _, n := range r.nodes {
		all = append(all, n.fresh(0, msgs(room, "alice", 3)...)...)
	}
	for _, n := range r.nodes {
		err := n.b.Orphans(r.Context(), func(ms []gohub.Message) error {
			if i := slices.IndexFunc(ms, func(m gohub.Message) bool { return m.Room == room }); i >= 0 {
				r.Errorf("Orphans handed out the message with Seq %d of a node that lives", ms[i].Seq)
			}
			return nil
		})
		if err != nil {
			r.Errorf("Orphans: %v", err)
		}
		if got, _ := n.log(room); difference(got, all) != "" {
			r.Errorf("Log after Orphans: %s", difference(got, all))
		}
	}
}
