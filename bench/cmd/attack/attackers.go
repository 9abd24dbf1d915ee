package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gohub/gohub/bench/internal/debug"
	"github.com/gohub/gohub/bench/internal/frame"
)

// sources is how many addresses, 127.0.1.1 and up, attackers come from: one
// has 28,000 ports. Honest clients are at 127.0.0.x.
const sources = 8

// attackers are those of one attack.
type attackers struct {
	settings
	turn atomic.Uint32 // of the sources

	mu     sync.Mutex // guards counts
	counts map[string]int64
}

// outcome is what the attackers' process says about itself.
type outcome struct {
	Seconds float64          `json:"seconds"`
	CPU     float64          `json:"cpu_s"`
	Counts  map[string]int64 `json:"counts"`
}

// surprise begins the count of what is not documented.
const surprise = "UNDOCUMENTED: "

// play is the attackers' process.
func play(ctx context.Context, s settings) error {
	picked, err := pick(s.role)
	if err != nil {
		return err
	}
	// Whatever hangs: the process does not.
	limit := max(time.Duration(s.seconds*float64(time.Second)), picked[0].least)
	time.AfterFunc(3*limit+30*time.Second, func() {
		fmt.Fprintln(os.Stderr, "attack: attackers do not end")
		os.Exit(1)
	})
	a := &attackers{settings: s, counts: map[string]int64{}}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	picked[0].run(ctx, a)
	a.mu.Lock()
	defer a.mu.Unlock()
	return json.NewEncoder(os.Stdout).Encode(outcome{
		Seconds: time.Since(began).Seconds(), CPU: float64(debug.Usage().Total()) / 1e9, Counts: maps.Clone(a.counts),
	})
}

func (a *attackers) add(n int64, what string) {
	a.mu.Lock()
	a.counts[what] += n
	a.mu.Unlock()
}

// scaled is a number of attackers or their pace times -scale.
func (a *attackers) scaled(n int) int { return max(1, int(float64(n)*a.scale)) }

// each runs f for so many at a time, numbered, and waits for them.
func each(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// paced calls f so many times a second on average until ctx ends, at most
// workers at a time, at moments that do not know of each other (a Poisson
// process), as from many attackers. When all workers are busy it falls behind,
// and does not catch up: the count of calls says what was reached.
func (a *attackers) paced(ctx context.Context, perSecond, workers int, f func(i int)) {
	due := make(chan int)
	go func() { // ends with ctx
		defer close(due)
		runtime.LockOSThread() // the runtime's own timers wake for whole milliseconds
		random := rand.New(rand.NewPCG(a.seed, 0))
		next := time.Now()
		for i := 0; ctx.Err() == nil; i++ {
			next = next.Add(time.Duration(random.ExpFloat64() * float64(time.Second) / float64(perSecond)))
			if wait := time.Until(next); wait > 0 {
				t := unix.NsecToTimespec(wait.Nanoseconds())
				_ = unix.Nanosleep(&t, nil) // a signal ends it early
			}
			select {
			case due <- i:
			case <-time.After(20 * time.Millisecond):
				next = time.Now()
			case <-ctx.Done():
			}
		}
	}()
	began := time.Now()
	var n atomic.Int64
	each(workers, func(int) {
		for i := range due {
			f(i)
			n.Add(1)
		}
	})
	a.add(int64(float64(n.Load())/time.Since(began).Seconds()), fmt.Sprintf("a second, of %d", perSecond))
}

// dial connects from the next source.
func (a *attackers) dial(ctx context.Context) (net.Conn, error) {
	ip := net.IPv4(127, 0, 1, byte(1+a.turn.Add(1)%sources))
	d := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: ip}, KeepAlive: -1, Control: portLater}
	nc, err := d.DialContext(ctx, "tcp", a.addr)
	if err != nil && ctx.Err() == nil {
		a.add(1, "connect: "+cause(err))
	}
	return nc, err
}

// portLater lets connect choose the port, which then need not be free towards
// all servers.
func portLater(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
}

func cause(err error) string {
	var no syscall.Errno
	switch {
	case errors.As(err, &no):
		return no.Error()
	case errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return "end of stream"
	}
	return err.Error()
}

func request(query, headers string) []byte {
	return []byte("GET /ws?" + query + " HTTP/1.1\r\nHost: hub.test\r\n" + headers + "\r\n")
}

const upgradeHeaders = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: gohub.v1\r\n"

// session is a connection that was upgraded.
type session struct {
	a    *attackers
	nc   net.Conn
	br   *bufio.Reader
	keep []byte
}

// open connects, sends the request with what follows it in the same write, and
// reads the answer's header. The session is nil, and the connection closed, if
// it was refused.
func (a *attackers) open(ctx context.Context, query string, behind []byte) (*session, int) {
	return a.openWith(ctx, query, upgradeHeaders, behind)
}

func (a *attackers) openWith(ctx context.Context, query, headers string, behind []byte) (*session, int) {
	nc, err := a.dial(ctx)
	if err != nil {
		return nil, 0
	}
	if end, ok := ctx.Deadline(); ok {
		_ = nc.SetDeadline(end.Add(2 * time.Second))
	}
	if _, err := nc.Write(append(request(query, headers), behind...)); err != nil {
		a.add(1, "request: "+cause(err))
		_ = nc.Close()
		return nil, 0
	}
	s := &session{a: a, nc: nc, br: bufio.NewReaderSize(nc, 4<<10)}
	res, err := http.ReadResponse(s.br, nil)
	if err != nil {
		a.add(1, "answer: "+cause(err))
		_ = nc.Close()
		return nil, 0
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusSwitchingProtocols {
		a.add(1, fmt.Sprintf("HTTP %d", res.StatusCode))
		_ = nc.Close()
		return nil, res.StatusCode
	}
	return s, res.StatusCode
}

// next reads a frame. The payload is valid until the next call; of one that
// has more than 64 KiB it is the beginning.
func (s *session) next() (op byte, payload []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(s.br, head[:2]); err != nil {
		return 0, nil, err
	}
	op, n := head[0]&0xf, uint64(head[1]&0x7f)
	switch n {
	case 126:
		_, err = io.ReadFull(s.br, head[:2])
		n = uint64(binary.BigEndian.Uint16(head[:]))
	case 127:
		_, err = io.ReadFull(s.br, head[:8])
		n = binary.BigEndian.Uint64(head[:])
	}
	if err != nil {
		return 0, nil, err
	}
	part := int(min(n, 64<<10))
	if cap(s.keep) < part {
		s.keep = make([]byte, part)
	}
	payload = s.keep[:part]
	if _, err := io.ReadFull(s.br, payload); err != nil {
		return 0, nil, err
	}
	for rest := int(n) - part; rest > 0; {
		k, err := s.br.Discard(min(rest, 4<<10))
		if err != nil {
			return 0, nil, err
		}
		rest -= k
	}
	return op, payload, nil
}

// drain reads to the end of the connection and returns the close code; 0:
// there was none. Error frames are counted.
func (s *session) drain() (code int, err error) {
	defer func() { _ = s.nc.Close() }()
	for {
		op, p, err := s.next()
		switch {
		case err != nil:
			return 0, err
		case op == frame.Close && len(p) >= 2:
			return int(p[0])<<8 | int(p[1]), nil
		case op == frame.Close:
			return 1005, nil
		case op == frame.Ping:
			_ = s.write(frame.AppendClient(nil, frame.Pong, p, maskKey))
		case op == frame.Text && string(frame.Type(p)) == "error":
			s.a.add(1, "error "+string(frame.Field(p, `"code":"`)))
		}
	}
}

// ended counts how a connection has ended.
func (a *attackers) ended(ctx context.Context, code int, err error) {
	switch {
	case code != 0:
		a.add(1, fmt.Sprintf("closed %d", code))
	case ctx.Err() != nil:
		a.add(1, "open to the end")
	default:
		a.add(1, "cut: "+cause(err))
	}
}

// until waits for a frame of a type; false if the connection ends first.
func (s *session) until(kind string) bool {
	for {
		op, p, err := s.next()
		if err != nil || op == frame.Close {
			return false
		}
		if op == frame.Text && string(frame.Type(p)) == kind {
			return true
		}
	}
}

func (s *session) write(b []byte) error {
	_, err := s.nc.Write(b)
	return err
}

var maskKey = [4]byte{0x5a, 0x17, 0xc3, 0x88}

// text appends a masked text frame.
func text(dst []byte, format string, args ...any) []byte {
	return frame.AppendClient(dst, frame.Text, fmt.Appendf(nil, format, args...), maskKey)
}

var ids atomic.Uint64

// newID makes a UUID nobody else has.
func newID() string {
	return fmt.Sprintf("0198c5e1-7a3b-7c4d-9e2f-%012x", ids.Add(1)+uint64(os.Getpid())<<32&0xffffffffffff)
}

// pause waits; false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
