package gohub

import (
	"slices"
	"strings"

	"github.com/gohub/gohub/internal/pace"
	"github.com/gohub/gohub/internal/wire"
)

const (
	historyDefault = 50
	historyMost    = 200
	historyBytes   = 1 << 20 // a page stops here
	presencePage   = 100
	marksMost      = 200 // watermarks looked at for a page

	// A session pays for long answers with frames of its rate: one for so many
	// bytes, and for so many lines of a list of rooms.
	answerAFrame = 64 << 10
	roomsAFrame  = 100

	roomsAYield = 512 // of a list that may have thousands: some 50 µs
)

// history answers with a page of the room.
func (c *Client) history(cmd *wire.Command) error {
	m, err := c.joined(cmd.Room)
	if err != nil {
		return err
	}
	q := Query{Room: m.room.id, Viewer: c.who.User, Limit: historyDefault}
	if cmd.Has&wire.HasLimit != 0 {
		if cmd.Limit < 1 || cmd.Limit > historyMost {
			return Errorf(CodeBadRequest, "limit is %d: 1 to %d are allowed", cmd.Limit, historyMost)
		}
		q.Limit = cmd.Limit
	}
	before, after := cmd.Has&wire.HasBefore != 0, cmd.Has&wire.HasAfter != 0
	switch {
	case before && after:
		return Errorf(CodeBadRequest, "history takes before or after, not both")
	case after:
		q.After = cmd.After
	case before && cmd.Before == 0:
		c.send(wire.AppendHistory(nil, cmd.Ref, m.room.id.Name, nil, false, nil))
		return nil
	default:
		q.Before, q.Newest = cmd.Before, true
	}
	c.waits()
	ms, more, err := c.hub.read(c.hub.ctx, q)
	if err != nil {
		return c.hub.blame(err, "history", q.Room)
	}
	page, cut := wirePage(ms, q.Newest)
	seen, err := c.hub.watermarks(m.room, page)
	if err != nil {
		return c.hub.blame(err, "watermarks", q.Room)
	}
	f := wire.AppendHistory(nil, cmd.Ref, q.Room.Name, page, more || cut, seen)
	c.answered(len(f))
	// A page may have a MiB: the next command waits until it is nearly out.
	if !c.conn.SendPaced(f) {
		return ErrClosed
	}
	return nil
}

// wirePage keeps as many messages as a page's bytes allow, from the end that
// was asked for.
func wirePage(ms []Message, newest bool) (page []wire.Message, cut bool) {
	page = make([]wire.Message, len(ms))
	for i := range ms {
		page[i] = wireMessage(&ms[i])
	}
	size := 0
	for i := range page {
		k := i
		if newest {
			k = len(page) - 1 - i
		}
		size += wire.MessageSize(&page[k])
		if size > historyBytes && i > 0 {
			if newest {
				return page[k+1:], true
			}
			return page[:k], true
		}
	}
	return page, false
}

// watermarks gives how far others have got in a page: rounded down to a
// message of the page, which the asker can see by definition, so that they
// tell nothing about messages it cannot see.
func (h *Hub) watermarks(r *room, page []wire.Message) ([]wire.Mark, error) {
	if len(page) == 0 {
		return nil, nil
	}
	ws, err := h.store.Watermarks(h.ctx, MarkQuery{Room: r.id, Limit: marksMost})
	if err != nil {
		return nil, err
	}
	floor := func(at int64) int64 {
		i, found := slices.BinarySearchFunc(page, at, func(m wire.Message, at int64) int {
			switch {
			case m.Seq < at:
				return -1
			case m.Seq > at:
				return 1
			}
			return 0
		})
		switch {
		case found:
			return at
		case i == 0:
			return 0
		}
		return page[i-1].Seq
	}
	var out []wire.Mark
	for _, w := range ws {
		if d := floor(w.Delivered); d > 0 {
			out = append(out, wire.Mark{User: w.User, Delivered: d, Seen: floor(w.Seen)})
		}
	}
	return out, nil
}

// presence answers with a page of the users in the room, on all nodes.
func (c *Client) presence(cmd *wire.Command) error {
	m, err := c.joined(cmd.Room)
	if err != nil {
		return err
	}
	if c.hub.dir != nil {
		c.idle() // it waits for the Directory
	}
	page, err := c.hub.present(c.hub.ctx, m.room.id, string(cmd.Cursor), presencePage)
	if err != nil {
		return c.hub.blame(err, "presence", m.room.id)
	}
	users := make([]wire.User, len(page.Users))
	for i, u := range page.Users {
		users[i] = wire.User{User: u.User, Name: u.Name, Sessions: u.Sessions}
	}
	c.send(wire.AppendPresence(nil, cmd.Ref, m.room.id.Name, page.Count, users, page.Cursor))
	return nil
}

// present lists users of the room on this hub by id, after cursor. It looks at all of them
// and sorts few: any member may ask for any page, as often as the rate limit
// lets it.
func (r *room) present(cursor string, limit int) PresencePage {
	var first []PresentUser // the page, one more if there is another, and some that are neither
	end := ""               // of the page, as far as it is known; a user's id is never empty
	trim := func() {
		slices.SortFunc(first, func(a, b PresentUser) int { return strings.Compare(a.User, b.User) })
		if len(first) > limit {
			first = first[:limit+1]
			end = first[limit].User
		}
	}
	r.mu.Lock()
	page := PresencePage{Count: len(r.users)}
	for id, o := range r.users {
		if id <= cursor || end != "" && id > end {
			continue
		}
		first = append(first, PresentUser{User: id, Name: o.name, Sessions: o.sessions})
		if len(first)/2 > limit {
			trim()
		}
	}
	r.mu.Unlock()
	trim()
	page.Users = first
	if len(first) > limit {
		page.Users = first[:limit:limit]
		page.Cursor = first[limit-1].User
	}
	return page
}

// listRooms answers with the user's rooms.
func (c *Client) listRooms(cmd *wire.Command) error {
	c.waits()
	h, ctx := c.hub, c.hub.ctx
	h.marks.flush(ctx)                                   // a join of a moment ago counts
	coming := h.persist.direct(c.who.Tenant, c.who.User) // before the Store is asked
	states, err := h.store.Rooms(ctx, c.who.Tenant, c.who.User)
	if err != nil {
		return h.blame(err, "rooms", RoomID{Tenant: c.who.Tenant})
	}
	for _, id := range coming {
		if !slices.ContainsFunc(states, func(s RoomState) bool { return s.Room == id }) {
			states = append(states, RoomState{Room: id})
		}
	}
	pace.Yield()              // a list may have thousands
	if h.cfg.MayJoin == nil { // a program's own may have to ask somebody, for each
		who := c.Identity()
		looked := 0
		states = slices.DeleteFunc(states, func(s RoomState) bool {
			if looked++; looked%roomsAYield == 0 {
				pace.Yield()
			}
			return ListedRooms(ctx, who, s.Room) != nil
		})
	}
	out := make([]wire.RoomState, len(states))
	for i, s := range states {
		if h.persist.memory == nil {
			if s, err = c.withLogged(s); err != nil {
				return h.blame(err, "rooms", s.Room)
			}
		}
		out[i] = wire.RoomState{Room: s.Room.Name, Head: s.Head, Seen: s.Seen, Unread: s.Unread}
	}
	pace.Yield()
	c.debt += len(out) / roomsAFrame
	f := wire.AppendRooms(nil, cmd.Ref, out)
	c.answered(len(f))
	c.send(f)
	return nil
}

// withLogged adds what is ordered and not yet stored to a room's state.
func (c *Client) withLogged(s RoomState) (RoomState, error) {
	h, ctx := c.hub, c.hub.ctx
	logged, _, err := h.broker.Log(ctx, s.Room, s.Head, 1)
	if err != nil || len(logged) == 0 {
		return s, err
	}
	newest, _, err := h.read(ctx, Query{Room: s.Room, Viewer: c.who.User, Newest: true, Limit: 1})
	if err != nil {
		return s, err
	}
	if len(newest) > 0 {
		s.Head = max(s.Head, newest[0].Seq)
	}
	unread, _, err := h.read(ctx, Query{Room: s.Room, Viewer: c.who.User, After: s.Seen, Newest: true, Limit: 2 * MaxUnread})
	if err != nil {
		return s, err
	}
	n := 0
	for i := range unread {
		if unread[i].Sender != c.who.User {
			n++
		}
	}
	s.Unread = max(s.Unread, min(n, MaxUnread))
	return s, nil
}
