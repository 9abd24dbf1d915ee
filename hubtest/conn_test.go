package hubtest

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// The connection must be one to net/http and the hub: they count on what a
// socket does.
func TestConn(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		do   func(t *testing.T, a, b *conn)
	}{
		{"what was sent before a close is read after it", func(t *testing.T, a, b *conn) {
			_, err := a.Write([]byte("last words"))
			require.NoError(t, err)
			require.NoError(t, a.Close())
			p, err := io.ReadAll(b)
			require.NoError(t, err)
			require.Equal(t, "last words", string(p))
			n, err := b.Write([]byte("to nobody"))
			require.NoError(t, err, "nobody learns by writing")
			require.Equal(t, 9, n)
			_, err = a.Write([]byte("x"))
			require.ErrorIs(t, err, net.ErrClosed)
			_, err = a.Read(make([]byte, 1))
			require.ErrorIs(t, err, net.ErrClosed)
		}},
		{"a cut loses what is on the way", func(t *testing.T, a, b *conn) {
			_, err := a.Write([]byte("lost"))
			require.NoError(t, err)
			b.cut()
			for _, c := range []*conn{a, b} {
				_, err = c.Read(make([]byte, 1))
				require.ErrorIs(t, err, errCut)
				_, err = c.Write([]byte("x"))
				require.ErrorIs(t, err, errCut)
			}
		}},
		{"a close wakes its reader", func(t *testing.T, a, _ *conn) {
			time.AfterFunc(time.Second, func() { _ = a.Close() })
			_, err := a.Read(make([]byte, 1))
			require.ErrorIs(t, err, net.ErrClosed)
		}},
		{"a read deadline", func(t *testing.T, a, b *conn) {
			start := time.Now()
			require.NoError(t, a.SetDeadline(start.Add(time.Second)))
			_, err := a.Read(make([]byte, 1))
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			var ne net.Error
			require.True(t, errors.As(err, &ne) && ne.Timeout())
			require.Equal(t, time.Second, time.Since(start))
			require.NoError(t, a.SetReadDeadline(time.Time{}))
			time.AfterFunc(time.Minute, func() { _, _ = b.Write([]byte("x")) })
			_, err = a.Read(make([]byte, 1))
			require.NoError(t, err)
		}},
		{"a deadline in the past wakes the reader", func(t *testing.T, a, _ *conn) {
			time.AfterFunc(time.Second, func() { _ = a.SetReadDeadline(time.Unix(1, 0)) })
			_, err := a.Read(make([]byte, 1))
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		}},
		{"a deadline that was moved", func(t *testing.T, a, _ *conn) {
			start := time.Now()
			require.NoError(t, a.SetReadDeadline(start.Add(time.Second)))
			require.NoError(t, a.SetReadDeadline(start.Add(2*time.Second)))
			_, err := a.Read(make([]byte, 1))
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			require.Equal(t, 2*time.Second, time.Since(start))
		}},
		{"only so much is on the way", func(t *testing.T, a, b *conn) {
			require.NoError(t, a.SetWriteDeadline(time.Now().Add(time.Second)))
			n, err := a.Write(make([]byte, inFlight+1))
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			require.Equal(t, inFlight, n)
			require.NoError(t, a.SetWriteDeadline(time.Time{}))
			time.AfterFunc(time.Second, func() { _, _ = b.Read(make([]byte, 10)) })
			n, err = a.Write(make([]byte, 10))
			require.NoError(t, err)
			require.Equal(t, 10, n)
		}},
		{"a slow reader that is sped up", func(t *testing.T, a, b *conn) {
			b.in.change(func(p *pipe) { p.rate = 1 })
			_, err := a.Write([]byte("abc"))
			require.NoError(t, err)
			start := time.Now()
			for range 2 {
				n, err := b.Read(make([]byte, 3))
				require.NoError(t, err)
				require.Equal(t, 1, n)
			}
			require.Equal(t, time.Second, time.Since(start))
			b.in.set(&b.in.next, time.Time{})
			b.in.change(func(p *pipe) { p.rate = 0 })
			_, err = b.Read(make([]byte, 3))
			require.NoError(t, err)
			require.Equal(t, time.Second, time.Since(start))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a, b := newConns(loopback(1), loopback(2))
				tt.do(t, a, b)
			})
		})
	}
}
