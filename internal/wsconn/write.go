package wsconn

import (
	"errors"
	"iter"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gohub/gohub/internal/pace"
	"github.com/gohub/gohub/internal/wire"
)

const (
	joinSize  = 64 << 10 // how much of a queue goes into one write
	pieceSize = 16 << 10 // how much WriteTimeout is for
	pacedSize = 64 << 10 // how much SendPaced lets wait
	turnSize  = 64 << 10 // how much a goroutine writes before it looks whether others wait for the network

	mostRounds = 16 // writes that a caller of Send or Uncork does for others
)

// outbox is the writing half of a Conn. Everything in it is guarded by mu,
// which is never held during a write.
//
// A frame goes out by one of three ways. When nothing waits, the caller of
// Send writes it there and then, without ever blocking. What the kernel does
// not take, and what comes while somebody writes, waits in the queue. A
// goroutine that writes the queue, all that waits at once, exists only while
// the kernel is not taking more.
type outbox struct {
	mu      sync.Mutex
	queue   []queued
	box     *[]queued // what the pool gave for queue
	bytes   int       // in queue and in the goroutine's hands
	excused int       // of bytes, how many do not count against MaxQueue: see Queue
	spared  int       // of queue, how many of the first do not, either
	writing bool      // somebody is in a write call, or about to be
	corked  bool      // the reader is at work: frames wait until Uncork
	partial bool      // the first of queue is the rest of a frame: it must go out whole
	latched bool      // a Close frame is queued, or dead: nothing is taken any more
	dead    bool      // the socket failed: nothing can be written any more
	code    int       // of the first Close frame
	theirs  bool      // that was the peer's
	low     chan struct{}
	lowAt   int // low is closed when bytes falls below this

	// turn counts the beginnings and ends of writeLoop's writes: it is odd while
	// one is under way. It needs no lock.
	turn atomic.Uint64
}

type queued struct {
	b        []byte
	volatile bool // may be dropped when the client falls behind
}

// A Gate lets a stream of frames be stopped for good, together with those
// that other goroutines are about to send: see Shut. The zero Gate is open.
type Gate struct{ shut bool } // guarded by the mu of the Conn it is used with

// Shut makes every Send with g, from now on, do nothing.
func (c *Conn) Shut(g *Gate) {
	c.out.mu.Lock()
	g.shut = true
	c.out.mu.Unlock()
}

// Send sends whole frames; frames is not copied and must never change. It
// does not block. volatile frames are dropped when the client is behind; when
// MaxQueue is passed all the same, the connection is shut down with SlowCode.
// g, if not nil, must be open.
func (c *Conn) Send(frames []byte, volatile bool, g *Gate) {
	o := &c.out
	o.mu.Lock()
	if o.latched || len(frames) == 0 || g != nil && g.shut {
		o.mu.Unlock()
		return
	}
	if c.raw != nil && !o.writing && !o.corked && len(o.queue) == 0 {
		o.writing = true
		o.mu.Unlock()
		c.flush(frames)
		return
	}
	c.push(frames, volatile)
	c.wake()
	o.mu.Unlock()
}

// wake starts the goroutine if frames wait that nobody is about to write.
func (c *Conn) wake() {
	if o := &c.out; !o.writing && len(o.queue) > 0 && !c.held() && !o.dead {
		o.writing = true
		go c.writeLoop() // ends when the queue is empty, or with the socket: see overdue
	}
}

// held reports whether what waits is to wait for Uncork. More than a write
// takes is not: joining it would save nothing.
func (c *Conn) held() bool {
	o := &c.out
	return o.corked && !o.latched && o.bytes < min(joinSize, c.o.MaxQueue/2)
}

// push appends to the queue within its limit.
func (c *Conn) push(frames []byte, volatile bool) {
	o := &c.out
	if c.over(len(frames)) {
		c.dropped(o.dropVolatile())
		switch {
		case !c.over(len(frames)):
		case volatile:
			c.dropped(events(frames))
			return
		default:
			c.latch(c.o.SlowCode, "slow consumer", true)
			return
		}
	}
	o.append(frames, volatile)
}

// over reports whether n bytes more are too many. While less waits than a
// write takes, the client cannot be said to be behind, however big the frame.
// Frames are counted as well, by the 32 bytes that a place in the queue takes:
// a client could have a million pongs wait otherwise.
func (c *Conn) over(n int) bool {
	o, most := &c.out, c.o.MaxQueue
	wait := o.bytes - o.excused
	return wait+n > most && wait >= min(joinSize, most) || len(o.queue)-o.spared >= max(256, most/32)
}

// wrote takes n bytes off the count.
func (o *outbox) wrote(n int) {
	o.bytes -= n
	o.excused = max(0, o.excused-n)
}

func (o *outbox) append(b []byte, volatile bool) {
	if o.box == nil {
		o.box = queues.Get().(*[]queued)
		o.queue = *o.box
	}
	o.queue = append(o.queue, queued{b, volatile})
	o.bytes += len(b)
}

func (o *outbox) dropVolatile() (n int) {
	kept, spared := o.queue[:0], o.spared
	for i, f := range o.queue {
		if f.volatile && !(i == 0 && o.partial) {
			if i < spared {
				o.spared--
			}
			o.bytes -= len(f.b)
			n += events(f.b)
			continue
		}
		kept = append(kept, f)
	}
	o.trim(len(kept))
	o.excused = min(o.excused, o.bytes)
	o.signalLow()
	return n
}

// events is 1 for data frames, which are sent together, and 0 for a control
// frame.
func events(frames []byte) int {
	if frames[0]&0x08 != 0 {
		return 0
	}
	return 1
}

func (c *Conn) dropped(n int) {
	if c.o.Dropped != nil {
		c.o.Dropped.Add(int64(n))
	}
}

// latch queues the Close frame, lets nothing follow it, and wakes the reader.
// With cut, what waits is thrown away: the client is not reading it anyway.
func (c *Conn) latch(code int, reason string, cut bool) bool {
	o := &c.out
	if o.latched {
		return false
	}
	o.latched = true
	o.code = code
	if cut {
		keep := 0
		if o.partial {
			keep = 1
		}
		for _, f := range o.queue[keep:] {
			o.bytes -= len(f.b)
		}
		o.trim(keep)
		o.signalLow()
	}
	o.append(wire.AppendClose(nil, code, reason), false)
	_ = c.nc.SetWriteDeadline(time.Now().Add(c.o.CloseTimeout))
	_ = c.nc.SetReadDeadline(longAgo)
	c.wake()
	return true
}

var longAgo = time.Unix(1, 0)

func (c *Conn) latched() bool {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.out.latched
}

// fail marks the socket as useless; mu is held.
func (c *Conn) fail() {
	o := &c.out
	o.latched, o.dead = true, true
	o.trim(0)
	o.bytes, o.excused, o.partial = 0, 0, false
	o.signalLow()
	_ = c.nc.SetReadDeadline(longAgo)
}

func (o *outbox) signalLow() {
	if o.low != nil && (o.bytes < o.lowAt || o.dead) {
		close(o.low)
		o.low = nil
	}
}

// Write takes one control frame, coder's or the reader's own: a pong, or the answer
// to a Close frame, which latches.
func (c *Conn) Write(p []byte) (int, error) {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.latched {
		return len(p), nil
	}
	frame := append([]byte(nil), p...)
	if p[0]&0x0f == opClose {
		o.latched = true
		o.theirs = c.in.scan.closeSeen // else coder has found something wrong
		if o.code = 1005; len(p) >= 4 {
			o.code = int(p[2])<<8 | int(p[3])
		}
		o.append(frame, false)
	} else {
		c.push(frame, true)
	}
	c.wake()
	return len(p), nil
}

// answer queues the answer to the handshake, corked. Like the rest of a frame
// it must go out whole, whatever comes.
func (c *Conn) answer(head []byte) {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	o.corked, o.partial = true, true
	o.append(head, false)
	o.excused = o.bytes
}

// Cork holds frames back until Uncork, so that all a client's command brings
// about leaves in one write. What is more than a write takes is not held back.
func (c *Conn) Cork() {
	c.out.mu.Lock()
	c.out.corked = true
	c.out.mu.Unlock()
}

// Uncork sends what Cork held back.
func (c *Conn) Uncork() {
	o := &c.out
	o.mu.Lock()
	if !o.corked {
		o.mu.Unlock()
		return
	}
	o.corked = false
	if o.writing || len(o.queue) == 0 || o.dead || c.raw == nil {
		c.wake()
		o.mu.Unlock()
		return
	}
	o.writing = true
	o.mu.Unlock()
	c.flush(nil)
}

// Queue appends frames whatever the limit says, and does not write. Neither
// they nor what waits before them counts against the limit later on. The
// reader uses it under a lock, for what follows a replay, and uncorks
// afterwards. False: the connection is closing, and nothing was taken.
func (c *Conn) Queue(frames []byte) bool {
	return c.QueueAll(func(yield func([]byte) bool) { yield(frames) })
}

// QueueAll is Queue for many frames that others share, each to be sent as it is.
func (c *Conn) QueueAll(all iter.Seq[[]byte]) bool {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.latched {
		return false
	}
	for frames := range all {
		if len(frames) > 0 {
			o.append(frames, false)
			o.excused, o.spared = o.bytes, len(o.queue)
		}
	}
	c.wake()
	return true
}

// SendPaced queues frames, whatever the limit says, and waits until little is
// left to be written: for replays, which go at the socket's pace. It leaves
// the connection corked. False: the connection is closing.
func (c *Conn) SendPaced(frames []byte) bool {
	_ = c.Queue(frames)
	c.Uncork()
	ok := c.waitBelow(pacedSize)
	c.Cork()
	return ok && !c.latched()
}

// waitBelow waits until fewer than n bytes wait; false: the socket is dead.
func (c *Conn) waitBelow(n int) bool {
	o := &c.out
	o.mu.Lock()
	if o.dead || o.bytes < n {
		dead := o.dead
		o.mu.Unlock()
		return !dead
	}
	o.low, o.lowAt = make(chan struct{}), n
	low := o.low
	c.wake()
	o.mu.Unlock()
	<-low // closed by the writer: it gets on, or is overdue
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.dead
}

// flush writes first, and then what waits, for as long as the kernel takes it
// at once; but not for ever, since its caller has other things to do. The
// caller has set writing.
//
// It writes within net's RawConn.Control, which holds the descriptor meanwhile:
// if somebody closed the connection, a bare write could reach whichever socket
// got the number next. RawConn.Write would do the same and costs more: it also
// readies the poller for a wait that never comes.
func (c *Conn) flush(first []byte) {
	o := &c.out
	op := writeOps.Get().(*writeOp)
	defer writeOps.Put(op)
	op.resumes = false
	b, shared, counted := first, true, false
	for round := 0; ; round++ {
		n, err := 0, error(nil)
		if len(b) > 0 {
			n, err = op.write(c.raw, b[:min(len(b), joinSize)]) // the rest is writeLoop's, which makes room
			if c.wrote != nil {
				c.wrote()
			}
		}
		o.mu.Lock()
		switch {
		case o.dead:
			o.mu.Unlock()
			return
		case err != nil:
			c.writeFailed(err)
			o.mu.Unlock()
			return
		}
		if counted {
			o.wrote(n)
		} else {
			o.bytes += len(b) - n
		}
		if n < len(b) {
			rest := b[n:]
			if !shared {
				rest = append([]byte(nil), rest...)
			}
			o.unshift(rest, n > 0 || op.resumes)
		}
		o.signalLow()
		switch {
		case n < len(b) || round == mostRounds && len(o.queue) > 0:
			go c.writeLoop() // it inherits writing
			o.mu.Unlock()
			return
		case len(o.queue) == 0 || c.held():
			o.writing = false
			o.mu.Unlock()
			return
		}
		b, shared = o.take(op)
		counted = true
		o.mu.Unlock()
	}
}

// unshift puts the rest of what could not be written at the head of the queue.
// Its bytes are counted already.
func (o *outbox) unshift(b []byte, partial bool) {
	o.append(nil, false)
	copy(o.queue[1:], o.queue)
	o.queue[0] = queued{b: b}
	o.partial = partial
}

// take removes from the queue what goes into one write. Its bytes count until
// they are written. shared: the bytes are a caller's, not op's.
func (o *outbox) take(op *writeOp) (b []byte, shared bool) {
	op.resumes = o.partial
	switch len(o.queue) {
	case 0:
		return nil, false
	case 1:
		b = o.queue[0].b
		o.clearQueue(1)
		return b, true
	}
	if len(o.queue[0].b) >= joinSize {
		b = o.queue[0].b
		o.clearQueue(1)
		return b, true
	}
	b = op.join[:0]
	n := 0
	for ; n < len(o.queue) && len(b)+len(o.queue[n].b) <= joinSize; n++ {
		b = append(b, o.queue[n].b...)
	}
	op.join = b
	o.clearQueue(n)
	return b, false
}

// clearQueue forgets the first n of the queue.
func (o *outbox) clearQueue(n int) {
	o.partial = false
	o.spared = max(0, o.spared-n)
	o.trim(copy(o.queue, o.queue[n:]))
}

// trim forgets all but the first n of the queue, and the queue itself with the
// last of them: an idle connection holds none.
func (o *outbox) trim(n int) {
	clear(o.queue[n:])
	o.queue = o.queue[:n]
	o.spared = min(o.spared, n)
	if n > 0 || o.box == nil {
		return
	}
	if cap(o.queue) <= 256 {
		*o.box = o.queue
		queues.Put(o.box)
	}
	o.queue, o.box = nil, nil
}

// writeLoop writes the queue for as long as there is one, waiting for the
// kernel where need be. Whoever starts it has set writing.
func (c *Conn) writeLoop() {
	o := &c.out
	op := writeOps.Get().(*writeOp)
	defer writeOps.Put(op)
	since := 0 // bytes written
	for {
		o.mu.Lock()
		if o.dead || len(o.queue) == 0 || c.held() {
			o.writing = false
			o.mu.Unlock()
			return
		}
		if since >= turnSize { // between two writes: a burst that fits into one is whole
			since = 0
			o.mu.Unlock()
			pace.Yield()
			continue
		}
		b, _ := o.take(op)
		large := len(b) > turnSize
		o.mu.Unlock()
		for len(b) > 0 {
			piece := b[:min(len(b), pieceSize)]
			o.turn.Add(1)
			_, err := c.nc.Write(piece)
			o.turn.Add(1)
			o.mu.Lock()
			if err != nil && !o.dead {
				c.writeFailed(err)
			}
			if o.dead {
				o.writing = false
				o.mu.Unlock()
				return
			}
			o.wrote(len(piece))
			o.signalLow()
			o.mu.Unlock()
			b, since = b[len(piece):], since+len(piece)
			if large && len(b) > 0 && since >= turnSize {
				since = 0
				pace.Yield()
			}
		}
	}
}

// overdue ends a write, if it still is the one under way. That of a connection
// which is latched has a deadline of its own.
func (c *Conn) overdue(turn uint64) {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.latched && o.turn.Load() == turn {
		_ = c.nc.SetWriteDeadline(longAgo) // it is late if it ends now, and what follows need not be tried
	}
}

// writeFailed ends the connection after a failed write; mu is held. A write
// that timed out makes a slow consumer of the client: no Close frame can be
// sent, for part of another frame is out.
func (c *Conn) writeFailed(err error) {
	if c.out.code == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		c.out.code = c.o.SlowCode
	}
	c.fail()
}

// A writeOp is what one write needs; pooled, since few happen at a time.
type writeOp struct {
	join    []byte
	resumes bool // what was taken begins with the rest of a frame

	b   []byte // of the write at hand, and what came of it
	n   int
	err error
	try func(fd uintptr)
}

// write is one write that never waits; EAGAIN is zero bytes written.
func (op *writeOp) write(raw syscall.RawConn, b []byte) (int, error) {
	op.b = b
	err := raw.Control(op.try)
	op.b = nil
	switch {
	case err != nil:
		return 0, err
	case errors.Is(op.err, syscall.EAGAIN):
		return 0, nil
	}
	return op.n, op.err
}

func (op *writeOp) once(fd uintptr) { op.n, op.err = writeFD(fd, op.b) }

var (
	writeOps = sync.Pool{New: func() any {
		op := &writeOp{join: make([]byte, 0, joinSize)}
		op.try = op.once
		return op
	}}
	queues = sync.Pool{New: func() any { q := make([]queued, 0, 8); return &q }}
)
