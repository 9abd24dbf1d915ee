package sqlite

import (
	"context"
	"errors"
	"fmt"

	driver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
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

// badRow tells that a row can never be stored, whoever tries and when.
func badRow(err error) bool {
	switch code(err) {
	case lib.SQLITE_CONSTRAINT, lib.SQLITE_MISMATCH, lib.SQLITE_TOOBIG:
		return true
	}
	return false
}

// failed says what was being done, and in plain words what is in the way.
func failed(what string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("sqlite: %s: %w", what, err)
	}
	switch code(err) {
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED:
		return fmt.Errorf("sqlite: %s: another process has held the file locked for %v: %w", what, busyTimeout, err)
	case lib.SQLITE_FULL:
		return fmt.Errorf("sqlite: %s: no space left: %w", what, err)
	case lib.SQLITE_NOTADB:
		return fmt.Errorf("sqlite: %s: %w: %w", what, ErrForeign, err)
	}
	return fmt.Errorf("sqlite: %s: %w", what, err)
}
