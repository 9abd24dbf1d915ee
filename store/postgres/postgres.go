// Package postgres is a [gohub.Store] in a Postgres database: messages,
// watermarks and lists of rooms, durable as far as the server's disk is.
//
//	pool, err := pgxpool.New(ctx, "postgres://…")
//	store, err := postgres.New(ctx, pool, postgres.Options{})
//	hub, err := gohub.New(gohub.Config{Store: store, …})
//
// The tables live in a schema of their own in the team's database, and the
// pool is the caller's: give it at least ten connections, since a hub stores
// eight batches at a time, and close it after the hub. Any number of processes
// may use one schema.
//
// [Store.PublishTx] writes a message in the caller's own transaction, which
// [Store.Relay] publishes when that has committed. [Store.Trim] deletes what
// is too old. docs/stores.md says how to run it.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gohub/gohub"
)

// Options say where the tables are and how they are used. The zero value is
// ready to use.
type Options struct {
	// Schema holds the tables. Defaults to "gohub", at most 63 bytes, and not
	// pg_…, which Postgres keeps for itself. It is made if it does not exist,
	// for which the user needs CREATE on the database.
	Schema string
	// Partitions is over how many partitions the messages are spread, by room,
	// when the tables are made; later it means nothing. It keeps vacuum and
	// index builds short where the table is huge. 0: one table. At most 1024.
	Partitions int
	// SkipMigrations leaves the tables as they are: New fails unless they are
	// of the version that this package needs. For those who call [Migrate]
	// in their deployment, with a user that may do more.
	SkipMigrations bool
	// Unsafe accepts a server that may lose or damage what it has
	// acknowledged when its machine fails. For tests.
	Unsafe bool
	// Timeout is how long one call may take, waiting for a connection
	// included, before it fails, so that the hub tries again: a server that is
	// gone without a word would otherwise be waited for until the kernel gives
	// up, a quarter of an hour. Reading the server's settings, [Migrate] and
	// PublishTx go by their caller's context alone. Defaults to 15 s. -1: no
	// limit.
	Timeout time.Duration
	// Logger is told of what can never be stored or published, and that Relay
	// fails. Defaults to slog.Default().
	Logger *slog.Logger
}

func (o Options) resolve() (Options, error) {
	if o.Schema == "" {
		o.Schema = "gohub"
	}
	if len(o.Schema) > 63 || strings.ContainsRune(o.Schema, 0) || strings.HasPrefix(o.Schema, "pg_") {
		return o, fmt.Errorf("postgres: Options.Schema is %q: a name of at most 63 bytes that does not begin with pg_", o.Schema)
	}
	if o.Partitions < 0 || o.Partitions > 1024 {
		return o, fmt.Errorf("postgres: Options.Partitions is %d: 0 for none, or at most 1024", o.Partitions)
	}
	switch {
	case o.Timeout == 0:
		o.Timeout = 15 * time.Second
	case o.Timeout < 0 && o.Timeout != -1:
		return o, fmt.Errorf("postgres: Options.Timeout is %v: a duration, or -1 for no limit", o.Timeout)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o, nil
}

// A Store keeps messages in Postgres. Its methods are safe for concurrent use.
// Errors wrap *pgconn.PgError where the server has sent one.
type Store struct {
	pool   *pgxpool.Pool
	o      Options
	sql    statements
	nudged chan struct{} // PublishTx to Relay: something comes soon
}

var _ gohub.Store = (*Store)(nil)

// New makes a Store on pool, which stays the caller's. It brings the tables up
// to date first, see [Migrate], unless o.SkipMigrations, and waits for what is
// being written: a process that was killed a moment ago may have left that.
//
// It refuses, unless o.Unsafe, a server whose fsync, full_page_writes or
// synchronous_commit is off: what it calls committed could be gone after a
// power cut, and the hub would have acked it.
func New(ctx context.Context, pool *pgxpool.Pool, o Options) (*Store, error) {
	o, err := o.resolve()
	if err != nil {
		return nil, err
	}
	if pool == nil {
		return nil, errors.New("postgres: New needs a pool")
	}
	if !o.Unsafe {
		if err := checkSafe(ctx, pool); err != nil {
			return nil, err
		}
	}
	if o.SkipMigrations {
		err = checkVersion(ctx, pool, o.Schema)
	} else {
		err = Migrate(ctx, pool, o)
	}
	if err == nil {
		err = inherit(ctx, pool, o)
	}
	if err != nil {
		return nil, err
	}
	return &Store{pool: pool, o: o, sql: newStatements(o.Schema), nudged: make(chan struct{}, 1)}, nil
}

// checkSafe refuses a server that does not keep what it says it keeps.
func checkSafe(ctx context.Context, pool *pgxpool.Pool) error {
	rows, err := pool.Query(ctx, `select name from pg_catalog.pg_settings
		where name in ('fsync', 'full_page_writes', 'synchronous_commit') and setting = 'off' order by name`)
	if err != nil {
		return fmt.Errorf("postgres: read settings: %w", err)
	}
	off, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("postgres: read settings: %w", err)
	}
	if len(off) == 0 {
		return nil
	}
	return fmt.Errorf("postgres: %s is off: acked messages could be lost. Turn it on in the server's, the database's or the user's settings, or set Options.Unsafe",
		strings.Join(off, ", "))
}

// Durable is true.
func (s *Store) Durable() bool { return true }

// within bounds one call by Options.Timeout.
func (s *Store) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.o.Timeout < 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.o.Timeout)
}

func (s *Store) query(ctx context.Context, sql string, args []any, scan func(pgx.Rows) error) error {
	ctx, cancel := s.within(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
