package gohub

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gohub/gohub/internal/pace"
)

// memRows keeps a MemoryStore's watermarks and room lists: one row for each
// user and room, at most max of them. One lock for all: an Advance holds it
// for some hundred nanoseconds a row.
type memRows struct {
	mu    sync.Mutex // protects all below but unlisted; a leaf
	max   int64
	rooms map[RoomID]map[string]*memRow // by user
	users map[memUser][]*memRow         // listed rooms, in no order
	count int64
	// lru is a ring: lru.next was advanced last, lru.prev longest ago.
	lru   memRow
	batch uint64 // number of the Advance that is running
	// unlisted counts how often a direct room was taken off a list: while it
	// stays the same, Append need not list its rooms again.
	unlisted atomic.Uint64
}

type memUser struct{ tenant, name string }

type memRow struct {
	prev, next      *memRow
	room            RoomID
	user            string
	delivered, seen int64
	batch           uint64 // the last Advance that moved it,
	at              int32  // and where in its answer
	listed          bool
}

func (t *memRows) init(limit int64) {
	t.max = limit
	t.rooms = make(map[RoomID]map[string]*memRow)
	t.users = make(map[memUser][]*memRow)
	t.lru.prev, t.lru.next = &t.lru, &t.lru
}

// Advance moves watermarks; see [Store].
func (s *MemoryStore) Advance(ctx context.Context, ws []Watermark) ([]Watermark, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.rows.advance(ws), nil
}

func (t *memRows) advance(ws []Watermark) (moved []Watermark) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.batch++
	for i := range ws {
		w := &ws[i]
		if w.Delivered <= 0 && w.Seen <= 0 && w.Listing != ListJoin && t.rooms[w.Room][w.User] == nil {
			continue // nothing to note
		}
		r := t.touch(w.Room, w.User)
		switch w.Listing {
		case ListJoin:
			t.list(r)
		case ListLeave:
			t.unlist(r)
		case ListKeep:
		}
		seen := max(r.seen, w.Seen)
		delivered := max(r.delivered, w.Delivered, seen)
		if seen != r.seen || delivered != r.delivered {
			r.seen, r.delivered = seen, delivered
			if r.batch != t.batch {
				r.batch, r.at = t.batch, int32(len(moved)) //nolint:gosec // as many as rows fit in memory
				moved = append(moved, Watermark{})
			}
			moved[r.at] = r.watermark()
		}
		if !r.listed && r.delivered == 0 {
			t.drop(r)
		}
	}
	for t.count > t.max {
		t.drop(t.lru.prev)
	}
	return moved
}

// listDirect lists a direct room for its users; an empty one is left out. It
// returns unlisted as it was meanwhile.
func (t *memRows) listDirect(room RoomID, users ...string) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, user := range users {
		if user != "" {
			t.list(t.touch(room, user))
		}
	}
	listed := t.unlisted.Load()
	for t.count > t.max {
		t.drop(t.lru.prev)
	}
	return listed
}

// touch finds or makes a row and marks it as the last one advanced.
func (t *memRows) touch(room RoomID, user string) *memRow {
	r := t.rooms[room][user]
	if r == nil {
		r = &memRow{room: room, user: user}
		if t.rooms[room] == nil {
			t.rooms[room] = make(map[string]*memRow)
		}
		t.rooms[room][user] = r
		t.count++
	} else {
		r.prev.next, r.next.prev = r.next, r.prev
	}
	r.prev, r.next = &t.lru, t.lru.next
	r.prev.next, r.next.prev = r, r
	return r
}

func (t *memRows) list(r *memRow) {
	if r.listed {
		return
	}
	r.listed = true
	u := memUser{r.room.Tenant, r.user}
	t.users[u] = append(t.users[u], r)
}

func (t *memRows) unlist(r *memRow) {
	if !r.listed {
		return
	}
	r.listed = false
	u := memUser{r.room.Tenant, r.user}
	rows := t.users[u]
	i, last := slices.Index(rows, r), len(rows)-1
	rows[i], rows[last] = rows[last], nil
	if t.users[u] = rows[:last]; last == 0 {
		delete(t.users, u)
	}
	if _, _, direct := r.room.Direct(); direct {
		t.unlisted.Add(1)
	}
}

func (t *memRows) drop(r *memRow) {
	t.unlist(r)
	r.prev.next, r.next.prev = r.next, r.prev
	delete(t.rooms[r.room], r.user)
	if len(t.rooms[r.room]) == 0 {
		delete(t.rooms, r.room)
	}
	t.count--
}

func (r *memRow) watermark() Watermark {
	return Watermark{Room: r.room, User: r.user, Delivered: r.delivered, Seen: r.seen}
}

// Watermarks reads a room's watermarks; see [Store].
func (s *MemoryStore) Watermarks(ctx context.Context, q MarkQuery) ([]Watermark, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if q.Limit < 1 {
		return nil, nil
	}
	order := func(a, b Watermark) int {
		return cmp.Or(cmp.Compare(b.Seen, a.Seen), cmp.Compare(b.Delivered, a.Delivered), cmp.Compare(a.User, b.User))
	}
	if q.Seq > 0 {
		order = func(a, b Watermark) int { return cmp.Compare(a.User, b.User) }
	}
	s.rows.mu.Lock()
	defer s.rows.mu.Unlock()
	return s.rows.first(q, order), nil
}

// first gives the first q.Limit watermarks in an order. It looks at all of the
// room's and sorts few: every page of history asks for them.
func (t *memRows) first(q MarkQuery, order func(a, b Watermark) int) []Watermark {
	limit := q.Limit
	ws := make([]Watermark, 0, min(len(t.rooms[q.Room]), 2*min(limit, 1<<20)+1))
	full := false // the first limit of ws are the best so far, in order
	trim := func() {
		slices.SortFunc(ws, order)
		full = full || len(ws) >= limit
		ws = ws[:min(len(ws), limit)]
	}
	for _, r := range t.rooms[q.Room] {
		if r.delivered < max(q.Seq, 1) || q.Seq > 0 && r.user <= q.After {
			continue
		}
		if w := r.watermark(); !full || order(w, ws[limit-1]) < 0 {
			if ws = append(ws, w); len(ws)/2 > limit {
				trim()
			}
		}
	}
	trim()
	return ws
}

// Rooms lists a user's rooms; see [Store].
func (s *MemoryStore) Rooms(ctx context.Context, tenant, user string) ([]RoomState, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.rows.mu.Lock()
	rooms := s.rows.users[memUser{tenant, user}]
	list := make([]RoomState, 0, len(rooms))
	for _, r := range rooms {
		list = append(list, RoomState{Room: r.room, Seen: r.seen})
	}
	s.rows.mu.Unlock()
	for i, l := range list {
		if i%roomsAYield == roomsAYield-1 { // of a user who has joined thousands
			pace.Yield()
		}
		list[i] = s.state(l.Room, user, l.Seen)
	}
	compared := 0
	slices.SortFunc(list, func(a, b RoomState) int {
		if compared++; compared%(8*roomsAYield) == 0 {
			pace.Yield()
		}
		return cmp.Compare(a.Room.Name, b.Room.Name)
	})
	return list, nil
}
