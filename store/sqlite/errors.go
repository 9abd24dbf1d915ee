package sqlite

import (
	"errors"
	"fmt"

	driver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/gohub/gohub"
)

// Errors of [Open] and [Migrate], tested for with errors.Is.
var (
	// ErrForeign: the file is not a gohub database. It was left as it is.
	ErrForeign = errors.New("not a gohub database")
	// ErrNewer: a newer gohub has written the file. It was left as it is.
	ErrNewer = errors.New("the database is of a newer gohub")
	// ErrNotMigrated: with SkipMigrations, the schema is older than this
	// program needs.
	ErrNotMigrated = errors.New("the database needs a migration")
)

// code is SQLite's primary result code; 0: the error is not SQLite's.
func code(err error) int {
	var e *driver.Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Code() & 0xff
}

// busy tells that another process has the file.
func busy(err error) bool {
	c := code(err)
	return c == lib.SQLITE_BUSY || c == lib.SQLITE_LOCKED
}

// rowError makes a *gohub.RowError of an error that message i of a batch
// will cause whenever it is tried.
func rowError(i int, err error) error {
	switch code(err) {
	case lib.SQLITE_CONSTRAINT, lib.SQLITE_MISMATCH, lib.SQLITE_TOOBIG:
		return &gohub.RowError{Index: i, Err: failed("store a message", err)}
	}
	return err
}

// failed says what was being done, and in plain words what is in the way. A
// *gohub.RowError, which says so itself, stays as it is.
func failed(what string, err error) error {
	var row *gohub.RowError
	if errors.As(err, &row) {
		return err
	}
	why := ""
	switch code(err) {
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED:
		why = fmt.Sprintf("another process has held the file locked for %v: ", busyTimeout)
	case lib.SQLITE_FULL:
		why = "no space left: "
	case lib.SQLITE_NOTADB:
		return fmt.Errorf("sqlite: %s: %w: %w", what, ErrForeign, err)
	}
	return fmt.Errorf("sqlite: %s: %s%w", what, why, err)
}
