package hubtest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// inFlight is how many bytes may be on the way in one direction: what the two
// kernels' buffers are to a socket.
const inFlight = 64 << 10

var errCut = errors.New("hubtest: the connection was cut")

// A conn is one end of a connection in memory. Unlike net.Pipe it has buffers,
// so that a peer that does not read is noticed no earlier than on a network,
// and what was sent before a close can still be read after it.
type conn struct {
	in, out       *pipe
	local, remote net.Addr
}

func newConns(client, server net.Addr) (c, s *conn) {
	up, down := newPipe(), newPipe()
	return &conn{in: down, out: up, local: client, remote: server}, &conn{in: up, out: down, local: server, remote: client}
}

func (c *conn) Read(b []byte) (int, error)  { return c.in.read(b) }
func (c *conn) Write(b []byte) (int, error) { return c.out.write(b) }

func (c *conn) Close() error {
	c.in.change(func(p *pipe) { p.deaf = true })
	c.out.change(func(p *pipe) { p.ended = true })
	return nil
}

// cut breaks the connection for both ends at once; what is on the way is lost.
func (c *conn) cut() {
	for _, p := range []*pipe{c.in, c.out} {
		p.change(func(p *pipe) { p.broken = true })
	}
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.set(&c.in.readBy, t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.set(&c.out.writeBy, t)
	return nil
}

// A pipe is one direction of a connection.
type pipe struct {
	mu     sync.Mutex // guards what follows
	moved  *sync.Cond // something has changed
	data   bytes.Buffer
	ended  bool // the writer has closed: io.EOF after data
	deaf   bool // the reader has closed: what is written is lost, as the writer will learn
	broken bool // for both, at once
	frozen bool // the reader gets nothing
	rate   int  // bytes a second that the reader gets; 0: no limit
	next   alarm
	readBy alarm

	writeBy alarm
}

// An alarm is a point in time that a pipe looks at, and is woken at.
type alarm struct {
	timer *time.Timer // nil: none, or reached
	rung  bool
}

func newPipe() *pipe {
	p := new(pipe)
	p.moved = sync.NewCond(&p.mu)
	return p
}

func (p *pipe) change(f func(*pipe)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
	p.moved.Broadcast()
}

// set sets an alarm of p; the zero time: never.
func (p *pipe) set(a *alarm, at time.Time) {
	p.change(func(p *pipe) {
		if a.timer != nil {
			a.timer.Stop()
		}
		*a = alarm{}
		if at.IsZero() {
			return
		}
		wait := time.Until(at)
		if a.rung = wait <= 0; !a.rung {
			p.start(a, wait)
		}
	})
}

// start starts an alarm; mu is held.
func (p *pipe) start(a *alarm, wait time.Duration) {
	var t *time.Timer
	t = time.AfterFunc(wait, func() {
		p.change(func(*pipe) {
			if a.timer == t { // or it was set anew meanwhile
				a.timer, a.rung = nil, true
			}
		})
	})
	a.timer = t
}

func (p *pipe) read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		ready := !p.frozen && p.next.timer == nil
		switch {
		case p.deaf:
			return 0, net.ErrClosed
		case p.broken:
			return 0, errCut
		case p.readBy.rung:
			return 0, os.ErrDeadlineExceeded
		case ready && p.data.Len() > 0:
			if p.rate > 0 { // twenty pieces a second, or a byte at a time
				b = b[:min(len(b), max(1, p.rate/20))]
			}
			n, err := p.data.Read(b)
			if p.rate > 0 {
				p.start(&p.next, time.Duration(n)*time.Second/time.Duration(p.rate))
			}
			p.moved.Broadcast()
			return n, err
		case ready && p.ended:
			return 0, io.EOF
		}
		p.moved.Wait()
	}
}

func (p *pipe) write(b []byte) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.ended:
			return n, net.ErrClosed
		case p.broken:
			return n, errCut
		case p.writeBy.rung:
			return n, os.ErrDeadlineExceeded
		case p.deaf: // nobody learns by writing that the peer has gone
			return n + len(b), nil
		}
		if room := min(inFlight-p.data.Len(), len(b)); room > 0 {
			p.data.Write(b[:room])
			n, b = n+room, b[room:]
			p.moved.Broadcast()
		}
		if len(b) == 0 {
			return n, nil
		}
		p.moved.Wait()
	}
}
