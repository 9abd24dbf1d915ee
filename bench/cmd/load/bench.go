package main

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gohub/gohub/bench/internal/result"
	"github.com/gohub/gohub/bench/internal/stats"
)

// bench is one scenario being played.
type bench struct {
	options
	scenario
	loop *loop
	run  *result.Run
}

const (
	// settle is between the last join and the first publish: announcements of
	// members that were put together come in it, and in the traffic before the
	// window.
	settle = 500 * time.Millisecond
	// drainMax bounds the wait for what is on its way after the last publish.
	drainMax = 5 * time.Second
	// slowBuffer is SO_RCVBUF of the member that will stop reading, in bytes.
	slowBuffer = 8 << 10
)

// connect opens all connections and joins the rooms. The last of them are those
// that may become slow.
func (b *bench) connect() error {
	n := b.conns()
	stride := 1
	if b.Sample > 0 {
		stride = max(1, n/b.Sample)
	}
	conns := make([]*conn, n)
	for i := range conns {
		c := &conn{user: i, room: i / b.Members, sender: -1}
		if nth := i % b.Members; nth < b.Senders && !b.Idle {
			c.sender = nth*b.Rooms + c.room
		}
		c.sample = b.Sample < 0 || b.Sample > 0 && i%stride == 0
		c.node = (c.room + i%b.Members) % len(b.nodes)
		if len(b.nodes) > 1 && c.sender >= 0 {
			c.sample = false // what goes over other nodes is what is timed
		}
		if i >= n-b.stalling() {
			c.sample, c.buffer = false, slowBuffer
		}
		conns[i] = c
	}
	if err := b.openAll(conns, b.AtOnce); err != nil {
		return err
	}
	return b.loop.runFor(settle)
}

// stalling is how many members will stop reading.
func (b *bench) stalling() int {
	if b.Slow {
		return 1
	}
	return b.Stalled
}

// start connects and begins to publish.
func (b *bench) start() (*traffic, error) {
	if err := b.connect(); err != nil {
		return nil, err
	}
	senders := make([]*conn, b.Rooms*b.Senders)
	for _, c := range b.loop.conns {
		if c.sender >= 0 {
			senders[c.sender] = c
		}
	}
	samples := maxSamples
	b.loop.latency = make([]int64, 0, samples)
	if b.loop.arrivals {
		b.loop.readAt = make([]int64, 0, samples)
	}
	b.loop.ackTime = make([]int64, 0, samples)
	b.loop.late = make([]int64, 0, samples)
	t := newTraffic(b.loop, b.scenario, senders, b.fromSend)
	t.begin()
	if err := b.loop.runFor(b.Warm); err != nil {
		return nil, err
	}
	// Until the first broadcasts are through, their senders have not had to wait.
	return t, b.loop.runUntil(drainMax, func() bool { return t.delivered() >= t.window })
}

// traffic is the scenarios that publish and nothing else.
func (b *bench) traffic() error {
	t, err := b.start()
	if err != nil {
		return err
	}
	if err := b.measure(); err != nil {
		return err
	}
	return b.finish(t)
}

// measure is the window: CPU of everybody at both its ends, counters between.
func (b *bench) measure() error {
	l, r := b.loop, b.run
	from, err := during(l, b.snapshot)
	if err != nil {
		return err
	}
	began, before := l.clock(), l.count
	l.recording = true
	profile := b.startProfile()
	if err := l.runFor(b.Window); err != nil {
		return err
	}
	// The window ends when the server has said what it used: one that is busy takes
	// its time, and goes on working meanwhile.
	to, err := during(l, b.snapshot)
	if err != nil {
		return err
	}
	l.recording = false
	ended, after := l.clock(), l.count
	if err := <-profile; err != nil {
		r.Notes = append(r.Notes, "profile: "+err.Error())
	}

	r.Seconds, r.Warm, r.Window = float64(ended-began)/1e9, b.Warm.Seconds(), b.Window.Seconds()
	r.Sent = after.sent - before.sent
	r.Delivered = after.messages - before.messages
	r.Acked = after.acks - before.acks
	r.Errors = after.errors - before.errors
	r.FrameBytes = l.frameBytes
	if kept := float64(r.Delivered) / float64(max(r.Sent, 1)*int64(b.Members)); b.Rate > 0 && kept < 0.97 {
		r.Notes = append(r.Notes, fmt.Sprintf("overloaded: only %.0f %% of the pace was kept, so latencies are a queue's; lower -rate", kept*100))
	}
	b.account(from, to)
	if m, err := during(l, b.memory(false)); err == nil { // after the window: it stops the world
		r.RSS, r.RSSPeak = m.RSS, m.RSSPeak
	}
	if to.counts.Appends > 0 {
		counts := to.counts.Sub(from.counts)
		r.Store = &counts
	}
	r.Latency, r.Read = stats.Summarize(l.latency), stats.Summarize(l.readAt)
	r.Ack = stats.Summarize(l.ackTime)
	r.Late = stats.Summarize(l.late)
	l.latency, l.readAt, l.ackTime, l.late = l.latency[:0], l.readAt[:0], l.ackTime[:0], l.late[:0]
	return nil
}

// account says what everybody's CPU was between two snapshots.
func (b *bench) account(from, to snapshot) {
	r := b.run
	r.ServerCPU = float64(to.server.Total()-from.server.Total()) / 1e9
	r.ServerUser = float64(to.server.User-from.server.User) / 1e9
	r.ServerAllocs = to.server.Allocs - from.server.Allocs
	r.ServerWrites = to.server.Writes - from.server.Writes
	r.LoadCPU = float64(to.load.Total()-from.load.Total()) / 1e9
	r.StoreCPU = float64(to.store-from.store) / 1e9
	r.RedisCPU = float64(to.redis-from.redis) / 1e9
	r.OtherCPU = from.others(to)
}

// finish stops publishing, waits for what is on its way and counts.
func (b *bench) finish(t *traffic) error {
	l := b.loop
	t.stop()
	acked := func() bool { return b.run.Acked == 0 || l.count.acks >= t.sent }
	if err := l.runUntil(drainMax, func() bool { return t.drained() && acked() }); err != nil {
		return err
	}
	if err := l.runFor(50 * time.Millisecond); err != nil { // what nobody expects
		return err
	}
	w := &result.Whole{
		Sent: t.sent, Expected: t.sent * t.members, Delivered: t.delivered(),
		Acked: l.count.acks, Closed: int(l.count.closed), Amiss: t.amiss(l.conns),
	}
	b.run.Whole = w
	for _, c := range l.conns {
		if !c.closed {
			_ = unix.Close(c.fd)
		}
	}
	return nil
}
