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

	"github.com/jackc/pgx/v5"
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

	// Tables of the version before.
	_, err = pool.Exec(t.Context(), `drop index gohub.marks_by_user; delete from gohub.migrations where version = 2`)
	require.NoError(t, err)
	_, err = postgres.New(t.Context(), pool, postgres.Options{SkipMigrations: true})
	require.ErrorContains(t, err, "version 1")
	open(t, pool, postgres.Options{})
	var index bool
	require.NoError(t, pool.QueryRow(t.Context(), "select to_regclass('gohub.marks_by_user') is not null").Scan(&index))
	require.True(t, index)

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

// Unread messages are looked for among the newest thousand that all may see.
func TestUnreadLooksNoFurther(t *testing.T) {
	t.Parallel()
	s := open(t, connect(t, pgtest.Shared(t).Database(t)), postgres.Options{})
	room := gohub.RoomID{Name: "r"}
	_, err := s.Advance(t.Context(), []gohub.Watermark{{Room: room, User: "alice", Listing: gohub.ListJoin}})
	require.NoError(t, err)
	seq := int64(0)
	add := func(sender string, n int) (unread int) {
		batch := make([]gohub.Message, n)
		for i := range batch {
			seq++
			batch[i] = gohub.Message{Room: room, ID: gohub.NewID(), Seq: seq, Sender: sender, Kind: "chat", Body: []byte("1")}
		}
		_, err := s.Append(t.Context(), batch)
		require.NoError(t, err)
		list, err := s.Rooms(t.Context(), "", "alice")
		require.NoError(t, err)
		require.Len(t, list, 1)
		return list[0].Unread
	}
	require.Equal(t, 1, add("bob", 1))
	require.Equal(t, 1, add("alice", 10*gohub.MaxUnread-1))
	require.Equal(t, 0, add("alice", 1))
}

// What Trim deletes in one transaction is bounded in messages and in bytes.
func TestTrimChunks(t *testing.T) {
	t.Parallel()
	pool := connect(t, pgtest.Shared(t).Database(t))
	s := open(t, pool, postgres.Options{})
	_, err := pool.Exec(t.Context(), `create table chunks (n bigserial, count bigint, bytes bigint);
create function note_chunk() returns trigger language plpgsql as $$
begin
	insert into chunks (count, bytes) select count(*), sum(octet_length(body)) from gone having count(*) > 0;
	return null;
end $$;
create trigger note_chunk after delete on gohub.messages referencing old table as gone for each statement execute function note_chunk()`)
	require.NoError(t, err)
	const mib = 1 << 20
	for name, c := range map[string]struct {
		room  string
		sizes []int // of the bodies, the oldest first
		want  []int // messages in each transaction
	}{
		"many":                {"a", slices.Repeat([]int{1}, 1003), []int{1000, 3}},
		"just as many as fit": {"b", slices.Repeat([]int{1}, 1000), []int{1000}},
		"large ones":          {"c", slices.Repeat([]int{4 * mib}, 10), []int{4, 4, 2}},
		"just over":           {"d", []int{8*mib + 1, 8 * mib, 1, 1}, []int{2, 2}},
		"each too large":      {"e", []int{16*mib + 1, 16*mib + 1, 1}, []int{1, 1, 1}},
	} {
		room := gohub.RoomID{Name: c.room}
		for i, size := range c.sizes {
			to := ""
			if i%2 == 0 {
				to = "bob"
			}
			_, err := pool.Exec(t.Context(), `insert into gohub.messages values ('', $1, $2, $3, 'alice', $4, 'chat', convert_to(repeat('x', $5), 'UTF8'), false)`,
				room.Name, gohub.NewID(), i+1, to, size)
			require.NoError(t, err)
		}
		removed, err := s.Trim(t.Context(), postgres.Retention{MaxAge: time.Hour})
		require.NoError(t, err)
		require.EqualValues(t, len(c.sizes), removed, name)
		rows, err := pool.Query(t.Context(), "with c as (delete from chunks returning *) select count from c order by n")
		require.NoError(t, err)
		got, err := pgx.CollectRows(rows, pgx.RowTo[int])
		require.NoError(t, err)
		require.Equal(t, c.want, got, name)
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
