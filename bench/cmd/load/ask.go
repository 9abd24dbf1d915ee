package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gohub/gohub/bench/internal/debug"
	"github.com/gohub/gohub/bench/internal/result"
	"github.com/gohub/gohub/bench/internal/stats"
)

// asked plays on until standard input ends, for a program that does something
// else to the server meanwhile. A line on standard output, a result.Run, says
// that everybody has joined; then one answers each line of input:
//
//	window   what was seen since the last line; go on
//	stop     the same, once everything on its way has come; the connections stay
//
// Whole is always since the start.
func (b *bench) asked() error {
	l := b.loop
	t, err := b.start()
	if err != nil {
		return err
	}
	lines := make(chan string)
	go func() { // ends with standard input, or with the process
		defer close(lines)
		for s := bufio.NewScanner(os.Stdin); s.Scan(); {
			lines <- s.Text()
		}
	}()
	out := json.NewEncoder(os.Stdout)
	began, before, cpu := l.clock(), l.count, debug.Usage()
	l.recording = true
	answer := func() error {
		r := result.Run{
			Scenario: b.name, Seconds: float64(l.clock()-began) / 1e9, FrameBytes: l.frameBytes,
			Sent: l.count.sent - before.sent, Delivered: l.count.messages - before.messages,
			Acked: l.count.acks - before.acks, Errors: l.count.errors - before.errors,
			Latency: stats.Summarize(l.latency), Read: stats.Summarize(l.readAt), Ack: stats.Summarize(l.ackTime), Late: stats.Summarize(l.late),
			Whole: &result.Whole{
				Sent: t.sent, Expected: t.sent * t.members, Delivered: t.delivered(),
				Acked: l.count.acks, Closed: int(l.count.closed),
			},
		}
		now := debug.Usage()
		r.LoadCPU = float64(now.Total()-cpu.Total()) / 1e9
		if l.lastError != "" {
			r.Notes = []string{"last error or close frame: " + l.lastError}
		}
		began, before, cpu = l.clock(), l.count, now
		l.latency, l.readAt, l.ackTime, l.late = l.latency[:0], l.readAt[:0], l.ackTime[:0], l.late[:0]
		return out.Encode(r)
	}
	if err := answer(); err != nil {
		return err
	}
	for {
		if err := l.runFor(5 * time.Millisecond); err != nil {
			return err
		}
		select {
		case line, more := <-lines:
			switch {
			case !more:
				for _, c := range l.conns {
					if !c.closed {
						_ = unix.Close(c.fd)
					}
				}
				return nil
			case line == "stop":
				t.stop()
				done := func() bool { return t.drained() && l.count.acks >= t.sent }
				if err := l.runUntil(drainMax, done); err != nil {
					return err
				}
			case line != "window":
				return fmt.Errorf("standard input says %q", line)
			}
			if err := answer(); err != nil {
				return err
			}
		default:
		}
	}
}
