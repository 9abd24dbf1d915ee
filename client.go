package gohub

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"github.com/gohub/gohub/internal/pace"
	"github.com/gohub/gohub/internal/wire"
	"github.com/gohub/gohub/internal/wsconn"
)

// A Client is one live session: one WebSocket connection of one user. Its
// methods are safe for concurrent use; the zero Client is of no use.
//
// It costs one goroutine, which reads, and is parked while the client is
// silent. Everything a client asks for is done on that goroutine, in the
// order it asked, but for calls.
type Client struct {
	hub     *Hub
	conn    *wsconn.Conn
	id      string
	who     Identity                 // as the handshake said; User, Tenant and Device hold for good
	fresh   atomic.Pointer[Identity] // as the last refresh said; nil: there was none
	limit   SessionLimiter
	origin  unique.Handle[string] // of the page that it is of; empty: of none
	place   pass                  // until the socket is closed
	expires atomic.Int64          // Unix ms; 0: never
	ended   atomic.Bool
	heard   atomic.Bool  // it has sent a frame, or the program has joined it to a room
	began   time.Time    // when it was accepted
	leaving atomic.Bool  // its time to leave a draining hub has come: it publishes no more
	unacked atomic.Int32 // publishes whose outcome it has not been told
	unsure  atomic.Bool  // the outcome of one is not known, and no more are taken

	// Of its user's shard, from register on; see devices.
	gen   int64     // newer than all sessions of the device with a lower one; 0: not claimed; below 0: nor that, and it has to be above that, without its sign
	since time.Time // when it began: its client was seen to be there

	moving sync.Mutex // held by a join from beginning to end: one at a time

	mu    sync.Mutex // guards what follows
	rooms []*member
	calls int // under way
	stop  context.CancelFunc
	ctx   context.Context //nolint:containedctx // made with the first call, ends with the session

	// The reader's own.
	wrongs   *wrongs // nil: it has done nothing wrong yet
	touched  []*room // to be flushed
	acks     []byte  // to be sent after that
	gathered int32   // how many they are
	debt     int     // frames that its answers were worth, to be spent before the next one
	frames   int64   // received and not yet counted in the hub's totals
	bytes    int64
	now      time.Time // when the frames at hand came, about; zero: to be read anew
}

// ID is the session's id, as "welcome" tells it.
func (c *Client) ID() string { return c.id }

// Identity is who the session is: what its handshake told, or its last refresh.
func (c *Client) Identity() Identity { return *c.identity() }

// identity is Identity without the copy; nobody changes it.
func (c *Client) identity() *Identity {
	if who := c.fresh.Load(); who != nil {
		return who
	}
	return &c.who
}

// User is the session's user id.
func (c *Client) User() string { return c.who.User }

// Rooms lists the rooms the session has joined.
func (c *Client) Rooms() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := make([]string, len(c.rooms))
	for i, m := range c.rooms {
		names[i] = m.room.id.Name
	}
	return names
}

// Close ends the session with one of the protocol's close codes. What had
// been sent to it before goes out first.
func (c *Client) Close(code int, reason string) { c.close(code, reason) }

func (c *Client) close(code int, reason string) {
	c.conn.Shutdown(code, reason) // first: the reader that sees ended says goodbye by it
	c.ended.Store(true)
}

// start begins the session, in a goroutine of its own.
func (c *Client) start() {
	over := false
	defer func() {
		if !over { // the program has ended this goroutine
			go c.read()
		}
	}()
	c.opened()
	over = true
	if !c.conn.Grew() {
		go c.read()
		return
	}
	c.read()
}

// read is the session's goroutine; it ends with the connection, or hands over
// to a new one, whose stack is small, when the client has been silent or has
// ended a silence.
func (c *Client) read() {
	over, handedOver := false, false
	defer func() {
		if handedOver {
			return
		}
		// A panic of the RateLimiter's, or of the hub itself, ends this session,
		// not the process; as runtime.Goexit in the program's code does.
		if p := recover(); p != nil {
			c.hub.log.Error("panic", "in", "session", "user", c.who.User, "value", p, "stack", string(debug.Stack()))
		}
		c.tally()
		c.flush()
		if !over {
			c.close(CloseUnavailable, "something went wrong here")
		}
		c.end()
	}()
	err := c.conn.Serve()
	if errors.Is(err, wsconn.ErrGrown) {
		handedOver = true
		go c.read()
		return
	}
	c.hangUp(err)
	over = true
}

// A connHandler is a Client as its connection sees it.
type connHandler struct{ c *Client }

func (h connHandler) Message(binary bool, p []byte) {
	h.c.conn.Cork() // until Idle
	h.c.handle(binary, p)
}

func (h connHandler) Idle()            { h.c.idle() }
func (h connHandler) Extra(frames int) { h.c.extra(frames) }

// idle sends what the client's commands have brought about.
func (c *Client) idle() {
	c.now = time.Time{} // what follows takes time
	c.tally()
	c.flush()
	c.conn.Uncork()
}

// tally adds to the hub's totals, which all sessions share, once for all that
// the socket had waiting.
func (c *Client) tally() {
	if c.frames > 0 {
		c.hub.count.framesIn.Add(c.frames)
		c.hub.count.bytesIn.Add(c.bytes)
		c.frames, c.bytes = 0, 0
	}
}

// extra spends on frames that carry no message of their own: whoever floods
// with pings or with the pieces of a message that never ends is treated like
// who floods with messages.
func (c *Client) extra(frames int) {
	for ; frames > 0 && !c.ended.Load(); frames-- {
		if c.spend(0) > 0 {
			c.overspent()
		}
	}
}

// answered notes what an answer has cost, in bytes.
func (c *Client) answered(bytes int) {
	c.debt += bytes / answerAFrame
	if bytes >= answerAFrame {
		pace.Yield() // many who ask for much do not hold up the others
	}
}

// spend asks the rate limiter for a frame, after what is owed for answers.
func (c *Client) spend(bytes int) (retry time.Duration) {
	if c.now.IsZero() {
		c.now = time.Now()
	}
	for ; c.debt > 0; c.debt-- {
		if retry = c.limit.Spend(c.now, 0); retry > 0 {
			return retry * time.Duration(c.debt+1) // about
		}
	}
	return c.limit.Spend(c.now, bytes)
}

// waits comes before what may wait for the Broker or the Store: nothing that
// the session has done, or is sent meanwhile, waits with it.
func (c *Client) waits() {
	if c.hub.local == nil || c.hub.persist.memory == nil {
		c.idle()
	}
}

func (c *Client) hangUp(err error) {
	switch {
	case errors.Is(err, wsconn.ErrTooBig):
		c.close(CloseTooBig, "frame exceeds the limit")
	case errors.Is(err, wsconn.ErrInvalidUTF8):
		c.close(CloseInvalidUTF8, "text frame is not UTF-8")
	case errors.Is(err, wsconn.ErrProtocol):
		c.close(1002, "not WebSocket")
	}
}

// end takes the session off everything it was in. The socket comes last: it
// may take its time.
func (c *Client) end() {
	c.ended.Store(true)
	pace.Yield() // many may end at once
	c.mu.Lock()
	rooms := c.rooms
	c.rooms = nil
	stop := c.stop
	c.mu.Unlock()
	if stop != nil {
		stop()
	}
	for _, m := range rooms {
		m.room.leave(m)
		m.room.flush()
		c.hub.drop(m.room)
	}
	c.hub.unregister(c)
	if l, ok := c.hub.cfg.RateLimiter.(endedLimiter); ok {
		l.Ended(c.who, c.limit, c.debt)
	}
	defer func() { // also if the Observer ends this goroutine
		c.conn.Finish()
		c.place.release()
		c.hub.gone(c)
		c.hub.readers.Done()
	}()
	c.closed()
}

// sweep looks at a session once a second.
func sweep(h wsconn.Handler, now time.Time) {
	c := h.(connHandler).c
	if at := c.expires.Load(); at != 0 && now.UnixMilli() >= at {
		c.close(CloseTokenExpired, "token expired")
	}
	if most := c.hub.cfg.FirstFrameTimeout; most > 0 && !c.heard.Load() && now.Sub(c.began) >= most {
		c.close(CloseHeartbeatTimeout, "no frame in time")
	}
}

// member gives the session's place in a room, or nil.
func (c *Client) member(name string) *member {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.rooms {
		if m.room.id.Name == name {
			return m
		}
	}
	return nil
}

// joined finds the room a command is about by its bytes.
func (c *Client) joined(name []byte) (*member, error) {
	c.mu.Lock()
	for _, m := range c.rooms {
		if m.room.id.Name == string(name) {
			c.mu.Unlock()
			return m, nil
		}
	}
	c.mu.Unlock()
	if err := checkRoom(RoomID{c.who.Tenant, string(name)}); err != nil {
		return nil, err
	}
	return nil, Errorf(CodeNotJoined, "room %q is not joined", clip(string(name)))
}

type wrongs struct{ faults, refusals faults }

// wrong gives the session's record, which few sessions need.
func (c *Client) wrong() *wrongs {
	if c.wrongs == nil {
		c.wrongs = new(wrongs)
	}
	return c.wrongs
}

// faults are the times, in Unix ns, at which a client did something wrong in
// the last ten seconds.
type faults []int64

// add tells how many they are now.
func (f *faults) add(now time.Time) int {
	at, old := now.UnixNano(), 0
	for old < len(*f) && at-(*f)[old] > int64(faultWindow) {
		old++
	}
	*f = append(slices.Delete(*f, 0, old), at)
	return len(*f)
}

const (
	faultWindow  = 10 * time.Second
	mostFaults   = 3   // protocol errors: the third closes with 4504
	mostRefusals = 100 // refusals by the rate limiter: the next closes with 4002
	mostCalls    = 8   // calls of a session under way
)

// handle does what one frame asks for.
func (c *Client) handle(binary bool, p []byte) {
	var cmd wire.Command
	if !c.heard.Load() {
		c.heard.Store(true)
	}
	c.frames++
	c.bytes += int64(len(p))
	if retry := c.spend(len(p)); retry > 0 {
		c.refuse(&cmd, binary, p, retry)
		return
	}
	var err error
	if binary {
		err = wire.DecodeBinary(&cmd, p)
	} else {
		err = wire.Decode(&cmd, p)
	}
	if err == nil {
		err = c.do(&cmd)
	}
	if err != nil {
		c.fail(&cmd, err)
	}
}

// refuse answers a frame that the rate limiter did not let through. It is
// read only for the id to answer to.
func (c *Client) refuse(cmd *wire.Command, binary bool, p []byte, retry time.Duration) {
	if c.overspent() {
		return
	}
	if binary {
		_ = wire.DecodeBinary(cmd, p)
	} else {
		_ = wire.Decode(cmd, p)
	}
	c.fail(cmd, &Error{Code: CodeRateLimited, Message: "too many frames", RetryAfter: retry})
}

// overspent counts a refusal of the rate limiter; true: there were too many.
func (c *Client) overspent() bool {
	if c.wrong().refusals.add(c.now) <= mostRefusals {
		return false
	}
	c.close(CloseRateLimited, "rate limit ignored")
	return true
}

// fail answers a command with an error.
func (c *Client) fail(cmd *wire.Command, err error) {
	id := ""
	if cmd.Type == wire.Publish || cmd.Ref == nil {
		id = string(cmd.ID)
	}
	var we *wire.Error
	if errors.As(err, &we) {
		c.sendError(cmd.Ref, id, &Error{Code: Code(we.Code), Message: we.Message})
		if we.Code == string(CodeBadRequest) {
			return
		}
		if c.wrong().faults.add(time.Now()) >= mostFaults {
			c.close(CloseProtocolError, "too many frames that are not the protocol")
		}
		return
	}
	e := clientError(err)
	if e == errInternal {
		c.hub.log.Log(c.hub.ctx, c.hub.failed.At(slog.LevelError), "command failed", "type", cmd.Type, "user", c.who.User, "err", err)
	}
	c.sendError(cmd.Ref, id, e)
}

func (c *Client) sendError(ref []byte, id string, e *Error) {
	count(&c.hub.count.mu, c.hub.count.errors, e.Code)
	ms := e.RetryAfter.Milliseconds()
	if e.RetryAfter > 0 && ms == 0 {
		ms = 1
	}
	c.send(wire.AppendError(nil, ref, id, string(e.Code), e.Message, ms))
}

func (c *Client) send(f []byte) { c.conn.Send(f, false, nil) }

func asksForMuch(t wire.Type) bool {
	return t == wire.Join || t == wire.History || t == wire.Presence || t == wire.Rooms
}

// do carries out one decoded command.
func (c *Client) do(cmd *wire.Command) error {
	if cmd.Type != wire.Publish {
		c.flush() // the messages before it come before its answer
	}
	if asksForMuch(cmd.Type) && !pace.Fresh() {
		c.idle()     // what it has to say does not wait for that
		pace.Yield() // of many who ask at once each waits for its turn
		c.conn.Cork()
	}
	switch cmd.Type {
	case wire.Publish:
		return c.publishOwed(cmd)
	case wire.Join:
		return c.join(cmd)
	case wire.Leave:
		return c.leave(cmd)
	case wire.Typing:
		m, err := c.joined(cmd.Room)
		if err != nil {
			return err
		}
		if cmd.Has&wire.HasActive == 0 {
			return Errorf(CodeBadRequest, "typing needs active, true or false")
		}
		m.room.typing(c, cmd.Active)
	case wire.Receipt:
		return c.receipt(cmd)
	case wire.History:
		return c.history(cmd)
	case wire.Presence:
		return c.presence(cmd)
	case wire.Rooms:
		return c.listRooms(cmd)
	case wire.Call:
		return c.call(cmd)
	case wire.Refresh:
		return c.refresh(cmd)
	case wire.Ping:
		c.send(wire.AppendPong(nil, cmd.Ref))
	case wire.Unknown:
		return Errorf(CodeUnknownType, "unknown type")
	}
	return nil
}

func (c *Client) leave(cmd *wire.Command) error {
	m, err := c.joined(cmd.Room)
	if err != nil {
		return err
	}
	c.forget(m)
	c.waits()
	c.unlist(m.room.id)
	c.send(wire.AppendLeft(nil, cmd.Ref, m.room.id.Name))
	return nil
}

// unlist takes a room off the user's list. For a direct room that is stored at
// once, since a message that comes after it lists the room again.
func (c *Client) unlist(id RoomID) {
	c.hub.marks.add(Watermark{Room: id, User: c.who.User, Listing: ListLeave})
	if _, _, direct := id.Direct(); direct {
		c.hub.marks.flush(c.hub.ctx)
	}
}

// forget takes the session out of a room; false if it was not in it.
func (c *Client) forget(m *member) bool {
	c.mu.Lock()
	found := false
	for i, o := range c.rooms {
		if o == m {
			last := len(c.rooms) - 1
			c.rooms[i] = c.rooms[last]
			c.rooms[last] = nil
			c.rooms = c.rooms[:last]
			found = true
			break
		}
	}
	c.mu.Unlock()
	if found {
		m.room.leave(m)
		m.room.flush()
		c.hub.drop(m.room)
	}
	return found
}
