package redis

import (
	"context"
	"time"

	"github.com/gohub/gohub"
)

var _ gohub.Directory = (*Broker)(nil)

// To be built, each in a file of its own.

// Serve begins to tell l; see [gohub.Directory].
func (b *Broker) Serve(l gohub.Listener, self gohub.Node) { b.listener.Store(&l) }

// Leave says that this node ends; see [gohub.Directory]. Its users are there for
// another five seconds.
func (b *Broker) Leave(ctx context.Context, l gohub.Listener) { b.leave(ctx) }
func (b *Broker) Nodes() []gohub.Node                         { return nil }
func (b *Broker) PutTicket(ctx context.Context, id string, ticket []byte, life time.Duration) error {
	return gohub.ErrUnavailable
}

func (b *Broker) TakeTicket(ctx context.Context, id string) ([]byte, error) {
	return nil, gohub.ErrUnavailable
}
