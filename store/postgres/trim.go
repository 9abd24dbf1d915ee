package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gohub/gohub"
)

// Retention says which messages [Store.Trim] keeps.
type Retention struct {
	// MaxAge is how old a message may be, by its Seq. 0: of any age. Take an
	// hour at least: with a message its id is forgotten, and a client that sends
	// it again then, because it never got its ack, adds a new message.
	MaxAge time.Duration
	// MaxPerRoom is how many messages a room keeps, the newest. 0: all.
	MaxPerRoom int
}

const (
	trimChunk = 1000     // messages deleted in one transaction
	trimBytes = 16 << 20 // of their bodies; one message more if that is what it takes
	trimRooms = 200      // rooms looked at in one
)

// Trim deletes the messages that r does not keep and returns how many. With a
// message its id is forgotten: a resend of it is stored as a new message.
// Watermarks and lists of rooms stay.
//
// It deletes 1,000 at a time, or 16 MiB, in a transaction of their own, and
// may be stopped by ctx at any time: what it has deleted stays so, and the next
// call goes on. Call it from time to time, from one process; more do no harm. The
// space is free for new messages after the server's next vacuum.
func (s *Store) Trim(ctx context.Context, r Retention) (removed int64, err error) {
	switch {
	case r.MaxAge < 0:
		return 0, fmt.Errorf("postgres: Retention.MaxAge is %v: 0 or more", r.MaxAge)
	case r.MaxPerRoom < 0:
		return 0, fmt.Errorf("postgres: Retention.MaxPerRoom is %d: 0 or more", r.MaxPerRoom)
	case r.MaxAge == 0 && r.MaxPerRoom == 0:
		return 0, nil
	}
	var oldest int64
	if r.MaxAge > 0 {
		oldest = time.Now().Add(-r.MaxAge).UnixMicro()
	}
	for last := (gohub.RoomID{}); ; {
		var rooms []gohub.RoomID
		err := s.query(ctx, s.sql.trimRooms, []any{last.Tenant, last.Name, int64(trimRooms)}, func(rows pgx.Rows) error {
			var id gohub.RoomID
			err := rows.Scan(&id.Tenant, &id.Name)
			rooms = append(rooms, id)
			return err
		})
		if err != nil {
			return removed, fmt.Errorf("postgres: trim: %w", err)
		}
		if len(rooms) == 0 {
			return removed, nil
		}
		last = rooms[len(rooms)-1]
		for _, id := range rooms {
			n, err := s.trimRoom(ctx, id, oldest, r.MaxPerRoom)
			removed += n
			if err != nil {
				return removed, fmt.Errorf("postgres: trim room %v: %w", id, err)
			}
		}
	}
}

// trimRoom deletes a room's messages older than the seq given, and all but the
// newest.
func (s *Store) trimRoom(ctx context.Context, id gohub.RoomID, oldest int64, newest int) (removed int64, err error) {
	if newest > 0 {
		err := s.query(ctx, s.sql.trimBound, []any{id.Tenant, id.Name, int64(newest)}, func(rows pgx.Rows) error {
			var seq int64
			err := rows.Scan(&seq)
			oldest = max(oldest, seq)
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	for more := oldest > 0; more; {
		var n, found int64
		args := []any{id.Tenant, id.Name, oldest, int64(trimChunk), int64(trimBytes)}
		err := s.query(ctx, s.sql.trimChunk, args, func(rows pgx.Rows) error { return rows.Scan(&n, &found) })
		if err != nil {
			return removed, err
		}
		removed += n
		more = n > 0 && (n < found || found == trimChunk)
	}
	return removed, nil
}
