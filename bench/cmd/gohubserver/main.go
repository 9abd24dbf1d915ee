// Command gohubserver is a hub with everything on that gohub promises: order,
// deduplication, acks after the store, replay, presence, limits. Only the rate
// limit is set out of reach, and anyone is who ?user= says.
//
//	gohubserver -addr 127.0.0.1:9001 -debug 127.0.0.1:9002
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/bench/internal/debug"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:9001", "where clients connect, at /ws")
	debugAddr := flag.String("debug", "127.0.0.1:9002", "where /debug answers")
	flag.Parse()
	if err := serve(*addr, *debugAddr); err != nil {
		log.Fatal(err)
	}
}

func serve(addr, debugAddr string) error {
	if err := debug.Serve(debugAddr); err != nil {
		return err
	}
	hub, err := gohub.New(gohub.Config{
		Authenticator: gohub.AuthenticatorFunc(func(r *http.Request) (gohub.Identity, error) {
			return gohub.Identity{User: r.URL.Query().Get("user")}, nil
		}),
		RateLimiter: gohub.NewRateLimiter(gohub.Rate{Frames: 1e6, Bytes: 1e9}),
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/ws", hub.Handler())
	server := &http.Server{Addr: addr, Handler: mux, ReadHeaderTimeout: 10 * time.Second}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }() // ends with Shutdown below
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	bounded, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err = hub.Shutdown(bounded)
	return errors.Join(err, server.Shutdown(bounded))
}
