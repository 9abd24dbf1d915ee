package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/store/postgres"
	"github.com/gohub/gohub/store/sqlite"
)

// A history is where messages are kept.
type history struct {
	store gohub.Store
	where string       // for a person
	close func() error // after the hub
	accounts
}

// openHistory opens what the flags name: a Postgres database, a file in a
// directory, or nothing.
func openHistory(ctx context.Context, conf config) (history, error) {
	switch {
	case conf.postgres != "":
		return openPostgres(ctx, conf.postgres)
	case conf.data == inMemory:
		acc, err := passing()
		return history{gohub.NewMemoryStore(gohub.MemoryStoreOptions{}), "in memory, and ends with this process", func() error { return nil }, acc}, err
	}
	h, err := openDir(conf.data) //nolint:contextcheck // it waits for a lock at most
	if err != nil {
		err = fmt.Errorf("%w: -data DIR keeps it elsewhere, -data memory nowhere", err)
	}
	return h, err
}

// errInUse: another process has the directory.
var errInUse = errors.New("another chat server keeps its history there")

// openDir opens the history in a directory, which is made if there is none.
// Nobody but this user may look into either. A lock on chat.lock, which ends
// with the process however that ends, keeps other servers out: members of two
// would not see each other's messages.
func openDir(dir string) (history, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return history{}, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return history{}, err
	}
	lock, err := lockFile(filepath.Join(dir, "chat.lock"))
	if err != nil {
		return history{}, err
	}
	s, err := sqlite.Open(filepath.Join(dir, "chat.db"), sqlite.Options{})
	if err != nil {
		return history{}, errors.Join(err, lock.Close())
	}
	closing := func() error { return errors.Join(s.Close(), lock.Close()) }
	acc, err := passing()
	if err != nil {
		return history{}, errors.Join(err, closing())
	}
	return history{s, "in " + dir, closing, acc}, nil
}

func openPostgres(ctx context.Context, url string) (history, error) {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return history{}, err // which names no password
	}
	s, err := postgres.New(ctx, pool, postgres.Options{})
	if err != nil {
		pool.Close()
		return history{}, err
	}
	acc, err := lasting(ctx, pool)
	if err != nil {
		pool.Close()
		return history{}, err
	}
	return history{s, "in Postgres", func() error { pool.Close(); return nil }, acc}, nil
}
