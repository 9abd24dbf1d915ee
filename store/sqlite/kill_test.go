//go:build unix

package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/internal/killtest"
	"github.com/gohub/gohub/store/sqlite"
)

func openFile(path string) (gohub.Store, func() error, error) {
	s, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		return nil, nil, err
	}
	return s, s.Close, nil
}

// runAsChild makes a hub of this process if it is to be one.
func runAsChild() bool { return killtest.Child(openFile) }

// A hub is killed 50 times in the middle of its work.
func TestKill9(t *testing.T) {
	t.Parallel()
	killtest.Run(t, filepath.Join(t.TempDir(), "chat.db"), openFile)
}
