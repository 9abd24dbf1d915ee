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

// burst is how many messages Serve has handled before it calls Idle although more
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
	payload  *[]byte // of the message that coder has read last; nil while idle
	readable func(fd uintptr) bool
	err      error // of the socket
	stop     error // why Serve is to end, if it is not the socket
	extras   int   // frames that are no messages, since the last Yield
	since    int32 // messages since the last Idle
	told     bool  // Idle was called for this wait
	own      bool  // buf is this connection's own, not the pool's
	shallow  bool  // whoever reads is Serve, between two messages
	tellable bool  // the socket can be asked to tell what is left to read
	tells    bool  // it was asked
	stirred  bool  // tryRead has brought something between two messages
	handover bool  // fill is to return ErrGrown

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

// Serve hands the data messages that come to the handler, one after another, for
// as long as it can.
//
// Errors: ErrGrown: nothing is wrong, go on in a new goroutine; ErrTooBig,
// ErrInvalidUTF8 and ErrProtocol leave it to the caller to Shutdown with a
// code; ErrLatched: a Close frame is queued, be it the hub's, coder's or the
// answer to the peer's, or a write failed; any other: the peer is gone.
func (c *Conn) Serve() error {
	in := &c.in
	for in.stop == nil {
		if in.r == in.w && !c.ahead() {
			in.releasePayload()
			if err := c.fill(true); err != nil && in.stop == nil {
				return c.explain(err)
			}
			continue // fill may have handled all of it
		}
		if c.quick() {
			continue
		}
		if err := c.slow(); err != nil {
			return c.explain(err)
		}
	}
	return in.stop
}

// quick handles the frame that the buffer begins with, if it is there whole and is a message,
// a ping or a pong, as nearly all are: it is unmasked where it lies. What else
// there is is coder's, who has always read a message to its end before this is
// called.
func (c *Conn) quick() bool {
	in := &c.in
	if c.ahead() {
		return false
	}
	b := (*in.buf)[in.r:in.w]
	op, size, mask, ok := whole(b)
	if !ok || op < opClose && int64(size) > in.scan.max {
		return false
	}
	in.r += mask + size
	payload := b[mask : mask+size : mask+size]
	unmask(payload, [4]byte(b[mask-4:mask]))
	if op >= opClose {
		c.control(op, payload)
	} else {
		c.handle(op == opBinary, payload)
	}
	if in.r == in.w && !in.own {
		in.release1()
	}
	return true
}

// control answers a ping; a pong has said all that it has to say by coming.
func (c *Conn) control(op byte, payload []byte) {
	if c.latched() {
		c.in.stop = ErrLatched
		return
	}
	c.extra(1)
	if op == opPing {
		c.grew()
		var pong [2 + maxControl]byte
		pong[0], pong[1] = 0x80|opPong, byte(len(payload)) //nolint:gosec // whole has seen to it
		_, _ = c.Write(pong[:2+copy(pong[2:], payload)])
	}
}

// extra has frames counted that are no messages of their own.
func (c *Conn) extra(frames int) {
	c.in.told = false // what comes of it may be to be told
	c.h.Extra(frames)
	if c.in.extras += frames; c.in.extras >= 4*yieldEvery {
		c.in.extras = 0
		pace.Yield()
	}
}

// slow has coder read one message, or what stands between two.
func (c *Conn) slow() error {
	in := &c.in
	c.grew()
	typ, r, err := c.coder().ws.Reader(context.Background())
	var payload []byte
	if err == nil {
		payload, err = in.readAll(r)
	}
	switch {
	case errors.Is(err, errBetween):
		return nil
	case err == nil:
		c.handle(typ == websocket.MessageBinary, payload)
	}
	return err
}

// handle has a message handled, and gets ready for the next one.
func (c *Conn) handle(binary bool, payload []byte) {
	in := &c.in
	c.grew()
	switch {
	case c.latched(): // nobody would get the answer
		in.stop = ErrLatched
		return
	case !binary && !utf8.Valid(payload):
		in.stop = ErrInvalidUTF8
		return
	}
	in.told = false // there may be something to tell
	c.busy.Store(true)
	c.h.Message(binary, payload)
	c.busy.Store(false)
	c.lastRead.Store(c.o.Sweeper.now.Load()) // silence counts from here
	if in.since++; in.since >= burst {
		in.since = 0
		c.h.Idle()
	}
	if in.since%yieldEvery == 0 && in.r < in.w {
		// Without Idle: what these messages have brought about is one write a member,
		// which is worth more than to have it on its way a moment earlier.
		pace.Yield()
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
		c.extra(extra)
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

// fill waits for bytes, and before that calls Idle if something has come. shallow: the
// caller is Serve, not coder; then messages are handled here, too, and fill
// returns when some bytes are left for coder, or Serve is to end.
func (c *Conn) fill(shallow bool) error {
	in := &c.in
	if in.err != nil {
		return in.err
	}
	in.shallow = shallow
	for {
		if c.raw != nil {
			in.buf, in.own, in.r, in.w = nil, false, 0, 0
			if err := c.raw.Read(in.readable); err != nil {
				in.err = err
			}
		} else {
			c.fillBlocking()
		}
		switch {
		case in.r < in.w || in.stop != nil:
			c.lastRead.Store(c.o.Sweeper.now.Load())
			return in.stop
		case in.handover:
			in.handover = false
			c.grown.Store(false)
			return ErrGrown
		case in.err == nil:
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
	c.tell()
	n, err := c.nc.Read(*in.buf)
	in.w = n
	if n == 0 {
		in.err = err
	}
}

// tell calls Idle, once for each wait that something has come before.
func (c *Conn) tell() {
	if in := &c.in; !in.told {
		in.told, in.since = true, 0
		c.h.Idle()
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
//
// Messages are handled in here. Whoever left with one, and came back for the
// next, would have to try the socket again before waiting, in vain as a rule: the
// runtime forgets what it has heard of a socket when a read begins. In here the
// wait can come right after a read that has found out that nothing else is there.
func (c *Conn) tryRead(fd uintptr) bool {
	in := &c.in
	rested := false // what comes has ended a silence
	for {
		buf := readBufs.Get().(*[]byte)
		n, more, err := readFD(fd, *buf, in.tells)
		if c.tried != nil {
			c.tried()
		}
		if n <= 0 {
			readBufs.Put(buf)
		}
		switch {
		case n > 0:
			in.buf, in.r, in.w = buf, 0, n
			if !in.shallow {
				return true
			}
			now := c.o.Sweeper.now.Load()
			rested = rested || !in.stirred || time.Duration(now-c.lastRead.Load()) >= calm
			in.stirred = true
			c.lastRead.Store(now)
			for in.stop == nil && in.r < in.w {
				if !c.quick() {
					return true
				}
			}
			switch {
			case in.stop != nil:
				return true
			case rested && n < readSize && c.grown.Load():
				// It was all there was; the goroutine that goes on looks before it waits.
			case more:
				if in.tellable && !in.tells && !rested {
					in.tells = true
					tellsMore(fd)
				}
				continue
			default:
				c.unsure.Store(true)
			}
		case errors.Is(err, syscall.EAGAIN):
		case err != nil:
			in.err = os.NewSyscallError("read", err)
			return true
		default:
			in.err = io.EOF
			return true
		}
		c.tell()
		if rested && c.grown.Load() { // who was silent will be again, as a rule
			in.handover = true
			return true
		}
		return false
	}
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
	in.told, in.shallow = true, false // nothing is held back any more, or handled
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
