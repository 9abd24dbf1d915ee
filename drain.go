package gohub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gohub/gohub/internal/wire"
)

const (
	// lastWait is how long Shutdown waits, after its context has ended, for what
	// was told so: only code that ignores its own context takes longer.
	lastWait = time.Second
	// goodbyeWait is how long a client may take to answer the last Close frame.
	goodbyeWait = 2 * time.Second
	// slotMost is how far apart clients are told to come back: closer where
	// there are many, so that all fit into half of the drain's time. 10 ms
	// are 100 handshakes a second for whoever takes them over.
	slotMost = 10 * time.Millisecond
	// mostSpread is over how long clients are spread that were given no time.
	mostSpread = 30 * time.Second
	// drainTick is how often a draining hub looks whose time has come.
	drainTick = 10 * time.Millisecond
)

// A DrainError says what [Hub.Shutdown] had to give up when its context ended
// before it was through.
type DrainError struct {
	// Unstored is how many messages were on their way to the Store. None of
	// them was acked: their senders repeat them, to whichever node they find.
	Unstored int64
	// Receipts is how many watermarks, joins and leaves, one a user and room, were
	// not stored.
	Receipts int
	// Cut is how many sessions were cut off without the protocol's goodbye.
	// Their clients find out, come back and resume.
	Cut int
	// Stuck: a call handler, an Observer, the Store or the Broker has not
	// returned although its context has ended. Its goroutine is left behind.
	Stuck bool
	// Err is the context's.
	Err error
}

func (e *DrainError) Error() string {
	s := fmt.Sprintf("gohub: shutdown was not through in time: %d messages and %d receipts were not stored, %d sessions cut off",
		e.Unstored, e.Receipts, e.Cut)
	if e.Stuck {
		s += ", a handler, the Store or the Broker does not return"
	}
	return s + ": " + e.Err.Error()
}

// Unwrap gives the context's error.
func (e *DrainError) Unwrap() error { return e.Err }

// Shutdown ends the hub without losing anything, in this order:
//
//   - New handshakes get 503, unless a cluster's routing sends them to another
//     node. [Hub.Ready] says why. Every client is told at once, by "goaway",
//     after how long to connect elsewhere: each 10 ms after the one before, or
//     closer where there are many, so that they do not arrive at another node
//     together.
//   - Half of [Config].DrainTime after that a session is closed with 1012, unless
//     it has left already: after all it published is acked. Until then it works
//     as ever, publishes included. This takes at most DrainTime, and half of
//     what ctx allows; no longer than there are sessions.
//   - Everything ordered is stored and acked, and whoever is still here closed.
//
// A client that does not answer holds nobody up: when the last one is closed,
// goodbyes are waited for at most 2 s, and [Config].CloseTimeout.
//
// Shutdown returns nil when all is done. When ctx ends first, what is left is
// cut off, and a [*DrainError] says how much that was. Later calls wait for
// the first and return what it did, or their ctx's error. Called from a call
// handler, middleware or an Observer, it would wait for its caller.
//
// http.Server.Shutdown does not know WebSocket connections: call both, this
// one first. The Store and the Broker are the caller's to close.
func (h *Hub) Shutdown(ctx context.Context) error {
	if h.draining.Swap(true) {
		select {
		case <-h.finished:
			return h.lost
		case <-ctx.Done():
		}
		select {
		case <-h.finished: // all the same
			return h.lost
		default:
			return ctx.Err()
		}
	}
	defer close(h.finished)
	if h.dir != nil {
		h.serveAs(true, true)
	}
	began, sessions := time.Now(), h.sessionCount()
	h.letGo(ctx)
	stayed := h.sessionCount()
	h.closing.Store(true)
	stored := h.persist.drain(ctx)
	var lost DrainError
	told := make(chan struct{})
	h.run(func() { // ends with ctx, or when h.cancel has ended the tick before it
		h.marks.tick(ctx)
		close(told)
	})
	select {
	case <-told:
	case <-ctx.Done():
	}
	h.dismissAll(ctx)
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	done := make(chan struct{})
	var receipts atomic.Int64
	go func() { // ends when every goroutine of the hub has
		h.readers.Wait()
		h.marks.tick(ctx) // the sessions' last receipts
		receipts.Store(int64(h.marks.unstored()))
		if h.dir != nil {
			h.dir.Leave(ctx, listener{h})
		}
		h.cancel()
		h.wg.Wait()
		close(done)
	}()
	// Whom everything was written to, and who does not answer, is dead or
	// nearly so; whoever still takes bytes may have half of what is left.
	rest := ctx
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		rest, cancel = context.WithTimeout(ctx, time.Until(end)/2)
		defer cancel()
	}
	answers := time.NewTimer(goodbyeWait)
	defer answers.Stop()
	for waiting := true; waiting; {
		select {
		case <-done:
			waiting = false
		case <-answers.C:
			h.abort(true)
		case <-rest.Done():
			lost.Cut = h.abort(false)
			waiting = false
		}
	}
	select {
	case <-done:
	case <-ctx.Done():
		h.cancel()
		select {
		case <-done:
		case <-time.After(lastWait):
			lost.Stuck = true
			h.fails(errors.New("gohub: a handler, the Store or the Broker does not return"))
		}
	}
	h.conns.Sweeper.Stop()
	if !stored {
		lost.Unstored = h.persist.messages.Load() // fewer than when ctx ended, maybe
	}
	lost.Receipts = int(receipts.Load())
	if lost == (DrainError{}) {
		h.log.Info("hub has shut down", "sessions", sessions, "stayed", stayed, "took", time.Since(began))
		return nil
	}
	if lost.Err = ctx.Err(); lost.Err == nil {
		lost.Err = context.DeadlineExceeded // of the goodbyes
	}
	h.lost = &lost
	h.log.Error("hub has shut down with losses", "sessions", sessions, "stayed", stayed, "took", time.Since(began), "err", h.lost)
	return h.lost
}

const goodbye = "this node is shutting down"

// letGo tells every session when to leave and closes, in that order, those
// that have not left a while later. It returns when none is left, or when the
// time for it is over.
func (h *Hub) letGo(ctx context.Context) {
	all := h.allSessions() // random, as a map is: nobody is always first
	window := h.cfg.DrainTime
	if end, ok := ctx.Deadline(); ok {
		window = min(window, time.Until(end)/2)
	}
	window = max(window, 0)
	step := slotMost
	if window > 0 {
		step = min(slotMost, window/2/time.Duration(max(1, len(all))))
	}
	start := time.Now()
	grace := window / 2 // to connect elsewhere, join there and close this one
	for i, c := range all {
		slot := time.Duration(i) * step
		if window == 0 { // closed at once, and told to come back one by one
			c.send(wire.AppendGoaway(nil, slot.Milliseconds()%mostSpread.Milliseconds(), 0, ""))
			continue
		}
		c.send(wire.AppendGoaway(nil, slot.Milliseconds(), (slot + grace).Milliseconds(), ""))
	}
	if window == 0 {
		return
	}
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	var late []*Client // their time has come, but not all their acks
	for next := 0; h.sessionCount() > 0; {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			passed := now.Sub(start)
			for ; next < len(all) && time.Duration(next)*step+grace <= passed; next++ {
				late = append(late, all[next])
			}
			late = slices.DeleteFunc(late, (*Client).dismiss)
			if passed >= window {
				return
			}
		}
	}
}

// dismissAll closes every session once all it has published is acked, and
// when ctx ends the others as well.
func (h *Hub) dismissAll(ctx context.Context) {
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	for rest := h.allSessions(); ; {
		if rest = slices.DeleteFunc(rest, (*Client).dismiss); len(rest) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			for _, c := range rest {
				c.close(CloseRestart, goodbye)
			}
			return
		}
	}
}

// dismiss takes no more publishes from the session and closes it; false: what
// it has published is not acked yet.
func (c *Client) dismiss() bool {
	c.leaving.Store(true)
	if c.ended.Load() {
		return true
	}
	if c.unacked.Load() > 0 {
		return false
	}
	c.close(CloseRestart, goodbye)
	return true
}

// fails notes what only a restart mends.
func (h *Hub) fails(err error) { h.sick.CompareAndSwap(nil, &err) }

func (h *Hub) sessionCount() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.sessions)
}

// Ready reports whether this hub takes new sessions and can keep what they
// publish: nil, or the reason why a load balancer should look elsewhere.
// errors.Is tells ErrClosed (it is shutting down) and ErrUnavailable (the
// queue to the Store is full, the Store fails, the Broker has ended, or it has a
// method Ready() error which says that it does not serve now, as that of Redis). It is
// cheap, and safe for concurrent use: made for readiness probes.
func (h *Hub) Ready() error {
	if h.draining.Load() {
		return errDraining
	}
	if err := h.Health(); err != nil {
		return errors.Join(ErrUnavailable, err)
	}
	if b, ok := h.broker.(interface{ Ready() error }); ok {
		if err := b.Ready(); err != nil {
			return errors.Join(ErrUnavailable, err)
		}
	}
	return h.persist.ready()
}

// Health reports whether this hub can go on: nil, or what a restart of the
// process would have to mend: the Broker's Run has ended, or a Shutdown that
// could not end everything. What passes by itself, such as a Store that
// cannot be reached, is no reason to restart: see [Hub.Ready]. Made for
// liveness probes.
func (h *Hub) Health() error {
	if err := h.sick.Load(); err != nil {
		return *err
	}
	return nil
}
