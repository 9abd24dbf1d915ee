//go:build unix

package killtest

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/coder/websocket"

	"github.com/gohub/gohub"
)

// A client publishes to all rooms and reads them, as docs/protocol.md asks for.
type client struct {
	w        *world
	name     string
	sent     int
	outbox   []*publish
	acked    map[string]int64 // id → seq
	last     map[string]int64 // of each room
	view     map[string][]gohub.Message
	pages    map[string][2][]gohub.Message // in the end, read forward and backward
	replaced int                           // in view, by a newer copy
	problems []string
}

func newClient(w *world, name string) *client {
	return &client{
		w: w, name: name, acked: make(map[string]int64), last: make(map[string]int64),
		view: make(map[string][]gohub.Message), pages: make(map[string][2][]gohub.Message),
	}
}

type publish struct {
	Type  string `json:"type"`
	ID    string `json:"id"`
	Room  string `json:"room"`
	To    string `json:"to,omitempty"`
	Body  string `json:"body"`
	Retry bool   `json:"retry,omitempty"`
}

// frame is what the hub sends, as far as it matters here.
type frame struct {
	Type, ID, Room, Sender, To, Code string
	Seq                              int64
	RetryMS                          int64 `json:"retry_ms"`
	Body                             json.RawMessage
	Truncated, More                  bool
	Messages                         []frame
}

func (f *frame) message(room string) gohub.Message {
	return gohub.Message{Room: gohub.RoomID{Tenant: tenant, Name: room}, ID: f.ID, Seq: f.Seq, Sender: f.Sender, To: f.To, Body: f.Body}
}

func (c *client) problem(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

// run connects again whenever it must, until all is over and acked.
func (c *client) run(ctx context.Context) {
	for ctx.Err() == nil && (!c.w.over.Load() || len(c.outbox) > 0) {
		_ = c.session(ctx) // it was killed
		time.Sleep(5 * time.Millisecond)
	}
}

// session publishes on one connection.
func (c *client) session(ctx context.Context) error {
	k, err := c.resume(ctx)
	if err != nil {
		return err
	}
	defer k.end()
	for _, p := range c.outbox {
		p.Retry = true
		c.w.repeats.Add(1)
		if err := k.send(p); err != nil {
			return err
		}
	}
	for {
		for len(c.outbox) < underWay && !c.w.over.Load() {
			p := c.next()
			if err := k.send(p); err != nil {
				return err
			}
		}
		if len(c.outbox) == 0 {
			return nil
		}
		if _, err := k.read(); err != nil {
			return err
		}
	}
}

// next makes a message: each fifth is private.
func (c *client) next() *publish {
	p := &publish{Type: "publish", ID: gohub.NewID(), Room: roomName(c.sent % rooms), Body: fmt.Sprint(c.name, " ", c.sent)}
	if c.sent%5 == 0 {
		p.To = fmt.Sprint("user", rand.IntN(users)) //nolint:gosec // anybody
	}
	c.sent++
	c.outbox = append(c.outbox, p)
	return p
}

// settle reads what came after the client's last message, and all pages of
// all rooms.
func (c *client) settle(ctx context.Context) {
	c.w.t.Helper()
	k, err := c.resume(ctx)
	c.w.no(err)
	defer k.end()
	for n := range rooms {
		room := roomName(n)
		forward, err := k.page(room, "after")
		c.w.no(err)
		backward, err := k.page(room, "before")
		c.w.no(err)
		c.pages[room] = [2][]gohub.Message{forward, backward}
	}
}

// judge compares what the client has of a room with what is stored for it.
func (c *client) judge(room string, stored []gohub.Message) {
	c.w.t.Helper()
	for what, got := range map[string][]gohub.Message{"has": c.view[room], "reads forward": c.pages[room][0], "reads backward": c.pages[room][1]} {
		for i := range max(len(got), len(stored)) {
			if i < len(got) && i < len(stored) && same(got[i], stored[i]) {
				continue
			}
			about := func(ms []gohub.Message) string {
				if i >= len(ms) {
					return "nothing"
				}
				return fmt.Sprintf("%d %s %s", ms[i].Seq, ms[i].ID, ms[i].Body)
			}
			c.w.t.Errorf("%s %s %d messages of %s, and %d are stored; number %d is %s, stored is %s",
				c.name, what, len(got), room, len(stored), i, about(got), about(stored))
			break
		}
	}
}

// A connection of a client.
type connection struct {
	c   *client
	ctx context.Context //nolint:containedctx // the connection's life
	ws  *websocket.Conn
}

// resume connects, joins all rooms from where the client was, and returns when
// it has caught up.
func (c *client) resume(ctx context.Context) (*connection, error) {
	addr, _ := c.w.addr.Load().(string)
	ws, res, err := websocket.Dial(ctx, "ws://"+addr+"/?user="+c.name, &websocket.DialOptions{Subprotocols: []string{"gohub.v1"}})
	if res != nil && res.Body != nil {
		_ = res.Body.Close()
	}
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(4 << 20)
	k := &connection{c, ctx, ws}
	if err := k.catchUp(); err != nil {
		k.end()
		return nil, err
	}
	return k, nil
}

func (k *connection) catchUp() error {
	for n := range rooms {
		if err := k.send(map[string]any{"type": "join", "room": roomName(n), "since": k.c.last[roomName(n)]}); err != nil {
			return err
		}
	}
	if err := k.send(map[string]any{"type": "ping"}); err != nil {
		return err
	}
	for {
		if f, err := k.read(); err != nil || f.Type == "pong" {
			return err
		}
	}
}

func (k *connection) end() { _ = k.ws.CloseNow() }

func (k *connection) send(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return k.ws.Write(k.ctx, websocket.MessageText, b)
}

// read takes a frame, and does as the protocol says. After an error that may
// pass the client comes back, which is one way to send again.
func (k *connection) read() (f frame, err error) {
	_, b, err := k.ws.Read(k.ctx)
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return f, err
	}
	c := k.c
	switch f.Type {
	case "joined":
		if f.Truncated {
			c.problem("more was missed than is replayed")
		}
	case "message":
		c.take(f.message(f.Room))
	case "ack":
		c.outbox = slices.DeleteFunc(c.outbox, func(p *publish) bool { return p.ID == f.ID })
		seq, again := c.acked[f.ID]
		if !again {
			c.w.acks.Add(1)
		} else if seq != f.Seq {
			c.problem("acked at %d and at %d: %s", seq, f.Seq, f.ID)
		}
		c.acked[f.ID] = f.Seq
	case "error":
		if f.RetryMS == 0 || f.Code == "internal" {
			c.problem("error: %s", b)
		}
		time.Sleep(time.Duration(f.RetryMS) * time.Millisecond)
		return f, fmt.Errorf("error %s", f.Code)
	}
	return f, nil
}

// take adds a message to what the client has.
func (c *client) take(m gohub.Message) {
	room := m.Room.Name
	if !m.VisibleTo(c.name) {
		c.problem("was shown a private message of others: %s", m.ID)
	}
	if m.Seq <= c.last[room] {
		c.problem("%s: was shown %d after %d", room, m.Seq, c.last[room])
		return
	}
	c.last[room] = m.Seq
	view := c.view[room]
	if i := slices.IndexFunc(view, func(o gohub.Message) bool { return o.ID == m.ID && o.Sender == m.Sender }); i >= 0 {
		view = slices.Delete(view, i, i+1)
		c.replaced++
	}
	c.view[room] = append(view, m)
}

// page reads a whole room page by page: by what comes "after" what is known,
// or "before".
func (k *connection) page(room, bound string) (all []gohub.Message, err error) {
	ask := map[string]any{"type": "history", "room": room, "limit": 200}
	if bound == "after" {
		ask["after"] = 0
	}
	for {
		if err := k.send(ask); err != nil {
			return nil, err
		}
		f, err := k.read()
		for err == nil && f.Type != "history" {
			f, err = k.read()
		}
		if err != nil {
			return nil, err
		}
		ms := make([]gohub.Message, len(f.Messages))
		for i := range f.Messages {
			ms[i] = f.Messages[i].message(room)
		}
		if bound == "after" {
			all = append(all, ms...)
		} else {
			all = append(ms, all...)
		}
		if !f.More || len(ms) == 0 {
			return all, nil
		}
		ask[bound] = all[0].Seq
		if bound == "after" {
			ask[bound] = all[len(all)-1].Seq
		}
	}
}
