package gohub_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// orphanBroker has messages of a dead node until they are stored.
type orphanBroker struct {
	gohub.Broker
	mu   sync.Mutex // guards left
	left []gohub.Message
}

func (b *orphanBroker) Orphans(_ context.Context, store func([]gohub.Message) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.left) == 0 {
		return nil
	}
	if err := store(b.left); err != nil {
		return err
	}
	b.left = nil
	return nil
}

// pickyStore fails at first, and can never store what is Binary.
type pickyStore struct {
	gohub.Store
	failed bool
}

func (s *pickyStore) Append(ctx context.Context, batch []gohub.Message) ([]gohub.Ordered, error) {
	if !s.failed {
		s.failed = true
		return nil, errors.New("not yet")
	}
	if i := slices.IndexFunc(batch, func(m gohub.Message) bool { return m.Binary }); i >= 0 {
		return nil, &gohub.RowError{Index: i, Err: errors.New("never")}
	}
	return s.Store.Append(ctx, batch)
}

// A hub stores what dead nodes have left, but for what can never be stored.
func TestOrphansAreStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := gohub.RoomID{Name: "lobby"}
		b := &orphanBroker{Broker: gohub.NewMemoryBroker()}
		for i := range 3 {
			b.left = append(b.left, gohub.Message{Room: room, ID: gohub.NewID(), Seq: int64(i + 1), Sender: "alice", Kind: "chat", Body: []byte(`1`), Binary: i == 1})
		}
		want := []gohub.Message{b.left[0], b.left[2]}
		store := &pickyStore{Store: gohub.NewMemoryStore(gohub.MemoryStoreOptions{})}
		hub, err := gohub.New(forTests(gohub.Config{Store: store, Broker: b}))
		require.NoError(t, err)
		time.Sleep(6 * time.Second) // tried every five
		got, _, err := store.History(t.Context(), gohub.Query{Room: room, Limit: 10})
		require.NoError(t, err)
		require.Equal(t, want, got)
		b.mu.Lock()
		require.Empty(t, b.left)
		b.mu.Unlock()
		require.NoError(t, hub.Shutdown(t.Context()))
	})
}
