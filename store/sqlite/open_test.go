package sqlite_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/store/sqlite"
)

// shell runs SQL on a file as a person with the sqlite3 shell does.
func shell(t *testing.T, path string, script string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), script)
	require.NoError(t, errors.Join(err, db.Close()))
}

// ask reads one value of a file.
func ask(t *testing.T, path string, query string) (value string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	err = db.QueryRowContext(t.Context(), query).Scan(&value)
	require.NoError(t, errors.Join(err, db.Close()))
	return value
}

func message(room string, seq int64, id string) gohub.Message {
	return gohub.Message{Room: gohub.RoomID{Name: room}, ID: id, Seq: seq, Sender: "alice", Kind: "chat", Body: []byte(`"hi"`)}
}

func TestOpenRefuses(t *testing.T) {
	tests := []struct {
		name    string
		content string // of the file
		script  string // instead of content
		want    error
		says    string
	}{
		{name: "text", content: "Dear diary, this is no database, and it is longer than a header.", want: sqlite.ErrForeign},
		{name: "another application's", script: "CREATE TABLE t (a); PRAGMA application_id = 7", want: sqlite.ErrForeign, says: "application_id 0x7"},
		{name: "an application's without an id", script: "CREATE TABLE t (a)", want: sqlite.ErrForeign},
		{name: "a versioned one's without an id", script: "PRAGMA user_version = 1", want: sqlite.ErrForeign},
		{name: "newer", script: "PRAGMA application_id = 0x67687562; PRAGMA user_version = 1000", want: sqlite.ErrNewer, says: "version 1000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file.db")
			if tt.script != "" {
				shell(t, path, tt.script)
			} else {
				require.NoError(t, os.WriteFile(path, []byte(tt.content), 0o600))
			}
			before, err := os.ReadFile(path)
			require.NoError(t, err)
			for _, skip := range []bool{false, true} {
				_, err = sqlite.Open(path, sqlite.Options{SkipMigrations: skip})
				require.ErrorIs(t, err, tt.want)
				require.ErrorContains(t, err, path)
				require.ErrorContains(t, err, tt.says)
			}
			require.ErrorIs(t, sqlite.Migrate(t.Context(), path), tt.want)
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, before, after, "it is left as it was")
		})
	}
	for name, path := range map[string]string{
		"memory": ":memory:", "nothing": "", "a directory": t.TempDir(),
		"in no directory": filepath.Join(t.TempDir(), "nowhere", "chat.db"),
	} {
		_, err := sqlite.Open(path, sqlite.Options{})
		require.Error(t, err, name)
	}
	_, err := sqlite.Open(filepath.Join(t.TempDir(), "chat.db"), sqlite.Options{Readers: -1})
	require.ErrorContains(t, err, "Options.Readers")
}

func TestFile(t *testing.T) {
	// Signs that mean something in URLs, and a name relative to a directory
	// that the process leaves.
	dir := t.TempDir()
	t.Chdir(dir)
	name := "100% a?b#c&mode=memory;ä.db"
	s := open(t, name)
	t.Chdir(t.TempDir())
	_, err := s.Append(t.Context(), []gohub.Message{message("lobby", 1, "a")})
	require.NoError(t, err)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(filepath.Join(dir, name+suffix))
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "mode of %q", suffix)
	}
	require.NoError(t, s.Close())
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1, "the log goes with the last who has the file open")
	require.NoError(t, s.Close(), "twice is fine")

	path := filepath.Join(dir, "plain.db")
	require.NoError(t, os.Rename(filepath.Join(dir, name), path))
	for pragma, want := range map[string]string{"journal_mode": "wal", "application_id": "1734899042", "user_version": "2", "integrity_check": "ok"} {
		assert.Equal(t, want, ask(t, path, "PRAGMA "+pragma), pragma)
	}
}

func TestClosed(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "chat.db"))
	require.NoError(t, s.Close())
	_, err := s.Append(t.Context(), []gohub.Message{message("lobby", 1, "a")})
	require.ErrorIs(t, err, gohub.ErrClosed)
	_, err = s.Advance(t.Context(), []gohub.Watermark{{User: "a", Seen: 1}})
	require.ErrorIs(t, err, gohub.ErrClosed)
	_, _, err = s.History(t.Context(), gohub.Query{Limit: 1})
	require.Error(t, err)
}

func TestSkipMigrations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chat.db")
	_, err := sqlite.Open(path, sqlite.Options{SkipMigrations: true})
	require.ErrorIs(t, err, sqlite.ErrNotMigrated)
	require.ErrorContains(t, err, "version 0")
	require.NoError(t, sqlite.Migrate(t.Context(), path))
	require.NoError(t, sqlite.Migrate(t.Context(), path), "twice is fine")
	s, err := sqlite.Open(path, sqlite.Options{SkipMigrations: true})
	require.NoError(t, err)
	require.NoError(t, s.Close())
}

// Of many who open a new file at once, each finds it ready.
func TestOpenRace(t *testing.T) {
	for range 20 { // it is seldom that they get in each other's way
		openRace(t, filepath.Join(t.TempDir(), "chat.db"))
	}
	path := filepath.Join(t.TempDir(), "chat.db")
	require.NoError(t, sqlite.Migrate(t.Context(), path))
	openRace(t, path)
}

func openRace(t *testing.T, path string) {
	t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			s, err := sqlite.Open(path, sqlite.Options{})
			if err == nil {
				_, err = s.Append(t.Context(), []gohub.Message{message("lobby", int64(i+1), fmt.Sprint(i))})
				err = errors.Join(err, s.Close())
			}
			errs[i] = err
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	require.Equal(t, "8", ask(t, path, "SELECT count(*) FROM messages"))
}

// What an older version has kept is there after the file is brought up to date.
func TestMigrateOldFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chat.db")
	script, err := os.ReadFile("migrations/0001_history.sql")
	require.NoError(t, err)
	shell(t, path, string(script)+`;
INSERT INTO messages VALUES ('', 'r', '', 5, 'a', 'alice', 'chat', 0, x'31');
INSERT INTO members VALUES ('', 'bob', 'r', 7, 4, 1), ('', 'carol', 'r', 5, 5, 0), ('t', 'bob', 'q', 0, 0, 1);`)
	_, err = sqlite.Open(path, sqlite.Options{SkipMigrations: true})
	require.ErrorIs(t, err, sqlite.ErrNotMigrated)
	s := open(t, path)
	r := gohub.RoomID{Name: "r"}
	list, err := s.Rooms(t.Context(), "", "bob")
	require.NoError(t, err)
	require.Equal(t, []gohub.RoomState{{Room: r, Head: 5, Seen: 4, Unread: 1}}, list)
	ws, err := s.Watermarks(t.Context(), gohub.MarkQuery{Room: r, Seq: 5, Limit: 10})
	require.NoError(t, err)
	require.Equal(t, []gohub.Watermark{{Room: r, User: "bob", Delivered: 7, Seen: 4}, {Room: r, User: "carol", Delivered: 5, Seen: 5}}, ws)
	list, err = s.Rooms(t.Context(), "", "carol")
	require.NoError(t, err)
	require.Empty(t, list)
	list, err = s.Rooms(t.Context(), "t", "bob")
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "ok", ask(t, path, "PRAGMA integrity_check"))
	require.Equal(t, "0", ask(t, path, "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%by_room'"))
}
