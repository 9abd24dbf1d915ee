package gohub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/gohub/gohub/internal/wire"
)

// A Publish is a message on its way in, as middleware sees it: decoded,
// checked, from a session that has joined the room, and not yet ordered.
type Publish struct {
	// Client is the session that sent it.
	Client *Client
	// Message may be changed in To, Kind, Body and Binary: by new values, the
	// bytes of Body stay as they are. Its Seq is 0.
	Message *Message
	// Retry: the client has sent it before and got no answer. What was stored
	// then is acked without the middleware.
	Retry bool

	room    *room
	id      string
	taken   bool // by the hub, with this outcome
	outcome error
}

// Text gives the text of the message: its body when that is a JSON string, or
// what an object has under "text" when that is one. Without a text, and when
// the message is binary, ok is false.
func (p *Publish) Text() (s string, ok bool) {
	if p.Message.Binary {
		return "", false
	}
	return wire.Text(p.Message.Body)
}

// SetText gives the message another text. The other fields of an object stay; a
// body without a text becomes a JSON string. Bytes that are not UTF-8 become
// U+FFFD.
func (p *Publish) SetText(s string) {
	m := p.Message
	if m.Binary {
		m.Body, m.Binary = nil, false
	}
	m.Body = wire.WithText(m.Body, s)
}

// Reply makes of the message an answer to its sender, whom nobody else sees:
// private to them, of kind "notice", with this text. It is stored and replayed
// like any private message.
func (p *Publish) Reply(text string) {
	p.Message.To, p.Message.Kind = p.Message.Sender, "notice"
	p.SetText(text)
}

// A PublishFunc takes a message further. A nil error means that it was
// accepted: the client learns by "ack" when it is stored. An error refuses it,
// before anybody has seen it, and is what the client is told. To refuse for
// good return an [*Error] without a RetryAfter, such as
// Errorf(CodeForbidden, "no links here"); any other error, and a panic, is
// taken for a fault of the server, and the client repeats the message.
//
// ctx ends with the hub.
type PublishFunc func(ctx context.Context, p *Publish) error

// Use puts middleware around the messages of clients: moderation, rewriting,
// refusing with a reason. The first one used is the outermost. Each calls next
// once, or returns an error: a client waits for its answer. It runs on the
// session's goroutine, and calls next there: the session's next command waits
// for it. Messages
// that the program publishes with [Hub.Publish] do not pass through it.
//
// Call Use before the hub serves connections.
func (h *Hub) Use(mw ...func(next PublishFunc) PublishFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.middle = append(h.middle, mw...)
	h.chain = h.accept
	for _, m := range slices.Backward(h.middle) {
		h.chain = m(h.chain)
	}
	h.used = true
}

// publishOwed is publish, counted until its outcome has been told: a draining
// hub closes no session before that (see dismiss).
func (c *Client) publishOwed(cmd *wire.Command) error {
	c.unacked.Add(1)
	if c.leaving.Load() {
		c.unacked.Add(-1)
		return errDraining
	}
	err := c.publish(cmd)
	if err != nil {
		c.unacked.Add(-1)
	}
	return err
}

// publish checks a client's message and hands it to the middleware. Without an
// error the client is told the outcome by stored or refused.
func (c *Client) publish(cmd *wire.Command) error {
	if err := c.check(cmd); err != nil {
		return err
	}
	var mem *member
	var err error
	if cmd.Room == nil {
		mem, err = c.direct(string(cmd.To))
	} else {
		mem, err = c.joined(cmd.Room)
	}
	if err != nil {
		return err
	}
	r := mem.room
	if a, b, direct := r.id.Direct(); direct && cmd.To != nil && string(cmd.To) != a && string(cmd.To) != b {
		return Errorf(CodeForbidden, "%q cannot see a direct room of others", clip(string(cmd.To)))
	}
	// One copy for id and body: the frame's buffer is used again.
	buf := make([]byte, len(cmd.ID)+len(cmd.Body))
	n := copy(buf, cmd.ID)
	copy(buf[n:], cmd.Body)
	m := Message{
		Room:   r.id,
		ID:     unsafe.String(unsafe.SliceData(buf), n), //nolint:gosec // buf never changes from here on
		Sender: c.who.User,
		To:     string(cmd.To),
		Kind:   kindOf(cmd.Kind),
		Body:   buf[n:len(buf):len(buf)],
		Binary: cmd.Binary,
	}
	command := c.hub.isCommand(&m)
	if !c.hub.used && !command {
		return c.hub.take(c.hub.ctx, c, r, &m, cmd.Retry)
	}
	c.idle()       // the command and the middleware may wait for something
	if cmd.Retry { // what is stored is not judged again
		if done, err := c.hub.resend(c.hub.ctx, &m, c); done || err != nil {
			return err
		}
	}
	seen := m
	p := &Publish{Client: c, Message: &seen, Retry: cmd.Retry, room: r, id: m.ID}
	if command {
		if err := c.hub.command(c.hub.ctx, p); err != nil {
			return err
		}
		if m.Room = p.room.id; cmd.Retry && p.room != r { // that is where it was stored, if it was
			if done, err := c.hub.resend(c.hub.ctx, &m, c); done || err != nil {
				return err
			}
		}
	}
	err = guard(c.hub, "middleware", func() error { return c.hub.chain(c.hub.ctx, p) })
	switch {
	case p.taken && p.outcome == nil: // the ack will come: no error besides it
		if err != nil {
			c.hub.log.Log(c.hub.ctx, c.hub.failed.At(slog.LevelError), "middleware returned an error after next had taken the message", "err", err)
		}
		return nil
	case p.taken && err == nil:
		return p.outcome
	case err == nil:
		return errors.New("middleware neither called next nor returned an error")
	}
	return err
}

// direct makes the session a member of its user's direct room with another,
// if it may join that.
func (c *Client) direct(user string) (*member, error) {
	id := DirectRoom(c.who.Tenant, c.who.User, user)
	if err := c.mayJoin(id); err != nil {
		return nil, err
	}
	return c.implicit(id)
}

func kindOf(b []byte) string {
	if len(b) == 0 || string(b) == "chat" {
		return "chat"
	}
	return string(b)
}

// check refuses whatever a Store or another client could stumble over.
func (c *Client) check(cmd *wire.Command) error {
	switch {
	case !wire.ValidUUID(cmd.ID):
		return Errorf(CodeBadRequest, "publish needs an id, a UUID made by the client")
	case cmd.Has&wire.HasBody == 0:
		return Errorf(CodeBadRequest, "publish needs a body")
	case len(cmd.Body) > c.hub.cfg.MaxBody:
		return Errorf(CodeTooLarge, "the body has %d bytes; %d are allowed", len(cmd.Body), c.hub.cfg.MaxBody)
	case cmd.Kind != nil && !wire.ValidKind(cmd.Kind):
		return Errorf(CodeBadRequest, "kind: 1 to 32 of a-z 0-9 . _ -")
	case cmd.To != nil && !wire.ValidUser(cmd.To):
		return Errorf(CodeBadRequest, "to: 1 to 63 of A-Z a-z 0-9 . _ : -")
	case cmd.Room == nil && cmd.To == nil:
		return Errorf(CodeBadRequest, "publish needs a room, or to")
	}
	return nil
}

// accept is the end of the middleware chain: it reserves room in the queue to
// the Store, orders the message, which shows it to the members, and queues it
// for storing.
func (h *Hub) accept(ctx context.Context, p *Publish) error {
	m, c := p.Message, p.Client
	if h.closing.Load() {
		return errDraining
	}
	m.ID, m.Room, m.Sender = p.id, p.room.id, c.who.User // these are not the middleware's to change
	if err := h.valid(m); err != nil {
		return err
	}
	p.taken, p.outcome = true, errInternal // should take panic
	p.outcome = h.take(ctx, c, p.room, m, false)
	return p.outcome
}

// valid checks a message that a program made or changed: what the wire's
// decoder and check do for a client's.
func (h *Hub) valid(m *Message) error {
	a, b, direct := m.Room.Direct()
	switch {
	case !wire.ValidUUID(m.ID):
		return Errorf(CodeBadRequest, "id %q is not a UUID", clip(m.ID))
	case !validUser(m.Sender):
		return Errorf(CodeBadRequest, "sender %q: 1 to 63 of A-Z a-z 0-9 . _ : -", clip(m.Sender))
	case m.To != "" && !validUser(m.To):
		return Errorf(CodeBadRequest, "to %q: 1 to 63 of A-Z a-z 0-9 . _ : -", clip(m.To))
	case direct && m.To != "" && m.To != a && m.To != b:
		return Errorf(CodeForbidden, "%q cannot see a direct room of others", clip(m.To))
	case !wire.ValidKind(m.Kind):
		return Errorf(CodeBadRequest, "kind %q: 1 to 32 of a-z 0-9 . _ -", clip(m.Kind))
	case !m.Binary && !(wire.Valid(m.Body) && utf8.Valid(m.Body)):
		return Errorf(CodeBadRequest, "the body is not JSON")
	case len(m.Body) > h.cfg.MaxBody:
		return Errorf(CodeTooLarge, "the body has %d bytes; %d are allowed", len(m.Body), h.cfg.MaxBody)
	}
	return checkRoom(m.Room)
}

// take is accept without the middleware's envelope.
func (h *Hub) take(ctx context.Context, c *Client, r *room, m *Message, retry bool) error {
	if c.unsure.Load() { // what went before it must not be overtaken
		return errUnavailable
	}
	if h.local == nil || retry && h.persist.memory == nil {
		c.idle() // what follows waits for the Broker or the Store
	}
	if retry {
		if done, err := h.resend(ctx, m, c); done || err != nil {
			return err
		}
	}
	c.touch(r)
	return h.submit(ctx, r, m, c)
}

// submit orders m and has it stored; w is told the outcome unless an error is
// returned. The caller flushes the room afterwards: with publishing raised
// meanwhile, nobody else does it for a MemoryBroker's message.
func (h *Hub) submit(ctx context.Context, r *room, m *Message, w waiter) error {
	size := int64(m.size())
	if !h.persist.reserve(r, size) {
		return h.persist.busy(r)
	}
	if h.closing.Load() { // again: Shutdown waits for what is reserved
		h.persist.cancel(r, size)
		return errDraining
	}
	r.mu.Lock()
	floor := r.last
	r.mu.Unlock()
	c, _ := w.(*Client)
	wait := unsureWait
	if c == nil {
		wait = 0 // the program waits as long as it likes
	}
	out, unknown := h.order(ctx, floor, m, false, wait)
	if c != nil && errors.Is(out.Err, errUnsure) && h.later(r, *m, size, floor, c) {
		return errUnavailable
	}
	return h.ordered(ctx, r, m, size, w, out, unknown)
}

// later goes on with a publish of unknown outcome when its session has waited
// long enough: it is told "unavailable", and shall not hear nothing at all, not
// even a pong, while the Broker is away. It will repeat the message, as it must
// all that it sends before the outcome is known.
func (h *Hub) later(r *room, m Message, size, floor int64, c *Client) bool {
	c.unsure.Store(true)
	started := h.spawn(func() { // ends when the outcome is known, or with the hub
		out, _ := h.order(h.ctx, floor, &m, true, 0)
		_ = h.ordered(h.ctx, r, &m, size, nobody{}, out, true) // its sender repeats it, and is told then
		c.unsure.Store(false)
	})
	if !started {
		c.unsure.Store(false)
	}
	return started
}

// nobody is a waiter who is not there any more.
type nobody struct{}

func (nobody) stored(_, _ string, _ int64, _ bool) {}
func (nobody) refused(string, error)               {}

// ordered is submit when the Broker has answered.
func (h *Hub) ordered(ctx context.Context, r *room, m *Message, size int64, w waiter, out Ordered, unknown bool) error {
	switch {
	case out.Err != nil:
		h.persist.cancel(r, size)
		return out.Err
	case out.Duplicate:
		return h.duplicate(ctx, r, m, out.Seq, size, w, unknown)
	}
	m.Seq = out.Seq
	h.count.published.Add(1)
	h.persist.commit(r, m, size, w, false)
	h.invite(m)
	return nil
}

// unsureWait is how long a session waits for the outcome of its publish when
// the Broker cannot tell it: less than clients wait for a pong.
const unsureWait = 2 * time.Second

// errUnsure is order's when it has waited long enough.
var errUnsure = fmt.Errorf("%w: still", ErrUnknown)

// order publishes until the outcome is known: the sender's next message must
// not overtake this one. unknown: there was a try before with an unknown
// outcome, so that this hub may have ordered what is now a duplicate. With a
// wait above 0 it gives up after that, with errUnsure.
func (h *Hub) order(ctx context.Context, floor int64, m *Message, before bool, wait time.Duration) (out Ordered, unknown bool) { //nolint:contextcheck // giving up would leave the outcome unknown
	if h.local != nil {
		return h.local.publish1(floor, m), false
	}
	unknown = before
	pause, began := newBackoff(), time.Now()
	for ; ; ctx = h.ctx { // the caller's giving up would leave the outcome unknown
		out = h.broker.Publish(ctx, floor, *m)[0]
		unknown = unknown || errors.Is(out.Err, ErrUnknown)
		// After ErrUnknown, ErrUnavailable says of the repetition only that it was not ordered.
		again := unknown && (errors.Is(out.Err, ErrUnknown) || errors.Is(out.Err, ErrUnavailable))
		if again && wait > 0 && time.Since(began) >= wait {
			return Ordered{Err: errUnsure}, true
		}
		if !again || !pause.wait(h.ctx) {
			return out, unknown
		}
	}
}

// resend answers a publish that was stored, or is about to be; false if it
// must be published.
func (h *Hub) resend(ctx context.Context, m *Message, w waiter) (done bool, err error) {
	if found, err := h.persist.attach(m, w); found || err != nil {
		return found, err
	}
	old, found, err := h.store.Lookup(ctx, m.Room, m.ID)
	switch {
	case err != nil:
		return false, h.blame(err, "lookup", m.Room)
	case !found:
		return false, nil
	case old.Sender != m.Sender:
		return false, ErrIDConflict
	}
	w.stored(m.Room.Name, m.ID, old.Seq, true)
	return true, nil
}

// duplicate ends a publish whose id the broker knew. That is no proof of
// storage: the first publisher's process may have died before it stored the
// message, so the log's copy is stored, again or at last, before the ack.
//
// own: the first publisher may be this hub. Then it must be stored whatever
// happens: nobody else will do it, and a Broker that has forgotten waits for
// this before anybody can read a log.
func (h *Hub) duplicate(ctx context.Context, r *room, m *Message, seq int64, size int64, w waiter, own bool) error {
	if found, err := h.persist.attach(m, w); found || err != nil {
		h.persist.cancel(r, size)
		return err
	}
	first := *m
	first.Seq = seq
	logged, _, err := h.broker.Log(ctx, m.Room, seq-1, 1)
	if err != nil && !own {
		h.persist.cancel(r, size)
		return h.blame(err, "log", m.Room)
	}
	if len(logged) > 0 && logged[0].Seq == seq {
		first = logged[0]
	} else {
		old, found, err := h.store.Lookup(ctx, m.Room, m.ID)
		if err != nil && !own {
			h.persist.cancel(r, size)
			return h.blame(err, "lookup", m.Room)
		}
		if err == nil && found {
			h.broker.Stored(first) // another hub has stored what this one may have ordered
			h.persist.cancel(r, size)
			w.stored(m.Room.Name, m.ID, old.Seq, true)
			return nil
		}
	}
	h.persist.commit(r, &first, size, w, true)
	return nil
}

// invite tells the users of a direct room where it is not open, but for the
// sender: unless it is a room with itself.
func (h *Hub) invite(m *Message) {
	a, b, direct := m.Room.Direct()
	if !direct {
		return
	}
	var f []byte
	for i, user := range [2]string{a, b} {
		if a == b && i == 1 || a != b && user == m.Sender || !m.VisibleTo(user) {
			continue
		}
		if f == nil {
			f = wire.AppendInvite(nil, m.Room.Name, m.Sender, m.Seq-1)
		}
		h.broker.Signal(Target{Tenant: m.Room.Tenant, Room: m.Room.Name, User: user, Outside: true}, f)
	}
}

// touch notes that the client publishes to r, which is to be flushed when
// everything the client has sent is done: the messages that its socket had
// waiting then reach each member in one write.
func (c *Client) touch(r *room) {
	if slices.Contains(c.touched, r) {
		return
	}
	r.publishing.Add(1)
	c.touched = append(c.touched, r)
}

// flush flushes what touch has noted, and sends the acks after it.
func (c *Client) flush() {
	for i, r := range c.touched {
		r.publishing.Add(-1)
		r.flush()
		c.touched[i] = nil
	}
	if c.touched = c.touched[:0]; cap(c.touched) > 1 {
		c.touched = nil
	}
	if len(c.acks) > 0 {
		c.send(c.acks)
		c.acks = nil
		c.unacked.Add(-c.gathered)
		c.gathered = 0
	}
}

// stored acks. A MemoryStore has it so at once, on the session's goroutine;
// the acks are then gathered for flush.
func (c *Client) stored(room, id string, seq int64, duplicate bool) {
	if c.hub.persist.memory != nil {
		if c.acks == nil {
			c.acks = make([]byte, 0, 128+len(room))
		}
		c.acks = wire.AppendAck(c.acks, id, room, seq, duplicate)
		c.gathered++
		return
	}
	c.send(wire.AppendAck(make([]byte, 0, 128+len(room)), id, room, seq, duplicate))
	c.unacked.Add(-1)
}

// refused says that a message which was ordered will not be stored.
func (c *Client) refused(id string, err error) {
	c.sendError(nil, id, clientError(err))
	c.unacked.Add(-1)
}

// blame logs a Store's or Broker's error and gives what the client may know.
func (h *Hub) blame(err error, doing string, id RoomID) error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case h.ctx.Err() != nil || errors.Is(err, ErrClosed):
		return errDraining
	case errors.Is(err, ErrIDConflict):
		return err
	}
	h.seldom(doing, id, err)
	return errUnavailable
}
