//go:build unix

package postgres_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/internal/killtest"
	"github.com/gohub/gohub/internal/pgtest"
	"github.com/gohub/gohub/store/postgres"
)

func openURL(url string) (gohub.Store, func() error, error) {
	pool, err := pgxpool.New(context.Background(), url)
	if err != nil {
		return nil, nil, err
	}
	s, err := postgres.New(context.Background(), pool, postgres.Options{})
	if err != nil {
		pool.Close()
		return nil, nil, err
	}
	return s, func() error { pool.Close(); return nil }, nil
}

// A hub is killed 50 times in the middle of its work.
func TestKill9(t *testing.T) {
	t.Parallel()
	killtest.Run(t, pgtest.New(t).URL("postgres")+"&pool_max_conns=12", openURL)
}
