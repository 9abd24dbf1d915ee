//go:build unix

package postgres_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/hubtest"
	"github.com/gohub/gohub/internal/pgtest"
	"github.com/gohub/gohub/store/postgres"
)

// A queue is a hub with messages that wait for a server which is frozen.
type queue struct {
	hub     *gohub.Hub
	store   gohub.Store
	appends atomic.Int64 // that have not returned
	clients []*hubtest.Client
	ids     [][]string // what each client has published, in a room of its own
}

// underWay counts the Appends of a Store that have not returned.
type underWay struct {
	gohub.Store
	appends *atomic.Int64
}

func (s underWay) Append(ctx context.Context, batch []gohub.Message) ([]gohub.Ordered, error) {
	s.appends.Add(1)
	defer s.appends.Add(-1)
	return s.Store.Append(ctx, batch)
}

// fillQueue freezes the server and publishes.
func fillQueue(t *testing.T, server *pgtest.Server, clients, each int) *queue {
	t.Helper()
	q := &queue{store: open(t, connect(t, server.URL("postgres")), postgres.Options{Timeout: -1})}
	var err error
	q.hub, err = gohub.New(hubtest.Config(t, gohub.Config{
		Store: underWay{q.store, &q.appends}, MaxPending: 2 * clients * each, DrainTime: time.Second, Logger: slog.New(slog.DiscardHandler),
	}))
	require.NoError(t, err)
	serve := hubtest.Serve(t, q.hub.Handler())
	serve.Patience = time.Minute
	t.Cleanup(func() { _ = q.hub.Shutdown(context.Background()) }) // it has been
	for i := range clients {
		c := serve.Dial(fmt.Sprint("user", i))
		c.Join(fmt.Sprint("room", i))
		q.clients = append(q.clients, c)
	}
	require.NoError(t, server.Freeze())
	for i, c := range q.clients {
		ids := make([]string, each)
		for n := range ids {
			ids[n] = c.Publish(fmt.Sprint("room", i), n)
		}
		q.ids = append(q.ids, ids)
	}
	for i, c := range q.clients {
		c.Expect("message", "id", q.ids[i][each-1]) // what is only reserved may still be refused when the hub ends
	}
	require.EqualValues(t, clients*each, q.hub.Stats().Uncommitted)
	return q
}

// stored reads a client's room.
func (q *queue) stored(t *testing.T, i int) []gohub.Message {
	t.Helper()
	ms, more, err := q.store.History(t.Context(), gohub.Query{Room: gohub.RoomID{Name: fmt.Sprint("room", i)}, Limit: 1_000_000})
	require.NoError(t, err)
	require.False(t, more)
	return ms
}

// A hub that shall end while 50,000 messages wait stores and acks every one,
// once its server comes back in time.
func TestShutdownStoresTheQueue(t *testing.T) {
	t.Parallel()
	const clients, each = 100, 500
	server := pgtest.New(t)
	began := time.Now()
	q := fillQueue(t, server, clients, each)
	t.Logf("%d messages queued in %v", clients*each, time.Since(began).Round(time.Millisecond))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	down := make(chan error, 1)
	go func() { down <- q.hub.Shutdown(ctx) }()
	for _, c := range q.clients {
		c.Expect("goaway")
	}
	require.Empty(t, down)
	began = time.Now()
	require.NoError(t, server.Thaw())
	require.NoError(t, <-down)
	t.Logf("stored and shut down %v after the server's return", time.Since(began).Round(time.Millisecond))
	for i, c := range q.clients {
		ms := q.stored(t, i)
		require.Len(t, ms, each)
		for n, m := range ms {
			require.Equal(t, q.ids[i][n], m.ID, "in the order they were published")
			require.Equal(t, m.Seq, c.ExpectAck(m.ID).Seq)
		}
		c.ExpectClose(gohub.CloseRestart)
	}
}

// When the server does not come back in time, Shutdown ends all the same, says
// how many messages it has given up, and has acked none of them.
func TestShutdownGivesTheQueueUp(t *testing.T) {
	t.Parallel()
	const clients, each, allowed = 20, 100, 2 * time.Second
	server := pgtest.New(t)
	q := fillQueue(t, server, clients, each)
	ctx, cancel := context.WithTimeout(t.Context(), allowed)
	defer cancel()
	began := time.Now()
	err := q.hub.Shutdown(ctx)
	took := time.Since(began)
	var lost *gohub.DrainError
	require.ErrorAs(t, err, &lost)
	require.EqualValues(t, clients*each, lost.Unstored)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, took, allowed+patience)
	require.Eventually(t, func() bool { return q.appends.Load() == 0 }, patience, time.Millisecond,
		"what does not answer is waited for half a second more")
	t.Logf("%v after %v", err, took.Round(time.Millisecond))
	require.NoError(t, server.Thaw())
	for i, c := range q.clients {
		c.ExpectNo("ack")
		// What the server had been sent may be stored by now, once: a client's
		// repetition gets its seq.
		ms := q.stored(t, i)
		require.LessOrEqual(t, len(ms), each)
		for n, m := range ms {
			require.Equal(t, q.ids[i][n], m.ID)
		}
	}
}
