package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/gohub/gohub/bench/internal/frame"
)

// A batch appends what a flooding session writes at once: the n-th time.
type batch func(dst []byte, n int) []byte

const flooders = 20

// reconnectAfter is how long a flooder that was closed stays away.
const reconnectAfter = 100 * time.Millisecond

// flood is sessions that join a room of their own and write batches as fast as
// the socket takes them. They read what they are answered. Those that are
// closed come back.
func flood(b batch) func(context.Context, *attackers) {
	return func(ctx context.Context, a *attackers) { a.flood(ctx, flooders, "flood", b) }
}

func (a *attackers) flood(ctx context.Context, sessions int, room string, b batch) {
	each(a.scaled(sessions), func(i int) {
		user := fmt.Sprintf("user=f%d", i)
		if room == "listed" {
			user = "user=lister"
		}
		for ctx.Err() == nil {
			s, _ := a.open(ctx, user, text(nil, `{"type":"join","room":"%s"}`, room))
			if s == nil {
				if !pause(ctx, reconnectAfter) {
					return
				}
				continue
			}
			done := make(chan struct{})
			go func() { // ends with the connection
				defer close(done)
				code, err := s.drain()
				a.ended(ctx, code, err)
			}()
			var buf []byte
			for n := 0; ctx.Err() == nil; n++ {
				buf = b(buf[:0], n)
				if s.write(buf) != nil {
					break
				}
				a.add(int64(len(buf)), "bytes sent")
			}
			if ctx.Err() != nil {
				_ = s.nc.Close()
			}
			<-done
			if !pause(ctx, reconnectAfter) {
				return
			}
		}
	})
}

// batchFrames is how many frames a flooder writes at once.
const batchFrames = 32

func repeat(one func(dst []byte, i int) []byte) batch {
	return func(dst []byte, n int) []byte {
		for k := range batchFrames {
			dst = one(dst, n*batchFrames+k)
		}
		return dst
	}
}

var (
	publishes = repeat(func(dst []byte, _ int) []byte {
		return text(dst, `{"type":"publish","id":"%s","room":"flood","body":"%s"}`, newID(), padding100)
	})
	joins = repeat(func(dst []byte, i int) []byte {
		kind := "join"
		if i%2 == 1 {
			kind = "leave"
		}
		return text(dst, `{"type":"%s","room":"j%d"}`, kind, i/2)
	})
	wsPings = repeat(func(dst []byte, _ int) []byte {
		return frame.AppendClient(dst, frame.Ping, nil, maskKey)
	})
	pings = repeat(func(dst []byte, i int) []byte {
		return text(dst, `{"type":"ping","ref":%d}`, i)
	})
	typings = repeat(func(dst []byte, i int) []byte {
		return text(dst, `{"type":"typing","room":"flood","active":%t}`, i%2 == 0)
	})
	receipts = repeat(func(dst []byte, i int) []byte {
		return text(dst, `{"type":"receipt","room":"flood","seen":%d}`, 1e15+i)
	})
	padding100 = strings.Repeat("x", 100)
)

// fragments begins a message and goes on without end and without content.
func fragments(dst []byte, n int) []byte {
	if n == 0 {
		dst = append(dst, 0x01, 0x81, 0, 0, 0, 0, '{')
	}
	for range 8 * batchFrames {
		dst = append(dst, 0x00, 0x80, 0, 0, 0, 0)
	}
	return dst
}

// deaf sessions send on for as long as anybody takes it after they were closed
// for sending too much.
func deaf(ctx context.Context, a *attackers) {
	buf := pings(nil, 0)
	for len(buf) < 256<<10 {
		buf = append(buf, buf...)
	}
	each(a.scaled(flooders), func(i int) {
		for ctx.Err() == nil {
			s, _ := a.open(ctx, fmt.Sprintf("user=d%d", i), nil)
			if s == nil {
				if !pause(ctx, reconnectAfter) {
					return
				}
				continue
			}
			done := make(chan struct{})
			go func() { // ends with the connection
				defer close(done)
				for {
					if _, _, err := s.next(); err != nil {
						return
					}
				}
			}()
			began := time.Now()
			sent := 0
			for ctx.Err() == nil && s.write(buf) == nil {
				sent += len(buf)
			}
			_ = s.nc.Close()
			<-done
			a.add(int64(sent), "bytes sent")
			a.add(1, fmt.Sprintf("cut off after %d s", int(time.Since(began).Seconds()+0.5)))
			if !pause(ctx, reconnectAfter) {
				return
			}
		}
	})
}

// long floods a room that has nearly 1 MiB of messages with what has all of
// them sent.
func long(one func(dst []byte, i int) []byte) func(context.Context, *attackers) {
	return func(ctx context.Context, a *attackers) {
		a.fill(ctx, func() { a.flood(ctx, flooders, "long", repeat(one)) })
	}
}

// fill puts 180 messages of 5 KB into a room, within one session's burst, and
// keeps it while f does something there.
func (a *attackers) fill(ctx context.Context, f func()) {
	s, _ := a.open(ctx, "user=filler", text(nil, `{"type":"join","room":"long"}`))
	if s == nil {
		return
	}
	drained := make(chan struct{})
	go func() { // ends with the connection
		defer close(drained)
		_, _ = s.drain()
	}()
	body := strings.Repeat("x", 5000)
	for range 180 {
		_ = s.write(text(nil, `{"type":"publish","id":"%s","room":"long","body":"%s"}`, newID(), body))
	}
	if pause(ctx, time.Second) {
		f()
	}
	_ = s.nc.Close()
	<-drained
}

// hoard has the server hold a page for each of many who do not read it.
func hoard(ctx context.Context, a *attackers) {
	a.fill(ctx, func() {
		each(a.scaled(300), func(i int) {
			s, _ := a.open(ctx, fmt.Sprintf("user=hoard%d", i),
				text(histories(text(nil, `{"type":"join","room":"long"}`), i), `{"type":"ping"}`))
			if s == nil {
				return
			}
			<-ctx.Done()
			code, err := s.drain()
			a.ended(ctx, code, err)
		})
	})
}

func histories(dst []byte, i int) []byte {
	return text(dst, `{"type":"history","ref":%d,"room":"long","limit":200}`, i)
}

func replays(dst []byte, i int) []byte {
	return text(dst, `{"type":"join","ref":%d,"room":"long","since":0}`, i)
}

// presences floods a room of many.
func presences(ctx context.Context, a *attackers) {
	still, cancel := context.WithCancel(ctx)
	defer cancel()
	end, _ := ctx.Deadline()
	go a.hold(still, a.scaled(2000), func(i int) *session { // ends with still
		s, _ := a.open(ctx, fmt.Sprintf("user=member%d", i), text(nil, `{"type":"join","room":"large"}`))
		return s
	})
	if !pause(ctx, time.Until(end)/3) {
		return
	}
	a.flood(ctx, flooders, "large", repeat(func(dst []byte, i int) []byte {
		return text(dst, `{"type":"presence","ref":%d,"room":"large"}`, i)
	}))
}

// roomLists makes a user's list of rooms long, a hundred with each connection,
// and floods with questions for it.
func roomLists(ctx context.Context, a *attackers) {
	// Over two seconds, for joins are another attack; and side by side: a later
	// session would pay for what an earlier one owes.
	each(a.scaled(50), func(w int) {
		if !pause(ctx, time.Duration(w)*2*time.Second/time.Duration(a.scaled(50))) {
			return
		}
		var b []byte
		for i := range 100 {
			b = text(b, `{"type":"join","room":"listed-%d-%d"}`, w, i)
		}
		s, _ := a.open(ctx, "user=lister", text(b, `{"type":"ping"}`))
		if s == nil {
			return
		}
		s.until("pong")
		pause(ctx, 2*time.Second)
		_ = s.nc.Close()
	})
	a.flood(ctx, flooders, "listed", repeat(func(dst []byte, i int) []byte {
		return text(dst, `{"type":"rooms","ref":%d}`, i)
	}))
}

// crowd is many sessions of one user that come, hear messages to that user,
// and go.
func crowd(ctx context.Context, a *attackers) {
	go a.flood(ctx, 2, "flood", repeat(func(dst []byte, _ int) []byte { // ends with ctx
		return text(dst, `{"type":"publish","id":"%s","to":"crowd","body":1}`, newID())
	}))
	workers := a.scaled(1000)
	slots := make(chan struct{}, 32)
	each(workers, func(int) {
		for ctx.Err() == nil {
			slots <- struct{}{}
			s, _ := a.open(ctx, "user=crowd", text(nil, `{"type":"join","room":"crowd"}`))
			<-slots
			if s == nil {
				if !pause(ctx, reconnectAfter) {
					return
				}
				continue
			}
			a.add(1, "came")
			stay, cancel := context.WithTimeout(ctx, 2*time.Second)
			go func() { // ends with the connection
				<-stay.Done()
				_ = s.nc.Close()
			}()
			_, err := s.drain()
			_ = err // it goes by itself
			cancel()
		}
	})
}
