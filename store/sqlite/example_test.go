package sqlite_test

import (
	"context"
	"log"
	"net/http"
	"time"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/store/sqlite"
)

// A hub whose history survives its process, trimmed once an hour.
func Example() {
	store, err := sqlite.Open("chat.db", sqlite.Options{})
	if err != nil {
		log.Fatal(err)
	}
	hub, err := gohub.New(gohub.Config{
		Store: store,
		Authenticator: gohub.AuthenticatorFunc(func(r *http.Request) (gohub.Identity, error) {
			user, _, ok := r.BasicAuth()
			if !ok {
				return gohub.Identity{}, gohub.Errorf(gohub.CodeUnauthorized, "log in first")
			}
			return gohub.Identity{User: user}, nil
		}),
	})
	if err != nil {
		log.Fatal(err)
	}

	ctx, stop := context.WithCancel(context.Background())
	trimmed := make(chan struct{})
	go func() {
		defer close(trimmed)
		for {
			n, err := store.Trim(ctx, sqlite.Retention{MaxAge: 90 * 24 * time.Hour, MaxPerRoom: 100_000})
			log.Print("trimmed ", n, " messages: ", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Hour):
			}
		}
	}()

	// … serve hub.Handler() …

	// The hub first, so that what is under way is stored.
	if err := hub.Shutdown(ctx); err != nil {
		log.Print(err)
	}
	stop()
	<-trimmed
	if err := store.Close(); err != nil {
		log.Print(err)
	}
}
