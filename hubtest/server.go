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

	"github.com/coder/websocket"

	"github.com/gohub/gohub"
)

// A Server serves a handler in memory.
type Server struct {
	// URL is what the server is called: "http://hub.test". Only HTTP finds it.
	URL string
	// HTTP speaks to the server: to log in, to negotiate. If it is given a
	// Jar, Dial sends that one's cookies, too.
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

// An Option says how a client connects.
type Option func(*dialing)

type dialing struct {
	path   string
	header http.Header
}

// Device names the client's device.
func Device(device string) Option { return Header(headerDevice, device) }

// Tenant names the client's tenant.
func Tenant(tenant string) Option { return Header(headerTenant, tenant) }

// Name is the name for people to read.
func Name(name string) Option { return Header(headerName, name) }

// Header adds a header to the handshake: Authorization, Cookie, Origin. It is
// for programs with an Authenticator of their own, as Path is; Device, Tenant
// and Name are for [Authenticate].
func Header(key, value string) Option {
	return func(d *dialing) { d.header.Add(key, value) }
}

// Path is where the hub is mounted, with a query if there is one:
// "/ws?ticket=…". Defaults to "/".
func Path(path string) Option {
	return func(d *dialing) { d.path = path }
}

const (
	headerUser   = "Hubtest-User"
	headerDevice = "Hubtest-Device"
	headerTenant = "Hubtest-Tenant"
	headerName   = "Hubtest-Name"
)

// Authenticate takes whoever [Server.Dial] says the client is. It is the
// Authenticator of hubs made by [New] without one; a program that can be given
// one in its tests gets gohub.AuthenticatorFunc(hubtest.Authenticate). It
// believes everybody: keep it out of programs.
func Authenticate(r *http.Request) (gohub.Identity, error) {
	h := r.Header
	if h.Get(headerUser) == "" {
		return gohub.Identity{}, gohub.Errorf(gohub.CodeUnauthorized, "hubtest: no user was given to Dial")
	}
	return gohub.Identity{
		User:   h.Get(headerUser),
		Name:   h.Get(headerName),
		Device: h.Get(headerDevice),
		Tenant: h.Get(headerTenant),
	}, nil
}

// Dial connects a client, which has been welcomed when Dial returns, and is
// closed when the test ends. user is who [Authenticate] takes it for; an
// Authenticator of the program's own goes by the options, and user is then
// only how failures call it.
func (s *Server) Dial(user string, opts ...Option) *Client {
	s.t.Helper()
	c := &Client{t: s.t, user: user, to: s, dialing: dialingOf(user, opts), news: make(chan struct{}), last: make(map[string]int64)}
	s.t.Cleanup(c.end)
	c.connect(s)
	return c
}

// ExpectRefused tries to connect, and expects to be refused with an HTTP
// status.
func (s *Server) ExpectRefused(user string, status int, opts ...Option) {
	s.t.Helper()
	ws, _, got, err := s.handshake(dialingOf(user, opts))
	switch {
	case err == nil:
		_ = ws.CloseNow()
		s.t.Fatalf("hubtest: %s was let in, not refused with %d", user, status)
	case got != status:
		s.t.Fatalf("hubtest: %s was to be refused with %d: %v", user, status, err)
	}
}

func dialingOf(user string, opts []Option) dialing {
	d := dialing{path: "/", header: make(http.Header)}
	d.header.Set(headerUser, user)
	for _, o := range opts {
		o(&d)
	}
	return d
}

// handshake connects; status is 0 if there was no answer.
func (s *Server) handshake(d dialing) (ws *websocket.Conn, nc *conn, status int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
	defer cancel()
	// A transport of its own: that tells which connection the client is on.
	var dialed atomic.Pointer[conn]
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := s.listen.dial(ctx)
		if err != nil {
			return nil, err
		}
		dialed.Store(c)
		return c, nil
	}}
	defer transport.CloseIdleConnections()
	ws, res, err := websocket.Dial(ctx, s.URL+d.path, &websocket.DialOptions{
		HTTPClient:   &http.Client{Transport: transport, Jar: s.HTTP.Jar},
		HTTPHeader:   d.header,
		Subprotocols: []string{"gohub.v1"},
	})
	if res != nil {
		status = res.StatusCode
		if err != nil {
			_ = res.Body.Close()
		}
	}
	return ws, dialed.Load(), status, err
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
