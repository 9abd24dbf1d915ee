//go:build redisbroker

package redis

import (
	"context"

	"github.com/gohub/gohub"
)

var _ gohub.Directory = (*Broker)(nil)

// To be built, each in a file of its own.

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
