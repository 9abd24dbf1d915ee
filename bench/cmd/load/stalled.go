package main

import (
	"fmt"
	"time"

	"github.com/gohub/gohub/bench/internal/result"
	"github.com/gohub/gohub/bench/internal/stats"
)

const (
	// stalledFor is how long the slow members do not read, at most. The kernel takes
	// some 4 MB for each before the server sees anything of it, and who then waits
	// longest for a write, 10 s, has let them go after 14.
	stalledFor = 16 * time.Second
	// goneFor is how much of that there is after they have been let go.
	goneFor = time.Second
)

// stalled is the paced room with everybody reading, and then while some of its
// members do not, until they have been let go: what the server keeps, whom it lets go, and
// what the others notice in the first of that, as long as before whatever the server does.
func (b *bench) stalled() error {
	t, err := b.start()
	if err != nil {
		return err
	}
	w, err := watch(b)
	if err != nil {
		return err
	}
	defer w.stop()
	if err := b.measure(); err != nil {
		return err
	}
	l := b.loop
	s := &result.Stalled{Members: b.Stalled, Before: b.run.Latency}
	b.run.Stalled = s
	from, err := during(l, b.snapshot)
	if err != nil {
		return err
	}
	before := w.look()
	s.RSSBefore = before.RSS
	w.anew()
	for _, c := range l.conns[len(l.conns)-b.Stalled:] {
		if err := l.ignore(c); err != nil {
			return err
		}
	}
	began := l.clock()
	l.recording = true
	since := func() time.Duration { return time.Duration(l.clock() - began) }
	if err := l.runUntil(stalledFor, func() bool {
		l.recording = since() < b.Window
		if s.GoneAfter == 0 && w.look().Conns <= before.Conns-b.Stalled {
			s.GoneAfter = since().Seconds()
		}
		return !l.recording && s.GoneAfter > 0 && since().Seconds() > s.GoneAfter+goneFor.Seconds()
	}); err != nil {
		return err
	}
	l.recording = false
	s.Seconds = since().Seconds()
	s.With = stats.Summarize(l.latency)
	s.RSSMax = max(w.peak(), s.RSSBefore)
	s.Gone = before.Conns - w.look().Conns
	to, err := during(l, b.snapshot)
	if err != nil {
		return err
	}
	s.OtherCPU = from.others(to)
	t.stop()
	if err := l.runFor(settle); err != nil { // what is on its way to those that read
		return err
	}
	if n := t.amiss(l.conns[:len(l.conns)-b.Stalled]); n > 0 {
		b.run.Notes = append(b.run.Notes, fmt.Sprintf("%d connections that did read got more or fewer messages than were sent", n))
	}
	if n := l.count.closed; n > 0 {
		b.run.Notes = append(b.run.Notes, fmt.Sprintf("%d connections that did read were closed", n))
	}
	return nil
}
