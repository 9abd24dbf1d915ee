// Command gohubserver is a hub with everything on that gohub promises: order,
// deduplication, acks after the store, replay, presence, limits. Only the rate
// limit is set out of reach, unless -defaults, and anyone is who ?user= says;
// nobody without it. The page /debug/stats has the hub's Stats, /debug/store what
// its Store did, if it has been given one.
//
//	gohubserver -addr 127.0.0.1:9001 -debug 127.0.0.1:9002
//	gohubserver -postgres 'postgres://…?pool_max_conns=16'
//	gohubserver -sqlite DIR
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"net"
	"net/http"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/rueidis"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/bench/internal/debug"
	"github.com/gohub/gohub/bench/internal/tokens"
	"github.com/gohub/gohub/cluster/redis"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:9001", "where clients connect, at /ws")
	debugAddr := flag.String("debug", "127.0.0.1:9002", "where /debug answers")
	defaults := flag.Bool("defaults", false, "the library's own limits, behind the http.Server and the listener that docs/limits.md recommends")
	recommended := flag.Bool("recommended", false, "the same, and limits by address as docs/limits.md recommends them")
	checked := flag.Bool("tokens", false, "who brings a token is checked by package auth, and ?user= is for those who do not")
	ping := flag.Duration("ping", 0, "Config.PingInterval; 0: the library's default")
	dsn := flag.String("postgres", "", "keep everything in this database; default: memory")
	redisAddr := flag.String("redis", "", "host:port of the Redis that joins this server with others")
	dir := flag.String("sqlite", "", "keep everything in a file in this directory")
	rows := flag.Int("fill", 0, "messages to store in the room "+filledRoom+" first")
	flag.StringVar(&certFile, "cert", "", "file with a certificate: TLS")
	flag.StringVar(&keyFile, "key", "", "file with its key")
	flag.Parse()
	cfg := gohub.Config{PingInterval: *ping}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 10 * time.Second}
	if *recommended {
		cfg.MaxConnsPerIP, cfg.HandshakeRatePerIP = 50, 5
	}
	if *defaults || *recommended {
		listener = gohub.PacedListener
		server = &http.Server{ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10, IdleTimeout: time.Minute}
	} else { // everything is counted and observed, and nothing refused
		cfg.RateLimiter = gohub.NewRateLimiter(gohub.Rate{Frames: 1e6, Bytes: 1e9})
		cfg.MaxConns, cfg.MaxConnsPerIP = 1e6, 1e6
		cfg.HandshakeRate, cfg.HandshakeRatePerIP = 1e6, 1e6
		var sessions, stored atomic.Int64
		cfg.Observer = gohub.Observer{
			SessionOpened: func(*gohub.Client) { sessions.Add(1) },
			SessionClosed: func(*gohub.Client, gohub.SessionEnd) { sessions.Add(-1) },
			Stored:        func(gohub.Message, time.Duration) { stored.Add(1) },
		}
	}
	if *checked {
		var err error
		if cfg.Authenticator, err = tokens.New(tokens.KeyID, tokens.KeyID); err != nil {
			log.Fatal(err)
		}
	}
	server.Addr = *addr
	if *redisAddr != "" {
		broker, closing, err := joinCluster(context.Background(), *redisAddr)
		if err != nil {
			log.Fatal(err)
		}
		defer closing()
		cfg.Broker = broker
	}
	if err := run(server, *debugAddr, *dsn, *dir, *rows, cfg); err != nil {
		log.Fatal(err) //nolint:gocritic // the process ends, and its connections with it
	}
}

func joinCluster(ctx context.Context, addr string) (gohub.Broker, func(), error) {
	client, err := rueidis.NewClient(redis.Defaults(rueidis.ClientOption{InitAddress: []string{addr}}))
	if err != nil {
		return nil, nil, err
	}
	broker, err := redis.New(ctx, client, redis.Options{})
	if err != nil {
		client.Close()
		return nil, nil, err
	}
	return broker, client.Close, nil
}

// listener is gohub.PacedListener with -defaults and -recommended.
var listener = func(l net.Listener) net.Listener { return l }

// certFile and keyFile are for TLS; empty: none.
var certFile, keyFile string

func listen(s *http.Server) error {
	l, err := net.Listen("tcp", s.Addr)
	if err != nil {
		return err
	}
	if certFile != "" {
		return s.ServeTLS(listener(l), certFile, keyFile)
	}
	return s.Serve(listener(l))
}

// filledRoom is cmd/load's first.
const filledRoom = "bench-10000"

func run(server *http.Server, debugAddr, dsn, dir string, rows int, cfg gohub.Config) error {
	ctx := context.Background()
	store, closing, err := openStore(ctx, dsn, dir)
	if err != nil {
		return err
	}
	if store != nil {
		cfg.Store = store
		err = fill(ctx, store, filledRoom, rows)
	}
	if err == nil {
		err = serve(server, debugAddr, cfg)
	}
	return errors.Join(err, closing())
}

func serve(server *http.Server, debugAddr string, cfg gohub.Config) error {
	if err := debug.Serve(debugAddr); err != nil {
		return err
	}
	check := cfg.Authenticator
	cfg.Authenticator = gohub.AuthenticatorFunc(func(r *http.Request) (gohub.Identity, error) {
		if check != nil && r.Header.Get("Authorization") != "" {
			return check.Authenticate(r)
		}
		user := r.URL.Query().Get("user")
		if user == "" {
			return gohub.Identity{}, gohub.Errorf(gohub.CodeUnauthorized, "who are you?")
		}
		return gohub.Identity{User: user}, nil
	})
	hub, err := gohub.New(cfg)
	if err != nil {
		return err
	}
	for cfg.Broker != nil { // a cluster begins when Redis has been empty for a while
		_, err := hub.Publish(context.Background(), gohub.Message{Room: gohub.RoomID{Name: "begun"}, Sender: "bench", Body: []byte("1")})
		if err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	debug.Handle("GET /debug/stats", func() any { return hub.Stats() })
	mux := http.NewServeMux()
	mux.Handle("/ws", hub.Handler())
	server.Handler = mux

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	failed := make(chan error, 1)
	go func() { failed <- listen(server) }() // ends with Shutdown below
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
