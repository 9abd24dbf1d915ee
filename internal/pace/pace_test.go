//go:build unix

package pace

import (
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A busy processor hears of what has come by the network: the reader of a
// socket goes on while the only goroutine that can run never waits for anything
// but Yield.
func TestYieldHearsTheNetwork(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	here, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer here.Close()
	there, err := l.Accept()
	require.NoError(t, err)
	defer there.Close()

	var heard atomic.Int32
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { // ends with the connection
		var b [1]byte
		for {
			if _, err := there.Read(b[:]); err != nil {
				return
			}
			heard.Add(1)
		}
	})
	defer there.Close()
	for Yield(); heard.Load() == 0; Yield() { // the reader is at its read
		_, err = here.Write([]byte{1})
		require.NoError(t, err)
		last.Store(0)
	}
	const tries = 200
	missed := 0
	for range tries {
		n := heard.Load()
		_, err = here.Write([]byte{1})
		require.NoError(t, err)
		last.Store(0)
		Yield()
		if heard.Load() == n {
			missed++
		}
	}
	// Few: the kernel may have had no time to deliver, or the reader not yet
	// gone back to its read.
	require.Less(t, missed, tries/4)
}

// Yield costs nothing while the network has been looked at a moment ago.
func TestYieldIsFreeWhileFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // no time passes
		Yield()
		require.True(t, Fresh())
		time.Sleep(most - 1)
		require.True(t, Fresh())
		time.Sleep(1 * time.Nanosecond)
		require.False(t, Fresh())
		Yield()
		require.True(t, Fresh())
	})
	require.False(t, Fresh(), "virtual time says nothing about the real one")
}

// Many at once: each comes back.
func TestYieldOfMany(t *testing.T) {
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 200 {
				last.Store(0)
				Yield()
			}
		})
	}
	wg.Wait()
}

// A process that has no descriptors left goes on without.
func TestYieldWithoutDescriptors(*testing.T) {
	old := pipe
	defer func() { pipe = old }()
	pipe = func() *knock { return new(knock) }
	last.Store(0)
	Yield()
}
