package wsconn

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/gohub/gohub/internal/atrest"
	"github.com/gohub/gohub/internal/pace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(atrest.M(m, goleak.Find)) }

// patience is how long a test waits for what must come. It bounds failures
// only: what must come promptly is tested against an hour of CloseTimeout, or
// in virtual time.
const patience = time.Minute

const (
	slowCode   = 4000
	silentCode = 4003
)

// The ways a connection can be carried. tcp and unix are tried without
// waiting; tls and pipe are not plain sockets.
const (
	overTCP  = "tcp"
	overUnix = "unix"
	overTLS  = "tls"
	overPipe = "pipe"

	overTLSPipe = "tls over pipe"
	overPaced   = "paced tcp"
)

var everyWay = []string{overTCP, overUnix, overTLS, overPipe}

// world is a server in small: it accepts connections, reads each in a
// goroutine of its own, and finishes it.
type world struct {
	t      testing.TB
	way    string
	o      *Options
	ln     net.Listener
	dialer func() (net.Conn, error)

	// on is what a session does with a message; nil: nothing.
	on func(s *session, binary bool, p []byte)
	// idle, if set, is called by Idle.
	idle func(s *session)
	// options, if set, gives a connection options of its own.
	options func(r *http.Request) *Options
	// hooked connections have session.hook.
	hooked bool
	// first, if set, is sent before the answer to the handshake has left, and
	// writes counts how many writes that made.
	first  []byte
	writes atomic.Int64
	// wrap, if set, is put around every ResponseWriter.
	wrap func(http.ResponseWriter) http.ResponseWriter

	accepted chan *session
	refused  chan error
	mu       sync.Mutex
	sessions []*session
}

// options are as generous as a test can want them.
func options() Options {
	return Options{
		MaxMessage:   64 << 10,
		MaxQueue:     1 << 20,
		WriteTimeout: time.Hour,
		CloseTimeout: time.Hour,
		SlowCode:     slowCode,
		SilentCode:   silentCode,
	}
}

func start(t testing.TB, way string, o Options, on func(s *session, binary bool, p []byte)) *world {
	t.Helper()
	w := &world{t: t, way: way, o: &o, on: on, accepted: make(chan *session, 2048), refused: make(chan error, 16)}
	if o.Sweeper == nil {
		w.o.Sweeper = newTestSweeper(t, time.Hour)
	}
	w.listen(t)
	srv := &http.Server{Handler: w, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Hour}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(w.ln)
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		<-served
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, s := range w.sessions {
			s.Abort()
			<-s.done
			s.empty(t)
		}
	})
	return w
}

// stillSweeper looks at a connection only when the test does.
func stillSweeper() *Sweeper {
	return &Sweeper{shards: make([]shard, 1), ping: time.Hour, tick: time.Second}
}

func newTestSweeper(t testing.TB, ping time.Duration) *Sweeper {
	s := NewSweeper(ping, func(Handler, time.Time) {})
	t.Cleanup(s.Stop)
	return s
}

func (w *world) listen(t testing.TB) {
	t.Helper()
	var err error
	switch w.way {
	case overPipe, overTLSPipe:
		ln := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
		w.ln, w.dialer = ln, ln.dial
	case overUnix:
		path := filepath.Join(t.TempDir(), "s")
		w.ln, err = net.Listen("unix", path)
		w.dialer = func() (net.Conn, error) { return net.Dial("unix", path) }
	default:
		w.ln, err = net.Listen("tcp", "127.0.0.1:0")
		addr := w.ln.Addr().String()
		w.dialer = func() (net.Conn, error) { return net.Dial("tcp", addr) }
	}
	require.NoError(w.t, err)
	if w.way == overPaced {
		w.ln = pace.Listener{Listener: w.ln}
	}
	if w.way == overTLS || w.way == overTLSPipe {
		w.ln, w.dialer = overTheTop(w.ln, w.dialer)
	}
}

// overTheTop puts TLS on a listener and its dialer.
func overTheTop(ln net.Listener, dial func() (net.Conn, error)) (net.Listener, func() (net.Conn, error)) {
	return tls.NewListener(ln, serverTLS()), func() (net.Conn, error) {
		nc, err := dial()
		if err != nil {
			return nil, err
		}
		return tls.Client(nc, &tls.Config{InsecureSkipVerify: true}), nil
	}
}

var serverTLS = sync.OnceValue(func() *tls.Config {
	srv := httptest.NewTLSServer(nil)
	defer srv.Close()
	return &tls.Config{Certificates: srv.TLS.Certificates, MinVersion: tls.VersionTLS12}
})

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if w.wrap != nil {
		rw = w.wrap(rw)
	}
	o := w.o
	if w.options != nil {
		o = w.options(r)
	}
	c, no := Accept(rw, r, o)
	if no != nil {
		w.refused <- no
		return
	}
	s := &session{Conn: c, on: w.on, onIdle: w.idle, path: r.URL.Path, preloaded: c.in.w - c.in.r, done: make(chan struct{})}
	w.mu.Lock()
	w.sessions = append(w.sessions, s)
	w.mu.Unlock()
	if w.hooked {
		c.tried = func() { s.reads.Add(1) }
		c.wrote = func() {
			if after := s.after.Load(); after != nil {
				(*after)()
			}
		}
	}
	c.Start(s)
	if w.first != nil {
		c.wrote = func() { w.writes.Add(1) }
		c.Send(w.first, false, nil)
	}
	c.answered()
	go s.run() // ends with the connection; the cleanup waits for it
	w.accepted <- s
}

// answered sends the answer to the handshake, and returns when whoever writes
// it has ended.
func (c *Conn) answered() {
	c.Uncork()
	for c.waitBelow(1) {
		c.out.mu.Lock()
		writing := c.out.writing
		c.out.mu.Unlock()
		if !writing {
			return
		}
		runtime.Gosched()
	}
}

// session is what a hub makes of a connection.
type session struct {
	*Conn
	path      string
	on        func(s *session, binary bool, p []byte)
	onIdle    func(s *session)
	preloaded int // bytes that came with the handshake
	got       []string
	reads     atomic.Int64
	after     atomic.Pointer[func()]
	idle      atomic.Int64
	extra     atomic.Int64
	grown     atomic.Int64 // goroutines after the first
	done      chan struct{}
	err       error // of Serve; after done
}

func (s *session) Extra(frames int) { s.extra.Add(int64(frames)) }

func (s *session) Idle() {
	s.idle.Add(1)
	s.Uncork()
	if s.onIdle != nil {
		s.onIdle(s)
	}
}

func (s *session) Message(binary bool, p []byte) {
	s.Cork()
	if s.on != nil {
		s.on(s, binary, p)
	}
}

func (s *session) run() {
	s.err = s.Serve()
	switch {
	case errors.Is(s.err, ErrGrown):
		s.grown.Add(1)
		go s.run()
		return
	case errors.Is(s.err, ErrTooBig):
		s.Shutdown(1009, "")
	case errors.Is(s.err, ErrInvalidUTF8):
		s.Shutdown(1007, "")
	case errors.Is(s.err, ErrProtocol):
		s.Shutdown(1002, "")
	}
	s.Finish()
	close(s.done)
}

// knowsMore reports whether the session's reads tell what is left: TCP_INQ.
func (s *session) knowsMore(t testing.TB) bool {
	t.Helper()
	on := 0
	if runtime.GOOS == "linux" {
		require.NoError(t, s.raw.Control(func(fd uintptr) { on = inq(fd) }))
	}
	return on == 1
}

// ended waits for the end of the session and gives its error.
func (s *session) ended(t testing.TB) error {
	t.Helper()
	select {
	case <-s.done:
		return s.err
	case <-time.After(patience):
		require.FailNow(t, "the session does not end")
		return nil
	}
}

// empty asserts that a finished connection holds nothing.
func (s *session) empty(t testing.TB) {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	require.Zero(t, s.out.bytes, "bytes that nobody accounts for")
	require.Empty(t, s.out.queue)
	require.Nil(t, s.out.box)
	require.Nil(t, s.in.buf)
	require.Nil(t, s.in.payload)
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	require.False(t, slices.Contains(s.shard.conns, s.Conn), "still under the sweeper's eyes")
}

// waiting is how many bytes and frames wait to be written.
func (s *session) waiting() (bytes, frames int) {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	return s.out.bytes, len(s.out.queue)
}

// peer is a client that looks closely at what it is sent.
type peer struct {
	t  testing.TB
	nc net.Conn
	br *bufio.Reader
}

const handshake = "GET %s HTTP/1.1\r\nHost: test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: gohub.v1\r\n\r\n"

// dial connects. early goes out in the same write as the handshake.
func (w *world) dial(early ...[]byte) (*peer, *session) {
	w.t.Helper()
	return w.dialPath("/", early...)
}

func (w *world) dialPath(path string, early ...[]byte) (*peer, *session) {
	w.t.Helper()
	p := w.connect()
	wrote := make(chan error, 1)
	go func() { // a pipe has no buffer: the server may answer before it has read all
		_, err := p.nc.Write(append(fmt.Appendf(nil, handshake, path), bytes.Join(early, nil)...))
		wrote <- err
	}()
	res, err := http.ReadResponse(p.br, nil)
	require.NoError(w.t, err)
	_ = res.Body.Close()
	require.Equal(w.t, http.StatusSwitchingProtocols, res.StatusCode)
	require.Equal(w.t, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", res.Header.Get("Sec-Websocket-Accept"))
	require.NoError(w.t, <-wrote)
	return p, <-w.accepted
}

// connect stops short of the handshake.
func (w *world) connect() *peer {
	w.t.Helper()
	nc, err := w.dialer()
	require.NoError(w.t, err)
	w.t.Cleanup(func() { cut(nc) })
	if _, bench := w.t.(*testing.B); !bench && w.way != overPipe && w.way != overTLSPipe { // those run in virtual time
		require.NoError(w.t, nc.SetDeadline(time.Now().Add(patience)))
	}
	return &peer{t: w.t, nc: nc, br: bufio.NewReader(nc)}
}

// cut closes a socket without TLS's goodbye, which may wait.
func cut(nc net.Conn) {
	if t, ok := nc.(*tls.Conn); ok {
		_ = t.NetConn().Close()
	}
	_ = nc.Close()
}

func (p *peer) send(frames ...[]byte) {
	p.t.Helper()
	_, err := p.nc.Write(bytes.Join(frames, nil))
	require.NoError(p.t, err)
}

// read takes one frame and finds fault with it. It is an error to get another
// one after a Close frame: that is for the caller, who must not read on.
func (p *peer) read() (op byte, payload []byte, err error) {
	var h [8]byte
	if _, err := io.ReadFull(p.br, h[:2]); err != nil {
		return 0, nil, err
	}
	op = h[0] & 0x0f
	n := uint64(h[1])
	switch {
	case h[0]&0xf0 != 0x80:
		return 0, nil, fmt.Errorf("frame begins with %#x", h[0])
	case op != opText && op != opBinary && op != opClose && op != opPing && op != opPong:
		return 0, nil, fmt.Errorf("opcode %d", op)
	case op >= opClose && n > 125:
		return 0, nil, fmt.Errorf("control frame with length byte %d", n)
	case n == 126:
		_, err = io.ReadFull(p.br, h[:2])
		n = uint64(binary.BigEndian.Uint16(h[:]))
	case n == 127:
		_, err = io.ReadFull(p.br, h[:8])
		n = binary.BigEndian.Uint64(h[:])
	case n > 127:
		return 0, nil, errors.New("masked")
	}
	if err == nil && n > 64<<20 {
		err = fmt.Errorf("length %d", n)
	}
	if err != nil {
		return 0, nil, fmt.Errorf("in a frame's header: %w", err)
	}
	payload = make([]byte, n)
	if _, err := io.ReadFull(p.br, payload); err != nil {
		return 0, nil, fmt.Errorf("in a frame of %d bytes: %w", n, err)
	}
	return op, payload, nil
}

// expect reads one frame, which must be this one.
func (p *peer) expect(op byte, payload string) {
	p.t.Helper()
	gotOp, got, err := p.read()
	require.NoError(p.t, err)
	require.Equal(p.t, op, gotOp, "%q", brief(got))
	require.Equal(p.t, brief([]byte(payload)), brief(got))
	if payload != string(got) { // said in brief: a diff of megabytes takes for ever
		require.FailNow(p.t, "not the bytes that were sent", "%d bytes, beginning and length as expected", len(got))
	}
}

func brief(b []byte) string {
	if len(b) > 80 {
		return fmt.Sprintf("%q... %d bytes", b[:80], len(b))
	}
	return string(b)
}

// expectClose reads up to a Close frame with code, answers it, and asserts
// that nothing follows but the end.
func (p *peer) expectClose(code int) {
	p.t.Helper()
	for {
		op, payload, err := p.read()
		require.NoError(p.t, err)
		if op == opClose {
			require.Equal(p.t, code, closeCode(payload))
			break
		}
	}
	p.send(clientFrame(opClose, true, []byte{byte(code >> 8), byte(code)}))
	p.expectEnd()
}

func closeCode(payload []byte) int {
	if len(payload) < 2 {
		return 0
	}
	return int(payload[0])<<8 | int(payload[1])
}

// expectEnd asserts an orderly end of the connection, and nothing before it.
func (p *peer) expectEnd() {
	p.t.Helper()
	b, err := io.ReadAll(p.br)
	require.NoError(p.t, err)
	require.Empty(p.t, b, "after the Close frame")
	cut(p.nc)
}

var maskKey = [4]byte{0x12, 0x34, 0x56, 0x78}

// clientFrame makes a masked frame.
func clientFrame(op byte, fin bool, payload []byte) []byte {
	f := clientHeader(op, fin, uint64(len(payload)))
	f = append(f, maskKey[:]...)
	for i, b := range payload {
		f = append(f, b^maskKey[i%4])
	}
	return f
}

// clientHeader is a masked frame's header without the mask.
func clientHeader(op byte, fin bool, n uint64) []byte {
	f := header(op, n)
	if !fin {
		f[0] &^= 0x80
	}
	f[1] |= 0x80
	return f
}

func header(op byte, n uint64) []byte {
	f := []byte{0x80 | op}
	switch {
	case n < 126:
		return append(f, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(f, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(f, 127), n)
}

// frame makes a server's frame.
func frame(op byte, payload string) []byte {
	return append(header(op, uint64(len(payload))), payload...)
}

func clientText(s string) []byte { return clientFrame(opText, true, []byte(s)) }
func text(s string) []byte       { return frame(opText, s) }

// filler is n bytes that tell where they belong.
func filler(n int) string { return numbers()[:n] }

var numbers = sync.OnceValue(func() string {
	var b strings.Builder
	for i := range 1 << 18 {
		fmt.Fprintf(&b, "%07d ", i)
	}
	return b.String()
})

// echo sends every message back.
func echo(s *session, binary bool, p []byte) {
	op := byte(opText)
	if binary {
		op = opBinary
	}
	s.Send(frame(op, string(p)), false, nil)
}

// eventually waits for a state that nothing announces.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		require.True(t, time.Now().Before(end), "never: %s", what)
	}
}

// pipeListener hands out the ends of net.Pipes.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) dial() (net.Conn, error) {
	a, b := net.Pipe()
	select {
	case l.conns <- a:
		return b, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

// hook has f called after each write that was tried without waiting.
func (s *session) hook(f func()) { s.after.Store(&f) }

// conn makes a Conn of a socket without a handshake, which nobody reads.
func conn(t testing.TB, nc net.Conn, maxMessage int) *Conn {
	return connTo(t, nc, maxMessage, nobody{})
}

func connTo(t testing.TB, nc net.Conn, maxMessage int, h Handler) *Conn {
	o := options()
	o.MaxMessage = maxMessage
	o.Sweeper = stillSweeper()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Sec-WebSocket-Version", "13")
	r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	c, no := Accept(hijackOf{httptest.NewRecorder(), nc}, r, &o)
	require.Nil(t, no)
	c.Start(h)
	c.answered()
	return c
}

type nobody struct{}

func (nobody) Message(bool, []byte) {}
func (nobody) Idle()                {}
func (nobody) Extra(int)            {}

type hijackOf struct {
	http.ResponseWriter
	nc net.Conn
}

func (h hijackOf) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return &unanswered{Conn: h.nc}, bufio.NewReadWriter(bufio.NewReader(h.nc), bufio.NewWriter(h.nc)), nil
}

// unanswered swallows the answer to the handshake.
type unanswered struct {
	net.Conn
	past bool
}

func (u *unanswered) Write(p []byte) (int, error) {
	if !u.past {
		u.past = true
		return len(p), nil
	}
	return u.Conn.Write(p)
}
