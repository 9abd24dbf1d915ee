package main

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/gohub/gohub/bench/internal/machine"
	"github.com/gohub/gohub/bench/internal/result"
	"github.com/gohub/gohub/bench/internal/stats"
)

// durable is acks flat out, and then, in an open loop at half that pace, how
// long one takes.
func (b *bench) durable() error {
	l, r := b.loop, b.run
	t, err := b.start()
	if err != nil {
		return err
	}
	if err := b.measure(); err != nil {
		return err
	}
	t.stop()
	if err := l.runUntil(drainMax, func() bool { return l.count.acks >= t.sent }); err != nil {
		return err
	}
	p := &result.Paced{Rate: float64(r.Acked) / r.Seconds / 2, Seconds: b.Window.Seconds()}
	t.stopped = false
	t.pace(p.Rate)
	if err := l.runFor(b.Warm); err != nil {
		return err
	}
	from, err := during(l, b.cpu)
	if err != nil {
		return err
	}
	l.recording = true
	if err := l.runFor(b.Window); err != nil {
		return err
	}
	l.recording = false
	to, err := during(l, b.cpu)
	if err != nil {
		return err
	}
	p.ServerCPU = float64(to.server.Total()-from.server.Total()) / 1e9
	p.StoreCPU = float64(to.store-from.store) / 1e9
	p.LoadCPU = float64(to.load.Total()-from.load.Total()) / 1e9
	p.Ack, p.Late = stats.Summarize(l.ackTime), stats.Summarize(l.late)
	r.Paced = p
	return b.finish(t)
}

// stopped is delivery with the database well, and then with its processes
// stopped where they are.
func (b *bench) stopped() error {
	if b.store == 0 {
		return errors.New("-store names no process to stop")
	}
	l, s := b.loop, &result.Stopped{}
	t, err := b.start()
	if err != nil {
		return err
	}
	if err := b.measure(); err != nil {
		return err
	}
	b.run.Stopped = s
	from, err := during(l, b.cpu)
	if err != nil {
		return err
	}
	if err := b.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	defer func() { _ = b.signal(syscall.SIGCONT) }()
	began, acks := l.clock(), l.count.acks
	l.recording = true
	if err := l.runFor(b.Window); err != nil {
		return err
	}
	l.recording = false
	s.Seconds = float64(l.clock()-began) / 1e9
	s.Acked, s.Pending = l.count.acks-acks, t.sent-l.count.acks
	s.With = stats.Summarize(l.latency)
	to, err := during(l, b.cpu)
	if err != nil {
		return err
	}
	s.OtherCPU = from.others(to)
	if err := b.signal(syscall.SIGCONT); err != nil {
		return err
	}
	on, sent := l.clock(), t.sent
	if err := l.runUntil(30*time.Second, func() bool { return l.count.acks >= sent }); err != nil {
		return err
	}
	s.Recovery = float64(l.clock()-on) / 1e9
	return b.finish(t)
}

// signal signals the database's processes: the parent first, which then starts
// no other.
func (b *bench) signal(sig syscall.Signal) error {
	pids := machine.Tree(b.store)
	if len(pids) == 0 {
		return fmt.Errorf("-store %d: no such process", b.store)
	}
	if err := syscall.Kill(pids[0], sig); err != nil {
		return fmt.Errorf("-store %d: %w", b.store, err)
	}
	for _, pid := range machine.Tree(b.store)[1:] {
		_ = syscall.Kill(pid, sig) // it may just have ended
	}
	return nil
}
