// Package pace keeps work that arrives in heaps from holding up everybody
// else's.
//
// Go asks the kernel which sockets have something to read only when a
// processor has run out of goroutines that can run, or after 10 ms. Where many
// run one after the other, a hundred handshakes say, nobody learns before the
// last of them that a frame has come, which its sender has waited for ever since.
package pace

import (
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// most is for how long nobody looks: what it costs to do so is some 3 % of it.
	most = 150 * time.Microsecond
	// A look that takes longer than slow has waited for what does not yield. If
	// the next one does as well, that is not a burst of ours but such as the
	// program's own work on all processors, and nobody looks for rest times as
	// long: to wait for each would hold up ourselves, and nobody would gain.
	slow    = 5 * time.Millisecond
	rest    = 4
	longest = time.Second
)

var (
	began = time.Now()
	until atomic.Int64 // when a Yield looks at the network again, in ns since began
	turn  sync.Mutex   // held by the one who waits for that; guards what follows

	passes int  // how many of those who wait for turn may go on before the next look
	slowly bool // the last look was slow
)

func now() int64 { return int64(time.Since(began)) }

// Yield returns at once if the network has been looked at within most.
// Otherwise the goroutine waits until those that can run have run and what came
// by the network meanwhile has been found. Of goroutines that wait for that, one
// for each processor goes on after a quick look: if all did, who is found by the
// next would wait for all their work. After one that took longer more go on, one
// for each most of it: others have had the processors for that long.
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
	start := now()
	look()
	runtime.Gosched() // those whose turn has come with ours, first
	end := now()
	wait := pause(time.Duration(end-start), slowly)
	slowly = end-start > int64(slow)
	passes = runtime.GOMAXPROCS(0)*int(1+(end-start)/int64(most)) - 1
	if wait > most {
		passes = math.MaxInt
	}
	until.Store(end + int64(wait))
}

// pause is for how long nobody looks after a look that took so long; again: as
// the one before it did.
func pause(took time.Duration, again bool) time.Duration {
	if took <= slow || !again {
		return most
	}
	return min(rest*took, longest)
}

// Fresh reports whether Yield would return at once. It is false as well when
// time runs backwards, as between a test's virtual time and the real one.
func Fresh() bool {
	return uint64(until.Load()-now()-1) < uint64(longest) //nolint:gosec // below 0: far above longest
}
