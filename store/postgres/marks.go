package postgres

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/gohub/gohub"
)

// Advance moves watermarks; see [gohub.Store]. One that the database can never
// take, since its tenant has a zero byte for instance, is logged and left out.
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
	moved, err = s.advance(ctx, all)
	if isDataError(err) && len(all) > 1 {
		// One that can never be stored must not hold up the others for ever.
		moved = nil
		for _, w := range all {
			ms, err := s.Advance(ctx, []gohub.Watermark{w})
			if err != nil {
				return nil, err
			}
			moved = append(moved, ms...)
		}
		return moved, nil
	}
	if isDataError(err) {
		s.o.Logger.Error("watermark cannot be stored", "room", all[0].Room, "user", all[0].User, "err", err)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("postgres: advance: %w", err)
	}
	return moved, nil
}

// advance moves watermarks that are sorted, one of each user and room.
func (s *Store) advance(ctx context.Context, all []gohub.Watermark) (moved []gohub.Watermark, err error) {
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
	return moved, err
}

// Watermarks reads a room's watermarks; see [gohub.Store].
func (s *Store) Watermarks(ctx context.Context, q gohub.MarkQuery) (ws []gohub.Watermark, err error) {
	sql, args := s.sql.furthest, []any{q.Room.Tenant, q.Room.Name, int64(max(q.Limit, 0))}
	if q.Seq > 0 {
		sql, args = s.sql.seenBy, append(args, q.After, q.Seq)
	}
	err = s.query(ctx, sql, args, func(r pgx.Rows) error {
		w := gohub.Watermark{Room: q.Room}
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
