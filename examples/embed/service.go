// Command embed is a small web service of the usual kind, with its own mux,
// login, cookie sessions and middleware, that has gained a hub. This file is
// the service as it was; hub.go is all that was added, but for the lines that
// are marked.
//
//	go run ./examples/embed
//
// Logging in takes a name and no password: it is a demonstration.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"sync"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	addr := flag.String("addr", "127.0.0.1:8080", "where to listen; port 0 takes a free one")
	flag.Parse()
	if err := run(ctx, *addr, func(addr net.Addr) { fmt.Printf("log in at http://%s/\n", addr) }); err != nil {
		slog.Error("embed", "err", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, and tells where once it listens.
func run(ctx context.Context, addr string, listening func(net.Addr)) error {
	s := newService()
	hub, err := addHub(s) //nolint:contextcheck // added, with its error: the hub ends by its Shutdown, not with a context
	if err != nil {
		return err
	}
	server := newServer(s.handler())
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return errors.Join(err, hub.Shutdown(ctx))
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }() // ends with Shutdown or Close below
	listening(ln.Addr())
	select {
	case <-ctx.Done():
	case err = <-served:
		served <- http.ErrServerClosed
	}

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	err = errors.Join(err, hub.Shutdown(ctx)) // added: before the server, which does not know the hub's connections
	err = errors.Join(err, server.Shutdown(ctx), server.Close())
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

// newServer bounds who has not asked for anything yet.
func newServer(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
}

const (
	cookieName  = "session"
	sessionTime = 12 * time.Hour
	mostLogins  = 10_000
)

// A session is what a cookie stands for.
type session struct {
	user    string
	expires time.Time
}

// A service is the routes and the sessions.
type service struct {
	mux   *http.ServeMux
	ended func(user string) // added: told that a user has logged out; nil: nobody is

	mu       sync.Mutex // guards sessions
	sessions map[string]session
}

func newService() *service {
	s := &service{mux: http.NewServeMux(), sessions: make(map[string]session)}
	s.mux.HandleFunc("GET /{$}", s.page)
	s.mux.HandleFunc("POST /login", s.login)
	s.mux.HandleFunc("POST /logout", s.logout)
	return s
}

// handler is the mux behind the service's middleware.
func (s *service) handler() http.Handler {
	return accessLog(http.NewCrossOriginProtection().Handler(s.withSession(s.mux)))
}

type sessionKey struct{}

// withSession finds a request's session and puts it into its context.
func (s *service) withSession(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if in, ok := s.lookUp(r); ok {
			r = r.WithContext(context.WithValue(r.Context(), sessionKey{}, in))
		}
		next.ServeHTTP(w, r)
	})
}

// lookUp finds the session that a request's cookie stands for now.
func (s *service) lookUp(r *http.Request) (session, bool) {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return session{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	in, ok := s.sessions[c.Value]
	return in, ok && time.Now().Before(in.expires)
}

// sessionOf is the session of a request, if somebody is logged in.
func sessionOf(r *http.Request) (session, bool) {
	in, ok := r.Context().Value(sessionKey{}).(session)
	return in, ok
}

var validName = regexp.MustCompile(`^[a-z0-9_-]{1,32}$`)

// login takes a name on trust: a real service asks for a password here.
func (s *service) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<10)
	user := r.PostFormValue("user")
	if !validName.MatchString(user) {
		http.Error(w, "a name is 1 to 32 of a-z 0-9 _ -", http.StatusBadRequest)
		return
	}
	token, now := rand.Text(), time.Now()
	s.mu.Lock()
	for t, in := range s.sessions {
		if len(s.sessions) >= mostLogins || now.After(in.expires) {
			delete(s.sessions, t)
		}
	}
	s.sessions[token] = session{user: user, expires: now.Add(sessionTime)}
	s.mu.Unlock()
	setCookie(w, r, token, int(sessionTime/time.Second))
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (s *service) logout(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(cookieName); err == nil {
		s.mu.Lock()
		in, ok := s.sessions[c.Value] // added: whose it was
		delete(s.sessions, c.Value)
		s.mu.Unlock()
		if ok && s.ended != nil { // added: with the two lines below
			s.ended(in.user)
		}
	}
	setCookie(w, r, "", -1)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func setCookie(w http.ResponseWriter, r *http.Request, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure wherever there is TLS
		Name: cookieName, Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode,
	})
}

func (s *service) page(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	in, ok := sessionOf(r)
	if !ok {
		_, _ = fmt.Fprint(w, loginPage)
		return
	}
	_, _ = fmt.Fprintf(w, userPage, in.user)
}

// accessLog is middleware of the usual kind: its writer sees the status.
func accessLog(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(rec, r)
		slog.Info("request", "method", r.Method, "path", r.URL.Path, "status", rec.status)
	})
}

type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap is what any wrapper needs for WebSockets to get through.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
