package redis

import (
	"context"
	"time"

	"github.com/gohub/gohub"
)

var _ gohub.Directory = (*Broker)(nil)

// To be built, each in a file of its own.

func (b *Broker) Serve(l gohub.Listener, self gohub.Node)     {}
func (b *Broker) Leave(ctx context.Context, l gohub.Listener) {}
func (b *Broker) Nodes() []gohub.Node                         { return nil }
func (b *Broker) Claim(ctx context.Context, c gohub.Claim) (int64, error) {
	return 0, gohub.ErrUnavailable
}
func (b *Broker) Lost(ctx context.Context, held []gohub.Claim) ([]gohub.Claim, error) {
	return nil, gohub.ErrUnavailable
}
func (b *Broker) Announce(ctx context.Context, room gohub.RoomID, users []gohub.PresentUser, all bool) error {
	return gohub.ErrUnavailable
}
func (b *Broker) Present(ctx context.Context, room gohub.RoomID, cursor string, limit int) (gohub.PresencePage, error) {
	return gohub.PresencePage{}, gohub.ErrUnavailable
}
func (b *Broker) PutTicket(ctx context.Context, id string, ticket []byte, life time.Duration) error {
	return gohub.ErrUnavailable
}
func (b *Broker) TakeTicket(ctx context.Context, id string) ([]byte, error) {
	return nil, gohub.ErrUnavailable
}
