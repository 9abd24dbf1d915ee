package gohub

import (
	"context"
	"time"

	"github.com/gohub/gohub/internal/wire"
)

// Publish sends a message from the embedding program. m needs Room, Sender
// and Body; ID defaults to NewID, Kind to "chat", and Seq is ignored. Unlike
// a client, the program need not have joined the room.
//
// Body must be one JSON value, as json.Marshal makes it, unless Binary; it is
// copied. Sender shares a namespace with users: keep a name such as "system"
// for the program in your Authenticator.
//
// It returns when the message is stored, with its Seq. An ID that Sender has
// used in this room before is not published again: Seq is then the first
// one's, and the rest of the answer is m as given.
//
// Errors are an [*Error], to be found with errors.As, for what a client would
// be told (bad_request, bad_room, too_large, forbidden, busy, unavailable and
// draining, the latter also an ErrClosed), ErrIDConflict, ErrUnavailable,
// ErrUnknown, or ctx's. After an unavailable, ErrUnknown and ctx's the message
// may still come to be, or not: publish it again with its ID until the answer
// is clear. ErrUnknown means that this hub has ended: another one, or the next,
// gives the answer.
//
// A room that nobody on this hub is in is read first, from the Store and the
// Broker: while one of them is away that is unavailable.
func (h *Hub) Publish(ctx context.Context, m Message) (Message, error) {
	fresh := m.ID == ""
	if fresh {
		m.ID = NewID()
	}
	if m.Kind == "" {
		m.Kind = "chat"
	}
	if err := h.valid(&m); err != nil {
		return m, err
	}
	if h.closing.Load() {
		return m, errDraining
	}
	m.Body = append([]byte(nil), m.Body...) // the caller keeps its own
	r, err := h.acquire(ctx, m.Room)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return m, ctx.Err()
	default:
		return m, h.blame(err, "publish", m.Room)
	}
	defer h.release(r)
	res := newResult()
	sent := m
	done := false
	if !fresh { // nobody has used a new one: the Store need not be there
		if done, err = h.resend(ctx, &sent, res); err != nil {
			return m, err
		}
	}
	if !done {
		r.inline(func() { err = h.submit(ctx, r, &sent, res) })
		if err != nil {
			return m, err
		}
	}
	if err := res.wait(ctx, h); err != nil {
		return m, err
	}
	m.Seq = res.seq
	return m, nil
}

// Kick ends all sessions that a user has, on every hub, with close code 4503,
// which tells their clients to stay away, and returns how many there were on
// this one. The others are told by [Broker.Signal] and do the same when that
// arrives; with a Directory they are told again over a minute and a half, for
// those that were out of touch, and sessions that have begun since are left
// alone. It does not keep the user out: the
// Authenticator does. Where a login has ended, see [Hub.Revoke].
func (h *Hub) Kick(tenant, user, reason string) int {
	k := kick{tenant, user, reason}
	h.insist(tenant, order{Kick: &k})
	return h.kick(&k, 0)
}

// kick is this hub's part.
func (h *Hub) kick(k *kick, age time.Duration) (n int) {
	at := time.Now().Add(-age)
	sessions := h.sessionsOf(k.Tenant, k.User)
	for _, c := range sessions {
		if age > 0 && c.began.After(at) {
			continue
		}
		c.close(CloseKicked, k.Reason)
		n++
	}
	return n
}

// Join makes a session of this hub a member of a room, as if its client had
// asked: the client sees a "joined" frame without a ref, and the newest
// messages, Config.JoinReplay at most. Config.MayJoin is not asked. A session
// that is a member already is left as it is. A join that the client is about
// itself, replay included, is waited for.
//
// Errors are ErrNoSession, or an [*Error]: bad_room; forbidden, for others'
// direct rooms and beyond Config.MaxRooms; unavailable; draining, which is also
// an ErrClosed and says that the hub ends, or the session has meanwhile.
func (h *Hub) Join(session string, room string) error {
	c := h.session(session)
	if c == nil {
		return ErrNoSession
	}
	id := RoomID{c.who.Tenant, room}
	if err := c.canJoin(id); err != nil {
		return err
	}
	c.moving.Lock()
	defer c.moving.Unlock()
	if m := c.member(room); m != nil {
		m.placed.Store(true)
		return nil
	}
	c.heard.Store(true) // it may listen for ever: see FirstFrameTimeout
	return c.enter(id, nil, Query{Room: id, Viewer: c.who.User, Newest: true, Limit: h.cfg.JoinReplay}, false, false, true)
}

// Leave takes a session of this hub out of a room, and the room off its user's
// list. Its client sees a "left" frame without a ref, and nothing more of the
// room. Errors are ErrNoSession, or an [*Error] with the code not_joined.
func (h *Hub) Leave(session string, room string) error {
	c := h.session(session)
	if c == nil {
		return ErrNoSession
	}
	m := c.member(room)
	if m == nil {
		return Errorf(CodeNotJoined, "room %q is not joined", clip(room))
	}
	c.expel(m)
	return nil
}

func (c *Client) expel(m *member) {
	if c.forget(m) {
		c.unlist(m.room.id)
		c.send(wire.AppendLeft(nil, nil, m.room.id.Name))
	}
}

// CloseRoom takes every session out of a room, as Leave does, on every hub, and
// returns how many there were on this one. The others are told by
// [Broker.Signal], once: a hub that is out of touch keeps its members. History
// stays, and the room may be joined again.
func (h *Hub) CloseRoom(id RoomID) int {
	h.broadcast(id.Tenant, order{CloseRoom: &id})
	return h.closeRoom(id)
}

// closeRoom is this hub's part.
func (h *Hub) closeRoom(id RoomID) int {
	r := h.find(id)
	if r == nil {
		return 0
	}
	r.mu.Lock()
	members := append([]*member(nil), r.members...)
	r.mu.Unlock()
	for _, m := range members {
		m.client.expel(m)
	}
	return len(members)
}

// A PresentUser is a user with at least one session in a room.
type PresentUser struct {
	User     string
	Name     string
	Sessions int
}

// A PresencePage lists users in a room.
type PresencePage struct {
	Count  int           // distinct users in the room
	Users  []PresentUser // by user id
	Cursor string        // of the next page; empty: this is the last
}

// Presence lists the users that are in a room, by user id, at most limit after
// cursor; a limit below 1 is 100. With a Directory they are those of all nodes,
// and it fails with ErrUnavailable while that cannot be reached, or when ctx
// ends; without one they are this hub's, and it does not fail.
func (h *Hub) Presence(ctx context.Context, id RoomID, cursor string, limit int) (PresencePage, error) {
	if limit < 1 {
		limit = presencePage
	}
	return h.present(ctx, id, cursor, limit)
}

// Sessions lists the live sessions of a user on this hub.
func (h *Hub) Sessions(tenant, user string) []*Client {
	return append([]*Client(nil), h.sessionsOf(tenant, user)...)
}
