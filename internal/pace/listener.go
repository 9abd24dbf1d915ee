package pace

import (
	"net"
	"sync/atomic"
)

// Listener has what its TCP connections bring wait for its turn.
type Listener struct{ net.Listener }

// Accept waits for the next connection. It does not queue for its turn: nobody
// could end that, and http.Server.Close waits for it.
func (l Listener) Accept() (net.Conn, error) {
	Step()
	nc, err := l.Listener.Accept()
	if t, ok := nc.(*net.TCPConn); ok {
		nc = &Conn{TCPConn: t}
	}
	return nc, err
}

// Conn is a connection of a Listener.
type Conn struct {
	*net.TCPConn
	free atomic.Bool
}

// Read yields when there is something to read.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	if !c.free.Load() {
		Yield()
	}
	return n, err
}

// NetConn is the connection beneath.
func (c *Conn) NetConn() net.Conn { return c.TCPConn }

// Free returns nc, which a Listener may have accepted, as it would be without.
func Free(nc net.Conn) net.Conn {
	switch c := nc.(type) {
	case *Conn:
		return c.TCPConn
	case interface{ NetConn() net.Conn }: // TLS
		if below, ok := c.NetConn().(*Conn); ok {
			below.free.Store(true)
		}
	}
	return nc
}
