//go:build unix

package postgres_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/internal/pgtest"
	"github.com/gohub/gohub/store/postgres"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// newHub runs a hub on a store until the test ends.
func newHub(t testing.TB, s gohub.Store, broker gohub.Broker) *gohub.Hub {
	t.Helper()
	hub, err := gohub.New(gohub.Config{AllowAnonymous: true, Store: s, Broker: broker, Logger: slog.New(slog.DiscardHandler), DrainTime: -1})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, hub.Shutdown(ctx))
	})
	return hub
}

// relay runs a Relay until stop is called, or the test ends.
func relay(t testing.TB, s *postgres.Store, hub *gohub.Hub) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Relay(ctx, hub) })
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return stop
}

func bodies(t *testing.T, s gohub.Store, room gohub.RoomID) (list []string) {
	t.Helper()
	ms, more, err := s.History(t.Context(), gohub.Query{Room: room, Limit: 10_000})
	require.NoError(t, err)
	require.False(t, more)
	for _, m := range ms {
		list = append(list, string(m.Body))
	}
	return list
}

func waiting(t testing.TB, pool *pgxpool.Pool) (n int) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), "select count(*) from gohub.outbox where refused = ''").Scan(&n))
	return n
}

// The order and its message are there together, or neither is.
func TestPublishTx(t *testing.T) {
	t.Parallel()
	pool := connect(t, pgtest.Shared(t).Database(t))
	s := open(t, pool, postgres.Options{})
	_, err := pool.Exec(t.Context(), "create table orders (n int)")
	require.NoError(t, err)
	room := gohub.RoomID{Tenant: "acme", Name: "orders"}
	order := func(n int) func(tx pgx.Tx) error {
		return func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), "insert into orders values ($1)", n); err != nil {
				return err
			}
			for i := range 3 {
				m := gohub.Message{Room: room, Sender: "shop", Body: fmt.Append(nil, 10*n+i)}
				if err := s.PublishTx(t.Context(), tx, m); err != nil {
					return err
				}
			}
			if n == 2 {
				return context.Canceled // any error: rolled back
			}
			return nil
		}
	}
	relay(t, s, newHub(t, s, nil))
	require.NoError(t, pgx.BeginFunc(t.Context(), pool, order(1)))
	require.Error(t, pgx.BeginFunc(t.Context(), pool, order(2)))
	require.NoError(t, pgx.BeginFunc(t.Context(), pool, order(3)))
	want := []string{"10", "11", "12", "30", "31", "32"}
	require.Eventually(t, func() bool { return waiting(t, pool) == 0 }, patience, time.Millisecond)
	require.Equal(t, want, bodies(t, s, room))

	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	var e *gohub.Error
	for _, m := range []gohub.Message{
		{Room: gohub.RoomID{Name: "no room"}, Sender: "shop", Body: []byte("1")},
		{Room: room, Sender: "shop", Body: []byte("1"), ID: "no-uuid"},
		{Room: room, Sender: "no user", Body: []byte("1")},
		{Room: room, Sender: "shop", To: "no user", Body: []byte("1")},
		{Room: room, Sender: "shop", Body: []byte("1"), Kind: "NO"},
		{Room: room, Sender: "shop", Body: []byte("no json")},
	} {
		require.ErrorAs(t, s.PublishTx(t.Context(), tx, m), &e, "%+v", m)
	}
	require.NoError(t, s.PublishTx(t.Context(), tx, gohub.Message{Room: room, Sender: "shop", Body: []byte{0, 255}, Binary: true}), "the transaction goes on")
}

// What the hub refuses for good is kept aside and holds nobody up.
func TestRelayRefused(t *testing.T) {
	t.Parallel()
	pool := connect(t, pgtest.Shared(t).Database(t))
	s := open(t, pool, postgres.Options{Logger: slog.New(slog.DiscardHandler)})
	room := gohub.RoomID{Name: "r"}
	taken := gohub.NewID()
	hub := newHub(t, s, nil)
	_, err := hub.Publish(t.Context(), gohub.Message{Room: room, ID: taken, Sender: "alice", Body: []byte("0")})
	require.NoError(t, err)
	require.NoError(t, pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		for _, m := range []gohub.Message{
			{Room: room, Sender: "shop", Body: []byte("1")},
			{Room: room, Sender: "shop", Body: make([]byte, 70_000), Binary: true},
			{Room: room, ID: taken, Sender: "shop", Body: []byte("2")},
			{Room: room, ID: taken, Sender: "alice", Body: []byte("3")},
			{Room: room, Sender: "shop", Body: []byte("4")},
		} {
			if err := s.PublishTx(t.Context(), tx, m); err != nil {
				return err
			}
		}
		return nil
	}))
	relay(t, s, hub)
	require.Eventually(t, func() bool { return waiting(t, pool) == 0 }, patience, time.Millisecond)
	require.Equal(t, []string{"0", "1", "4"}, bodies(t, s, room))
	var refused int
	require.NoError(t, pool.QueryRow(t.Context(), "select count(*) from gohub.outbox").Scan(&refused))
	require.Equal(t, 2, refused)
}

// Several processes relay: everything once and in order, and when one that has
// published dies before it could say so, the next one does not publish again.
func TestRelayTakenOver(t *testing.T) {
	t.Parallel()
	url := pgtest.Shared(t).Database(t)
	pool := connect(t, url)
	first := open(t, pool, postgres.Options{})
	const n = 600
	room := func(i int) gohub.RoomID { return gohub.RoomID{Name: "room-" + strconv.Itoa(i%7)} }
	require.NoError(t, pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		for i := range n {
			if err := first.PublishTx(t.Context(), tx, gohub.Message{Room: room(i), Sender: "shop", Body: fmt.Append(nil, i)}); err != nil {
				return err
			}
		}
		return nil
	}))
	// The process that dies: all it has published is stored, and its outbox
	// transaction is never committed.
	_, err := pool.Exec(t.Context(), `create function forget() returns trigger language plpgsql as $$
begin
	perform pg_terminate_backend(pg_backend_pid());
	return old;
end $$;
create trigger forget before delete on gohub.outbox for each row execute function forget()`)
	require.NoError(t, err)
	broker := gohub.NewMemoryBroker()
	stop := relay(t, first, newHub(t, first, broker))
	stored := func() (count int) {
		require.NoError(t, pool.QueryRow(t.Context(), "select count(*) from gohub.messages").Scan(&count))
		return count
	}
	require.Eventually(t, func() bool { return stored() > 0 }, patience, time.Millisecond)
	stop()
	require.Equal(t, n, waiting(t, pool))
	_, err = pool.Exec(t.Context(), "drop trigger forget on gohub.outbox")
	require.NoError(t, err)

	for range 3 {
		s := open(t, connect(t, url), postgres.Options{})
		relay(t, s, newHub(t, s, broker))
	}
	require.Eventually(t, func() bool { return waiting(t, pool) == 0 }, patience, 5*time.Millisecond)
	for r := range 7 {
		var want []string
		for i := r; i < n; i += 7 {
			want = append(want, strconv.Itoa(i))
		}
		require.Equal(t, want, bodies(t, first, room(r)))
	}
}

// childURL is the environment variable that makes the test binary a process
// that publishes and relays until it is killed.
const childURL = "GOHUB_TEST_RELAY"

const childRows = 400

func childRoom(i int) gohub.RoomID { return gohub.RoomID{Name: "room-" + strconv.Itoa(i%4)} }

func relayChild(url string) {
	err := func() error {
		ctx := context.Background()
		pool, err := pgxpool.New(ctx, url)
		if err != nil {
			return err
		}
		defer pool.Close()
		s, err := postgres.New(ctx, pool, postgres.Options{})
		if err != nil {
			return err
		}
		hub, err := gohub.New(gohub.Config{AllowAnonymous: true, Store: s})
		if err != nil {
			return err
		}
		err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			for i := range childRows {
				if err := s.PublishTx(ctx, tx, gohub.Message{Room: childRoom(i), Sender: "shop", Body: fmt.Append(nil, i)}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		return s.Relay(ctx, hub)
	}()
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// A process is killed while it relays: what it had published and not yet
// crossed out is not published twice by the next one, and the rest follows in
// order.
func TestRelayKilled(t *testing.T) {
	t.Parallel()
	url := pgtest.Shared(t).Database(t)
	pool := connect(t, url)
	s := open(t, pool, postgres.Options{})
	// What is published is not crossed out before the child has been killed.
	_, err := pool.Exec(t.Context(), `create function hold() returns trigger language plpgsql as $$
begin
	perform pg_advisory_xact_lock_shared(1);
	return old;
end $$;
create trigger hold before delete on gohub.outbox for each row execute function hold()`)
	require.NoError(t, err)
	holding, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = holding.Rollback(context.WithoutCancel(t.Context())) }()
	_, err = holding.Exec(t.Context(), "select pg_advisory_xact_lock(1)")
	require.NoError(t, err)

	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), childURL+"="+url+"&application_name=child")
	child.Stderr = os.Stderr
	require.NoError(t, child.Start())
	stored := func() (n int) {
		require.NoError(t, pool.QueryRow(t.Context(), "select count(*) from gohub.messages").Scan(&n))
		return n
	}
	require.Eventually(t, func() bool { return stored() > 20 }, patience, time.Millisecond)
	require.NoError(t, child.Process.Kill())
	_ = child.Wait()
	require.Equal(t, childRows, waiting(t, pool))
	require.NoError(t, holding.Rollback(t.Context()))
	require.Eventually(t, func() bool { // what it had still sent is stored, or never will be
		var left int
		require.NoError(t, pool.QueryRow(t.Context(), "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'child'").Scan(&left))
		return left == 0
	}, patience, time.Millisecond)

	relay(t, s, newHub(t, s, nil))
	require.Eventually(t, func() bool { return waiting(t, pool) == 0 }, patience, 5*time.Millisecond)
	for r := range 4 {
		var want []string
		for i := r; i < childRows; i += 4 {
			want = append(want, strconv.Itoa(i))
		}
		require.Equal(t, want, bodies(t, s, childRoom(r)))
	}
}

// A server that dies under Relay changes nothing but the time it takes.
func TestRelayServerFails(t *testing.T) {
	t.Parallel()
	server := pgtest.New(t)
	pool := connect(t, server.URL("postgres"))
	s := open(t, pool, postgres.Options{Logger: slog.New(slog.DiscardHandler)})
	room := gohub.RoomID{Name: "r"}
	const n = 300
	require.NoError(t, pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		for i := range n {
			if err := s.PublishTx(t.Context(), tx, gohub.Message{Room: room, Sender: "shop", Body: fmt.Append(nil, i)}); err != nil {
				return err
			}
		}
		return nil
	}))
	relay(t, s, newHub(t, s, nil))
	stored := func() (n int) {
		_ = pool.QueryRow(t.Context(), "select count(*) from gohub.messages").Scan(&n)
		return n
	}
	for _, least := range []int{10, 100} {
		require.Eventually(t, func() bool { return stored() >= least }, patience, time.Millisecond)
		require.NoError(t, server.Kill9())
		require.NoError(t, server.Start())
	}
	require.Eventually(t, func() bool { return stored() == n }, patience, 5*time.Millisecond)
	pool.Reset() // a connection that nobody has used since may be dead
	require.Eventually(t, func() bool {
		var left int
		err := pool.QueryRow(t.Context(), "select count(*) from gohub.outbox").Scan(&left)
		return err == nil && left == 0
	}, patience, 5*time.Millisecond)
	var want []string
	for i := range n {
		want = append(want, strconv.Itoa(i))
	}
	require.Equal(t, want, bodies(t, s, room))
}
