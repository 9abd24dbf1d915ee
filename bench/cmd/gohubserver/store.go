package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/bench/internal/debug"
	"github.com/gohub/gohub/bench/internal/result"
	"github.com/gohub/gohub/store/postgres"
	"github.com/gohub/gohub/store/sqlite"
)

// counted is a Store that counts what it appends, for /debug/store.
type counted struct {
	gohub.Store
	pool *pgxpool.Pool // nil: no Postgres

	appends, messages, ns atomic.Int64
}

// openStore opens the one that is named; nil for none, and the hub's own. close
// is for after the hub.
func openStore(ctx context.Context, dsn, dir string) (s *counted, closing func() error, err error) {
	switch {
	case dsn != "" && dir != "":
		return nil, nil, errors.New("-postgres or -sqlite, not both")
	case dsn != "":
		pool, err := pgxpool.New(ctx, dsn)
		if err != nil {
			return nil, nil, err
		}
		store, err := postgres.New(ctx, pool, postgres.Options{})
		if err != nil {
			pool.Close()
			return nil, nil, err
		}
		s, closing = &counted{Store: store, pool: pool}, func() error { pool.Close(); return nil }
	case dir != "":
		store, err := sqlite.Open(filepath.Join(dir, "bench.db"), sqlite.Options{}) //nolint:contextcheck // it has its own end
		if err != nil {
			return nil, nil, err
		}
		s, closing = &counted{Store: store}, store.Close
	default:
		return nil, func() error { return nil }, nil
	}
	debug.Handle("GET /debug/store", func() any { return s.counts(ctx) })
	return s, closing, nil
}

func (s *counted) Append(ctx context.Context, batch []gohub.Message) ([]gohub.Ordered, error) {
	began := time.Now()
	out, err := s.Store.Append(ctx, batch)
	if err == nil {
		s.appends.Add(1)
		s.messages.Add(int64(len(batch)))
		s.ns.Add(int64(time.Since(began)))
	}
	return out, err
}

// counts are 0 where Postgres does not answer within a second. What its
// processes have done is in its own counts up to a second later.
func (s *counted) counts(ctx context.Context) result.Store {
	c := result.Store{Appends: s.appends.Load(), Messages: s.messages.Load(), Seconds: float64(s.ns.Load()) / 1e9}
	if s.pool != nil {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_ = s.pool.QueryRow(ctx, `select wal_sync, wal_bytes::int8, wal_records, wal_fpi from pg_stat_wal`).
			Scan(&c.WALSyncs, &c.WALBytes, &c.WALRecords, &c.WALImages)
	}
	return c
}

// fill stores n messages of 128 B in a room, as a hub would that had been
// running for long: seqs ascend, ids are as good as random.
func fill(ctx context.Context, s gohub.Store, room string, n int) error {
	const batch = 512
	body := []byte(`"` + strings.Repeat("x", 126) + `"`)
	base := time.Now().Add(-time.Hour).UnixMicro() - int64(n)
	var at atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, 4)
	for range cap(errs) {
		wg.Go(func() {
			for {
				from := at.Add(batch) - batch
				if from >= int64(n) {
					return
				}
				ms := make([]gohub.Message, min(batch, int64(n)-from))
				for i := range ms {
					ms[i] = gohub.Message{
						Room: gohub.RoomID{Name: room}, ID: gohub.NewID(), Seq: base + from + int64(i), Sender: "filler", Kind: "chat", Body: body,
					}
				}
				if _, err := s.Append(ctx, ms); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}
