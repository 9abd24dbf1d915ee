package hubtest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/coder/websocket"

	"github.com/gohub/gohub"
)

// An Option says how a client connects.
type Option func(*dialing)

// dialing is how a client connects, the first time and each time it resumes.
type dialing struct {
	path   string
	header http.Header
	as     *string        // whom the hub shall welcome; "": anybody; nil: As did not say
	jar    http.CookieJar // the client's own
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

// As is the hub's id for the user, where the test has another name for it:
// s.Dial("alice", hubtest.As("u-17")). "": any, as for a hub with
// AllowAnonymous, which makes one up for every connection.
func As(id string) Option {
	return func(d *dialing) { d.as = &id }
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
// Authenticator of the program's own goes by the options, and by the cookies
// that HTTP.Jar has now. Either way the test fails unless user is whom the hub
// welcomes; where the two ids differ, say [As].
func (s *Server) Dial(user string, opts ...Option) *Client {
	s.t.Helper()
	c := &Client{t: s.t, user: user, to: s, dialing: s.dialing(user, opts), news: make(chan struct{}), last: make(map[string]int64)}
	s.t.Cleanup(c.end)
	c.connect(s)
	return c
}

// ExpectRefused tries to connect, and expects to be refused with an HTTP
// status.
func (s *Server) ExpectRefused(user string, status int, opts ...Option) {
	s.t.Helper()
	ws, _, err := s.handshake(s.dialing(user, opts))
	if err == nil {
		_ = ws.CloseNow()
		s.t.Fatalf("hubtest: %s was let in, not refused with %d", user, status)
	}
	if r, answered := errors.AsType[*refusal](err); !answered || r.status != status {
		s.t.Fatalf("hubtest: %s was to be refused with %d: %v", user, status, err)
	}
}

// dialing is what Dial is given, and the cookies of this moment: whoever logs
// in later, a client goes on as the user it was.
func (s *Server) dialing(user string, opts []Option) dialing {
	d := dialing{path: "/", header: make(http.Header)}
	d.header.Set(headerUser, user)
	for _, o := range opts {
		o(&d)
	}
	d.jar, _ = cookiejar.New(nil) // it has no error
	if s.HTTP.Jar != nil {
		cookies := s.HTTP.Jar.Cookies(s.target(d))
		for _, c := range cookies {
			c.Path = "/" // or a handshake that renews one adds a second
		}
		d.jar.SetCookies(s.target(d), cookies)
	}
	return d
}

// target is where d leads, without its query.
func (s *Server) target(d dialing) *url.URL {
	u, err := url.Parse(s.URL)
	if err != nil {
		s.t.Fatalf("hubtest: Server.URL: %v", err)
	}
	u.Path, _, _ = strings.Cut(d.path, "?")
	return u
}

// handshake connects. The error is a *refusal if there was an answer.
func (s *Server) handshake(d dialing) (ws *websocket.Conn, nc *conn, err error) {
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
		HTTPClient:   &http.Client{Transport: transport, Jar: d.jar},
		HTTPHeader:   d.header,
		Subprotocols: []string{"gohub.v1"},
	})
	switch {
	case err == nil:
		return ws, dialed.Load(), nil
	case res == nil:
		return nil, nil, fmt.Errorf("no answer from %s: %w", s.target(d).Path, err)
	}
	defer func() { _ = res.Body.Close() }()
	return nil, nil, refusalOf(res)
}

// A refusal is an answer to a handshake that is none.
type refusal struct {
	path   string // that answered: after redirects another than was asked
	status int
	why    string // the body's beginning, or the hub's reason
}

func refusalOf(res *http.Response) *refusal {
	body, _ := io.ReadAll(io.LimitReader(res.Body, 1024)) // what has come of it
	r := &refusal{path: res.Request.URL.Path, status: res.StatusCode}
	var problem struct{ Detail, Title string }
	if json.Unmarshal(body, &problem) == nil {
		r.why = cmp.Or(problem.Detail, problem.Title)
	}
	if r.why == "" {
		r.why = strings.Join(strings.Fields(string(body)), " ")
	}
	r.why = shorten(r.why)
	return r
}

func (r *refusal) Error() string {
	s := fmt.Sprintf("%s answered %d %s", r.path, r.status, http.StatusText(r.status))
	if r.why != "" && r.why != http.StatusText(r.status) {
		s += ": " + r.why
	}
	if r.status < 400 || r.status == http.StatusNotFound || r.status == http.StatusMethodNotAllowed {
		s += "\nIf the hub is somewhere else, say where: hubtest.Path(\"/ws\")"
	}
	return s
}
