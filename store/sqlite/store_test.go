package sqlite_test

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/internal/atrest"
	"github.com/gohub/gohub/store/sqlite"
	"github.com/gohub/gohub/store/storetest"
)

func TestMain(m *testing.M) {
	if runAsChild() {
		return
	}
	goleak.VerifyTestMain(atrest.M(m, goleak.Find))
}

// open opens a store that ends with the test.
func open(t testing.TB, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(path, sqlite.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s
}

func TestStore(t *testing.T) {
	var paths sync.Map // of the stores
	at := func(t *testing.T, path string) gohub.Store {
		s := open(t, path)
		paths.Store(s, path)
		return s
	}
	pathOf := func(s gohub.Store) string {
		path, _ := paths.Load(s)
		return path.(string)
	}
	storetest.Run(t, storetest.Features{
		Durable:   true,
		Unbounded: true,
		Reopen: func(t *testing.T, s gohub.Store) gohub.Store {
			require.NoError(t, s.(*sqlite.Store).Close())
			return at(t, pathOf(s))
		},
		Second: func(t *testing.T, s gohub.Store) gohub.Store { return at(t, pathOf(s)) },
	}, func(t *testing.T) gohub.Store { return at(t, filepath.Join(t.TempDir(), "chat.db")) })
}
