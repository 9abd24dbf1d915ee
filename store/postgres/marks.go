package postgres

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/gohub/gohub"
)

// Advance moves watermarks; see [gohub.Store].
func (s *Store) Advance(ctx context.Context, ws []gohub.Watermark) (moved []gohub.Watermark, err error) {
	if len(ws) == 0 {
		return nil, ctx.Err()
	}
	// One of each user and room, since a statement changes a row only once,
	// and sorted, so that two of them never wait for each other in a circle.
	type id struct {
		room gohub.RoomID
		user string
	}
	at := make(map[id]int, len(ws))
	all := make([]gohub.Watermark, 0, len(ws))
	for _, w := range ws {
		i, twice := at[id{w.Room, w.User}]
		if !twice {
			at[id{w.Room, w.User}] = len(all)
			w.Delivered = max(w.Delivered, w.Seen, 0)
			w.Seen = max(w.Seen, 0)
			all = append(all, w)
			continue
		}
		old := &all[i]
		old.Delivered, old.Seen = max(old.Delivered, w.Delivered, w.Seen), max(old.Seen, w.Seen)
		if w.Listing != gohub.ListKeep {
			old.Listing = w.Listing
		}
	}
	slices.SortFunc(all, func(a, b gohub.Watermark) int {
		return cmp.Or(cmp.Compare(a.Room.Tenant, b.Room.Tenant), cmp.Compare(a.User, b.User), cmp.Compare(a.Room.Name, b.Room.Name))
	})
	n := len(all)
	tenants, rooms, users := make([]string, n), make([]string, n), make([]string, n)
	delivered, seen, listing := make([]int64, n), make([]int64, n), make([]int16, n)
	for i, w := range all {
		tenants[i], rooms[i], users[i] = w.Room.Tenant, w.Room.Name, w.User
		delivered[i], seen[i], listing[i] = w.Delivered, w.Seen, int16(w.Listing)
	}
	err = s.query(ctx, s.sql.advance, []any{tenants, rooms, users, delivered, seen, listing}, func(r pgx.Rows) error {
		var w gohub.Watermark
		var really bool
		if err := r.Scan(&w.Room.Tenant, &w.Room.Name, &w.User, &w.Delivered, &w.Seen, &really); err != nil {
			return err
		}
		if really {
			moved = append(moved, w)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("postgres: advance: %w", err)
	}
	return moved, nil
}

// Watermarks reads a room's watermarks; see [gohub.Store]. Users whose
// watermarks never moved are left out.
func (s *Store) Watermarks(ctx context.Context, room gohub.RoomID, limit int) (ws []gohub.Watermark, err error) {
	err = s.query(ctx, s.sql.watermarks, []any{room.Tenant, room.Name, int64(max(limit, 0))}, func(r pgx.Rows) error {
		w := gohub.Watermark{Room: room}
		if err := r.Scan(&w.User, &w.Delivered, &w.Seen); err != nil {
			return err
		}
		ws = append(ws, w)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("postgres: watermarks: %w", err)
	}
	return ws, nil
}
