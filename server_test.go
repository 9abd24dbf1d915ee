package gohub_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// What docs/limits.md recommends for http.Server ends those who never finish
// their header, and nobody's session.
func TestServerTimeouts(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startServer(t, gohub.Config{}, &http.Server{
			ReadHeaderTimeout: 5 * time.Second,
			ReadTimeout:       10 * time.Second,
			WriteTimeout:      10 * time.Second,
			MaxHeaderBytes:    16 << 10,
		})
		alice := w.as("alice", "r")
		connect := func(says string) net.Conn {
			nc, err := w.raw(t.Context(), "tcp", "")
			require.NoError(t, err)
			t.Cleanup(func() { _ = nc.Close() })
			require.NoError(t, nc.SetReadDeadline(time.Now().Add(time.Minute)))
			go func() { _, _ = io.WriteString(nc, says) }() // ends when it is read, or the connection ends
			return nc
		}
		began := time.Now()
		for _, slow := range []net.Conn{connect(""), connect("GET / HTTP/1.1\r\nHost: hub.test\r\nX-Slow: ")} {
			_, err := slow.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF)
		}
		require.InDelta(t, 5, time.Since(began).Seconds(), 0.1)

		big := connect("GET / HTTP/1.1\r\nHost: hub.test\r\nX-Big: " + strings.Repeat("x", 32<<10))
		res, err := http.ReadResponse(bufio.NewReader(big), nil)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, res.StatusCode)

		pass(time.Hour)
		require.Equal(t, "ack", alice.say("r", "still here")["type"])
	})
}

// A crowd of one address that never finishes its headers, or says nothing once
// it is let in, costs memory until its time is up and nothing after, and nobody's
// session. Alone: it counts goroutines.
func TestHalfOpenCrowd(t *testing.T) {
	const crowd, sessions = 2000, 200
	// gone waits, some seconds of real time, for the runtime to count those that have ended.
	gone := func(t *testing.T, before int) {
		t.Helper()
		const few = 10 // of the runtime's own come and go
		for i := 0; i < 3e7 && runtime.NumGoroutine() >= before+few; i++ {
			runtime.Gosched()
		}
		require.Less(t, runtime.NumGoroutine(), before+few)
	}
	heap := func() int64 {
		for range 3 {
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for name, c := range map[string]struct{ perIP, admitted int }{
		"no limit": {0, sessions},
		"limit":    {50, 49}, // alice is one of them
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := startServer(t, gohub.Config{MaxConnsPerIP: c.perIP, FirstFrameTimeout: 20 * time.Second},
					&http.Server{ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10})
				alice := w.as("alice", "r")
				w.http.CloseIdleConnections()
				synctest.Wait()
				goroutines, before := runtime.NumGoroutine(), heap()
				connect := func(says string) net.Conn {
					nc, err := w.raw(t.Context(), "tcp", "")
					require.NoError(t, err)
					t.Cleanup(func() { _ = nc.Close() })
					if says != "" {
						_, err = io.WriteString(nc, says)
						require.NoError(t, err)
					}
					return nc
				}

				conns := make([]net.Conn, crowd)
				for i := range conns {
					conns[i] = connect([]string{"", "GET /", "GET / HTTP/1.1\r\nHost: hub.test\r\nX-Slow: "}[i%3])
				}
				pass(5*time.Second - time.Millisecond)
				require.Greater(t, runtime.NumGoroutine(), crowd, "they wait")
				require.Less(t, heap()-before, int64(crowd*16<<10))
				require.Equal(t, "ack", alice.say("r", "still here")["type"])
				pass(time.Millisecond)
				for _, nc := range conns {
					_, err := io.Copy(io.Discard, nc) // some are told that the request is bad
					require.NoError(t, err)
				}
				synctest.Wait()
				gone(t, goroutines)

				admitted := 0
				for i := range sessions {
					nc := connect(fmt.Sprintf("GET /?user=u%d HTTP/1.1\r\nHost: hub.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
						"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", i))
					if status := newBare(t, nc).answer(); status == http.StatusSwitchingProtocols {
						admitted++
						go func() { _, _ = io.Copy(io.Discard, nc) }() // ends with the connection
					} else {
						require.Equal(t, http.StatusTooManyRequests, status)
						require.NoError(t, nc.Close())
					}
				}
				require.Equal(t, c.admitted, admitted)
				pass(20*time.Second - time.Millisecond)
				require.Equal(t, admitted+1, w.hub.Stats().Sessions)
				pass(time.Minute)
				require.Equal(t, 1, w.hub.Stats().Sessions)
				gone(t, goroutines)
				require.Less(t, heap()-before, int64(crowd*4<<10)) // the test has its ends of the pipes
				require.Equal(t, "ack", alice.say("r", "still here")["type"])
			})
		})
	}
}
