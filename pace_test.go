package gohub_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// A session that has sent much at once does not keep others' bytes from being
// read until all of it is done, though there is one processor and it never
// waits for anything. Each frame costs a tenth of a millisecond here; Go looks
// at the network by itself after ten.
func TestFramesInHeapsMakeRoom(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	out, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer out.Close()
	in, err := l.Accept()
	require.NoError(t, err)
	defer in.Close()
	const frames = 60
	slow := &slowLimiter{other: out, frames: frames, done: make(chan bool, 1)}
	go func() { // ends with its read
		var b [1]byte
		if _, err := in.Read(b[:]); err == nil {
			slow.heard.Store(true)
		}
	}()
	w := start(t, gohub.Config{RateLimiter: slow})
	c := rawDial(t, strings.TrimPrefix(w.url, "http://"), "alice")
	defer c.Close()
	_, err = c.Write(bytes.Repeat(maskedText([]byte(`{"type":"ping"}`)), frames))
	require.NoError(t, err)
	require.True(t, <-slow.done, "the other was read before the last of the frames was done")
}

// Of sessions that ask for much at the same time each has others' bytes looked
// for before it begins.
func TestManyWhoAskTakeTurns(t *testing.T) {
	const sessions, rounds = 20, 9
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	out, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer out.Close()
	in, err := l.Accept()
	require.NoError(t, err)
	defer in.Close()
	var heard atomic.Int32
	go func() { // ends with its read
		var b [1]byte
		for _, err := in.Read(b[:]); err == nil; _, err = in.Read(b[:]) {
			heard.Add(1)
		}
	}()
	var asked atomic.Int32
	inTime := 0
	done := make(chan bool)
	w := start(t, gohub.Config{MayJoin: func(context.Context, gohub.Identity, gohub.RoomID) error {
		if asked.Load()%sessions == 0 {
			_, _ = out.Write([]byte{1})
		}
		for began := time.Now(); time.Since(began) < 300*time.Microsecond; {
		}
		if n := asked.Add(1); n%sessions == 0 {
			done <- heard.Load() == n/sessions
		}
		return nil
	}})
	var conns []net.Conn
	for i := range sessions {
		c := rawDial(t, strings.TrimPrefix(w.url, "http://"), fmt.Sprintf("user%d", i))
		defer c.Close()
		conns = append(conns, c)
	}
	for round := range rounds {
		f := maskedText(fmt.Appendf(nil, `{"type":"join","room":"r%d"}`, round))
		for _, c := range conns {
			_, err := c.Write(f)
			require.NoError(t, err)
		}
		if <-done {
			inTime++
		}
		for int(heard.Load()) <= round {
			runtime.Gosched()
		}
	}
	require.Greater(t, inTime, rounds/2, "rounds in which the other was read before the last of them had its turn")
}

// slowLimiter is a RateLimiter and the one session's: it allows everything and
// takes its time. With the first frame bytes for another reader come.
type slowLimiter struct {
	other  net.Conn
	frames int
	n      int // the session's own
	heard  atomic.Bool
	done   chan bool
}

func (l *slowLimiter) Session(gohub.Identity) gohub.SessionLimiter { return l }

func (l *slowLimiter) Spend(time.Time, int) time.Duration {
	for began := time.Now(); time.Since(began) < 100*time.Microsecond; {
	}
	switch l.n++; l.n {
	case 1:
		_, _ = l.other.Write([]byte{1})
	case l.frames:
		l.done <- l.heard.Load()
	}
	return 0
}
