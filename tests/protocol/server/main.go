// Server is the hub that the protocol tests talk to: the library as it comes,
// behind a login that believes whatever the query says. For tests only.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/gohub/gohub"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	addr := flag.String("addr", "127.0.0.1:0", "where to listen; the first line of stdout tells the result")
	rate := flag.Float64("rate", 100_000, "frames a second that a session may send")
	ping := flag.Duration("ping", 0, "how long a session may be silent; 0: the default")
	drain := flag.Duration("drain", 5*time.Second, "how long a shutdown may take")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()

	hub, err := gohub.New(gohub.Config{
		Authenticator: gohub.AuthenticatorFunc(login),
		RateLimiter:   gohub.NewRateLimiter(gohub.Rate{Frames: *rate, Bytes: 1 << 30}),
		Node:          "test-node",
		PingInterval:  *ping,
		Logger:        slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	type say struct {
		Say string `json:"say"`
	}
	type said struct {
		Said string `json:"said"`
		User string `json:"user"`
	}
	gohub.Handle(hub, "echo", func(_ context.Context, c *gohub.Client, in say) (said, error) {
		if in.Say == "" {
			return said{}, gohub.Errorf(gohub.CodeForbidden, "nothing to say")
		}
		return said{Said: in.Say, User: c.User()}, nil
	})

	mux := http.NewServeMux()
	mux.Handle("/ws", hub.Handler())
	mux.HandleFunc("POST /kick", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		_, _ = fmt.Fprint(w, hub.Kick(q.Get("tenant"), q.Get("user"), "kicked by a test"))
	})

	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }() // ends with Shutdown below
	fmt.Println(listener.Addr())

	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), *drain)
	defer cancel()
	return errors.Join(hub.Shutdown(ctx), server.Shutdown(ctx))
}

// login takes the identity from the query: user, name, device, tenant and
// ttl_ms, after which it expires.
func login(r *http.Request) (gohub.Identity, error) {
	q := r.URL.Query()
	who := gohub.Identity{User: q.Get("user"), Name: q.Get("name"), Device: q.Get("device"), Tenant: q.Get("tenant")}
	if who.User == "" {
		return who, gohub.Errorf(gohub.CodeUnauthorized, "no user in the query")
	}
	if ttl := q.Get("ttl_ms"); ttl != "" {
		ms, err := strconv.Atoi(ttl)
		if err != nil {
			return who, gohub.Errorf(gohub.CodeUnauthorized, "ttl_ms: %v", err)
		}
		who.ExpiresAt = time.Now().Add(time.Duration(ms) * time.Millisecond)
	}
	return who, nil
}
