package gohub

import (
	"context"
	"math/rand/v2"
	"time"
)

// A backoff waits longer each time, twice as long up to most, with jitter of a
// half, so that many who failed together do not come back together.
type backoff struct{ next, most time.Duration }

// newBackoff goes from 50 ms to 1 s: clients wait for their acks, and a Store
// that is back shall be found within that.
func newBackoff() *backoff { return &backoff{next: 50 * time.Millisecond, most: time.Second} }

// step is how long to wait now.
func (b *backoff) step() time.Duration {
	d := b.next/2 + rand.N(b.next/2) //nolint:gosec // jitter
	b.next = min(2*b.next, b.most)
	return d
}

// wait returns false when ctx ended first.
func (b *backoff) wait(ctx context.Context) bool {
	t := time.NewTimer(b.step())
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
