//go:build unix

package pace_test

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub/internal/pace"
	"github.com/gohub/gohub/internal/pace/pacetest"
)

// Of many connections that come at once, with a request each, not all are served
// before anybody learns of what came on another one meanwhile: neither where they are
// accepted nor where they are read.
func TestPacedListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	const many = 10
	heard := func(accept func() (net.Conn, error)) bool {
		for range 9 * many { // they wait to be accepted; Heard wants nine bursts
			c, err := net.Dial("tcp", l.Addr().String())
			require.NoError(t, err)
			defer c.Close()
			_, err = c.Write([]byte("GET"))
			require.NoError(t, err)
		}
		return pacetest.Heard(t, func() {
			var served sync.WaitGroup
			for range many {
				c, err := accept()
				require.NoError(t, err)
				served.Go(func() {
					defer c.Close()
					var b [8]byte
					n, _ := c.Read(b[:])
					assert.Equal(t, "GET", string(b[:n]))
					for began := time.Now(); time.Since(began) < 200*time.Microsecond; {
					}
				})
			}
			served.Wait()
		})
	}
	accepts := func() (net.Conn, error) {
		c, err := pace.Listener{Listener: l}.Accept()
		return pace.Free(c), err
	}
	reads := func() (net.Conn, error) {
		c, err := l.Accept()
		return &pace.Conn{TCPConn: c.(*net.TCPConn)}, err
	}
	assert.True(t, pacetest.Once(func() bool { return heard(accepts) }))
	assert.True(t, pacetest.Once(func() bool { return heard(reads) }))
	// Without, the runtime looks by itself after 10 ms, which others may make of two.
	require.True(t, pacetest.Once(func() bool { return !heard(l.Accept) }), "others are heard without it, too: not what this test is about")
}

// What a paced connection has become is as it would be without.
func TestFree(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	require.Equal(t, here, pace.Free(here))
	tcp := new(net.TCPConn)
	require.Equal(t, net.Conn(tcp), pace.Free(&pace.Conn{TCPConn: tcp}))
	require.Equal(t, net.Conn(tcp), (&pace.Conn{TCPConn: tcp}).NetConn())
}
