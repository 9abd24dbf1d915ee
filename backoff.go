package gohub

import (
	"context"
	"math/rand/v2"
	"time"
)

// A backoff waits longer each time: from 50 ms doubling to 5 s, each with
// jitter of a half, so that many who failed together do not come back
// together.
type backoff struct{ next time.Duration }

func newBackoff() *backoff { return &backoff{next: 50 * time.Millisecond} }

// wait returns false when ctx ended first.
func (b *backoff) wait(ctx context.Context) bool {
	d := b.next/2 + rand.N(b.next/2) //nolint:gosec // jitter
	b.next = min(2*b.next, 5*time.Second)
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
