// Command chat is gohub's reference server: a chat with rooms, direct
// messages and a page to use them from, in one process or several.
//
//	go run ./examples/chat          # history in ./chat-data
//	go run ./examples/chat -tls     # https://localhost:8080
//	go run ./examples/chat trust    # have this machine's browsers trust that
//
// Logging in takes a name and no password. It is a demonstration: put a real
// login in front before letting strangers in.
package main

import (
	"context"
	"crypto/tls"
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
	"github.com/gohub/gohub/auth"
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
	if len(args) > 0 && args[0] == "trust" {
		return runTrust(ctx, args[1:], stdout, stderr)
	}
	conf, err := parseConfig(args, getenv, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "%v\n", err)
		return 2
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	secure, advice, err := tlsConfig(conf)
	if err != nil {
		log.Error("certificate", "error", err)
		return 1
	}
	past, err := openHistory(ctx, conf)
	if err != nil {
		log.Error("history", "error", err)
		return 1
	}
	others, err := joinCluster(ctx, conf, log)
	if err != nil {
		log.Error("cluster", "error", errors.Join(err, past.close()))
		return 1
	}
	app, err := newApp(conf, past, others, log)
	if err != nil {
		others.close()
		_, _ = fmt.Fprintf(stderr, "%v\n", errors.Join(err, past.close()))
		return 2
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", conf.addr)
	if err == nil {
		_, _ = fmt.Fprintf(stdout, "gohub chat: %s\nHistory is %s.\n%s", pageURL(ln.Addr(), secure != nil, conf.cert == ""), past.where, advice)
		err = app.serve(ctx, ln, secure)
	} else {
		err = errors.Join(err, app.hub.Shutdown(context.WithoutCancel(ctx)))
	}
	others.close()
	if err = errors.Join(err, past.close()); err != nil { // when the hub has stored what it had
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

// newApp puts a hub on a history, and among others.
func newApp(conf config, past history, others cluster, log *slog.Logger) (*app, error) {
	var hub *gohub.Hub // who is logged out leaves it
	users, logins, err := newAuth(conf, past.accounts, log, func(ctx context.Context, who gohub.Identity, why string) error {
		return hub.Revoke(ctx, gohub.Revocation{Tenant: who.Tenant, User: who.User, Login: who.Login, Reason: why})
	})
	if err != nil {
		return nil, err
	}
	cors, err := auth.CORS(auth.CORSConfig{Origins: conf.origins})
	if err != nil {
		return nil, fmt.Errorf("-origins: %w", err)
	}
	files, err := newStatic()
	if err != nil {
		return nil, err
	}
	settings := gohub.Config{
		Authenticator: fromPage(users),
		Store:         past.store,
		Broker:        others.broker,
		Node:          conf.node,
		URL:           conf.url,
		DrainTime:     conf.drainTime(),
		Origins:       conf.origins,
		RateLimiter:   gohub.NewRateLimiter(conf.sessionRate()),
		Logger:        log,
	}
	conf.limitAddresses(&settings)
	hub, err = gohub.New(settings)
	if err != nil {
		return nil, err
	}
	hub.Commands(commands(hub)...)
	a := &app{hub: hub, log: log, drain: conf.drain}

	mux := http.NewServeMux()
	mux.Handle("/ws", hub.Handler())
	mux.HandleFunc("GET /healthz", answer(hub.Health, "ok"))
	mux.HandleFunc("GET /readyz", answer(hub.Ready, "ready"))
	for _, path := range []string{"/healthz", "/readyz"} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", http.MethodGet)
			problem{http.StatusMethodNotAllowed, "use GET"}.write(w)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		problem{http.StatusNotFound, "there is nothing here"}.write(w)
	})
	routeCluster(mux, hub, users)
	files.route(mux)
	(&pages{hub, past.store, files, users, logins, conf.secure()}).route(mux)

	a.handler = withSecurityHeaders(conf, cors(mux))
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

// server is what serves the routes, and what bounds who has not asked for
// anything yet.
func (a *app) server(secure *tls.Config) *http.Server {
	return &http.Server{
		Handler:           a.handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       15 * time.Second, // until a connection becomes a WebSocket
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		TLSConfig:         secure,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
}

// serve answers on ln, with TLS if there is a configuration of it, until ctx
// ends, then lets everyone go: first the hub's sessions, which http.Server does
// not know, then the plain requests.
func (a *app) serve(ctx context.Context, ln net.Listener, secure *tls.Config) error {
	server := a.server(secure)
	ln = gohub.PacedListener(ln)
	served := make(chan error, 1)
	go func() { // ends with Shutdown or Close below
		if secure != nil {
			served <- server.ServeTLS(ln, "", "")
			return
		}
		served <- server.Serve(ln)
	}()

	select {
	case err := <-served:
		return errors.Join(err, a.shutdown(context.WithoutCancel(ctx), server))
	case <-ctx.Done():
	}
	err := a.shutdown(context.WithoutCancel(ctx), server)
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
	serverCtx, cancel := context.WithTimeout(ctx, 8*time.Second) // net/http waits 5 s for the request of a connection that is new
	defer cancel()
	serverErr := server.Shutdown(serverCtx)
	if serverErr != nil {
		_ = server.Close() // whoever still reads after that time is cut off
	}
	return errors.Join(hubErr, serverErr)
}

// pageURL is where a person finds the page: a server that listens on every
// address is reached as localhost, and so is one with a certificate for this
// machine, because that is what people call it.
func pageURL(addr net.Addr, secure, local bool) string {
	host, port, _ := net.SplitHostPort(addr.String())
	scheme := "http"
	if secure {
		scheme = "https"
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() || secure && local {
		host = "localhost"
	}
	return scheme + "://" + net.JoinHostPort(host, port) + "/"
}
