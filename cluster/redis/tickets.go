package redis

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"github.com/gohub/gohub"
)

// PutTicket keeps a ticket for life, by the server's clock; see
// [gohub.Directory].
func (b *Broker) PutTicket(ctx context.Context, id string, ticket []byte, life time.Duration) error {
	p, _, err := b.inTouch(ctx, id)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, b.o.Timeout)
	defer cancel()
	c := b.client
	err = c.Do(ctx, c.B().Set().Key(p.keys.ticket(id)).Value(rueidis.BinaryString(ticket)).
		PxMilliseconds(max(life.Milliseconds(), 1)).Build()).Error()
	if err != nil {
		return fmt.Errorf("%w: %w", gohub.ErrUnavailable, err)
	}
	return nil
}

// TakeTicket gives a ticket to one caller on one node; see [gohub.Directory].
// An error leaves open whether it is there still.
func (b *Broker) TakeTicket(ctx context.Context, id string) ([]byte, error) {
	p, _, err := b.inTouch(ctx, id)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, b.o.Timeout)
	defer cancel()
	c := b.client
	ticket, err := c.Do(ctx, c.B().Getdel().Key(p.keys.ticket(id)).Build()).AsBytes()
	switch {
	case rueidis.IsRedisNil(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%w: %w", gohub.ErrUnavailable, err)
	}
	return ticket, nil
}
