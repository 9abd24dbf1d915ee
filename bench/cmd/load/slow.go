package main

import (
	"fmt"
	"time"

	"github.com/gohub/gohub/bench/internal/debug"
	"github.com/gohub/gohub/bench/internal/result"
	"github.com/gohub/gohub/bench/internal/stats"
	"golang.org/x/sys/unix"
)

// slow is (e): the paced room measured once with everybody reading, and once
// while its last member does not.
func (b *bench) slow() error {
	t, err := b.start()
	if err != nil {
		return err
	}
	if err := b.measure(); err != nil {
		return err
	}
	s := &result.Slow{Before: b.run.Latency}
	b.run.Slow = s

	l := b.loop
	victim := l.conns[len(l.conns)-1]
	before, err := during(l, b.memory(false))
	if err != nil {
		return err
	}
	s.RSSBefore, s.RSSMax = before.RSS, before.RSS
	if err := l.ignore(victim); err != nil {
		return err
	}
	stopped, delivered := l.clock(), l.count.messages
	since := func() float64 { return float64(l.clock()-stopped) / 1e9 }
	unread := func() int64 { // as much as each of the others has got
		return (l.count.messages - delivered) / int64(b.conns()-1) * int64(l.frameBytes)
	}
	l.left = func() {
		if s.LeftAfter == 0 {
			s.LeftAfter, s.Unread = since(), unread()
		}
	}
	l.recording = true
	watch := func() (debug.Mem, error) { // a few times a second, until it is gone and a second more
		time.Sleep(200 * time.Millisecond)
		return b.memory(false)()
	}
	for until := b.slowMax.Seconds(); since() < until; {
		m, err := during(l, watch)
		if err != nil {
			return err
		}
		s.RSSMax = max(s.RSSMax, m.RSS)
		if s.GoneAfter == 0 && m.Conns < before.Conns {
			s.GoneAfter = since()
		}
		if s.LeftAfter > 0 || s.GoneAfter > 0 {
			until = min(until, max(s.LeftAfter, s.GoneAfter)+1)
		}
	}
	l.recording = false
	s.With = stats.Summarize(l.latency)
	if s.Unread == 0 {
		s.Unread = unread()
	}

	// Read on: what was under way for it, and why it was closed.
	l.left = func() {}
	others := l.count.closed
	if err := l.watch(victim, len(l.conns)-1, unix.EPOLL_CTL_ADD); err != nil {
		return err
	}
	if err := l.runUntil(10*time.Second, func() bool { return victim.closed }); err != nil {
		return err
	}
	s.CloseCode = victim.code
	switch {
	case !victim.closed:
		s.End = "still open 10 s after it read again"
	case victim.code == 0:
		s.End = "cut off without a close frame"
	default:
		s.End = fmt.Sprintf("closed with %d", victim.code)
	}
	if others > 0 {
		b.run.Notes = append(b.run.Notes, fmt.Sprintf("%d other connections closed", others))
	}
	if !victim.closed {
		return b.finish(t)
	}
	t.stop()
	return nil
}
