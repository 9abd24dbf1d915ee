package main

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// conn is one client connection: a socket and a few words, no goroutine.
type conn struct {
	fd     int
	user   int
	room   int
	node   int    // of bench.nodes
	buffer int    // SO_RCVBUF in bytes; 0: the kernel's
	sender int    // index among the senders, -1 if it only listens
	sample bool   // its messages are timed
	closed bool   // by either side
	code   int    // of the close frame it read, 0 if none
	held   []byte // start of a frame whose end has not come yet
	parts  []byte // of a frame that comes in several
	out    []byte // bytes that the socket did not take yet

	stage   int   // see open.go
	began   int64 // when it dialled, nanoseconds of the loop's clock
	got     int   // messages
	sent    int   // publishes
	tls     *tls.Conn
	shaking bool // in TLS' handshake

	// What it needs to resume where it was.
	since   string // position of the last message; empty: from now on
	session string

	// From when each publish is timed that has not been acked, in order. Nil for good
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

// receive reads what the socket has: rawRead, through TLS where there is some.
func (c *conn) receive(b []byte) (int, error) {
	if c.tls == nil {
		return rawRead(c.fd, b)
	}
	n, err := c.tls.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return n, unix.EAGAIN
	}
	return n, err
}

// stampArrivals has the kernel note when each segment arrived.
func (c *conn) stampArrivals() error {
	return unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
}

// receiveAt is receive, and says when the last of what it returns arrived: what
// runs on this processor before us has no part in that. Not for TLS.
func (c *conn) receiveAt(b []byte) (int, time.Time, error) {
	var oob [64]byte
	n, oobn, _, _, err := unix.Recvmsg(c.fd, b, oob[:], unix.MSG_DONTWAIT)
	if err != nil {
		return 0, time.Time{}, err
	}
	list, _ := unix.ParseSocketControlMessage(oob[:oobn]) // of the kernel's
	if len(list) == 0 || list[0].Header.Type != unix.SCM_TIMESTAMPNS {
		return n, time.Time{}, nil // it came before stamps were asked for
	}
	ts := (*unix.Timespec)(unsafe.Pointer(unsafe.SliceData(list[0].Data)))
	return n, time.Unix(ts.Unix()), nil
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
