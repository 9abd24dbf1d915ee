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

const (
	// most is for how long nobody looks: what it costs to do so is some 3 % of it.
	most = 150 * time.Microsecond
	// After a look that took long nobody looks for a part of that, one in rest,
	// and of those who wait one more goes on for each share of it: others had the
	// processors for so long. A burst of ours that a look was slow for must be
	// smaller at the next one; what it does between two Yields is some 0.3 ms, and
	// has been found to be 1.3.
	rest    = 4
	share   = 2 * time.Millisecond
	longest = 4 * time.Millisecond
)

var (
	began = time.Now()
	until atomic.Int64 // when a Yield looks at the network again, in ns since began
	turn  sync.Mutex   // held by the one who waits for that; guards what follows

	passes int // how many of those who wait for turn may go on before the next look
)

func now() int64 { return int64(time.Since(began)) }

// Yield returns at once if the network has been looked at within most.
// Otherwise the goroutine waits until those that can run have run and what came
// by the network meanwhile has been found. Of goroutines that wait for that, one
// for each processor goes on after a look: if all did, who is found by the next
// would wait for all their work. After a look that took long it is some more.
//
// It is for work that can wait for others': between two parts of it, with no
// lock held.
func Yield() {
	if Fresh() {
		return
	}
	turn.Lock()
	defer turn.Unlock()
	if passes > 0 && Fresh() {
		passes--
		return
	}
	lookNow()
}

// Step is Yield for who must not wait for many: it does not queue for its turn, but
// lets those run that can if others do.
func Step() {
	switch {
	case Fresh():
	case turn.TryLock():
		defer turn.Unlock()
		lookNow()
	default:
		runtime.Gosched()
	}
}

// lookNow has the network looked at. The caller has turn.
func lookNow() {
	start := now()
	look()
	runtime.Gosched() // those whose turn has come with ours, first
	end := now()
	var wait time.Duration
	passes, wait = after(time.Duration(end-start), runtime.GOMAXPROCS(0))
	until.Store(end + int64(wait))
}

// after is how many more go on after a look that took so long, and for how long
// nobody looks then.
func after(took time.Duration, processors int) (more int, wait time.Duration) {
	return processors*max(1, int(took/share)) - 1, min(max(most, took/rest), longest)
}

// Fresh reports whether Yield would return at once. It is false as well when
// time runs backwards, as between a test's virtual time and the real one.
func Fresh() bool {
	return uint64(until.Load()-now()-1) < uint64(longest) //nolint:gosec // below 0: far above longest
}
