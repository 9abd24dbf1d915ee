package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/gohub/gohub"
)

// Retention says what [Store.Trim] leaves. The zero value leaves everything.
type Retention struct {
	// MaxAge is how old messages get, by their Seq. 0: any age. Take an hour
	// at least: with a message its id is forgotten, and a client that sends it
	// again then, because it never got its ack, adds a new message.
	MaxAge time.Duration
	// MaxPerRoom is how many messages a room keeps, private ones included: the
	// newest. 0: any number.
	MaxPerRoom int
}

// What goes in one transaction: some milliseconds in which nothing else is
// written.
const (
	trimChunk = 500     // messages
	trimBytes = 4 << 20 // of their bodies; one message more if that is what it takes
)

const (
	nextRoomSQL = `SELECT tenant, room FROM messages WHERE (tenant, room) > (?1, ?2) ORDER BY tenant, room LIMIT 1`

	// overSQL finds the newest message that is one too many.
	overSQL = `SELECT seq FROM (SELECT seq, id FROM messages` + within + ` AND recipient = ''
UNION ALL SELECT seq, id FROM messages INDEXED BY messages_private` + within + ` AND recipient <> ''
ORDER BY seq DESC, id DESC LIMIT 1 OFFSET ?5)`

	// sizesSQL needs no body: a row's header tells how long it is.
	sizesSQL = `SELECT length(body) FROM (SELECT seq, id, body FROM messages` + within + ` AND recipient = ''
UNION ALL SELECT seq, id, body FROM messages INDEXED BY messages_private` + within + ` AND recipient <> ''
ORDER BY seq, id LIMIT ?5)`

	trimSQL = `DELETE FROM messages WHERE (tenant, room, recipient, seq, id) IN (
SELECT ?1, ?2, recipient, seq, id FROM (SELECT recipient, seq, id FROM messages` + within + ` AND recipient = ''
UNION ALL SELECT recipient, seq, id FROM messages INDEXED BY messages_private` + within + ` AND recipient <> ''
ORDER BY seq, id LIMIT ?5))`
)

// Trim removes what r does not keep, of all tenants, and returns how many
// messages went, also when it returns an error. It works while messages are
// read and appended: it removes at most 500 or 4 MiB in a transaction, the
// oldest of a room first. When ctx ends, what was removed until then stays removed. Call
// it now and then, such as every hour; it looks at every room, and with
// MaxPerRoom at as many messages of each.
//
// Watermarks and lists of rooms stay, and so does the file's size: the space
// is used again for new messages. (VACUUM, from the sqlite3 shell, gives it
// back.)
func (s *Store) Trim(ctx context.Context, r Retention) (removed int64, err error) {
	if r.MaxAge < 0 || r.MaxPerRoom < 0 {
		return 0, fmt.Errorf("sqlite: Retention is %+v, want nothing below 0", r)
	}
	var room gohub.RoomID
	if r.MaxAge == 0 && r.MaxPerRoom == 0 {
		return 0, ctx.Err()
	}
	// The empty room of the empty tenant, which has no name, comes first.
	for {
		err := s.db.QueryRowContext(ctx, nextRoomSQL, room.Tenant, room.Name).Scan(&room.Tenant, &room.Name)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return removed, nil
		case err != nil:
			return removed, failed("trim", err)
		}
		n, err := s.trim(ctx, room, r)
		removed += n
		if err != nil {
			return removed, failed("trim "+room.String(), err)
		}
	}
}

// trim removes a room's messages.
func (s *Store) trim(ctx context.Context, room gohub.RoomID, r Retention) (removed int64, err error) {
	var last int64 // the newest that goes; 0: none
	if r.MaxPerRoom > 0 {
		err := s.db.QueryRowContext(ctx, overSQL, room.Tenant, room.Name, 0, math.MaxInt64, r.MaxPerRoom).Scan(&last)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return 0, err
		}
	}
	if r.MaxAge > 0 {
		last = max(last, time.Now().Add(-r.MaxAge).UnixMicro())
	}
	for more := last > 0; more; {
		var n int64
		err := s.w.do(ctx, func(ctx context.Context) error {
			n, more, err = s.w.trimOldest(ctx, room, last)
			return err
		})
		if err != nil {
			return removed, err
		}
		removed += n
	}
	return removed, nil
}

// trimOldest removes the oldest messages of a room, none newer than last, and
// tells whether there may be more of them.
func (w *writer) trimOldest(ctx context.Context, room gohub.RoomID, last int64) (removed int64, more bool, err error) {
	rows, err := w.sizes.QueryContext(ctx, room.Tenant, room.Name, 0, last+1, trimChunk)
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = rows.Close() }() // whose error is Err's
	count, bytes := 0, 0
	for bytes < trimBytes && rows.Next() {
		var size int
		if err := rows.Scan(&size); err != nil {
			return 0, false, err
		}
		count, bytes = count+1, bytes+size
	}
	if err := rows.Err(); err != nil {
		return 0, false, err
	}
	if err := rows.Close(); err != nil { // the connection is needed
		return 0, false, err
	}
	res, err := w.trim.ExecContext(ctx, room.Tenant, room.Name, 0, last+1, count)
	if err != nil {
		return 0, false, err
	}
	removed, err = res.RowsAffected()
	return removed, count == trimChunk || bytes >= trimBytes, err
}
