package gohub

import (
	"context"
	"errors"
	"slices"
	"time"
)

// orphansEvery is how often a hub asks its Broker for what dead nodes have
// left. The Broker decides when a node is dead.
const orphansEvery = 5 * time.Second

// adopt stores what dead nodes have ordered and not stored; it ends with ctx.
func (h *Hub) adopt(ctx context.Context) {
	tick := time.NewTicker(orphansEvery)
	defer tick.Stop()
	for {
		err := h.broker.Orphans(ctx, func(ms []Message) error { return h.adoptBatch(ctx, ms) })
		if err != nil && ctx.Err() == nil && !errors.Is(err, ErrUnavailable) {
			h.log.Warn("messages of a dead node are not stored yet", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// adoptBatch appends a batch without the rows that can never be stored: their
// senders' own hubs would have refused them, too.
func (h *Hub) adoptBatch(ctx context.Context, ms []Message) error {
	ms = slices.Clone(ms)
	for len(ms) > 0 {
		_, err := h.store.Append(ctx, ms)
		var row *RowError
		if !errors.As(err, &row) || row.Index < 0 || row.Index >= len(ms) {
			return err
		}
		h.log.Error("message of a dead node cannot be stored", "room", ms[row.Index].Room, "id", ms[row.Index].ID, "err", row.Err)
		ms = slices.Delete(ms, row.Index, row.Index+1)
	}
	return nil
}
