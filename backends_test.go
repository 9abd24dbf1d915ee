package gohub_test

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// The hub takes short cuts where it knows the Store and the Broker to be in
// memory: it stores in the publisher's goroutine, and delivers before a
// publish returns. What it does with all others is tested with the same two
// behind a plain interface, the Store being late.

// plainStore is a Store of no known kind. Now and then it takes its time.
type plainStore struct {
	gohub.Store
	calls *atomic.Int32
}

func (s plainStore) Append(ctx context.Context, batch []gohub.Message) ([]gohub.Ordered, error) {
	if s.calls.Add(1)%8 == 0 {
		time.Sleep(time.Millisecond)
	}
	return s.Store.Append(ctx, batch)
}

// plainBroker is a Broker of no known kind.
type plainBroker struct{ gohub.Broker }

// kinds make a Config of each kind. They are called where it is used, in the
// bubble of a test in virtual time for instance.
var kinds = map[string]func(gohub.Config) gohub.Config{
	"memory": func(cfg gohub.Config) gohub.Config { return cfg }, "plain": plain,
}

// backends runs f once with each kind.
func backends(t *testing.T, f func(t *testing.T, kind func(gohub.Config) gohub.Config)) {
	t.Helper()
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, kind)
		})
	}
}

// plain gives cfg a Store and a Broker of no known kind.
func plain(cfg gohub.Config) gohub.Config {
	if cfg.Store == nil {
		cfg.Store = gohub.NewMemoryStore(gohub.MemoryStoreOptions{})
	}
	if cfg.Broker == nil {
		cfg.Broker = gohub.NewMemoryBroker()
	}
	cfg.Store, cfg.Broker = plainStore{cfg.Store, new(atomic.Int32)}, plainBroker{cfg.Broker}
	return cfg
}

// ready waits until the hub runs on its Broker: one of no known kind may take a
// moment.
func ready(t *testing.T, hub *gohub.Hub, b gohub.Broker) {
	t.Helper()
	for deadline := time.Now().Add(patience); b != nil && !runs(hub, b); runtime.Gosched() {
		require.True(t, time.Now().Before(deadline), "the broker does not run")
	}
}

// runs reports whether the hub does, where others may on the same Broker; or
// one of them.
func runs(hub *gohub.Hub, b gohub.Broker) bool {
	switch b := b.(type) {
	case plainBroker:
		return runs(hub, b.Broker)
	case *lateBroker:
		return runs(hub, b.Broker)
	case *gohub.MemoryBroker:
		return gohub.RunsOn(b, hub)
	}
	_, _, err := b.Log(context.Background(), gohub.RoomID{Name: "any"}, 0, 1)
	return err == nil
}

// A pausingStore stops once, after it has read a page of history that paused
// asks for and before it hands it out.
type pausingStore struct {
	gohub.Store
	paused  func(q gohub.Query) bool
	once    sync.Once
	reached chan struct{}
	resume  chan struct{}
}

func newPausingStore(s gohub.Store, paused func(q gohub.Query) bool) *pausingStore {
	return &pausingStore{Store: s, paused: paused, reached: make(chan struct{}), resume: make(chan struct{})}
}

// await waits for it to stop.
func (s *pausingStore) await(t *testing.T) {
	t.Helper()
	select {
	case <-s.reached:
	case <-time.After(patience):
		require.FailNow(t, "the Store was not asked")
	}
}

func (s *pausingStore) History(ctx context.Context, q gohub.Query) ([]gohub.Message, bool, error) {
	ms, more, err := s.Store.History(ctx, q)
	if s.paused(q) {
		s.once.Do(func() {
			close(s.reached)
			<-s.resume
		})
	}
	return ms, more, err
}
