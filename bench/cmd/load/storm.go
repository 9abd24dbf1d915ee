package main

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gohub/gohub/bench/internal/result"
	"github.com/gohub/gohub/bench/internal/stats"
)

// storm has everybody connect and join at once.
func (b *bench) storm() error {
	conns := make([]*conn, b.conns())
	for i := range conns {
		conns[i] = &conn{user: i, room: i % b.Rooms, sender: -1}
	}
	return b.rush(conns, func() bool { return true })
}

// put is how long after the last join a storm's CPU is counted: some tell members
// later who has come (gohub at most 0.8 s later), which is a join's work as well.
const put = 1100 * time.Millisecond

// rush opens connections as fast as the server takes them, and goes on until
// all have what they came for, and then for a moment.
func (b *bench) rush(conns []*conn, satisfied func() bool) error {
	l, r := b.loop, b.run
	l.joinTime = make([]int64, 0, len(conns))
	from, err := during(l, b.snapshot)
	if err != nil {
		return err
	}
	began := l.clock()
	l.recording = true
	profile := b.startProfile()
	if err := b.openAll(conns, b.AtOnce); err != nil {
		return err
	}
	if err := l.runUntil(drainMax, satisfied); err != nil {
		return err
	}
	r.Seconds = float64(l.clock()-began) / 1e9
	l.recording = false
	if err := l.runFor(put); err != nil {
		return err
	}
	to, err := during(l, b.snapshot)
	if err != nil {
		return err
	}
	r.Elapsed = to.at.Sub(from.at).Seconds()
	if err := <-profile; err != nil {
		r.Notes = append(r.Notes, "profile: "+err.Error())
	}
	b.account(from, to)
	r.Storm = &result.Storm{Conns: len(conns), Join: stats.Summarize(l.joinTime)}
	return nil
}

// comeBack is a reconnect storm. A member of each room stays and publishes
// while the others are away; they come back at once, and each must get what it
// has missed, once.
func (b *bench) comeBack() error {
	l := b.loop
	l.noting = true
	if err := b.connect(); err != nil {
		return err
	}
	var stay, away []*conn
	for _, c := range l.conns {
		if c.sender >= 0 {
			stay = append(stay, c)
		} else {
			away = append(away, c)
		}
	}
	p := newPublisher(l.dialect, b.Body)
	if err := b.say(p, stay, l.conns); err != nil {
		return err
	}
	for _, c := range away {
		if c.since == "" {
			return errors.New("messages have no position: this server cannot resume")
		}
		c.closed = true
		_ = unix.Close(c.fd)
	}
	if err := l.runFor(settle); err != nil { // the server notices
		return err
	}
	for range b.Missed {
		if err := b.say(p, stay, stay); err != nil {
			return err
		}
	}
	back := make([]*conn, len(away))
	for i, c := range away {
		back[i] = &conn{user: c.user, room: c.room, sender: -1, since: c.since, session: c.session}
	}
	l.noting = false
	total := func() (n int) {
		for _, c := range back {
			n += c.got
		}
		return n
	}
	if err := b.rush(back, func() bool { return total() >= len(back)*b.Missed }); err != nil {
		return err
	}
	s := b.run.Storm
	s.Expected, s.Got = len(back)*b.Missed, total()
	for _, c := range back {
		if c.got != b.Missed {
			s.Wrong++
		}
	}
	return nil
}

// say publishes once in each room and waits until these have got it.
func (b *bench) say(p *publisher, senders, hear []*conn) error {
	l := b.loop
	want := make([]int, len(hear))
	for i, c := range hear {
		want[i] = c.got + 1
	}
	for _, c := range senders {
		l.send(c, p.frame(c, l.count.sent, l.clock()))
		l.count.sent++
	}
	heard := func() bool {
		for i, c := range hear {
			if c.got < want[i] {
				return false
			}
		}
		return true
	}
	if err := l.runUntil(drainMax, heard); err != nil {
		return err
	}
	if !heard() {
		return fmt.Errorf("a message did not come to all within %s: %s", drainMax, l.lastError)
	}
	return nil
}
