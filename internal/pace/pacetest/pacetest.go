// Package pacetest tells whether work makes room for others'.
package pacetest

import (
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// MakesRoom reports whether f makes room for who waits for the network: whether
// that was Heard in one round of several. Others on a busy machine may spoil some.
func MakesRoom(t testing.TB, f func()) bool {
	t.Helper()
	return Once(func() bool { return Heard(t, f) })
}

// Once reports whether something is so in one of some tries.
func Once(is func() bool) bool {
	for range 5 {
		if is() {
			return true
		}
	}
	return false
}

// Heard runs f several times, on the only processor that the runtime gets
// meanwhile, and reports whether bytes that came by the network as f began were
// mostly read before its end. F takes some milliseconds, fewer than ten: after
// those the runtime looks by itself.
func Heard(t testing.TB, f func()) bool {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	here, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	there, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	var heard atomic.Int32
	var wg sync.WaitGroup
	wg.Go(func() { // ends with the connection
		var b [1]byte
		for {
			if _, err := there.Read(b[:]); err != nil {
				return
			}
			heard.Add(1)
		}
	})
	defer wg.Wait()
	defer there.Close()
	defer here.Close()
	const tries = 9
	inTime := 0
	for i := range int32(tries) {
		if _, err := here.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		f()
		if heard.Load() > i {
			inTime++
		}
		for heard.Load() <= i {
			runtime.Gosched()
		}
	}
	return inTime > tries/2
}
