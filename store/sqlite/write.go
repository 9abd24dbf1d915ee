package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/gohub/gohub"
)

const (
	insertSQL = `INSERT INTO messages (tenant, room, recipient, seq, id, sender, kind, binary, body)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
ON CONFLICT (tenant, room, id) DO NOTHING`

	knownSQL = `SELECT seq, sender FROM messages WHERE tenant = ?1 AND room = ?2 AND id = ?3`

	listSQL = `INSERT INTO members (tenant, user, room, listed) VALUES (?1, ?2, ?3, 1)
ON CONFLICT DO UPDATE SET listed = 1 WHERE listed = 0`

	markSQL = `SELECT delivered, seen, listed FROM members WHERE tenant = ?1 AND user = ?2 AND room = ?3`

	advanceSQL = `INSERT INTO members (tenant, user, room, delivered, seen, listed) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT DO UPDATE SET delivered = excluded.delivered, seen = excluded.seen`

	// relistSQL is for itself: members_listed would be written with every receipt.
	relistSQL = `UPDATE members SET listed = ?4 WHERE tenant = ?1 AND user = ?2 AND room = ?3`
)

// Append stores batch; see [gohub.Store]. A nil error means that it is on the
// disk. A full disk and a file that another process keeps locked give errors
// that may pass.
func (s *Store) Append(ctx context.Context, batch []gohub.Message) (out []gohub.Ordered, err error) {
	if len(batch) == 0 {
		return nil, ctx.Err()
	}
	err = s.w.do(ctx, func(ctx context.Context) error {
		out, err = s.w.append(ctx, batch)
		return err
	})
	if err != nil {
		return nil, failed(fmt.Sprintf("append %d messages", len(batch)), err)
	}
	return out, nil
}

func (w *writer) append(ctx context.Context, batch []gohub.Message) ([]gohub.Ordered, error) {
	out := make([]gohub.Ordered, len(batch))
	for i := range batch {
		m := &batch[i]
		body := m.Body
		if body == nil {
			body = []byte{} // nil would be NULL
		}
		res, err := w.insert.ExecContext(ctx, m.Room.Tenant, m.Room.Name, m.To, m.Seq, m.ID, m.Sender, m.Kind, m.Binary, body)
		if err != nil {
			return nil, rowError(i, err)
		}
		fresh, err := res.RowsAffected()
		if err != nil {
			return nil, err
		}
		if fresh == 0 {
			out[i].Duplicate = true
			var sender string
			if err := w.known.QueryRowContext(ctx, m.Room.Tenant, m.Room.Name, m.ID).Scan(&out[i].Seq, &sender); err != nil {
				return nil, err
			}
			if sender != m.Sender {
				out[i] = gohub.Ordered{Err: gohub.ErrIDConflict}
			}
			continue
		}
		out[i].Seq = m.Seq
		if err := w.listDirect(ctx, m); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// listDirect lists a direct room for those of its users who may see m.
func (w *writer) listDirect(ctx context.Context, m *gohub.Message) error {
	a, b, ok := m.Room.Direct()
	if !ok {
		return nil
	}
	for i, user := range [2]string{a, b} {
		if !m.VisibleTo(user) || i == 1 && a == b {
			continue
		}
		if _, err := w.list.ExecContext(ctx, m.Room.Tenant, user, m.Room.Name); err != nil {
			return err
		}
	}
	return nil
}

// Advance moves watermarks; see [gohub.Store].
func (s *Store) Advance(ctx context.Context, ws []gohub.Watermark) (moved []gohub.Watermark, err error) {
	if len(ws) == 0 {
		return nil, ctx.Err()
	}
	err = s.w.do(ctx, func(ctx context.Context) error {
		moved, err = s.w.advanceAll(ctx, ws)
		return err
	})
	if err != nil {
		return nil, failed(fmt.Sprintf("advance %d watermarks", len(ws)), err)
	}
	return moved, nil
}

func (w *writer) advanceAll(ctx context.Context, ws []gohub.Watermark) (moved []gohub.Watermark, err error) {
	type key struct {
		room gohub.RoomID
		user string
	}
	at := make(map[key]int) // in moved: a user who moves twice is told once
	for i := range ws {
		m := &ws[i]
		var delivered, seen int64
		var listed bool
		err := w.mark.QueryRowContext(ctx, m.Room.Tenant, m.User, m.Room.Name).Scan(&delivered, &seen, &listed)
		fresh := errors.Is(err, sql.ErrNoRows)
		if err != nil && !fresh {
			return nil, err
		}
		now := gohub.Watermark{Room: m.Room, User: m.User, Seen: max(seen, m.Seen)}
		now.Delivered = max(delivered, m.Delivered, now.Seen)
		list := m.Listing == gohub.ListJoin || listed && m.Listing != gohub.ListLeave
		went := now.Delivered != delivered || now.Seen != seen
		if !went && list == listed {
			continue
		}
		if fresh || went {
			if _, err := w.advance.ExecContext(ctx, m.Room.Tenant, m.User, m.Room.Name, now.Delivered, now.Seen, list); err != nil {
				return nil, err
			}
		}
		if !fresh && list != listed {
			if _, err := w.relist.ExecContext(ctx, m.Room.Tenant, m.User, m.Room.Name, list); err != nil {
				return nil, err
			}
		}
		if !went {
			continue
		}
		k := key{m.Room, m.User}
		if j, twice := at[k]; twice {
			moved[j] = now
		} else {
			at[k] = len(moved)
			moved = append(moved, now)
		}
	}
	return moved, nil
}
