// Command page is the smallest chat there is: a hub, and one page of HTML that
// needs no build, since the program serves the JavaScript client as well.
//
//	go run ./examples/page
//
// Whoever comes says who they are, and is believed: it is a demonstration.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/clients/js"
)

//go:embed index.html
var page []byte

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	addr := flag.String("addr", "127.0.0.1:8080", "where to listen; port 0 takes a free one")
	flag.Parse()
	if err := run(ctx, *addr); err != nil {
		slog.Error("page", "err", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, addr string) error {
	hub, err := gohub.New(gohub.Config{Authenticator: gohub.AuthenticatorFunc(whoever)}) //nolint:contextcheck // the hub ends by its Shutdown, not with a context
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /ws", hub.Handler())
	mux.Handle("GET /gohub.js", js.Handler())
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(page) })

	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return errors.Join(err, hub.Shutdown(ctx))
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }() // ends with Shutdown or Close below
	fmt.Printf("chat at http://%s/\n", ln.Addr())
	select {
	case <-ctx.Done():
	case err = <-served:
		served <- http.ErrServerClosed
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	err = errors.Join(err, hub.Shutdown(ctx), server.Shutdown(ctx), server.Close())
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

// whoever takes the user's word for it. A real service looks at its session.
func whoever(r *http.Request) (gohub.Identity, error) {
	user := r.URL.Query().Get("user")
	if user == "" {
		return gohub.Identity{}, gohub.Errorf(gohub.CodeUnauthorized, "say who you are")
	}
	return gohub.Identity{User: user}, nil
}
