package main

import (
	"net"
	"net/url"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/gohub/gohub/bench/internal/frame"
)

// server holds the rooms and how to write to them.
type server struct {
	batch, frame int
	plain        bool

	mu    sync.Mutex
	rooms map[string]*room
}

// conn is one client: one goroutine that reads, no buffer of its own while
// nothing comes.
type conn struct {
	server *server
	tcp    *net.TCPConn
	fd     uintptr // for bare writes; valid while the conn is in a room
	frame  int     // payload bytes of a message frame
	body   int     // bytes of a publish's body, the last field of its frame
	room   *room
	held   []byte // start of a frame whose end has not come yet
}

// bufferSize bounds a client's frame.
const bufferSize = 128 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// run serves one connection to its end.
func (s *server) run(tcp *net.TCPConn) {
	defer tcp.Close()
	c := &conn{server: s, tcp: tcp}
	raw, err := c.open()
	if err != nil {
		return
	}
	if s.plain {
		c.readPlain()
	} else {
		c.readBare(raw)
	}
	if c.room != nil {
		c.room.leave(c)
	}
}

// open is apart from run so that its stack and buffers are gone while the
// connection idles.
func (c *conn) open() (syscall.RawConn, error) {
	query, err := handshake(c.tcp)
	if err != nil {
		return nil, err
	}
	c.configure(query)
	raw, err := c.tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	if err := raw.Control(func(fd uintptr) { c.fd = fd }); err != nil {
		return nil, err
	}
	return raw, c.write(frame.AppendServer(nil, frame.Text,
		[]byte(`{"type":"welcome","version":1,"session":"floor","user":"floor","node":"floor","ping_ms":0,"max_frame":65536,"durable":false,"time":0}`)))
}

func (c *conn) configure(q url.Values) {
	c.frame = number(q, "frame", c.server.frame)
	c.body = number(q, "body", 128)
}

// readBare reads until the peer is gone, with one system call per arrival: a
// read that does not fill the buffer has emptied the socket, and the poller is
// edge triggered, so the function may go straight back to sleep.
func (c *conn) readBare(raw syscall.RawConn) {
	_ = raw.Read(func(fd uintptr) (done bool) {
		buf := buffers.Get().(*[bufferSize]byte)
		defer buffers.Put(buf)
		for {
			at := copy(buf[:], c.held)
			n, err := syscall.Read(int(fd), buf[at:])
			switch {
			case err == syscall.EINTR:
				continue
			case err == syscall.EAGAIN:
				return false
			case err != nil || n <= 0 || !c.take(buf[:at+n]):
				return true
			case at+n < len(buf):
				return false
			}
		}
	})
}

// readPlain is readBare as a program that only knows net.Conn would do it.
func (c *conn) readPlain() {
	buf := make([]byte, 512)
	for {
		at := copy(buf, c.held)
		n, err := c.tcp.Read(buf[at:])
		if err != nil || !c.take(buf[:at+n]) {
			return
		}
		if len(c.held) == len(buf) { // a frame that does not fit
			buf = make([]byte, 2*len(buf))
		}
	}
}

// take handles the whole frames in b and keeps the rest. False: the end.
func (c *conn) take(b []byte) bool {
	for {
		op, payload, size := frame.Next(b)
		if size == 0 {
			c.held = append(c.held[:0], b...)
			return true
		}
		b = b[size:]
		if op == frame.Close {
			return false
		}
		if op != frame.Text {
			continue
		}
		switch string(frame.Type(payload)) {
		case "publish":
			if c.room != nil && len(payload) > c.body+50 {
				c.room.publish(payload, c.body)
			}
		case "join":
			if !c.join(string(frame.Field(payload, `"room":"`))) {
				return false
			}
		}
	}
}

func (c *conn) join(name string) bool {
	s := c.server
	s.mu.Lock()
	r := s.rooms[name]
	if r == nil {
		r = newRoom(name, s.batch, c.frame, c.body)
		s.rooms[name] = r
	}
	s.mu.Unlock()
	c.room = r
	r.join(c)
	return c.write(frame.AppendServer(nil, frame.Text, []byte(`{"type":"joined","ref":1,"room":"`+name+`","head":0,"truncated":false,"members":1}`))) == nil
}

// write sends b whole: with one bare system call if the socket takes it all,
// which on loopback it nearly always does. A peer that takes nothing for two
// seconds is cut off.
func (c *conn) write(b []byte) error {
	if !c.server.plain && c.fd != 0 {
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, c.fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		if errno == 0 {
			if b = b[n:]; len(b) == 0 {
				return nil
			}
		}
		if err := c.tcp.SetWriteDeadline(time.Now().Add(2 * time.Second)); err != nil {
			return err
		}
	}
	_, err := c.tcp.Write(b)
	return err
}
