// Package wsconn carries WebSocket frames for many connections at little
// cost: no goroutine but the reader while nothing moves, no buffer while
// nothing has come, one write for all that waits.
//
// What clients send most, a message, ping or pong that arrives whole and in one frame,
// is unmasked and handled where it lies. Everything else is coder/websocket's:
// fragments, parts, the close handshake, and what is wrong. Its connection is
// made when it is first needed. It works on a [Conn] in place of the socket, so
// that this package decides when bytes are read and in which order they are
// written. Data frames are encoded by the caller, once for however many
// connections, and go round coder's writer altogether.
//
// What that rests on, each point with a test:
//   - coder writes each control frame with exactly one Write (its
//     bufio.Writer holds 128 bytes, the largest control frame takes 127), so
//     that a Write of coder's is one whole frame and can be queued like any other.
//   - coder leaves its state alone when a read fails between two frames.
//   - Nothing follows a Close frame or a failed write: the connection is
//     latched under mu, and later frames are dropped.
package wsconn

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// Errors of [Conn.Serve].
var (
	ErrGrown       = errors.New("the goroutine's stack has grown")
	ErrTooBig      = errors.New("frame exceeds the limit")
	ErrInvalidUTF8 = errors.New("text frame is not UTF-8")
	ErrLatched     = errors.New("connection is closing")
	ErrProtocol    = errors.New("not WebSocket")
)

// Options are shared by all connections of a hub.
type Options struct {
	Subprotocols []string
	MaxMessage   int           // bytes a client's message may have, over all its fragments
	MaxQueue     int           // bytes that may wait for a client before it is a slow consumer
	WriteTimeout time.Duration // how long 16 KiB may take; the sweeper sees to it
	CloseTimeout time.Duration // how long a closing connection is waited for
	SlowCode     int           // close code of a slow consumer
	SilentCode   int           // close code of a client that stopped answering
	Sweeper      *Sweeper
	Dropped      *atomic.Int64 // counts volatile frames that were not sent; nil: nobody wants to know
}

// A Handler is called by the reading goroutine, as a rule within its read: whoever
// closes the socket then waits for it.
type Handler interface {
	// Message is called with each data message; payload is valid until it
	// returns.
	Message(binary bool, payload []byte)
	// Idle is called when everything that had arrived has been handled: the
	// time to send what was held back.
	Idle()
	// Extra is called when frames have come that are no messages of their own:
	// pings, pongs, continuations. There may be many.
	Extra(frames int)
}

// A Conn is one WebSocket connection on the server's side.
//
// Serve, Cork, Uncork, SendPaced and Finish belong to one goroutine, the
// reader; everything else may be called from anywhere.
type Conn struct {
	nc  net.Conn
	raw syscall.RawConn // nil: not a plain socket; reads and writes block
	// wrote and tried, if a test has set them, are called after each write on raw,
	// and after each read.
	wrote, tried func()
	slowly       *coder // nil: it was not needed yet
	subprotocol  string
	h            Handler
	o            *Options

	in       inbox
	lastRead atomic.Int64 // the sweeper's clock when bytes last came
	busy     atomic.Bool  // the handler has a message: nobody reads, and a silence is the hub's own
	grown    atomic.Bool  // the reader's stack is no longer a new goroutine's
	pinged   int64        // lastRead when the sweeper last sent a ping; the sweeper's own
	unsure   atomic.Bool  // since the sweeper's last look the reader began to wait without having found that nothing is there
	turn     uint64       // the write that the sweeper saw last, and how often since then; its own
	looks    int
	place    int // in the sweeper's shard; the shard's lock
	shard    *shard

	out outbox
}

// Start names the handler and puts the connection under the sweeper's eyes.
// It comes before Serve.
func (c *Conn) Start(h Handler) {
	c.h = h
	c.o.Sweeper.add(c)
}

// grew notes that the reader's stack has.
func (c *Conn) grew() {
	if !c.grown.Load() {
		c.grown.Store(true)
	}
}

// Grew says that the goroutine which is about to read has done other things,
// so that its stack is to be exchanged like that of one which has read. False:
// it will not be, on a socket that cannot be tried; go on in a new goroutine.
func (c *Conn) Grew() bool {
	c.grown.Store(true)
	return c.raw != nil
}

// Subprotocol is what was negotiated, or empty.
func (c *Conn) Subprotocol() string { return c.subprotocol }

// The rest of net.Conn, for coder. Deadlines are not its business: it gets
// contexts without any.

// Close does nothing: coder calls it when it has answered a Close frame, and
// that answer may still be waiting in the queue. Finish closes the socket.
func (c *Conn) Close() error { return nil }

// LocalAddr is the socket's.
func (c *Conn) LocalAddr() net.Addr { return c.nc.LocalAddr() }

// RemoteAddr is the socket's.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// SetDeadline sets the socket's.
func (c *Conn) SetDeadline(t time.Time) error { return c.nc.SetDeadline(t) }

// SetReadDeadline sets the socket's.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.nc.SetReadDeadline(t) }

// SetWriteDeadline sets the socket's.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.nc.SetWriteDeadline(t) }

// Shutdown queues a Close frame behind what waits, lets nothing follow it,
// and wakes the reader: Serve returns ErrLatched. The first call decides code
// and reason; false if the connection was closing already.
func (c *Conn) Shutdown(code int, reason string) bool {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.latch(code, reason, false)
}

// Abort ends the connection at once, and waits for nothing. The socket itself is
// closed when the reader has let go of it, which may be in the handler.
func (c *Conn) Abort() {
	c.out.mu.Lock()
	c.fail()
	c.out.mu.Unlock()
	go func() { // ends when the reader has let go of the socket
		if w, ok := c.nc.(interface{ CloseWrite() error }); ok && c.raw != nil {
			_ = w.CloseWrite() // that may take a while, if the handler is at work
		}
		c.cut()
	}()
}

// cut closes the socket at once. A tls.Conn's own Close may try for five
// seconds to say goodbye to a peer that does not read.
func (c *Conn) cut() {
	if t, ok := c.nc.(interface{ NetConn() net.Conn }); ok {
		_ = t.NetConn().Close()
	}
	_ = c.nc.Close()
}

// Waiting is how many bytes are on their way to the socket and not written yet.
func (c *Conn) Waiting() int {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.out.bytes
}

// CloseCode is the code of the first Close frame, this side's or the peer's;
// 1005: the peer's had none. 0: there was none.
func (c *Conn) CloseCode() int {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.out.code
}

// ClosedByPeer reports whether that was the peer's.
func (c *Conn) ClosedByPeer() bool {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.out.theirs
}

// Finish ends the connection after Serve has returned: what is queued
// goes out, the peer's Close frame and then its end of the stream are waited
// for, and the socket is closed, all within CloseTimeout. Bytes that the peer
// still sends are read and thrown away: it may not read before it has sent
// them, and closing a socket while there are any makes the kernel send a reset
// that overtakes the Close frame (RFC 6455, 7.1.1).
func (c *Conn) Finish() {
	c.o.Sweeper.remove(c)
	if c.slowly != nil {
		_ = c.slowly.ws.CloseNow() // its own state; it cannot block, for the reader is not in it
	}
	c.out.mu.Lock()
	if !c.out.latched || c.in.err != nil && !errors.Is(c.in.err, os.ErrDeadlineExceeded) {
		c.fail() // it is not to be told, or is gone
	}
	alive := !c.out.dead
	if alive {
		_ = c.nc.SetDeadline(time.Now().Add(c.o.CloseTimeout))
	}
	c.out.mu.Unlock()
	if alive {
		c.in.discard(c, c.in.scan.done)
		alive = c.waitBelow(1)
	}
	if w, ok := c.nc.(interface{ CloseWrite() error }); ok && alive && c.in.scan.done() && w.CloseWrite() == nil {
		c.in.discard(c, func() bool { return false })
	}
	c.in.release()
	c.cut()
}
