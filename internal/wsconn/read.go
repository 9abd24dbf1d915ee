package wsconn

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"github.com/gohub/gohub/internal/pace"
)

// errBetween is what coder gets when it asks for bytes between two messages
// and none are there: the reader then waits in fill, on a shallow stack and
// without a buffer, instead of deep inside coder.
var errBetween = errors.New("between messages")

// burst is how many messages Next returns before it calls Idle although more
// have arrived: a client that never stops sending gets its answers all the same.
const burst = 64

// yieldEvery is after how many messages, or frames that are none, a reader that
// has more at hand lets others' be heard of.
const yieldEvery = 8

const readSize = 8 << 10

var (
	readBufs    = sync.Pool{New: func() any { b := make([]byte, readSize); return &b }}
	payloadBufs = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}
)

// inbox is the reading half of a Conn; the reader's own.
type inbox struct {
	buf      *[]byte // holds r:w; nil while nothing has come
	r, w     int
	scan     scanner
	payload  *[]byte // of the message returned last; nil while idle
	readable func(fd uintptr) bool
	err      error // of the socket
	since    int32 // messages since the last Idle
	extras   int   // frames that are none since the last Yield
	told     bool  // Idle was called for this wait
	own      bool  // buf is this connection's own, not the pool's

	discarded int // bytes, by discard, less those it has paused for
}

func (in *inbox) init(c *Conn) {
	if c.raw != nil {
		in.readable = c.tryRead
	}
}

func (in *inbox) preload(b []byte) {
	buf := append(make([]byte, 0, max(len(b), 1)), b...)
	in.buf, in.r, in.w, in.own = &buf, 0, len(b), true
}

func (in *inbox) release() {
	if in.buf != nil && !in.own {
		readBufs.Put(in.buf)
	}
	in.buf, in.own, in.r, in.w = nil, false, 0, 0
	in.releasePayload()
}

func (in *inbox) releasePayload() {
	if in.payload != nil {
		if cap(*in.payload) <= 64<<10 {
			payloadBufs.Put(in.payload)
		}
		in.payload = nil
	}
}

// Next returns the next data message. payload is valid until the next call.
//
// Errors: ErrGrown: nothing is wrong, go on in a new goroutine; ErrTooBig,
// ErrInvalidUTF8 and ErrProtocol leave it to the caller to Shutdown with a
// code; ErrLatched: a Close frame is queued, be it the hub's, coder's or the
// answer to the peer's, or a write failed; any other: the peer is gone.
func (c *Conn) Next() (binary bool, payload []byte, err error) {
	in := &c.in
	if c.busy.Load() {
		c.busy.Store(false)
		c.lastRead.Store(c.o.Sweeper.now.Load()) // silence counts from here
	}
	if in.since++; in.since >= burst {
		in.since = 0
		c.h.Idle()
	}
	if in.since%yieldEvery == 0 && in.r < in.w {
		// Without Idle: what these messages have brought about is one write a member,
		// which is worth more than to have it on its way a moment earlier.
		pace.Yield()
	}
	if c.latched() { // whatever has come before: nobody would get the answers
		return false, nil, ErrLatched
	}
	for {
		if in.r == in.w && c.br.Buffered() == 0 {
			in.releasePayload()
			if err := c.fill(true); err != nil {
				return false, nil, c.explain(err)
			}
		}
		if !c.grown.Load() {
			c.grown.Store(true)
		}
		typ, r, err := c.ws.Reader(context.Background())
		if err == nil {
			payload, err = in.readAll(r)
		}
		switch {
		case errors.Is(err, errBetween):
			continue
		case err != nil:
			return false, nil, c.explain(err)
		}
		if binary = typ == websocket.MessageBinary; !binary && !utf8.Valid(payload) {
			return false, nil, ErrInvalidUTF8
		}
		c.busy.Store(true)
		return binary, payload, nil
	}
}

// explain sorts what went wrong in a read.
func (c *Conn) explain(err error) error {
	switch {
	case errors.Is(err, ErrGrown):
		return ErrGrown
	case c.latched():
		return ErrLatched
	case c.in.scan.tooBig:
		return ErrTooBig
	case c.in.err != nil:
		return c.in.err
	}
	return errors.Join(ErrProtocol, err)
}

// readAll reads a message into the pooled payload buffer.
func (in *inbox) readAll(r io.Reader) ([]byte, error) {
	if in.payload == nil {
		in.payload = payloadBufs.Get().(*[]byte)
	}
	b := (*in.payload)[:0]
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		*in.payload = b
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// Read hands coder bytes that fill has brought, past the scanner.
func (c *Conn) Read(p []byte) (int, error) {
	in := &c.in
	if in.scan.tooBig {
		return 0, ErrTooBig
	}
	if in.r == in.w {
		if in.scan.between() {
			return 0, errBetween
		}
		err := c.fill(false)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // coder would take io.EOF for the message's end
		}
		if err != nil {
			return 0, err
		}
	}
	n := copy(p, (*in.buf)[in.r:in.w])
	n = in.scan.pass(p[:n]) // coder gets nothing of what is too big
	in.r += n
	if extra := in.scan.extra; extra > 0 {
		in.scan.extra = 0
		c.h.Extra(extra)
		if in.extras += extra; in.extras >= 4*yieldEvery {
			in.extras = 0
			pace.Yield()
		}
	}
	if in.r == in.w && !in.own {
		in.release1()
	}
	return n, nil
}

// release1 gives the read buffer back when it has been read out.
func (in *inbox) release1() {
	readBufs.Put(in.buf)
	in.buf, in.r, in.w = nil, 0, 0
}

// fill waits for bytes. Before it waits it calls Idle, once. shallow: the
// caller is Next, not coder.
func (c *Conn) fill(shallow bool) error {
	in := &c.in
	if in.err != nil {
		return in.err
	}
	in.told = false
	for {
		if c.raw != nil {
			in.buf, in.own, in.r, in.w = nil, false, 0, 0
			if err := c.raw.Read(in.readable); err != nil {
				in.err = err
			}
		} else {
			c.fillBlocking()
		}
		if in.r < in.w {
			c.lastRead.Store(c.o.Sweeper.now.Load())
			return nil
		}
		if in.err == nil {
			continue // a net.Conn may read nothing
		}
		if !errors.Is(in.err, os.ErrDeadlineExceeded) || !c.unpoke() {
			return in.err
		}
		in.err = nil
		if shallow {
			return ErrGrown
		}
	}
}

// fillBlocking is for sockets that cannot be tried. A blocking read needs a
// buffer while it waits: a small one, kept.
func (c *Conn) fillBlocking() {
	in := &c.in
	if in.buf == nil || cap(*in.buf) < 512 {
		b := make([]byte, 1<<10)
		in.buf = &b
	}
	*in.buf = (*in.buf)[:cap(*in.buf)]
	in.own, in.r, in.w = true, 0, 0
	if !in.told {
		in.told, in.since = true, 0
		c.h.Idle()
	}
	n, err := c.nc.Read(*in.buf)
	in.w = n
	if n == 0 {
		in.err = err
	}
}

// unpoke takes back the read deadline by which the sweeper woke the reader;
// false: it was latch or fail that woke it.
func (c *Conn) unpoke() bool {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if c.out.latched {
		return false
	}
	c.grown.Store(false)
	_ = c.nc.SetReadDeadline(time.Time{})
	return true
}

// tryRead is called by the runtime when the socket may be readable; false
// makes it wait. No buffer is held while it does.
func (c *Conn) tryRead(fd uintptr) bool {
	in := &c.in
	buf := readBufs.Get().(*[]byte)
	n, err := readFD(fd, *buf)
	switch {
	case n > 0:
		in.buf, in.w = buf, n
		return true
	case errors.Is(err, syscall.EAGAIN):
		readBufs.Put(buf)
		if !in.told {
			in.told, in.since = true, 0
			c.h.Idle()
		}
		return false
	case err != nil:
		in.err = os.NewSyscallError("read", err)
	default:
		in.err = io.EOF
	}
	readBufs.Put(buf)
	return true
}

// After this side has closed, 128 KiB of what the peer still sends are read at
// once and the rest at 2 MiB/s: one that stops sending when it reads the Close
// frame gets that far, for its socket and this one hold a few MiB at most, and
// one that never stops is slowed down by its own TCP until CloseTimeout ends.
// All of them together get 32 MiB/s; one whose turn is further away than
// discardWait, within which the hub's end need not wake it, is cut off.
const (
	discardAtOnce = 128 << 10
	discardPart   = 64 << 10
	discardPause  = time.Second / 32
	discardTurn   = time.Second / 512
	discardWait   = time.Second / 4
)

// turns spreads parts that many connections discard.
type turns struct {
	mu   sync.Mutex // guards next; a leaf
	next time.Time
}

// turn says how long to wait for the next one; false: too long.
func (t *turns) turn() (wait time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	at := t.next
	if at.Before(now) {
		at = now
	}
	if wait = at.Sub(now); wait > discardWait {
		return 0, false
	}
	t.next = at.Add(discardTurn)
	return wait, true
}

// discard reads until enough has come, the peer's end, or the deadline.
func (in *inbox) discard(c *Conn, enough func() bool) {
	in.err = nil
	in.told = true // nothing is held back any more
	for !enough() {
		if in.r < in.w {
			n := in.scan.pass((*in.buf)[in.r:in.w])
			in.r += n
			if in.discarded += n; in.discarded > discardAtOnce {
				in.discarded -= discardPart
				if in.r == in.w && !in.own {
					in.release1()
				}
				wait, ok := c.o.Sweeper.discards.turn()
				if !ok {
					return
				}
				time.Sleep(max(discardPause, wait))
			}
			continue
		}
		if in.buf != nil && !in.own {
			in.release1()
		}
		pace.Yield()
		if c.fillQuietly() != nil {
			return
		}
	}
}

func (c *Conn) fillQuietly() error {
	in := &c.in
	if c.raw == nil {
		if in.buf == nil {
			b := make([]byte, 1<<10)
			in.buf = &b
		}
		n, err := c.nc.Read((*in.buf)[:cap(*in.buf)])
		in.own, in.r, in.w = true, 0, n
		if n > 0 {
			return nil
		}
		return err
	}
	in.buf, in.own, in.r, in.w = nil, false, 0, 0
	if err := c.raw.Read(in.readable); err != nil {
		return err
	}
	return in.err
}
