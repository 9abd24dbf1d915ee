//go:build unix

package pace

import (
	"crypto/tls"
	"net"
	"os"
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
		until.Store(0)
	}
	const tries = 200
	missed := 0
	for range 5 { // others may keep the kernel busy for a while
		missed = 0
		for range tries {
			n := heard.Load()
			_, err = here.Write([]byte{1})
			require.NoError(t, err)
			until.Store(0)
			Yield()
			if heard.Load() == n {
				missed++
			}
		}
		// Few: the kernel may have had no time to deliver, or the reader not yet
		// gone back to its read.
		if missed < tries/4 {
			return
		}
	}
	t.Fatalf("%d of %d are not heard", missed, tries)
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

// Of many who wait for their turn each has the network looked at before it goes
// on, on one processor: what came while the one before it worked has been heard.
func TestYieldLetsOneGoOn(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	here, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	there, err := l.Accept()
	require.NoError(t, err)
	var heard atomic.Int32
	var reader, workers sync.WaitGroup
	reader.Go(func() { // ends with the connection
		var b [1]byte
		for _, err := there.Read(b[:]); err == nil; _, err = there.Read(b[:]) {
			heard.Add(1)
		}
	})
	defer reader.Wait()
	defer there.Close()
	defer here.Close()

	const many = 100
	var gone, late atomic.Int32
	for range 50 { // others may take the processor away during a look, after which more go on
		late.Store(0)
		turn.Lock() // so that all wait
		until.Store(0)
		passes = 0
		for range many {
			workers.Go(func() {
				Yield()
				if heard.Load() < gone.Load() {
					late.Add(1)
				}
				_, _ = here.Write([]byte{1})
				gone.Add(1)
				for began := time.Now(); time.Since(began) < most/3; {
				}
			})
		}
		for range 2 * many {
			runtime.Gosched()
		}
		turn.Unlock()
		workers.Wait()
		if late.Load() < many/4 {
			return
		}
		for heard.Load() < gone.Load() {
			runtime.Gosched()
		}
	}
	t.Fatalf("%d went on before what came while another worked", late.Load())
}

// Many at once: each comes back.
func TestYieldOfMany(t *testing.T) {
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 200 {
				until.Store(0)
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
	until.Store(0)
	Yield()
}

// Beside work of the program's own those who wait get on all the same: the longer
// a look has taken, the more, and the longer nobody looks. But a burst of the hub's own
// for which a look was slow must not be as large at the next.
func TestAfter(t *testing.T) {
	for _, tt := range []struct {
		took       time.Duration
		processors int
		more       int
		wait       time.Duration
	}{
		{0, 1, 0, most},
		{0, 4, 3, most},
		{most, 1, 0, most},
		{share, 1, 0, share / rest},
		{2*share - 1, 1, 0, (2*share - 1) / rest},
		{2 * share, 1, 1, 2 * share / rest},
		{10 * share, 2, 19, longest},
		{time.Hour, 1, int(time.Hour/share) - 1, longest},
	} {
		more, wait := after(tt.took, tt.processors)
		require.Equal(t, tt.more, more, tt.took)
		require.Equal(t, tt.wait, wait, tt.took)
	}
}

// Beside a program that each look waits for, those who wait for their turn get on
// all the same.
func TestYieldOfManyBesideABusyProgram(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	news := newKnock()
	const many = 100
	var busy, workers sync.WaitGroup
	var rounds atomic.Int32 // of the program's work: one a look, about
	var over atomic.Bool
	turn.Lock() // so that all wait
	until.Store(0)
	passes = 0
	for range many {
		workers.Go(Yield)
	}
	for range 2 * many {
		runtime.Gosched()
	}
	busy.Go(func() { // it works whenever the network has been looked at
		for !over.Load() {
			news.knocked = false
			if news.raw.Read(news.readable) != nil {
				return
			}
			for began := time.Now(); time.Since(began) < 4*share; {
			}
			rounds.Add(1)
		}
	})
	turn.Unlock()
	workers.Wait()
	took := rounds.Load()
	over.Store(true)
	busy.Wait()
	_, _ = news.r.Close(), news.w.Close()
	require.Less(t, took, int32(many/2))
}

// A session over TLS goes on reading what was paced until then.
func TestFreeBeneathTLS(t *testing.T) {
	c := &Conn{TCPConn: new(net.TCPConn)}
	over := tls.Server(c, nil)
	require.Equal(t, net.Conn(over), Free(over))
	require.True(t, c.free.Load())
}

func TestFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // no time passes
		until.Store(now() + int64(longest))
		require.True(t, Fresh())
		until.Store(now() + 2*int64(longest)) // of another time
		require.False(t, Fresh())
		until.Store(0)
	})
}

// A poller that cannot take the pipe is not asked again.
func TestLookThatFails(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	k := &knock{r: r, w: w}
	k.readable = k.wait
	k.raw, err = r.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.NoError(t, w.Close())
	old := pipe
	defer func() { pipe = old }()
	pipe = func() *knock { return k }
	look()
	require.Nil(t, k.raw)
	look()
}
