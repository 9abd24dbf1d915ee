package main

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gohub/gohub/bench/internal/debug"
	"github.com/gohub/gohub/bench/internal/result"
	"github.com/gohub/gohub/bench/internal/stats"
)

// slow is (e): the paced room measured once with everybody reading, and once
// while its last member does not. The server's memory is looked at throughout,
// so that looking costs both the same.
func (b *bench) slow() error {
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
	b.run.Slow = &result.Slow{Before: b.run.Latency}
	if err := b.stall(w); err != nil {
		return err
	}
	if err := b.resume(); err != nil {
		return err
	}
	if !b.victim().closed {
		return b.finish(t)
	}
	t.stop()
	return nil
}

// victim is the member that will not read.
func (b *bench) victim() *conn { return b.loop.conns[len(b.loop.conns)-1] }

// stall stops reading it and goes on until a second after it is gone.
func (b *bench) stall(w *watcher) error {
	l, s := b.loop, b.run.Slow
	from, err := during(l, b.snapshot)
	if err != nil {
		return err
	}
	before := w.look()
	s.RSSBefore = before.RSS
	w.anew()
	if err := l.ignore(b.victim()); err != nil {
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
	err = l.runUntil(b.slowMax, func() bool {
		if s.GoneAfter == 0 && w.look().Conns < before.Conns {
			s.GoneAfter = since()
		}
		gone := max(s.LeftAfter, s.GoneAfter)
		return gone > 0 && since() > gone+1
	})
	if err != nil {
		return err
	}
	l.recording = false
	l.left = func() {}
	if s.Unread == 0 {
		s.Unread = unread()
	}
	s.RSSMax = max(w.peak(), s.RSSBefore)
	s.With = stats.Summarize(l.latency)
	s.Seconds = since()
	to, err := during(l, b.snapshot)
	if err != nil {
		return err
	}
	s.OtherCPU = from.others(to)
	return nil
}

// resume reads on: what was under way for the slow member, and why it was
// closed.
func (b *bench) resume() error {
	l, victim, s := b.loop, b.victim(), b.run.Slow
	if n := l.count.closed; n > 0 {
		b.run.Notes = append(b.run.Notes, fmt.Sprintf("%d other connections closed", n))
	}
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
	return nil
}

// watcher asks the server for its memory and connections a few times a second.
type watcher struct {
	end  chan struct{}
	done chan struct{}

	mu   sync.Mutex // protects the rest
	last debug.Glance
	max  int64 // RSS
}

// watch starts one, with a first look taken; whoever calls it stops it. It does not
// ask for what stops the server's world: that would be in the others' latency.
func watch(b *bench) (*watcher, error) {
	w := &watcher{end: make(chan struct{}), done: make(chan struct{})}
	get := func() (g debug.Glance, err error) { return g, b.get("/debug/glance", &g) }
	first, err := during(b.loop, get)
	if err != nil {
		return nil, err
	}
	w.keep(first)
	go func() {
		defer close(w.done)
		for {
			select {
			case <-w.end:
				return
			case <-time.After(200 * time.Millisecond):
			}
			if g, err := get(); err == nil {
				w.keep(g)
			}
		}
	}()
	return w, nil
}

func (w *watcher) stop() {
	close(w.end)
	<-w.done
}

func (w *watcher) keep(g debug.Glance) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last, w.max = g, max(w.max, g.RSS)
}

func (w *watcher) look() debug.Glance {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// anew forgets the peak.
func (w *watcher) anew() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.max = w.last.RSS
}

// peak is the largest RSS seen, in bytes.
func (w *watcher) peak() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.max
}
