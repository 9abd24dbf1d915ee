//go:build unix

package postgres_test

import (
	"os"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/internal/atrest"
	"github.com/gohub/gohub/internal/killtest"
	"github.com/gohub/gohub/internal/pgtest"
	"github.com/gohub/gohub/store/postgres"
	"github.com/gohub/gohub/store/storetest"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(childURL); url != "" {
		relayChild(url)
		return
	}
	if killtest.Child(openURL) {
		return
	}
	goleak.VerifyTestMain(atrest.M(pgtest.Main(m), goleak.Find))
}

// connect opens a pool that ends with the test.
func connect(tb testing.TB, url string) *pgxpool.Pool {
	tb.Helper()
	cfg, err := pgxpool.ParseConfig(url)
	require.NoError(tb, err)
	cfg.MaxConns = 12
	pool, err := pgxpool.NewWithConfig(tb.Context(), cfg)
	require.NoError(tb, err)
	tb.Cleanup(pool.Close)
	return pool
}

func open(tb testing.TB, pool *pgxpool.Pool, o postgres.Options) *postgres.Store {
	tb.Helper()
	s, err := postgres.New(tb.Context(), pool, o)
	require.NoError(tb, err)
	return s
}

func TestStore(t *testing.T) {
	for _, c := range []struct {
		name, params string
		o            postgres.Options
	}{
		{name: "one table"},
		{name: "partitions", o: postgres.Options{Schema: `Odd "name"`, Partitions: 4}},
		// What a pooler in transaction mode asks for.
		{name: "nothing prepared", params: "&default_query_exec_mode=exec"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o, url := c.o, pgtest.Shared(t).Database(t)+c.params
			again := func(t *testing.T, _ gohub.Store) gohub.Store {
				t.Helper()
				return open(t, connect(t, url), o)
			}
			storetest.Run(t, storetest.Features{Durable: true, Unbounded: true, Reopen: again, Second: again}, func(t *testing.T) gohub.Store {
				t.Helper()
				return open(t, connect(t, url), o)
			})
		})
	}
}
