package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gohub/gohub/bench/internal/frame"
)

// How far a connection has come.
const (
	upgrading = iota // waits for the answer to the handshake
	greeting         // and until it has joined its room
	joined
)

// openTimeout bounds one connection's way into its room.
const openTimeout = 20 * time.Second

// openAll has connections join, up to so many of them under way at a time, and
// returns when the last has. At says what each connects to.
func (b *bench) openAll(conns []*conn, atOnce int) error {
	l, next, underWay := b.loop, 0, 0
	l.joined = func(*conn) { underWay-- }
	defer func() { l.joined = func(*conn) {} }()
	progress := time.Now()
	for done := 0; next < len(conns) || underWay > 0; {
		for underWay < atOnce && next < len(conns) {
			if err := b.begin(conns[next]); err != nil {
				return fmt.Errorf("connection %d: %w", conns[next].user, err)
			}
			next++
			underWay++
		}
		if err := l.poll(time.Millisecond); err != nil {
			return err
		}
		if l.refused != nil {
			return l.refused
		}
		if n := next - underWay; n > done {
			done, progress = n, time.Now()
		} else if time.Since(progress) > openTimeout {
			return fmt.Errorf("%d connections are not in their rooms after %s", underWay, openTimeout)
		}
	}
	return nil
}

// begin dials and sends the handshake; the loop does the rest.
func (b *bench) begin(c *conn) error {
	at := b.nodes[c.node]
	to, err := netip.ParseAddrPort(at.addr)
	if err != nil {
		return fmt.Errorf("-node %s: %w", at.addr, err)
	}
	from := netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + c.user%max(1, b.sources))})
	c.began = b.loop.clock()
	if c.fd, err = dial(to, from, c.buffer); err != nil {
		return err
	}
	if b.tls {
		if err := c.secure(); err != nil {
			return err
		}
	}
	if err := unix.SetNonblock(c.fd, true); err != nil {
		return err
	}
	if b.loop.arrivals {
		if err := c.stampArrivals(); err != nil {
			return err
		}
	}
	var nonce [16]byte
	_, _ = rand.Read(nonce[:])
	target, protocol := b.loop.dialect.upgrade(b, c)
	if protocol != "" {
		protocol = "Sec-WebSocket-Protocol: " + protocol + "\r\n"
	}
	if err := b.loop.add(c); err != nil {
		return err
	}
	b.loop.send(c, []byte("GET "+target+" HTTP/1.1\r\nHost: "+at.addr+
		"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+protocol+
		"Sec-WebSocket-Key: "+base64.StdEncoding.EncodeToString(nonce[:])+"\r\n\r\n"))
	return nil
}

// upgraded looks for the answer to the handshake; it returns what follows it.
func (l *loop) upgraded(c *conn, b []byte) (rest []byte, ok bool) {
	head, rest, whole := bytes.Cut(b, []byte("\r\n\r\n"))
	switch {
	case !whole && len(b) < 16<<10:
		return b, false
	case !whole || !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")):
		l.refuse(c, fmt.Errorf("handshake: %.300q", b))
		return nil, false
	}
	c.stage = greeting
	if say := l.dialect.first(c); say != "" {
		l.say(c, say)
	}
	return rest, true
}

// greet goes on until the connection has joined.
func (l *loop) greet(c *conn, payload []byte) {
	say, in, err := l.dialect.greet(c, payload)
	if err != nil {
		l.refuse(c, err)
		return
	}
	if say != "" {
		l.say(c, say)
	}
	if in {
		c.stage = joined
		if l.recording && len(l.joinTime) < cap(l.joinTime) {
			l.joinTime = append(l.joinTime, l.now-c.began)
		}
		l.joined(c)
	}
}

func (l *loop) say(c *conn, text string) {
	l.send(c, frame.AppendClient(nil, frame.Text, []byte(text), maskKey))
}

// refuse is for a connection that does not come into its room.
func (l *loop) refuse(c *conn, err error) {
	if l.refused == nil {
		l.refused = fmt.Errorf("connection %d: %w", c.user, err)
	}
	l.end(c)
}

var errGone = errors.New("closed before it had joined")
