package main

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gohub/gohub/bench/internal/frame"
)

// What a stall kept from being sent is as late as that: its latency counts from when it was
// due, unless the load was told that the stall is none of the server's.
func TestOpenLoopCountsFromWhenAPublishWasDue(t *testing.T) {
	for name, fromSend := range map[string]bool{"due": false, "sent": true} {
		t.Run(name, func(t *testing.T) {
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _, _ = unix.Close(fds[0]), unix.Close(fds[1]) }()
			l := &loop{dialect: dialects["gohub"], recording: true, late: make([]int64, 0, maxUnacked), start: time.Now().Add(-time.Hour)}
			c := &conn{fd: fds[0]}
			tr := newTraffic(l, scenario{Rate: 1000, Members: 1, Body: 128}, []*conn{c}, fromSend)
			const stall = int64(50 * time.Millisecond)
			tr.first -= stall
			stalled := l.clock()
			tr.openLoop()
			if len(c.unacked) < 50 || len(l.late) != len(c.unacked) || l.late[0] < stall {
				t.Fatalf("%d publishes after a stall of 50 ms, late by %v", len(c.unacked), l.late)
			}
			buf := make([]byte, 64<<10)
			n, err := unix.Read(fds[1], buf)
			if err != nil {
				t.Fatal(err)
			}
			buf = buf[:n]
			for i := range 50 {
				_, payload, size := frame.Next(buf)
				if size == 0 {
					t.Fatalf("%d frames", i)
				}
				buf = buf[size:]
				from := bodyTime(payload[len(payload)-1-128:])
				if due := tr.first + int64(i)*int64(time.Millisecond); !fromSend && from != due || fromSend && from < stalled {
					t.Fatalf("publish %d counts from %d, was due at %d and left after %d", i, from, due, stalled)
				}
				if c.unacked[i] != from {
					t.Fatalf("its ack counts from %d, its message from %d", c.unacked[i], from)
				}
			}
		})
	}
}
