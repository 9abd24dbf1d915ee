package main

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gohub/gohub/bench/internal/frame"
)

// counters only grow.
type counters struct {
	sent, messages, acks, errors, closed int64
}

// loop is the one thread that reads every socket. Its goroutine is its only
// user; nothing in it is locked.
type loop struct {
	ep      int
	conns   []*conn
	events  []unix.EpollEvent
	buf     []byte
	dialect spoken
	start   time.Time
	now     int64 // nanoseconds since start, as of the last read
	arrived int64 // when the kernel had what was read last; now, unless arrivals is on
	blocked []*conn
	count   counters

	frameBytes int    // payload of the first message seen
	bodyFromE  int    // where the body starts, counted from the end of a message's payload
	lastError  string // an error or close frame, for the report

	// tick runs after every arrival and before every wait: it publishes what
	// is due and says when it wants to run again, nanoseconds since start.
	tick func() (next int64)
	// own runs when a sender's own message has come back to it.
	own func(c *conn)
	// acked runs when a publish of a sender has been acked.
	acked func(c *conn)
	// left runs when the server says that somebody left.
	left func()
	// joined runs when a connection is in its room.
	joined  func(c *conn)
	refused error // why one is not; the first of them
	// noting keeps the position of each message, for its connection to resume from.
	noting bool

	recording bool // samples are kept
	latency   []int64
	readAt    []int64 // the same until this process has read it, where arrivals is on
	arrivals  bool    // latencies end when the kernel has a message, see conn.receiveAt
	ackTime   []int64
	late      []int64
	joinTime  []int64
}

const (
	readSize   = 256 << 10
	maxSamples = 8 << 20 // a kind; 64 MB
	forever    = int64(1) << 62
)

func newLoop(d spoken) (*loop, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return &loop{
		ep: ep, dialect: d, events: make([]unix.EpollEvent, 512), buf: make([]byte, readSize), start: time.Now(),
		tick: func() int64 { return forever }, own: func(*conn) {}, acked: func(*conn) {}, left: func() {}, joined: func(*conn) {},
	}, nil
}

func (l *loop) clock() int64 { return int64(time.Since(l.start)) }

// add gives a connection to the loop.
func (l *loop) add(c *conn) error {
	l.conns = append(l.conns, c)
	return l.watch(c, len(l.conns)-1, unix.EPOLL_CTL_ADD)
}

// watch starts edge-triggered reading, or reading again.
func (l *loop) watch(c *conn, index, op int) error {
	e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(index)}
	return unix.EpollCtl(l.ep, op, c.fd, &e)
}

// ignore stops reading a connection.
func (l *loop) ignore(c *conn) error {
	return unix.EpollCtl(l.ep, unix.EPOLL_CTL_DEL, c.fd, nil)
}

// runFor polls for a time.
func (l *loop) runFor(d time.Duration) error {
	return l.runUntil(d, func() bool { return false })
}

// runUntil polls until done says so, or for at most a time.
func (l *loop) runUntil(d time.Duration, done func() bool) error {
	for end := l.clock() + int64(d); l.clock() < end && !done(); {
		if err := l.poll(time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// during calls f on a goroutine of its own while the loop goes on, and
// returns what f returned. F must be bounded.
func during[T any](l *loop, f func() (T, error)) (v T, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		v, err = f()
	}()
	for {
		select {
		case <-done:
			return v, err
		default:
		}
		if perr := l.poll(time.Millisecond); perr != nil {
			<-done
			return v, perr
		}
	}
}

// poll waits for arrivals, at most so long and at most until the next publish
// is due, and handles them.
func (l *loop) poll(wait time.Duration) error {
	next := l.tick()
	n, err := epollWait(l.ep, l.events, min(wait, time.Duration(next-l.clock())))
	if err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	for _, e := range l.events[:n] {
		c := l.conns[e.Fd]
		if !c.closed {
			l.read(c, e.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0)
			l.tick()
		}
	}
	if len(l.blocked) > 0 {
		l.retry()
	}
	return nil
}

// read empties a socket: a read that does not fill the buffer has, unless the
// peer has hung up and the end of the stream must be found.
func (l *loop) read(c *conn, toTheEnd bool) {
	for {
		at := copy(l.buf, c.held)
		var n int
		var stamp time.Time
		var err error
		if l.arrivals {
			n, stamp, err = c.receiveAt(l.buf[at:])
		} else {
			n, err = c.receive(l.buf[at:])
		}
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.EAGAIN) {
			return
		}
		if err != nil || n == 0 {
			l.end(c)
			return
		}
		now := time.Now()
		l.now = int64(now.Sub(l.start))
		l.arrived = l.now
		if !stamp.IsZero() {
			l.arrived -= max(0, now.UnixNano()-stamp.UnixNano())
		}
		full := at+n == len(l.buf)
		l.take(c, l.buf[:at+n])
		if c.closed || !full && !toTheEnd && c.tls == nil { // TLS gives a record at a time
			return
		}
	}
}

// take handles the whole frames in b and keeps the rest.
func (l *loop) take(c *conn, b []byte) {
	if c.stage == upgrading {
		rest, ok := l.upgraded(c, b)
		if !ok {
			c.held = append(c.held[:0], rest...)
			return
		}
		b = rest
	}
	for {
		op, payload, size := frame.Next(b)
		if size == 0 {
			c.held = append(c.held[:0], b...)
			return
		}
		last := frame.Last(b)
		b = b[size:]
		switch {
		case op == frame.Text && last:
			l.frame(c, payload)
		case op == frame.Text || op == frame.Continuation:
			c.parts = append(c.parts, payload...)
			if last {
				l.frame(c, c.parts)
				c.parts = c.parts[:0]
			}
		default:
			l.control(c, op, payload)
		}
	}
}

// frame handles a whole text frame, or the parts of one put together.
func (l *loop) frame(c *conn, payload []byte) {
	if !l.dialect.lines {
		l.text(c, payload)
		return
	}
	for line := range bytes.SplitSeq(payload, newline) {
		l.text(c, line)
	}
}

var newline = []byte{'\n'}

// text handles a payload.
func (l *loop) text(c *conn, payload []byte) {
	if c.stage == greeting {
		l.greet(c, payload)
		return
	}
	switch l.dialect.kind(payload) {
	case message:
		l.count.messages++
		c.got++
		if l.noting {
			c.since = l.dialect.position(payload)
		}
		if c.sample || c.sender >= 0 {
			l.message(c, payload)
		}
	case ack:
		l.count.acks++
		if len(c.unacked) > 0 {
			if l.recording && len(l.ackTime) < cap(l.ackTime) {
				l.ackTime = append(l.ackTime, l.now-c.unacked[0])
			}
			c.unacked = c.unacked[:copy(c.unacked, c.unacked[1:])]
		}
		l.acked(c)
	case failure:
		l.count.errors++
		l.lastError = string(payload[:min(300, len(payload))])
	case ping:
		l.say(c, l.dialect.pong())
	case departure:
		l.left()
	case other:
	}
}

// message times a message and tells its sender that it has arrived.
func (l *loop) message(c *conn, payload []byte) {
	at := len(payload) - l.bodyFromE
	if at < 0 || !bytes.HasPrefix(payload[at:], bodyHead) {
		if at = bytes.Index(payload, bodyHead); at < 0 {
			return
		}
		l.bodyFromE, l.frameBytes = len(payload)-at, len(payload)
	}
	body := payload[at:]
	if c.sample && l.recording && len(l.latency) < cap(l.latency) {
		l.latency = append(l.latency, l.arrived-bodyTime(body))
		if l.arrivals {
			l.readAt = append(l.readAt, l.now-bodyTime(body))
		}
	}
	if c.sender >= 0 && bodySender(body) == c.sender {
		l.own(c)
	}
}

func (l *loop) control(c *conn, op byte, payload []byte) {
	switch op {
	case frame.Ping:
		l.send(c, frame.AppendClient(nil, frame.Pong, payload, maskKey))
	case frame.Close:
		c.code = closeCode(payload)
		l.lastError = fmt.Sprintf("close %d %s", c.code, payload[min(2, len(payload)):])
		l.send(c, frame.AppendClient(nil, frame.Close, payload[:min(2, len(payload))], maskKey))
	}
}

// send writes now what the socket takes and the rest when it takes more.
func (l *loop) send(c *conn, b []byte) {
	if c.closed {
		return
	}
	waits := len(c.out) > 0
	if c.tls == nil {
		c.out = append(c.out, b...)
	} else if _, err := c.tls.Write(b); err != nil { // see plain.Write
		l.end(c)
		return
	}
	if waits {
		return // it is in blocked
	}
	if c.flush() != nil {
		l.end(c)
	} else if len(c.out) > 0 {
		l.blocked = append(l.blocked, c)
	}
}

func (l *loop) retry() {
	still := l.blocked[:0]
	for _, c := range l.blocked {
		if c.closed {
			continue
		}
		if c.flush() != nil {
			l.end(c)
		} else if len(c.out) > 0 {
			still = append(still, c)
		}
	}
	l.blocked = still
}

// end closes a connection that the server, or an error, has ended.
func (l *loop) end(c *conn) {
	if c.closed {
		return
	}
	c.closed = true
	l.count.closed++
	if c.stage != joined && l.refused == nil {
		l.refused = fmt.Errorf("connection %d: %w: %s", c.user, errGone, l.lastError)
	}
	_ = unix.Close(c.fd) // leaves epoll by itself
}
