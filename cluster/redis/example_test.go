package redis_test

import (
	"context"
	"log"
	"net/http"

	"github.com/redis/rueidis"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/cluster/redis"
)

// A hub that is one of several. The Store is one that all of them share, such
// as Postgres.
func Example() {
	var store gohub.Store // postgres.New(…)
	var auth gohub.Authenticator
	ctx := context.Background()

	client, err := rueidis.NewClient(redis.Defaults(rueidis.ClientOption{InitAddress: []string{"redis:6379"}}))
	if err != nil {
		log.Fatal(err)
	}
	broker, err := redis.New(ctx, client, redis.Options{})
	if err != nil {
		log.Fatal(err)
	}
	hub, err := gohub.New(gohub.Config{Node: "chat-1", Broker: broker, Store: store, Authenticator: auth}) // no two Nodes are the same
	if err != nil {
		log.Fatal(err)
	}
	log.Print(http.ListenAndServe(":8080", hub.Handler()))
	_ = hub.Shutdown(ctx)
	client.Close()
}
