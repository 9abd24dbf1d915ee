package main

import "math"

// traffic decides when who publishes.
type traffic struct {
	loop    *loop
	pub     *publisher
	senders []*conn // a sender of each room, then the second of each, ...
	members int64
	sent    int64
	before  int64 // messages counted when it began
	stopped bool

	interval float64 // open loop: nanoseconds between publishes
	first    int64   // open loop: when the first was due
	turn     int64   // open loop: publishes that have become due
	fromSend bool    // open loop: what leaves late is timed from then on, not from when it was due
	window   int64   // closed loop, one sender: deliveries that may be outstanding
	each     int     // closed loop: what each sender begins with
}

func newTraffic(l *loop, s scenario, senders []*conn, fromSend bool) *traffic {
	t := &traffic{loop: l, fromSend: fromSend, pub: newPublisher(l.dialect, s.Body), senders: senders, members: int64(s.Members), each: 1}
	switch {
	case s.Rate > 0:
		t.pace(s.Rate)
	case s.Acked:
		t.each = s.InFlight
		l.acked = t.publish
	case s.InFlight > 1:
		t.window = int64(s.InFlight) * t.members
		l.tick = t.windowed
	default:
		l.own = t.publish
	}
	return t
}

// begin sends what starts a closed loop; an open one has its clock set.
func (t *traffic) begin() {
	t.before = t.loop.count.messages
	for _, c := range t.loop.conns {
		c.got, c.sent = 0, 0
	}
	t.first = t.loop.clock()
	if t.interval == 0 && t.window == 0 {
		for range t.each {
			for _, c := range t.senders {
				t.publish(c)
			}
		}
	}
}

// pace makes an open loop of it, of so many publishes a second from now on.
func (t *traffic) pace(rate float64) {
	l := t.loop
	t.interval, t.first, t.turn = 1e9/rate, l.clock(), 0
	l.own, l.acked, l.tick = func(*conn) {}, func(*conn) {}, t.openLoop
}

// stop publishes no more.
func (t *traffic) stop() { t.stopped = true }

// drained says that all that was sent has come to everyone.
func (t *traffic) drained() bool {
	return t.delivered() >= t.sent*t.members
}

// amiss is how many of these connections have got more or fewer messages than were
// sent in their room.
func (t *traffic) amiss(of []*conn) (n int) {
	sent := map[int]int{}
	for _, c := range t.senders {
		sent[c.room] += c.sent
	}
	for _, c := range of {
		if !c.closed && c.got != sent[c.room] {
			n++
		}
	}
	return n
}

func (t *traffic) delivered() int64 { return t.loop.count.messages - t.before }

func (t *traffic) publish(c *conn) { t.publishFrom(c, t.loop.clock()) }

// publishFrom publishes what is timed from a moment on.
func (t *traffic) publishFrom(c *conn, from int64) {
	if t.stopped || c.closed {
		return
	}
	l := t.loop
	b := t.pub.frame(c, t.sent, from)
	t.sent++
	c.sent++
	l.count.sent++
	if len(c.unacked) == maxUnacked {
		c.unacked, c.noAcks = nil, true
	}
	if !c.noAcks {
		c.unacked = append(c.unacked, from)
	}
	l.send(c, b)
}

// openLoop publishes on schedule, whatever the server does. What leaves late is
// timed from when it was due: a stall would else hide the latency of all that
// it kept from being sent. How late it was is noted.
func (t *traffic) openLoop() int64 {
	if t.stopped {
		return forever
	}
	for {
		due := t.first + int64(math.Round(float64(t.turn)*t.interval))
		now := t.loop.clock()
		if now < due {
			return due
		}
		if l := t.loop; l.recording && len(l.late) < cap(l.late) {
			l.late = append(l.late, now-due)
		}
		if t.fromSend {
			due = now
		}
		t.publishFrom(t.senders[int(t.turn)%len(t.senders)], due)
		t.turn++
	}
}

// windowed publishes while fewer than so many broadcasts, counted by their
// deliveries to everyone, are on their way.
func (t *traffic) windowed() int64 {
	for !t.stopped && t.sent*t.members-t.delivered() <= t.window-t.members && !t.senders[0].closed {
		t.publish(t.senders[0])
	}
	return forever
}
