package gohub_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// virtual runs f with virtual time: what takes a minute takes none, and
// always the same.
func virtual(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, f)
}

// startVirtual is start for use inside of virtual: the hub is reached through
// net.Pipe, whose waiting synctest can see.
func startVirtual(t *testing.T, cfg gohub.Config) *world {
	t.Helper()
	return startServer(t, cfg, &http.Server{ReadHeaderTimeout: time.Minute})
}

// startServer is startVirtual with a server of the test's own.
func startServer(t *testing.T, cfg gohub.Config, srv *http.Server) *world {
	t.Helper()
	hub, err := gohub.New(forTests(cfg))
	require.NoError(t, err)
	synctest.Wait() // for the Broker
	l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	srv.Handler = hub.Handler()
	served := make(chan struct{})
	go func() { // ends with srv.Close
		defer close(served)
		_ = srv.Serve(l)
	}()
	client := &http.Client{Transport: &http.Transport{DialContext: l.dial}}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		over := hub.Ready()
		if err := hub.Shutdown(ctx); !errors.Is(over, gohub.ErrClosed) { // else it was the test's
			require.NoError(t, err)
		}
		client.CloseIdleConnections()
		_ = srv.Close()
		<-served
	})
	return &world{t, hub, "http://hub.test", client, l.dial, 10 * time.Second}
}

// pass lets time pass, and what is due then come to rest.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// pipes is a listener in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

// A bare client reads and writes frames itself: it can be slow, silent, or
// wrong in ways that a WebSocket library would not be, and it sees what one
// would hide.
type bare struct {
	t  *testing.T
	nc net.Conn
	br *bufio.Reader
}

const (
	opPiece  = 0x0 // of a fragmented message, after the first
	opText   = 0x1
	opBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9
	opPong   = 0xa
)

// bare connects, up to and with the answer to the handshake.
func (w *world) bare(query string) *bare {
	w.t.Helper()
	u, err := url.Parse(w.url)
	require.NoError(w.t, err)
	nc, err := w.raw(context.Background(), "tcp", u.Host)
	require.NoError(w.t, err)
	require.NoError(w.t, nc.SetReadDeadline(time.Now().Add(2*time.Minute)))
	w.t.Cleanup(func() { _ = nc.Close() })
	_, err = fmt.Fprintf(nc, "GET /?%s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", query, u.Host)
	require.NoError(w.t, err)
	b := newBare(w.t, nc)
	require.Equal(w.t, http.StatusSwitchingProtocols, b.answer())
	return b
}

func newBare(t *testing.T, nc net.Conn) *bare { return &bare{t, nc, bufio.NewReaderSize(nc, 512)} }

// answer reads the answer to the handshake and returns its status. The body
// stays unread.
func (b *bare) answer() int {
	b.t.Helper()
	res, err := http.ReadResponse(b.br, nil)
	require.NoError(b.t, err)
	if res.StatusCode == http.StatusSwitchingProtocols {
		require.NoError(b.t, res.Body.Close())
	}
	return res.StatusCode
}

// read reads one frame.
func (b *bare) read() (op byte, payload []byte, err error) {
	head := make([]byte, 10)
	if _, err := io.ReadFull(b.br, head[:2]); err != nil {
		return 0, nil, err
	}
	n := uint64(head[1])
	switch n {
	case 126:
		_, err = io.ReadFull(b.br, head[2:4])
		n = uint64(binary.BigEndian.Uint16(head[2:]))
	case 127:
		_, err = io.ReadFull(b.br, head[2:10])
		n = binary.BigEndian.Uint64(head[2:])
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(b.br, payload)
	return head[0] & 0x0f, payload, err
}

// write sends one frame, masked with zeros.
func (b *bare) write(first byte, payload []byte) {
	b.t.Helper()
	_, err := b.nc.Write(clientFrame(first, payload))
	require.NoError(b.t, err)
}

// flood sends frames until it has sent n of each or the hub takes no more.
func (b *bare) flood(n int, frames ...[]byte) {
	for i := range n * len(frames) {
		if _, err := b.nc.Write(frames[i%len(frames)]); err != nil {
			return
		}
	}
}

func clientFrame(first byte, payload []byte) (f []byte) {
	switch n := len(payload); {
	case n < 126:
		f = append(f, first, 0x80|byte(n))
	case n < 1<<16:
		f = binary.BigEndian.AppendUint16(append(f, first, 0x80|126), uint16(n))
	default:
		f = binary.BigEndian.AppendUint64(append(f, first, 0x80|127), uint64(n))
	}
	return append(append(f, 0, 0, 0, 0), payload...)
}

func (b *bare) text(format string, args ...any) {
	b.t.Helper()
	b.write(0x80|opText, fmt.Appendf(nil, format, args...))
}

// rest reads to the end of the connection and returns the frames' opcodes,
// and the code of the Close frame.
func (b *bare) rest() (ops []byte, code int) {
	b.t.Helper()
	for {
		op, p, err := b.read()
		if err != nil {
			// A reset is how a connection may end whose goodbye has been read.
			require.True(b.t, errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || code != 0 && errors.Is(err, syscall.ECONNRESET), "%v", err)
			return ops, code
		}
		ops = append(ops, op)
		if op == opClose {
			code = int(binary.BigEndian.Uint16(p))
			_, _ = b.nc.Write(clientFrame(0x80|opClose, p[:2])) // the hub may have given up on it
			if tcp, ok := b.nc.(*net.TCPConn); ok {
				_ = tcp.CloseWrite() // it may take all that for the rest of a frame
			}
		}
	}
}

// frame reads one frame as JSON; one that is not text has only a type.
func (b *bare) frame() (frame, error) {
	op, p, err := b.read()
	if err != nil {
		return nil, err
	}
	if op != opText {
		return frame{"type": fmt.Sprint("opcode ", op)}, nil
	}
	return decoded(b.t, p), nil
}

func decoded(t *testing.T, p []byte) (f frame) {
	t.Helper()
	require.NoError(t, json.Unmarshal(p, &f), "%.200s", p)
	return f
}
