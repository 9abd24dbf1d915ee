package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/store/postgres"
	"github.com/gohub/gohub/store/sqlite"
)

// openStore opens what the flags name: a Postgres database, a file in a
// directory, or nothing, which keeps history in memory. done closes it, after
// the hub.
func openStore(ctx context.Context, conf config) (store gohub.Store, done func() error, err error) {
	switch {
	case conf.postgres != "":
		return openPostgres(ctx, conf.postgres)
	case conf.data != "":
		return openFile(conf.data) //nolint:contextcheck // it waits for a lock at most
	}
	return nil, func() error { return nil }, nil
}

// openFile opens the history in a directory, which is made if there is none.
// Nobody but this user may look into either.
func openFile(dir string) (store gohub.Store, done func() error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	s, err := sqlite.Open(filepath.Join(dir, "chat.db"), sqlite.Options{})
	if err != nil {
		return nil, nil, err
	}
	return s, s.Close, nil
}

func openPostgres(ctx context.Context, url string) (store gohub.Store, done func() error, err error) {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, nil, err // which names no password
	}
	s, err := postgres.New(ctx, pool, postgres.Options{})
	if err != nil {
		pool.Close()
		return nil, nil, err
	}
	return s, func() error { pool.Close(); return nil }, nil
}
