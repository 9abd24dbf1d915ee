package gohub_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// BenchmarkPublish is one message, from a socket to the members' sockets and
// the ack, in a closed loop: allocations are the server's but for one, the raw
// client's frame.
func BenchmarkPublish(b *testing.B) {
	for _, members := range []int{1, 4, 100, 1000} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			hub, err := gohub.New(gohub.Config{
				Authenticator: gohub.AuthenticatorFunc(byQuery),
				RateLimiter:   gohub.NewRateLimiter(gohub.Rate{Frames: 1e7, Bytes: 1e10}),
				Logger:        slog.New(slog.DiscardHandler), // a line of its log would be amid the result's
				Observer:      gohub.Observer{Stored: func(gohub.Message, time.Duration) {}},
			})
			require.NoError(b, err)
			srv := httptest.NewServer(hub.Handler())
			defer srv.Close()
			conns := make([]net.Conn, members)
			for i := range conns {
				conns[i] = rawDial(b, srv.Listener.Addr().String(), fmt.Sprintf("u%d", i))
				rawSend(b, conns[i], []byte(`{"type":"join","room":"bench"}`))
				rawUntil(b, conns[i], `"joined"`)
				if i > 0 {
					go func() { _, _ = io.Copy(io.Discard, conns[i]) }()
				}
			}
			frame := []byte(`{"type":"publish","id":"","room":"bench","body":"` + string(bytes.Repeat([]byte("x"), 126)) + `"}`)
			ids := make([][]byte, 256)
			for i := range ids {
				ids[i] = bytes.Replace(frame, []byte(`"id":""`), []byte(`"id":"`+gohub.NewID()+`"`), 1)
			}
			buf := make([]byte, 64<<10)
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; b.Loop(); i++ {
				copy(ids[i%256][24:], fmt.Appendf(buf[:0], "%08x", i))
				rawSend(b, conns[0], ids[i%256])
				for got := 0; got < 2; { // its own copy, and the ack
					n, err := conns[0].Read(buf)
					if err != nil {
						b.Fatal(err)
					}
					got += bytes.Count(buf[:n], []byte(`"type":"ack"`)) + bytes.Count(buf[:n], []byte(`"type":"message"`))
				}
			}
			b.StopTimer()
			for _, c := range conns {
				_ = c.Close()
			}
			require.NoError(b, hub.Shutdown(context.Background()))
		})
	}
}

func rawDial(b testing.TB, addr, user string) net.Conn {
	c, err := net.Dial("tcp", addr)
	require.NoError(b, err)
	_, err = fmt.Fprintf(c, "GET /?user=%s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", user)
	require.NoError(b, err)
	rawUntil(b, c, `"welcome"`)
	return c
}

// rawSend writes a masked text frame with a mask of zeros.
func rawSend(b testing.TB, c net.Conn, p []byte) {
	var f [1024]byte
	h := append(f[:0], 0x81, 0x80|126, byte(len(p)>>8), byte(len(p)), 0, 0, 0, 0)
	if len(p) < 126 {
		h = append(f[:0], 0x81, 0x80|byte(len(p)), 0, 0, 0, 0)
	}
	if _, err := c.Write(append(h, p...)); err != nil {
		b.Fatal(err)
	}
}

func rawUntil(b testing.TB, c net.Conn, want string) {
	var got []byte
	buf := make([]byte, 4096)
	for !bytes.Contains(got, []byte(want)) {
		n, err := c.Read(buf)
		require.NoError(b, err)
		got = append(got, buf[:n]...)
	}
}
