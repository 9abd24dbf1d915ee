//go:build unix

package pace

import (
	"os"
	"runtime"
	"sync"
	"syscall"
)

// A knock is a pipe to itself: who writes to it and waits to read from it goes
// on when the runtime has asked the kernel for news. Unlike a timer, which may
// take a millisecond, it takes no longer than that. The zero knock, of a
// process that had no two descriptors left, lets the others run and no more.
type knock struct {
	r, w     *os.File
	raw      syscall.RawConn
	knocked  bool
	readable func(fd uintptr) bool
}

var pipe = sync.OnceValue(newKnock)

func newKnock() *knock {
	k := new(knock)
	r, w, err := os.Pipe()
	if err != nil {
		return k
	}
	if k.raw, err = r.SyscallConn(); err != nil {
		return new(knock)
	}
	k.r, k.w = r, w
	k.readable = k.wait
	return k
}

// look is called by one goroutine at a time.
func look() {
	k := pipe()
	if k.raw == nil {
		runtime.Gosched()
		return
	}
	k.knocked = false
	if k.raw.Read(k.readable) != nil { // it cannot be waited for: knocks would fill it
		k.raw = nil
	}
}

// wait knocks when the runtime has made itself ready to hear it, and not
// before: what it has heard by then it forgets.
func (k *knock) wait(fd uintptr) (done bool) {
	var b [1]byte
	if !k.knocked {
		k.knocked = true
		_, err := k.w.Write(b[:])
		return err != nil
	}
	_, err := syscall.Read(int(fd), b[:])
	return err != syscall.EAGAIN
}
