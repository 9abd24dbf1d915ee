package postgres

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/gohub/gohub"
)

// Lookup finds a message by its id; see [gohub.Store].
func (s *Store) Lookup(ctx context.Context, room gohub.RoomID, id string) (m gohub.Message, found bool, err error) {
	err = s.query(ctx, s.sql.lookup, []any{room.Tenant, room.Name, id}, func(r pgx.Rows) error {
		found = true
		m.Room = room
		return scanMessage(r, &m)
	})
	if err != nil {
		return gohub.Message{}, false, fmt.Errorf("postgres: lookup: %w", err)
	}
	return m, found, nil
}

func scanMessage(r pgx.Rows, m *gohub.Message) error {
	return r.Scan(&m.ID, &m.Seq, &m.Sender, &m.To, &m.Kind, &m.Body, &m.Binary)
}

// History reads a page; see [gohub.Store]. A Limit below 1 counts as 1.
func (s *Store) History(ctx context.Context, q gohub.Query) (ms []gohub.Message, more bool, err error) {
	limit := max(q.Limit, 1)
	before := q.Before
	if before == 0 {
		before = math.MaxInt64
	}
	args := []any{q.Room.Tenant, q.Room.Name, q.After, before, int64(limit) + 1}
	newest, viewer := 0, 0
	if q.Newest {
		newest = 1
	}
	if q.Viewer != "" {
		viewer = 1
		args = append(args, q.Viewer)
	}
	err = s.query(ctx, s.sql.history[newest][viewer], args, func(r pgx.Rows) error {
		if len(ms) == limit {
			more = true
			return nil
		}
		ms = append(ms, gohub.Message{Room: q.Room})
		return scanMessage(r, &ms[len(ms)-1])
	})
	if err != nil {
		return nil, false, fmt.Errorf("postgres: history: %w", err)
	}
	if q.Newest {
		slices.Reverse(ms)
	}
	return ms, more, nil
}

// Rooms lists a user's rooms; see [gohub.Store]. A room costs five short reads
// of indexes, however long its history; the user's own messages after the last
// they have seen are read over, at most 1,000.
func (s *Store) Rooms(ctx context.Context, tenant, user string) (list []gohub.RoomState, err error) {
	err = s.query(ctx, s.sql.rooms, []any{tenant, user}, func(r pgx.Rows) error {
		st := gohub.RoomState{Room: gohub.RoomID{Tenant: tenant}}
		if err := r.Scan(&st.Room.Name, &st.Seen, &st.Head, &st.Unread); err != nil {
			return err
		}
		list = append(list, st)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("postgres: rooms: %w", err)
	}
	return list, nil
}
