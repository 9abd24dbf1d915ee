package gohub_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
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
