package hubtest

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A Server serves a handler in memory.
type Server struct {
	// URL is what the server is called: "http://hub.test". Only HTTP finds it.
	URL string
	// HTTP speaks to the server: to log in, to negotiate. If it is given a
	// Jar, Dial sends the cookies that are in it then, and [Client.Resume]
	// those again. What handshakes set is kept by the client, not in the Jar.
	HTTP *http.Client
	// Patience is how long an expectation waits before it fails. Defaults to
	// 10 s and, where time is virtual, to an hour. Set it before Dial.
	Patience time.Duration

	t       testing.TB
	handler atomic.Pointer[http.Handler]
	listen  *listener
	world   *world
	virtual bool // in a synctest bubble
}

// world is what servers share that are one system to their clients.
type world struct {
	mu      sync.Mutex // guards clients
	clients []*Client
}

func (w *world) add(c *Client) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Contains(w.clients, c) {
		w.clients = append(w.clients, c)
	}
}

func (w *world) all() []*Client {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.clients)
}

// Serve serves the program's own handler, hub and all, until the test ends.
// The hub in it is the program's to shut down, in a t.Cleanup after Serve: a
// cleanup that is registered later runs earlier. For the program's own restart
// serve its successor, too, and let clients move with [Client.ResumeAt].
func Serve(t testing.TB, handler http.Handler) *Server {
	t.Helper()
	return serve(t, handler, new(world))
}

func serve(t testing.TB, handler http.Handler, w *world) *Server {
	t.Helper()
	s := &Server{
		URL:      "http://hub.test",
		Patience: 10 * time.Second,
		t:        t,
		listen:   &listener{conns: make(chan net.Conn), closed: make(chan struct{})},
		world:    w,
		virtual:  isVirtual(),
	}
	if s.virtual {
		s.Patience = time.Hour
	}
	s.handler.Store(&handler)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := s.listen.dial(ctx)
		if err != nil {
			return nil, err
		}
		return c, nil
	}}
	s.HTTP = &http.Client{Transport: transport}
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			(*s.handler.Load()).ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          slog.NewLogLogger(quiet(t, "the HTTP server").Handler(), slog.LevelError),
	}
	done := make(chan struct{})
	go func() { // ends with srv.Close
		defer close(done)
		_ = srv.Serve(s.listen)
	}()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = srv.Close()
		<-done
	})
	return s
}

// isVirtual tells whether this goroutine is in a synctest bubble. Nothing
// exported says so but Wait, which panics outside of one.
func isVirtual() (in bool) {
	defer func() { in = recover() == nil }()
	synctest.Wait()
	return true
}

// A listener hands out connections in memory.
type listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	ports  atomic.Int32
}

func loopback(port int) net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port} }

func (l *listener) dial(ctx context.Context) (*conn, error) {
	port := int(l.ports.Add(1))
	client, server := newConns(loopback(10_000+port%50_000), l.Addr())
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr looks like one of TCP: middleware takes RemoteAddr apart.
func (l *listener) Addr() net.Addr { return loopback(80) }
