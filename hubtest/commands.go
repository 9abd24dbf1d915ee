package hubtest

import (
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"

	"github.com/gohub/gohub"
)

// Join joins a room and returns "joined". The replay follows it: the room's
// newest messages.
func (c *Client) Join(room string) Frame {
	c.t.Helper()
	return c.command("join", "joined", map[string]any{"room": room})
}

// JoinSince joins a room, to be sent what came after the seq since; 0: all.
func (c *Client) JoinSince(room string, since int64) Frame {
	c.t.Helper()
	return c.command("join", "joined", map[string]any{"room": room, "since": since})
}

// Leave leaves a room.
func (c *Client) Leave(room string) Frame {
	c.t.Helper()
	return c.command("leave", "left", map[string]any{"room": room})
}

// Publish sends a message and returns its id at once; [Client.ExpectAck] waits
// for its ack. body is what json.Marshal takes, or a []byte, which makes a
// binary message. More fields are pairs of a name and a value:
//
//	alice.Publish("general", "psst", "to", "bob", "kind", "whisper")
//
// Over a broken connection it is sent with the next [Client.Resume], as is
// every message until it is answered.
func (c *Client) Publish(room string, body any, fields ...any) string {
	c.t.Helper()
	more, err := fieldsOf(fields)
	if err != nil {
		c.t.Fatalf("hubtest: %s publishes: %v", c.user, err)
	}
	o := outgoing{fields: map[string]any{"id": gohub.NewID()}}
	if room != "" {
		o.fields["room"] = room
	}
	if o.body, o.binary = body.([]byte); !o.binary {
		o.fields["body"] = body
	}
	maps.Copy(o.fields, more)
	o.id, _ = o.fields["id"].(string)
	p, err := o.encode(false)
	if err != nil {
		c.t.Fatalf("hubtest: %s publishes: %v", c.user, err)
	}
	c.mu.Lock()
	c.outbox = append(c.outbox, o)
	c.mu.Unlock()
	c.asks("publish", o.fields)
	_ = c.write(o.binary, p) // not sent is not answered
	return o.id
}

// encode makes a publish of o.
func (o *outgoing) encode(retry bool) ([]byte, error) {
	fields := maps.Clone(o.fields)
	fields["type"] = "publish"
	if retry {
		fields["retry"] = true
	}
	p, err := json.Marshal(fields)
	if err != nil || !o.binary {
		return p, err
	}
	f := binary.BigEndian.AppendUint16([]byte{1}, uint16(len(p)))
	return append(append(f, p...), o.body...), nil
}

// Say publishes, waits for the ack and returns it.
func (c *Client) Say(room string, body any, fields ...any) Frame {
	c.t.Helper()
	return c.ExpectAck(c.Publish(room, body, fields...))
}

// Direct publishes to one user, in the room that the two share, waits for the
// ack and returns it: its Room is that room's name.
func (c *Client) Direct(user string, body any) Frame {
	c.t.Helper()
	return c.Say("", body, "to", user)
}

// Typing tells that the user has begun to type, or stopped. It has no answer.
func (c *Client) Typing(room string, active bool) {
	c.t.Helper()
	c.Send("typing", "room", room, "active", active)
}

// Receipt tells how far messages have reached the device, and how far they
// have been read. It has no answer; authors hear of it within 250 ms.
func (c *Client) Receipt(room string, delivered, seen int64) {
	c.t.Helper()
	c.Send("receipt", "room", room, "delivered", delivered, "seen", seen)
}

// History asks for a page of a room: the newest, or what the fields say, which
// are "before", "after" and "limit".
func (c *Client) History(room string, fields ...any) Frame {
	c.t.Helper()
	all, err := fieldsOf(append(slices.Clip(fields), "room", room))
	if err != nil {
		c.t.Fatalf("hubtest: %s asks for history: %v", c.user, err)
	}
	return c.command("history", "history", all)
}

// Presence asks who is in a room: the first 100 users.
func (c *Client) Presence(room string) Frame {
	c.t.Helper()
	return c.command("presence", "presence", map[string]any{"room": room})
}

// Rooms asks for the user's list of rooms.
func (c *Client) Rooms() Frame {
	c.t.Helper()
	return c.command("rooms", "rooms", map[string]any{})
}

// Call calls a function of the program and returns "result".
func (c *Client) Call(name string, body any) Frame {
	c.t.Helper()
	return c.command("call", "result", map[string]any{"name": name, "body": body})
}

// Ping returns when all that the client has sent before has been done, calls
// excepted.
func (c *Client) Ping() {
	c.t.Helper()
	c.command("ping", "pong", map[string]any{})
}

// command sends a frame and waits for its answer.
func (c *Client) command(typ, answer string, fields map[string]any) Frame {
	c.t.Helper()
	f, err := c.ask(typ, answer, fields)
	if err != nil {
		delete(fields, "type")
		delete(fields, "ref")           // hubtest's own
		sent, _ := json.Marshal(fields) // it was sent as that
		c.t.Fatalf("hubtest: %s sent %s %s and waited for %s: %v%s", c.user, typ, shorten(string(sent)), answer, err, c.untaken())
	}
	return f
}

// Send sends any frame and waits for nothing: for what has no method here, and
// for what is to be refused.
//
//	mallory.Send("join", "room", "board")
//	mallory.ExpectError(gohub.CodeForbidden)
func (c *Client) Send(typ string, fields ...any) {
	c.t.Helper()
	all, err := fieldsOf(fields)
	if err == nil {
		c.asks(typ, all)
		err = c.send(typ, all)
	}
	if err != nil {
		c.t.Fatalf("hubtest: %s sends %s: %v", c.user, describe(typ, fields), err)
	}
}

// SendText sends any text message.
func (c *Client) SendText(text string) {
	c.t.Helper()
	c.asks("", nil)
	if err := c.write(false, []byte(text)); err != nil {
		c.t.Fatalf("hubtest: %s sends text: %v", c.user, err)
	}
}

// SendBytes sends any binary message.
func (c *Client) SendBytes(p []byte) {
	c.t.Helper()
	c.asks("", nil)
	if err := c.write(true, p); err != nil {
		c.t.Fatalf("hubtest: %s sends bytes: %v", c.user, err)
	}
}
