//go:build unix

package redis

import (
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// A line is a way to a server on which what is sent can be held up.
type line struct {
	l    net.Listener
	held sync.RWMutex // locked: nothing goes to the server
	wg   sync.WaitGroup
}

func newLine(t *testing.T, target string) *line {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &line{l: l}
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(c, target) })
		}
	})
	t.Cleanup(func() { // before that, the client is closed
		_ = l.Close()
		p.wg.Wait()
	})
	return p
}

func (p *line) addr() string { return p.l.Addr().String() }

func (p *line) serve(c net.Conn, target string) {
	defer c.Close()
	s, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer s.Close()
	p.wg.Go(func() {
		_, _ = io.Copy(c, s)
		_ = c.Close()
	})
	b := make([]byte, 64<<10)
	for {
		n, err := c.Read(b)
		p.held.RLock()
		_, failed := s.Write(b[:n])
		p.held.RUnlock()
		if err != nil || failed != nil {
			return
		}
	}
}
