package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// migrations are SQL scripts, one a version, in the order of their names. Each
// ends by setting user_version, so that other tools may run it as it is. What
// a release has shipped is never changed: the next version gets a file of its
// own.
//
//go:embed migrations/*.sql
var migrations embed.FS

// applicationID marks a file as ours, in the header that SQLite has for that
// (https://www.sqlite.org/pragma.html#pragma_application_id): "ghub".
const applicationID = 0x67687562

// scripts reads the migrations; the schema's newest version is their number.
func scripts() ([]string, error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	list := make([]string, len(names))
	for i, name := range names {
		if !strings.HasPrefix(name, fmt.Sprintf("migrations/%04d_", i+1)) {
			return nil, fmt.Errorf("%s is not the migration to version %d", name, i+1)
		}
		script, err := migrations.ReadFile(name)
		if err != nil {
			return nil, err
		}
		list[i] = string(script)
	}
	return list, nil
}

// queryer is a *sql.Conn, or what stands for one.
type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// version tells the schema's version in a file of ours: 0 is an empty one. It
// changes nothing, and refuses everybody else's files and those of a newer
// gohub.
func version(ctx context.Context, c queryer, newest int) (int, error) {
	var app, v, objects int
	err := c.QueryRowContext(ctx, "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema) FROM pragma_application_id, pragma_user_version").Scan(&app, &v, &objects)
	switch {
	case err != nil:
		return 0, err
	case app == 0 && v == 0 && objects == 0:
		return 0, nil
	case app != applicationID:
		return 0, fmt.Errorf("%w: another application's database (application_id %#x)", ErrForeign, app)
	case v > newest:
		return 0, fmt.Errorf("%w: its schema has version %d, this program knows up to %d", ErrNewer, v, newest)
	}
	return v, nil
}

// migrate brings the file to the newest version, each step in a transaction
// of its own. Of several processes that do so at once one does the work, and
// the others find it done.
func migrate(ctx context.Context, c *sql.Conn) error {
	list, err := scripts()
	if err != nil {
		return err
	}
	for {
		v, err := step(ctx, c, list)
		if err != nil || v == len(list) {
			return err
		}
	}
}

// step does the next migration, if there is one, and tells the version then.
func step(ctx context.Context, c *sql.Conn, list []string) (v int, err error) {
	if v, err = version(ctx, c, len(list)); err != nil || v == len(list) {
		return v, err
	}
	exec := func(query string) error {
		_, err := c.ExecContext(ctx, query)
		return err
	}
	if err = exec(lookOnce); err == nil {
		_, err = lockFile(exec)
	}
	if err = errors.Join(err, exec(fmt.Sprintf("PRAGMA busy_timeout = %d", busyTimeout.Milliseconds()))); err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			_, _ = c.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		}
	}()
	if v, err = version(ctx, c, len(list)); err != nil { // somebody may have been faster
		return 0, err
	}
	if v < len(list) {
		v++
		if _, err = c.ExecContext(ctx, list[v-1]); err != nil {
			return 0, fmt.Errorf("migration to version %d: %w", v, err)
		}
	}
	_, err = c.ExecContext(ctx, "COMMIT")
	return v, err
}
