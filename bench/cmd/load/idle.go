package main

import "github.com/gohub/gohub/bench/internal/result"

// idle is (d): what a connection that has joined and does nothing keeps
// resident. The server's own start is taken off.
func (b *bench) idle() error {
	l := b.loop
	base, err := during(l, b.memory(true))
	if err != nil {
		return err
	}
	if err := b.connect(); err != nil {
		return err
	}
	if err := l.runFor(b.Warm); err != nil {
		return err
	}
	connected, err := during(l, b.memory(false))
	if err != nil {
		return err
	}
	collected, err := during(l, b.memory(true))
	if err != nil {
		return err
	}
	b.run.Idle = &result.Idle{Conns: b.conns() - int(l.count.closed), Base: base, Connected: connected, Collected: collected}
	return nil
}
