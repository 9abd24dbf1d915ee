package gohub

import (
	"slices"

	"github.com/gohub/gohub/internal/pace"
	"github.com/gohub/gohub/internal/wire"
)

// flipBytes is how much of the ring is queued at once when a replay catches
// up with the room; with more to come the replay goes on at the socket's pace.
const flipBytes = 256 << 10

// replayBytes is how much of a replay is held in memory while it is sent.
const replayBytes = 1 << 20

// join makes the session a member: "joined", the messages it missed, then
// everything live, with no gap and no message twice.
//
// The messages that the room's ring holds are queued under the room's lock,
// in the same step that makes the session a member, so that nothing can come
// between. What is older is read from the log and the Store beforehand and
// sent at the socket's pace, until the ring reaches back far enough.
func (c *Client) join(cmd *wire.Command) error {
	id := RoomID{c.who.Tenant, string(cmd.Room)}
	if err := c.mayJoin(id); err != nil {
		return err
	}
	q := Query{Room: id, Viewer: c.who.User, Newest: true, Limit: c.hub.cfg.JoinReplay}
	since := cmd.Has&wire.HasSince != 0
	if since {
		q.After, q.Limit = cmd.Since, c.hub.cfg.ReplayLimit
	}
	c.moving.Lock()
	defer c.moving.Unlock()
	placed := false
	if old := c.member(id.Name); old != nil {
		placed = old.placed.Load()
		c.forget(old) // joining again replays again
	}
	if !c.conn.SendPaced(nil) { // the replay before this one first: it is not bounded by MaxQueue
		return ErrClosed
	}
	c.waits()
	return c.enter(id, cmd.Ref, q, since, true, placed)
}

// enter makes the session a member of a room it is not in; moving is held.
// paced: this is the session's own goroutine, which may wait for the socket.
// placed: the program has put it there.
func (c *Client) enter(id RoomID, ref []byte, q Query, since, paced, placed bool) error {
	if most := c.hub.cfg.MaxRooms; most > 0 && c.roomCount() >= most {
		return Errorf(CodeForbidden, "a session may join %d rooms", most)
	}
	r, err := c.hub.acquire(c.hub.ctx, id)
	if err != nil {
		return c.hub.blame(err, "join", id)
	}
	defer c.hub.release(r)
	r.recount(c.hub.ctx)
	sent := 0 // bytes
	send := func(f []byte) bool { sent += len(f); c.conn.Queue(f); return true }
	if paced {
		defer func() { c.answered(sent) }()
		c.conn.Cork()
		send = func(f []byte) bool {
			sent += len(f)
			ok := c.conn.SendPaced(f)
			c.conn.Uncork() // what follows may wait
			return ok
		}
	}
	m := &member{client: c, conn: c.conn, room: r, place: -1}
	m.placed.Store(placed)
	r.mu.Lock()
	r.joining++
	r.enter(c)
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.joining--
		r.mu.Unlock()
	}()
	if err := c.replay(m, ref, q, since, send, &sent); err != nil {
		r.leave(m)
		return c.hub.blame(err, "replay", id)
	}
	c.settled(m)
	c.hub.marks.add(Watermark{Room: id, User: c.who.User, Listing: ListJoin})
	return nil
}

// settled lists a membership that is under way.
func (c *Client) settled(m *member) {
	c.mu.Lock()
	c.rooms = append(c.rooms, m)
	c.mu.Unlock()
	if c.ended.Load() { // end may have missed this room
		c.forget(m)
	}
}

func (c *Client) roomCount() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.rooms)
}

// replay sends "joined" and what q asks for, and settles m.
func (c *Client) replay(m *member, ref []byte, q Query, since bool, send func([]byte) bool, sent *int) error {
	r, user := m.room, c.who.User
	r.mu.Lock()
	// Who was with another hub may have had what this one is still to get: that
	// must not come again. Or since lies in the future.
	ahead := q.After > r.last
	page, truncated, ok := r.recent(q, since)
	if ok && !ahead {
		head, _ := r.head(user)
		f := wire.AppendJoined(make([]byte, 0, 160+len(ref)+len(r.id.Name)), ref, r.id.Name, head, truncated && since, r.headcount())
		c.conn.QueueAll(func(yield func([]byte) bool) {
			yield(f)
			for _, x := range page { // no copy: they are the room's, for all its members
				yield(x.bytes)
				*sent += len(x.bytes)
			}
		})
		*sent += len(f)
		r.settle(m, r.last)
		r.mu.Unlock()
		return nil
	}
	r.mu.Unlock()

	// The log and the Store know more than the ring.
	if !send(nil) { // what follows may wait
		return ErrClosed
	}
	// Before the messages: what comes in between must be among them.
	ask := c.hub.head
	if ahead {
		ask = c.hub.newest
	}
	head, err := ask(r, user)
	if err != nil {
		return err
	}
	var ms []Message
	if q.Limit > 0 {
		if ms, truncated, err = c.hub.read(c.hub.ctx, q); err != nil {
			return err
		}
	}
	if len(ms) > 0 {
		head = ms[len(ms)-1].Seq
	}
	r.mu.Lock()
	members := r.headcount()
	r.mu.Unlock()
	if !send(wire.AppendJoined(nil, ref, r.id.Name, head, truncated && since, members)) {
		return ErrClosed
	}
	at := head // sent up to here; not q.After, which may lie in the future
	for {
		r.mu.Lock()
		known := r.last // before what is read below
		r.mu.Unlock()
		// Sending may take the client hours. What does not fit into a MiB is
		// forgotten, and read again when its turn has come.
		limit := c.hub.cfg.ReplayLimit
		if n := firstBytes(ms, replayBytes); n < len(ms) {
			ms, limit = slices.Clone(ms[:n]), min(limit, max(2*n, 16))
		}
		if !sendAll(ms, send) {
			return ErrClosed
		}
		if len(ms) > 0 {
			at = ms[len(ms)-1].Seq
		}
		if c.flip(m, at) {
			return nil
		}
		ms, _, err = c.hub.read(c.hub.ctx, Query{Room: r.id, Viewer: user, After: at, Limit: limit})
		if err != nil {
			return err
		}
		if len(ms) == 0 {
			// Nothing up to known is for this user.
			at = max(at, known)
		}
	}
}

// recent answers q, the newest q.Limit after q.After, from the ring if it
// reaches back far enough; mu is held. exact: it must also be known whether
// there are more than that.
func (r *room) recent(q Query, exact bool) (page []frame, more, ok bool) {
	if _, known := r.head(q.Viewer); !known {
		return nil, false, false
	}
	n, i := 0, len(r.ring)
	for ; i > 0 && r.ring[i-1].seq > q.After; i-- {
		if r.ring[i-1].visible(q.Viewer) {
			if n == q.Limit {
				more = true
				break
			}
			n++
		}
	}
	if !more && q.After < r.base && (exact || n < q.Limit) {
		return nil, false, false
	}
	page = make([]frame, 0, n)
	for _, f := range r.ring[i:] {
		if f.visible(q.Viewer) {
			page = append(page, f)
		}
	}
	return page, more, true
}

// flip settles m if everything after at is in the ring and little enough.
func (c *Client) flip(m *member, at int64) bool {
	r, user := m.room, c.who.User
	r.mu.Lock()
	defer r.mu.Unlock()
	if at < r.base {
		return false
	}
	size := 0
	i := len(r.ring)
	for i > 0 && r.ring[i-1].seq > at {
		i--
		if r.ring[i].visible(user) {
			size += len(r.ring[i].bytes)
		}
	}
	if size > flipBytes {
		return false
	}
	var f []byte
	if size > 0 {
		f = make([]byte, 0, size)
	}
	for _, x := range r.ring[i:] {
		if x.visible(user) {
			f = append(f, x.bytes...)
		}
	}
	if len(f) > 0 {
		c.conn.Queue(f)
	}
	r.settle(m, max(at, r.last))
	return true
}

// firstBytes is how many of the first messages are together no larger than
// most; one at least.
func firstBytes(ms []Message, most int) int {
	for i := range ms {
		if most -= ms[i].size(); most < 0 && i > 0 {
			return i
		}
	}
	return len(ms)
}

// sendAll sends messages in pieces of 32 KiB.
func sendAll(ms []Message, send func([]byte) bool) bool {
	const part = 32 << 10
	for len(ms) > 0 {
		n, size := 0, 0
		for ; n < len(ms) && size < part; n++ {
			w := wireMessage(&ms[n])
			size += wire.MessageSize(&w)
		}
		f := make([]byte, 0, size)
		for i := range ms[:n] {
			w := wireMessage(&ms[i])
			f = wire.AppendMessage(f, &w)
		}
		if !send(f) {
			return false
		}
		ms = ms[n:]
		pace.Yield() // the others' messages do not wait for all of it
	}
	return true
}

// implicit makes the session a member of a direct room it publishes to,
// without a replay.
func (c *Client) implicit(id RoomID) (*member, error) {
	c.moving.Lock()
	defer c.moving.Unlock()
	if m := c.member(id.Name); m != nil {
		return m, nil
	}
	if most := c.hub.cfg.MaxRooms; most > 0 && c.roomCount() >= most {
		return nil, Errorf(CodeForbidden, "a session may join %d rooms", most)
	}
	c.waits()
	r, err := c.hub.acquire(c.hub.ctx, id)
	if err != nil {
		return nil, c.hub.blame(err, "join", id)
	}
	defer c.hub.release(r)
	m := &member{client: c, conn: c.conn, room: r, place: -1}
	r.mu.Lock()
	r.enter(c)
	r.settle(m, r.last)
	r.mu.Unlock()
	c.settled(m)
	return m, nil
}
