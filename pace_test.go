package gohub_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
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
