package postgres_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/store/postgres"
)

func Example() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close() // after the hub
	store, err := postgres.New(ctx, pool, postgres.Options{})
	if err != nil {
		log.Fatal(err)
	}
	hub, err := gohub.New(gohub.Config{AllowAnonymous: true, Store: store})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = hub.Shutdown(ctx) }()
}

// An order and the message about it: both or neither.
func ExampleStore_PublishTx() {
	var (
		ctx   context.Context
		pool  *pgxpool.Pool
		store *postgres.Store
		hub   *gohub.Hub
	)
	relaying, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := store.Relay(relaying, hub) // beside hub, in every process that has one
		log.Print("relay: ", err)         // at the end that of its context
	}()

	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "update orders set state = 'paid' where id = $1", 42); err != nil {
			return err
		}
		body, err := json.Marshal(map[string]any{"order": 42, "state": "paid"})
		if err != nil {
			return err
		}
		return store.PublishTx(ctx, tx, gohub.Message{Room: gohub.RoomID{Name: "order-42"}, Sender: "shop", Body: body})
	})
	fmt.Println(err)

	stop() // before hub.Shutdown
	<-done
}

// A year of history, and no more than a million messages of one room.
func ExampleStore_Trim() {
	var (
		ctx   context.Context
		store *postgres.Store
	)
	for range time.Tick(time.Hour) {
		removed, err := store.Trim(ctx, postgres.Retention{MaxAge: 365 * 24 * time.Hour, MaxPerRoom: 1_000_000})
		fmt.Println(removed, err)
	}
}
