package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gohub/gohub/bench/internal/frame"
	"github.com/gohub/gohub/bench/internal/result"
	"github.com/gohub/gohub/bench/internal/stats"
)

const (
	replayed    = 20   // messages that a join brings
	pageSize    = 100  // messages of a page
	replayTimes = 2000 // each is asked
)

// An asker is one connection that asks and waits for the answer. The socket
// blocks.
type asker struct {
	conn
	buf []byte
}

// ask sends a command and hands frames to take until that has enough. It
// returns how long that took, in nanoseconds.
func (a *asker) ask(command string, take func(kind string, payload []byte) (enough bool)) (int64, error) {
	f := frame.AppendClient(nil, frame.Text, []byte(command), maskKey)
	began := time.Now()
	if err := a.writeAll(f); err != nil {
		return 0, err
	}
	for {
		op, payload, size := frame.Next(a.held)
		if size == 0 {
			n, err := unix.Read(a.fd, a.buf)
			switch {
			case errors.Is(err, unix.EINTR):
			case err != nil || n <= 0:
				return 0, fmt.Errorf("%s: %w", command, orEOF(err))
			default:
				a.held = append(a.held, a.buf[:n]...)
			}
			continue
		}
		took := int64(time.Since(began))
		kind := string(frame.Type(payload))
		enough := op == frame.Text && take(kind, payload)
		if kind == "error" || op == frame.Close {
			return 0, fmt.Errorf("%s: %s", command, payload)
		}
		a.held = a.held[:copy(a.held, a.held[size:])]
		if enough {
			return took, nil
		}
	}
}

func (a *asker) join() (int64, error) {
	left := replayed
	return a.ask(`{"type":"join","ref":1,"room":"`+roomName(0)+`"}`, func(kind string, _ []byte) bool {
		if kind == "message" {
			left--
		}
		return left == 0
	})
}

func (a *asker) leave() error {
	_, err := a.ask(`{"type":"leave","ref":1,"room":"`+roomName(0)+`"}`, func(kind string, _ []byte) bool { return kind == "left" })
	return err
}

// page asks for one, by its bound, and gives the seqs of its ends.
func (a *asker) page(bound string) (took, first, last int64, err error) {
	var answer []byte
	took, err = a.ask(fmt.Sprintf(`{"type":"history","ref":1,"room":"%s","limit":%d%s}`, roomName(0), pageSize, bound), func(kind string, p []byte) bool {
		answer = append(answer[:0], p...)
		return kind == "history"
	})
	if err != nil {
		return 0, 0, 0, err
	}
	var page struct {
		Messages []struct {
			Seq int64 `json:"seq"`
		} `json:"messages"`
	}
	if err := json.Unmarshal(answer, &page); err != nil || len(page.Messages) != pageSize {
		return 0, 0, 0, errors.Join(err, fmt.Errorf("a page of %d messages: is the room filled? %.200s", len(page.Messages), answer))
	}
	return took, page.Messages[0].Seq, page.Messages[pageSize-1].Seq, nil
}

// opened connects a user and joins another room. The loop is not to read what
// comes from then on.
func (b *bench) opened(user int) (*asker, error) {
	a := &asker{conn: conn{user: user, room: 9999, sender: -1}, buf: make([]byte, readSize)}
	if err := b.openAll([]*conn{&a.conn}, 1); err != nil {
		return nil, err
	}
	if err := b.loop.ignore(&a.conn); err != nil {
		return nil, err
	}
	return a, unix.SetNonblock(a.fd, false)
}

// replay asks one thing after another.
func (b *bench) replay() error {
	began := time.Now()
	first, err := during(b.loop, b.snapshot)
	if err != nil {
		return err
	}
	a, err := b.opened(0)
	if err != nil {
		return err
	}
	stays, err := b.opened(1)
	if err != nil {
		return err
	}
	r := &result.Replay{}
	joins := func() (stats.Latency, error) {
		var times []int64
		for i := range replayTimes + 50 {
			took, err := a.join()
			if err == nil {
				err = a.leave()
			}
			if err != nil {
				return stats.Latency{}, err
			}
			if i >= 50 { // statements are prepared
				times = append(times, took)
			}
		}
		return stats.Summarize(times), nil
	}
	if r.Cold, err = joins(); err != nil {
		return err
	}
	if _, err := stays.join(); err != nil {
		return err
	}
	if r.Warm, err = joins(); err != nil {
		return err
	}
	if _, err := a.join(); err != nil {
		return err
	}
	_, _, newest, err := a.page("")
	if err != nil {
		return err
	}
	_, oldest, _, err := a.page(`,"after":1`)
	if err != nil {
		return err
	}
	r.Rows = int(newest - oldest + 1)
	// Neighbouring places in turn, so that it is not one page's rows all the time.
	for _, part := range []struct {
		of    *stats.Latency
		bound func(i int64) string
	}{
		{&r.Newest, func(i int64) string { return fmt.Sprintf(`,"before":%d`, newest+1-i) }},
		{&r.Middle, func(i int64) string { return fmt.Sprintf(`,"before":%d`, oldest+(newest-oldest)/2+7*i) }},
		{&r.Oldest, func(i int64) string { return fmt.Sprintf(`,"before":%d`, oldest+pageSize+i) }},
	} {
		var times []int64
		for i := range int64(replayTimes) {
			took, _, _, err := a.page(part.bound(i))
			if err != nil {
				return err
			}
			times = append(times, took)
		}
		*part.of = stats.Summarize(times)
	}
	b.run.Replay = r
	last, err := during(b.loop, b.snapshot)
	if err != nil {
		return err
	}
	b.run.Seconds = time.Since(began).Seconds()
	b.run.ServerCPU = float64(last.server.Total()-first.server.Total()) / 1e9
	b.run.LoadCPU = float64(last.load.Total()-first.load.Total()) / 1e9
	b.run.StoreCPU = float64(last.store-first.store) / 1e9
	b.run.OtherCPU = first.others(last)
	return nil
}
