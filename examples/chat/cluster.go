package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/redis/rueidis"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/cluster/redis"
)

// A cluster is what joins this node with others.
type cluster struct {
	broker gohub.Broker // nil: it is alone
	close  func()       // after the hub
}

// joinCluster connects to the Redis that conf names, if it does.
func joinCluster(ctx context.Context, conf config, log *slog.Logger) (cluster, error) {
	if conf.redis == "" {
		return cluster{close: func() {}}, nil
	}
	o, err := rueidis.ParseURL(conf.redis)
	if err != nil {
		return cluster{}, fmt.Errorf("-redis is no URL of a Redis: want redis://host:port") // err may have the password
	}
	client, err := rueidis.NewClient(redis.Defaults(o))
	if err != nil {
		return cluster{}, fmt.Errorf("-redis: %w", err)
	}
	broker, err := redis.New(ctx, client, redis.Options{Node: conf.node, Logger: log})
	if err != nil {
		client.Close()
		return cluster{}, err
	}
	return cluster{broker, client.Close}, nil
}
