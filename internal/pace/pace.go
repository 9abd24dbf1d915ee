// Package pace keeps work that arrives in heaps from holding up everybody
// else's.
//
// Go asks the kernel which sockets have something to read only when a
// processor has run out of goroutines that can run, or after 10 ms. Where many
// run one after the other, a hundred handshakes say, nobody learns before the
// last of them that a frame has come, which its sender has waited for ever since.
package pace

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// most is for how long nobody looks: what it costs to do so is some 3 % of it.
const most = 150 * time.Microsecond

var (
	began = time.Now()
	last  atomic.Int64 // when the network was looked at for Yield, in ns since began
	turn  sync.Mutex   // held by the one who waits for that
)

// Yield returns at once if the network has been looked at within most.
// Otherwise the goroutine waits until those that can run have run and what came
// by the network meanwhile has been found. Goroutines that wait go on one by
// one, as long as most allows.
//
// It is for work that can wait for others': between two parts of it, with no
// lock held.
func Yield() {
	if Fresh() {
		return
	}
	turn.Lock()
	defer turn.Unlock()
	if !Fresh() {
		look()
		runtime.Gosched() // those whose turn has come with ours, first
		last.Store(int64(time.Since(began)))
	}
}

// Fresh reports whether Yield would return at once. It is false as well when
// time runs backwards, as between a test's virtual time and the real one.
func Fresh() bool {
	return uint64(int64(time.Since(began))-last.Load()) < uint64(most) //nolint:gosec // below 0: far above most
}
