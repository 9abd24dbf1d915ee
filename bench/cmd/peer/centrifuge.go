package main

import (
	"context"
	"net/http"
	"time"

	"github.com/centrifugal/centrifuge"
)

// centrifuge as its README has it, JSON protocol. As it comes it joins up to 16
// messages a frame; tuned, it waits for more of them, though not with replies, and
// keeps small buffers: the options of ConnectReply that it has against many writes.
// With -presence it keeps who is in a channel and tells the others of each who comes
// and goes, at once. gohub always does, but gathers them for 0.2 to 0.8 s.
func newCentrifuge(o options) (http.Handler, error) {
	node, err := centrifuge.New(centrifuge.Config{LogLevel: centrifuge.LogLevelNone})
	if err != nil {
		return nil, err
	}
	if o.redis != "" {
		if err := overRedis(node, o.redis); err != nil {
			return nil, err
		}
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		if !o.tuned {
			return centrifuge.ConnectReply{}, nil
		}
		return centrifuge.ConnectReply{WriteDelay: 10 * time.Millisecond, ReplyWithoutQueue: true, MaxMessagesInFrame: -1, QueueInitialCap: 1}, nil
	})
	var publishing centrifuge.PublishOptions
	if o.history {
		publishing = centrifuge.PublishOptions{HistorySize: 1000, HistoryTTL: 2 * time.Minute}
	}
	node.OnConnect(func(c *centrifuge.Client) {
		c.OnSubscribe(func(_ centrifuge.SubscribeEvent, answer centrifuge.SubscribeCallback) {
			answer(centrifuge.SubscribeReply{Options: centrifuge.SubscribeOptions{
				EnableRecovery: o.history, EmitPresence: o.presence, EmitJoinLeave: o.presence, PushJoinLeave: o.presence,
			}}, nil)
		})
		c.OnPublish(func(_ centrifuge.PublishEvent, answer centrifuge.PublishCallback) {
			answer(centrifuge.PublishReply{Options: publishing}, nil)
		})
	})
	if err := node.Run(); err != nil {
		return nil, err
	}
	cfg := centrifuge.WebsocketConfig{}
	if o.tuned {
		cfg = centrifuge.WebsocketConfig{UseWriteBufferPool: true, ReadBufferSize: 512, WriteBufferSize: 1024}
	}
	h := centrifuge.NewWebsocketHandler(node, cfg)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := &centrifuge.Credentials{UserID: r.URL.Query().Get("user")}
		h.ServeHTTP(w, r.WithContext(centrifuge.SetCredentials(r.Context(), who)))
	}), nil
}

func overRedis(node *centrifuge.Node, addr string) error {
	shard, err := centrifuge.NewRedisShard(node, centrifuge.RedisShardConfig{Address: addr})
	if err != nil {
		return err
	}
	broker, err := centrifuge.NewRedisBroker(node, centrifuge.RedisBrokerConfig{Shards: []*centrifuge.RedisShard{shard}})
	if err != nil {
		return err
	}
	node.SetBroker(broker)
	return nil
}
