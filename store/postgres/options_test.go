//go:build unix

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/internal/pgtest"
	"github.com/gohub/gohub/store/postgres"
)

func TestOptionsRefused(t *testing.T) {
	t.Parallel()
	pool, err := pgxpool.New(t.Context(), "postgres://nobody@127.0.0.1:1/none") // never asked
	require.NoError(t, err)
	defer pool.Close()
	for field, o := range map[string]postgres.Options{
		"Options.Schema":     {Schema: "pg_mine"},
		"Options.Partitions": {Partitions: -1},
		"Options.Timeout":    {Timeout: -2},
	} {
		_, err := postgres.New(t.Context(), pool, o)
		require.ErrorContains(t, err, field)
		require.ErrorContains(t, postgres.Migrate(t.Context(), pool, o), field)
	}
	_, err = postgres.New(t.Context(), nil, postgres.Options{})
	require.ErrorContains(t, err, "pool")
}

// A server that may forget what it has acknowledged is refused by name.
func TestUnsafeServer(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	url := server.Database(t)
	pool := connect(t, url)
	_, err := pool.Exec(t.Context(), fmt.Sprintf("alter database %s set synchronous_commit = off", pool.Config().ConnConfig.Database))
	require.NoError(t, err)
	pool = connect(t, url)
	_, err = postgres.New(t.Context(), pool, postgres.Options{})
	require.ErrorContains(t, err, "synchronous_commit is off")
	open(t, pool, postgres.Options{Unsafe: true})

	other := pgtest.New(t, "fsync=off", "full_page_writes=off")
	_, err = postgres.New(t.Context(), connect(t, other.URL("postgres")), postgres.Options{})
	require.ErrorContains(t, err, "fsync, full_page_writes is off")
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	url := pgtest.Shared(t).Database(t)
	pool := connect(t, url)
	_, err := postgres.New(t.Context(), pool, postgres.Options{SkipMigrations: true})
	require.ErrorContains(t, err, "call Migrate")

	var wg sync.WaitGroup
	errs := make([]error, 6)
	for i := range errs {
		wg.Go(func() { errs[i] = postgres.Migrate(t.Context(), pool, postgres.Options{Partitions: 3}) })
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...), "all at once")
	var partitions int
	require.NoError(t, pool.QueryRow(t.Context(), "select count(*) from pg_inherits where inhparent = 'gohub.messages'::regclass").Scan(&partitions))
	require.Equal(t, 3, partitions)
	open(t, pool, postgres.Options{SkipMigrations: true})

	// A user that may only use the tables.
	_, err = pool.Exec(t.Context(), fmt.Sprintf(`create role app_%[1]s login; grant usage on schema gohub to app_%[1]s;
grant select, insert, update, delete on all tables in schema gohub to app_%[1]s`, pool.Config().ConnConfig.Database))
	require.NoError(t, err)
	app := connect(t, strings.Replace(url, "postgres@", "app_"+pool.Config().ConnConfig.Database+"@", 1))
	s := open(t, app, postgres.Options{SkipMigrations: true})
	_, err = s.Append(t.Context(), []gohub.Message{{Room: gohub.RoomID{Name: "r"}, ID: gohub.NewID(), Seq: 1, Sender: "a", Kind: "chat"}})
	require.NoError(t, err)
	open(t, app, postgres.Options{}) // nothing to migrate

	_, err = pool.Exec(t.Context(), "insert into gohub.migrations (version) values (99)")
	require.NoError(t, err)
	_, err = postgres.New(t.Context(), pool, postgres.Options{})
	require.ErrorContains(t, err, "version 99")
	_, err = postgres.New(t.Context(), pool, postgres.Options{SkipMigrations: true})
	require.ErrorContains(t, err, "version 99")
}

// One message that the server never takes is named, and nothing of its batch
// is stored. What may pass is no such error.
func TestRowError(t *testing.T) {
	t.Parallel()
	pool := connect(t, pgtest.Shared(t).Database(t))
	s := open(t, pool, postgres.Options{})
	batch := func(n int) []gohub.Message {
		ms := make([]gohub.Message, n)
		for i := range ms {
			ms[i] = gohub.Message{Room: gohub.RoomID{Name: fmt.Sprint("r", i%5)}, ID: gohub.NewID(), Seq: int64(i + 1), Sender: "alice", Kind: "chat", Body: []byte("1")}
		}
		return ms
	}
	for i, spoil := range []func(m *gohub.Message){
		func(m *gohub.Message) { m.Sender = "a\x00b" },
		func(m *gohub.Message) { m.Kind = "\xff" },
		func(m *gohub.Message) { // too long for an index, and hard to compress
			for len(m.Room.Tenant) < 20_000 {
				m.Room.Tenant += gohub.NewID()
			}
		},
	} {
		for _, at := range []int{0, 1, 63, 99} {
			ms := batch(100)
			spoil(&ms[at])
			_, err := s.Append(t.Context(), ms)
			var row *gohub.RowError
			require.ErrorAs(t, err, &row, "%d", i)
			require.Equal(t, at, row.Index)
			var n int
			require.NoError(t, pool.QueryRow(t.Context(), "select count(*) from gohub.messages").Scan(&n))
			require.Zero(t, n)
		}
	}

	_, err := pool.Exec(t.Context(), `create function disk_is_full() returns trigger language plpgsql as $$
begin
	raise exception 'no space left' using errcode = 'disk_full';
end $$;
create trigger disk_is_full before insert on gohub.messages for each row execute function disk_is_full()`)
	require.NoError(t, err)
	_, err = s.Append(t.Context(), batch(10))
	var row *gohub.RowError
	var pg *pgconn.PgError
	require.NotErrorAs(t, err, &row)
	require.ErrorAs(t, err, &pg)
	require.Equal(t, "53100", pg.Code)
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	pool := connect(t, pgtest.Shared(t).Database(t))
	s := open(t, pool, postgres.Options{Timeout: 200 * time.Millisecond})
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	_, err = tx.Exec(t.Context(), "lock table gohub.messages in access exclusive mode")
	require.NoError(t, err)
	_, err = s.Append(t.Context(), []gohub.Message{{Room: gohub.RoomID{Name: "r"}, ID: gohub.NewID(), Seq: 1, Sender: "a", Kind: "chat"}})
	require.Error(t, err)
	_, _, err = s.History(t.Context(), gohub.Query{Room: gohub.RoomID{Name: "r"}, Limit: 1})
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestTrim(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]postgres.Options{"one table": {}, "partitions": {Partitions: 3}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := connect(t, pgtest.Shared(t).Database(t))
			s := open(t, pool, o)
			now := time.Now().UnixMicro()
			_, err := pool.Exec(t.Context(), `insert into gohub.messages
select case when r % 2 = 0 then '' else 'acme' end, 'room-' || r, gen_random_uuid()::text, $1 - n * 3600000000, 'a', '', 'chat', '1', false
from generate_series(1, 450) r, generate_series(0, case when r = 7 then 2499 else 9 end) n`, now)
			require.NoError(t, err)
			trim := func(r postgres.Retention) int64 {
				n, err := s.Trim(t.Context(), r)
				require.NoError(t, err)
				return n
			}
			require.Zero(t, trim(postgres.Retention{}))
			require.EqualValues(t, 2500-1000, trim(postgres.Retention{MaxPerRoom: 1000}))
			require.EqualValues(t, 1000-24, trim(postgres.Retention{MaxAge: 24*time.Hour - time.Minute}))
			require.EqualValues(t, 449*2+16, trim(postgres.Retention{MaxAge: 20*time.Hour - time.Minute, MaxPerRoom: 8}))
			require.Zero(t, trim(postgres.Retention{MaxAge: 20 * time.Hour, MaxPerRoom: 8}))
			ms, _, err := s.History(t.Context(), gohub.Query{Room: gohub.RoomID{Tenant: "acme", Name: "room-7"}, Limit: 100})
			require.NoError(t, err)
			require.Len(t, ms, 8)
			require.Equal(t, now, ms[7].Seq, "the newest stay")
			for field, r := range map[string]postgres.Retention{"MaxAge": {MaxAge: -1}, "MaxPerRoom": {MaxPerRoom: -1}} {
				_, err := s.Trim(t.Context(), r)
				require.ErrorContains(t, err, field)
			}
		})
	}
}

// One id from three senders in one batch, and it is the last one's already.
func TestConflictsInBatch(t *testing.T) {
	t.Parallel()
	s := open(t, connect(t, pgtest.Shared(t).Database(t)), postgres.Options{})
	m := gohub.Message{Room: gohub.RoomID{Name: "r"}, ID: gohub.NewID(), Seq: 1, Sender: "carol", Kind: "chat", Body: []byte("1")}
	_, err := s.Append(t.Context(), []gohub.Message{m})
	require.NoError(t, err)
	batch := []gohub.Message{m, m, m, m}
	for i, sender := range []string{"alice", "bob", "carol", "alice"} {
		batch[i].Sender, batch[i].Seq = sender, int64(10+i)
	}
	out, err := s.Append(t.Context(), batch)
	require.NoError(t, err)
	conflict := gohub.Ordered{Err: gohub.ErrIDConflict}
	require.Equal(t, []gohub.Ordered{conflict, conflict, {Seq: 1, Duplicate: true}, conflict}, out)
}

// A watermark that can never be stored holds up no other.
func TestAdvanceRefused(t *testing.T) {
	t.Parallel()
	s := open(t, connect(t, pgtest.Shared(t).Database(t)), postgres.Options{Logger: slog.New(slog.DiscardHandler)})
	ws := make([]gohub.Watermark, 5)
	for i := range ws {
		ws[i] = gohub.Watermark{Room: gohub.RoomID{Tenant: "acme", Name: "r"}, User: fmt.Sprint("user-", i), Delivered: 2, Seen: 1}
	}
	ws[2].Room.Tenant = "a\x00b"
	moved, err := s.Advance(t.Context(), ws)
	require.NoError(t, err)
	require.Equal(t, slices.Delete(slices.Clone(ws), 2, 3), moved)
}

// A statement that is about to commit when its caller gives up has a moment to
// do so, so that what Append returns is what is stored.
func TestCancelledAppendIsWaitedFor(t *testing.T) {
	t.Parallel()
	pool := connect(t, pgtest.Shared(t).Database(t))
	s := open(t, pool, postgres.Options{})
	blocked := func() (n int) {
		require.NoError(t, pool.QueryRow(t.Context(), `select count(*) from pg_stat_activity
where datname = current_database() and wait_event_type = 'Lock'`).Scan(&n))
		return n
	}
	try := func(i int64) error {
		tx, err := pool.Begin(t.Context())
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), "lock table gohub.messages in exclusive mode")
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error)
		m := gohub.Message{Room: gohub.RoomID{Name: "r"}, ID: gohub.NewID(), Seq: i, Sender: "a", Kind: "chat"}
		go func() {
			_, err := s.Append(ctx, []gohub.Message{m})
			done <- err
		}()
		require.Eventually(t, func() bool { return blocked() > 0 }, patience, time.Millisecond)
		cancel()
		require.NoError(t, tx.Rollback(t.Context()))
		err = <-done
		if err == nil {
			_, found, err := s.Lookup(t.Context(), m.Room, m.ID)
			require.NoError(t, err)
			require.True(t, found)
		}
		return err
	}
	var err error
	for i := range int64(5) { // a loaded machine may take longer than the moment
		if err = try(i); err == nil {
			break
		}
		require.ErrorIs(t, err, context.Canceled)
	}
	require.NoError(t, err)
}
