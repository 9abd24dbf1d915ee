// Command chat is gohub's reference server: a chat with rooms, direct
// messages and a page to use them from, in one process.
//
//	go run ./examples/chat
//
// Logging in takes a name and no password. It is a demonstration: put a real
// login in front before letting strangers in.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gohub/gohub"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// Once the first signal has begun the shutdown, a second one ends the
	// process the way it would without us.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// run serves until ctx ends and returns the exit status: 0 after a clean
// shutdown, 1 when something failed, 2 when it was asked for what it cannot do.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	conf, err := parseConfig(args, getenv, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "%v\n", err)
		return 2
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	store, closeStore, err := openStore(ctx, conf)
	if err != nil {
		log.Error("history", "error", err)
		return 1
	}
	app, err := newApp(conf, store, log) //nolint:contextcheck // the hub ends by Shutdown, not with a context
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "%v\n", errors.Join(err, closeStore()))
		return 2
	}
	err = app.serve(ctx, conf.addr, stdout)
	if err = errors.Join(err, closeStore()); err != nil { // when the hub has stored what it had
		log.Error("chat", "error", err)
		return 1
	}
	return 0
}

// An app is the hub and the HTTP routes around it.
type app struct {
	hub     *gohub.Hub
	handler http.Handler
	log     *slog.Logger
	drain   time.Duration
}

// newApp puts a hub on store; nil: in memory.
func newApp(conf config, store gohub.Store, log *slog.Logger) (*app, error) {
	users := newLogins(log, maxLogins)
	hub, err := gohub.New(gohub.Config{
		Authenticator: gohub.AuthenticatorFunc(users.Authenticate),
		Store:         store,
		Node:          conf.node,
		DrainTime:     conf.drainTime(),
		Origins:       conf.origins,
		RateLimiter:   gohub.NewRateLimiter(gohub.Rate{Frames: float64(conf.rate)}),
		Logger:        log,
	})
	if err != nil {
		return nil, err
	}
	hub.Commands(gohub.StandardCommands()...)
	a := &app{hub: hub, log: log, drain: conf.drain}

	mux := http.NewServeMux()
	mux.Handle("/ws", hub.Handler())
	mux.HandleFunc("POST /login", users.handleLogin)
	mux.HandleFunc("POST /logout", users.handleLogout)
	mux.HandleFunc("GET /session", users.handleSession)
	mux.HandleFunc("GET /healthz", answer(hub.Health, "ok"))
	mux.HandleFunc("GET /readyz", answer(hub.Ready, "ready"))
	for path, method := range map[string]string{"/login": "POST", "/logout": "POST", "/session": "GET", "/healthz": "GET", "/readyz": "GET"} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", method)
			problem{http.StatusMethodNotAllowed, "use " + method}.write(w)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		problem{http.StatusNotFound, "there is nothing here"}.write(w)
	})
	if err := routeFiles(mux); err != nil {
		return nil, err
	}

	sameSite := http.NewCrossOriginProtection()
	for _, origin := range conf.origins {
		if err := sameSite.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("-origins: %w", err)
		}
	}
	sameSite.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		problem{http.StatusForbidden, "this request came from another site"}.write(w)
	}))
	a.handler = withSecurityHeaders(sameSite.Handler(mux))
	return a, nil
}

// answer answers a probe: 200, or 503 and why.
func answer(check func() error, fine string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if err := check(); err != nil {
			w.Header().Set("Retry-After", "1")
			problem{http.StatusServiceUnavailable, err.Error()}.write(w)
			return
		}
		writeJSON(w, http.StatusOK, map[string]string{"status": fine})
	}
}

// serve listens on addr until ctx ends, then lets everyone go: first the
// hub's sessions, which http.Server does not know, then the plain requests.
func (a *app) serve(ctx context.Context, addr string, stdout io.Writer) error {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           a.handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       15 * time.Second, // until a connection becomes a WebSocket
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }() // ends with Shutdown or Close below
	_, _ = fmt.Fprintf(stdout, "gohub chat: %s\n", pageURL(ln.Addr()))

	select {
	case err := <-served:
		return errors.Join(err, a.shutdown(context.WithoutCancel(ctx), server))
	case <-ctx.Done():
	}
	err = a.shutdown(context.WithoutCancel(ctx), server)
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

func (a *app) shutdown(ctx context.Context, server *http.Server) error {
	a.log.Info("shutting down")
	hubCtx, cancel := context.WithTimeout(ctx, 2*a.drain+10*time.Second) // of which half is for moving clients
	defer cancel()
	hubErr := a.hub.Shutdown(hubCtx)
	serverCtx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	serverErr := server.Shutdown(serverCtx)
	if serverErr != nil {
		_ = server.Close() // whoever still reads after that time is cut off
	}
	return errors.Join(hubErr, serverErr)
}

// pageURL is where a person finds the page: a server that listens on every
// address is reached as localhost.
func pageURL(addr net.Addr) string {
	host, port, _ := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port) + "/"
}
