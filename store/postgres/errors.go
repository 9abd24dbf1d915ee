package postgres

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

// isDataError tells whether the server will never take what it was given:
// a data exception (class 22, such as a zero byte in a name), a broken
// constraint (23), or a row too large for its index (54000). Everything else
// may pass: connections, deadlocks, shutdown, a full disk, a timeout, rights.
func isDataError(err error) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) || len(e.Code) != 5 {
		return false
	}
	class := e.Code[:2]
	return class == "22" || class == "23" || e.Code == "54000"
}
