package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gohub/gohub/bench/internal/frame"
)

// conn is one client connection: a socket and a few words, no goroutine.
type conn struct {
	fd     int
	user   int
	room   int
	sender int    // index among the senders, -1 if it only listens
	sample bool   // its messages are timed
	closed bool   // by either side
	code   int    // of the close frame it read, 0 if none
	held   []byte // start of a frame whose end has not come yet
	out    []byte // bytes that the socket did not take yet

	// When each publish left that has not been acked, in order. Nil for good
	// after maxUnacked of them: this server does not ack.
	unacked []int64
	noAcks  bool
}

const maxUnacked = 4096

var maskKey = [4]byte{0x5a, 0x17, 0xc3, 0x88}

// dialTimeout bounds each step of the handshake.
var dialTimeout = unix.Timeval{Sec: 15}

// dial opens a socket from one of several loopback addresses, each of which has
// about 28,000 ports of its own towards the server.
func dial(to netip.AddrPort, source netip.Addr, receiveBuffer int) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd)
		}
	}()
	if receiveBuffer > 0 { // before connect: it decides the window
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer); err != nil {
			return -1, fmt.Errorf("SO_RCVBUF: %w", err)
		}
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1) // the port comes with connect
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &dialTimeout)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: source.As4()}); err != nil {
		return -1, fmt.Errorf("bind %s: %w", source, err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); err != nil {
		return -1, fmt.Errorf("connect: %w", err)
	}
	return fd, nil
}

// open upgrades and joins: request, welcome, join, joined. What comes after
// joined stays in held. The socket blocks meanwhile and does not afterwards.
func (c *conn) open(host, target, room string) error {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:])
	request := "GET " + target + " HTTP/1.1\r\nHost: " + host +
		"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Protocol: gohub.v1\r\nSec-WebSocket-Key: " + base64.StdEncoding.EncodeToString(nonce[:]) + "\r\n\r\n"
	if err := c.writeAll([]byte(request)); err != nil {
		return err
	}
	var head strings.Builder
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Read(c.fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			return fmt.Errorf("handshake: read %d: %w", n, orEOF(err))
		}
		head.WriteString(string(buf[:n]))
		if h, rest, ok := strings.Cut(head.String(), "\r\n\r\n"); ok {
			if !strings.HasPrefix(h, "HTTP/1.1 101 ") {
				return fmt.Errorf("handshake: %.300q", head.String())
			}
			c.held = []byte(rest)
			break
		}
		if len(head.String()) > 16<<10 {
			return errors.New("handshake: answer too long")
		}
	}
	if err := c.await("welcome", buf); err != nil {
		return err
	}
	join := frame.AppendClient(nil, frame.Text, []byte(`{"type":"join","ref":1,"room":"`+room+`"}`), maskKey)
	if err := c.writeAll(join); err != nil {
		return err
	}
	if err := c.await("joined", buf); err != nil {
		return err
	}
	return unix.SetNonblock(c.fd, true)
}

// await reads up to and with the first frame of a type, dropping others.
func (c *conn) await(kind string, buf []byte) error {
	for range 10_000 {
		op, payload, size := frame.Next(c.held)
		if size == 0 {
			n, err := unix.Read(c.fd, buf)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil || n <= 0 {
				return fmt.Errorf("waiting for %s: %w", kind, orEOF(err))
			}
			c.held = append(c.held, buf[:n]...)
			continue
		}
		got := string(frame.Type(payload))
		c.held = c.held[size:]
		switch {
		case op == frame.Close:
			return fmt.Errorf("waiting for %s: closed with %d", kind, closeCode(payload))
		case got == kind:
			c.held = append([]byte(nil), c.held...)
			return nil
		case got == "error":
			return fmt.Errorf("waiting for %s: %s", kind, payload)
		}
	}
	return fmt.Errorf("no %s within 10,000 frames", kind)
}

func (c *conn) writeAll(b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(c.fd, b)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
		b = b[n:]
	}
	return nil
}

// flush writes what waits; what the socket does not take goes on waiting.
func (c *conn) flush() error {
	for len(c.out) > 0 {
		n, err := rawWrite(c.fd, c.out)
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
		if err != nil {
			return err
		}
		c.out = c.out[:copy(c.out, c.out[n:])]
	}
	return nil
}

func closeCode(payload []byte) int {
	if len(payload) < 2 {
		return 1005
	}
	return int(binary.BigEndian.Uint16(payload))
}

func orEOF(err error) error {
	if err == nil {
		return errors.New("closed")
	}
	return err
}
