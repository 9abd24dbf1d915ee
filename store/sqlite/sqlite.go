// Package sqlite keeps a hub's history in one file, without a service to run:
// a [gohub.Store] for products that live on one machine.
//
//	store, err := sqlite.Open("/var/lib/chat/chat.db", sqlite.Options{})
//	hub, err := gohub.New(gohub.Config{Authenticator: auth, Store: store})
//	…
//	err = hub.Shutdown(ctx) // the hub first: what is under way is stored
//	err = store.Close()
//
// SQLite is compiled into the program (modernc.org/sqlite, no cgo).
//
// # What it promises
//
// Append returns when its transaction is on the disk: the file is in WAL mode
// with synchronous=FULL, so that what was acked survives the end of the process
// and of the machine, as far as the disk does what fsync asks for.
//
// All writes go through one connection. What arrives while a transaction is
// being written goes together into the next, so that one fsync serves all who
// wait. Reads go through several connections and wait for no write.
//
// # Another process
//
// The file may be opened twice, also by two processes of one machine, and
// [gohub.Store]'s promises hold: SQLite's locks let one write at a time, and a
// writer waits up to 5 s for the other before its call fails, which a hub
// repeats. A Store that always has something to write leaves the lock free for
// 4 ms after each 250, so that another one has its turn; other programs, which
// look for the lock less often, may wait long at such a hub. That is enough for
// a restart that overlaps, or a look from the shell; for several hubs use a
// database server. The file must be on a local disk: WAL needs shared
// memory, which network file systems do not have.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/gohub/gohub"
)

// Options of [Open]. The zero value is ready to use.
type Options struct {
	// SkipMigrations leaves the schema as it is: Open fails with
	// ErrNotMigrated when it is not the newest. For teams that call [Migrate]
	// at a time of their own.
	SkipMigrations bool
	// Readers is how many connections read at the same time, of up to 2 MiB of
	// cache each. Defaults to 4, or the number of CPUs if that is more.
	Readers int
}

const (
	// busyTimeout is how long a connection waits for another process's lock.
	busyTimeout = 5 * time.Second
	// checkpointPages is how long the WAL grows, in pages of 4 KiB, before
	// its content is moved to the file. The larger, the fewer pages are
	// written twice; each commit of 512 messages in as many rooms changes
	// about 1,000.
	checkpointPages = 4000
	// walLimit is how large the WAL gets, in bytes, before writes wait for
	// readers to let it be emptied; see writer.truncate.
	walLimit = 64 << 20
)

// A Store is a [gohub.Store] in one SQLite file. Its methods are safe for
// concurrent use. Writes that have begun are not given up when their context
// ends: they take as long as the disk does, and tell how they ended.
//
// Messages of a Seq below 1 cannot be stored: no page could name them.
type Store struct {
	w    *writer
	db   *sql.DB // readers
	read statements

	close sync.Once
	err   error // what Close returns
}

var _ gohub.Store = (*Store)(nil)

// Open opens the database at path, a file name, and makes it if there is none,
// readable by its owner only. It waits up to 5 s for other processes'
// locks. A file that is not a gohub database gives [ErrForeign], one written by a
// newer gohub [ErrNewer].
func Open(path string, o Options) (*Store, error) {
	if o.Readers < 0 {
		return nil, fmt.Errorf("sqlite: Options.Readers is %d, want 0 or more", o.Readers)
	}
	ctx := context.Background()
	name, conn, done, err := connect(ctx, path)
	if err != nil {
		return nil, failed("open "+path, err)
	}
	s := &Store{}
	if err := s.open(ctx, name, conn, o); err != nil {
		if s.db != nil {
			err = errors.Join(err, s.read.close(), s.db.Close())
		}
		if s.w != nil {
			err = errors.Join(err, s.w.finalize())
		}
		return nil, failed("open "+path, errors.Join(err, done()))
	}
	s.w.start(done)
	return s, nil
}

// open sets up what a Store works with, once its file can be read and written.
func (s *Store) open(ctx context.Context, name string, conn *sql.Conn, o Options) (err error) {
	if o.SkipMigrations {
		err = migrated(ctx, conn)
	} else {
		err = migrate(ctx, conn)
	}
	if err != nil {
		return err
	}
	if err := useWAL(ctx, conn); err != nil {
		return err
	}
	if s.w, err = newWriter(ctx, name, conn); err != nil {
		return err
	}
	if s.db, err = sql.Open("sqlite", dsn(name, "query_only(1)")); err != nil {
		return err
	}
	readers := o.Readers
	if readers == 0 {
		readers = max(4, runtime.GOMAXPROCS(0))
	}
	s.db.SetMaxOpenConns(readers)
	s.db.SetMaxIdleConns(readers)
	return s.read.prepare(ctx, s.db)
}

// Migrate brings the database at path to the schema that this version of the
// package needs, making the file if there is none. Each step is one
// transaction. It may run while older programs use the file, and several
// times at once.
func Migrate(ctx context.Context, path string) error {
	_, conn, done, err := connect(ctx, path)
	if err != nil {
		return failed("migrate "+path, err)
	}
	if err := errors.Join(migrate(ctx, conn), done()); err != nil {
		return failed("migrate "+path, err)
	}
	return nil
}

// migrated asks for the newest schema.
func migrated(ctx context.Context, conn *sql.Conn) error {
	list, err := scripts()
	if err != nil {
		return err
	}
	v, err := version(ctx, conn, len(list))
	if err == nil && v < len(list) {
		err = fmt.Errorf("%w: its schema has version %d, this program needs %d", ErrNotMigrated, v, len(list))
	}
	return err
}

// connect opens the one connection that writes, and nothing of what is in the
// file is changed. done closes it.
func connect(ctx context.Context, path string) (name string, conn *sql.Conn, done func() error, err error) {
	if path == "" || path == ":memory:" {
		return "", nil, nil, fmt.Errorf("%q is no file; for memory use gohub.NewMemoryStore", path)
	}
	if name, err = filepath.Abs(path); err != nil { // SQLite would follow a later chdir
		return "", nil, nil, err
	}
	// SQLite makes files that everybody may read; the WAL takes the mode of this one.
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // the caller's choice
	switch {
	case err == nil:
		err = f.Close()
	case errors.Is(err, fs.ErrExist):
		err = nil
	}
	if err != nil {
		return "", nil, nil, err
	}
	db, err := sql.Open("sqlite", dsn(name,
		"synchronous(FULL)",
		"fullfsync(1)", // macOS: fsync alone leaves data in the disk's cache
		fmt.Sprintf("wal_autocheckpoint(%d)", checkpointPages),
		fmt.Sprintf("journal_size_limit(%d)", walLimit),
		"cache_size(-16000)"))
	if err != nil {
		return "", nil, nil, err
	}
	if conn, err = db.Conn(ctx); err != nil {
		return "", nil, nil, errors.Join(err, db.Close())
	}
	return name, conn, func() error { return errors.Join(conn.Close(), db.Close()) }, nil
}

// dsn names a file and the settings of each connection to it.
func dsn(name string, pragmas ...string) string {
	name = filepath.ToSlash(name)
	if !strings.HasPrefix(name, "/") {
		name = "/" + name // C:/chat.db
	}
	q := url.Values{"mode": {"rw"}, "_dqs": {"0"}}
	q.Add("_pragma", fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()))
	for _, p := range pragmas {
		q.Add("_pragma", p)
	}
	return (&url.URL{Scheme: "file", Path: name, RawQuery: q.Encode()}).String()
}

// useWAL switches the file to a write-ahead log, if it has none; the file
// remembers. Of several processes that switch it at once, SQLite tells one to go
// away rather than wait, for both might wait for each other.
func useWAL(ctx context.Context, conn *sql.Conn) error {
	for until := time.Now().Add(busyTimeout); ; time.Sleep(10 * time.Millisecond) {
		var mode string
		err := conn.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode)
		switch {
		case err == nil && mode == "wal":
			return nil
		case err == nil:
			return fmt.Errorf("journal_mode stays %q: this file system allows no write-ahead log", mode)
		case !busy(err) || time.Now().After(until):
			return err
		}
	}
}

// Close ends the store: what waits to be written is refused with
// [gohub.ErrClosed], the transaction under way is finished. Shut the hub down
// before. Closing twice is fine.
func (s *Store) Close() error {
	s.close.Do(func() {
		s.err = errors.Join(s.read.close(), s.db.Close(), s.w.close())
		if s.err != nil {
			s.err = failed("close", s.err)
		}
	})
	return s.err
}

// Durable is true: what Append has returned nil for is on the disk.
func (s *Store) Durable() bool { return true }
