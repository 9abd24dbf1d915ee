package gohub_test

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// A paced listener serves as any other does, with TLS and without, and its
// Accept ends when the server is shut down.
func TestPaceAccept(t *testing.T) {
	for name, start := range map[string]func(*httptest.Server){
		"plain": (*httptest.Server).Start,
		"TLS":   (*httptest.Server).StartTLS,
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusNoContent)
			}))
			s.Listener = gohub.PaceAccept(s.Listener)
			start(s)
			defer s.Close()
			c := s.Client()
			c.Transport.(*http.Transport).DisableKeepAlives = true
			for range 100 {
				res, err := c.Get(s.URL)
				require.NoError(t, err)
				require.NoError(t, res.Body.Close())
				require.Equal(t, http.StatusNoContent, res.StatusCode)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			require.NoError(t, s.Config.Shutdown(ctx))
			_, err := s.Listener.Accept()
			require.ErrorIs(t, err, net.ErrClosed)
		})
	}
}

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

// What it costs: a connection accepted and closed.
func BenchmarkAccept(b *testing.B) {
	for name, wrap := range map[string]func(net.Listener) net.Listener{
		"bare":  func(l net.Listener) net.Listener { return l },
		"paced": gohub.PaceAccept,
	} {
		b.Run(name, func(b *testing.B) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(b, err)
			l = wrap(l)
			defer l.Close()
			for b.Loop() {
				out, err := net.Dial("tcp", l.Addr().String())
				require.NoError(b, err)
				in, err := l.Accept()
				require.NoError(b, err)
				_ = out.(*net.TCPConn).SetLinger(0)
				_ = out.Close()
				_ = in.Close()
			}
		})
	}
}
