package pgtest_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/gohub/gohub/internal/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Main(m)) }

func TestServer(t *testing.T) {
	t.Parallel()
	s := pgtest.New(t, "work_mem='7MB'")
	require.Equal(t, "7MB", s.SQL(t, "show work_mem"))
	require.Equal(t, "on", s.SQL(t, "show fsync"))
	require.NotEqual(t, s.Database(t), s.Database(t))
	for _, end := range []func() error{s.Kill9, func() error { return s.Stop(true) }, func() error { return s.Stop(false) }} {
		require.NoError(t, end())
		require.NoError(t, s.Start())
		require.Equal(t, "3", s.SQL(t, "select count(*) from pg_database where datname ~ '^(t[0-9]+|postgres)$'"))
	}
	require.NoError(t, s.Freeze())
	require.NoError(t, s.Thaw())
	require.Equal(t, "1", s.SQL(t, "select 1"))
}

func TestShared(t *testing.T) {
	t.Parallel()
	require.Same(t, pgtest.Shared(t), pgtest.Shared(t))
	require.NotEmpty(t, os.TempDir())
}
