package hubtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/coder/websocket"

	"github.com/gohub/gohub"
)

// Expect waits for a frame of a type, with fields given as pairs of a name and
// a value, and takes it. A field that the frame does not have is as good as
// false, 0 or "". A type that no frame has, or a field, fails at once.
//
//	bob.Expect("typing", "user", "alice", "active", true)
func (c *Client) Expect(typ string, fields ...any) Frame {
	c.t.Helper()
	return c.until(describe(typ, fields), c.fits(typ, fields))
}

func (c *Client) fits(typ string, fields []any) func(*Frame) bool {
	c.t.Helper()
	want, err := wanted(typ, fields)
	if err != nil {
		c.t.Fatalf("hubtest: %s expects %s: %v", c.user, describe(typ, fields), err)
	}
	return func(f *Frame) bool { return f.Type == typ && f.has(want) }
}

// ExpectMessage waits for a message with that body in a room. A body of type
// []byte is that of a binary message.
func (c *Client) ExpectMessage(room string, body any) Frame {
	c.t.Helper()
	return c.Expect("message", "room", room, "body", body)
}

// ExpectMessages waits for as many messages of a room as there are bodies, and
// fails unless they are these, in this order. It looks only at messages that
// no expectation has taken: what was taken from in between does not count.
func (c *Client) ExpectMessages(room string, bodies ...any) []Frame {
	c.t.Helper()
	ms := make([]Frame, len(bodies))
	for i, body := range bodies {
		what := fmt.Sprintf("message %d of %d in %s with %s", i+1, len(bodies), room, describe("", []any{"body", body}))
		ms[i] = c.until(what, c.fits("message", []any{"room", room}))
		if !c.fits("message", []any{"body", body})(&ms[i]) {
			c.t.Fatalf("hubtest: %s waited for %s and got %s%s", c.user, what, ms[i], c.untaken())
		}
	}
	return ms
}

// ExpectAck waits for the ack of a publish. An error in its place fails the
// test at once.
func (c *Client) ExpectAck(id string) Frame {
	c.t.Helper()
	what := "the ack of " + id
	f := c.until(what, func(f *Frame) bool { return (f.Type == "ack" || f.Type == "error") && f.ID == id })
	if f.Type == "error" {
		c.t.Fatalf("hubtest: %s waited for %s and got %s", c.user, what, f)
	}
	return f
}

// ExpectError waits for an error with that code. When all that was sent with
// Send and Publish has been answered, and by none, it fails at once.
func (c *Client) ExpectError(code gohub.Code) Frame {
	c.t.Helper()
	what := describe("error", []any{"code", code})
	f, err := c.await(what, c.fits("error", []any{"code", code}), c.allAnswered)
	if err != nil {
		c.t.Fatalf("hubtest: %s waited for %s: %v%s", c.user, what, err, c.untaken())
	}
	return f
}

// ExpectClose waits for the end of the connection and fails unless it was
// closed with that code; 1006: unless it broke without a Close frame.
func (c *Client) ExpectClose(code int) {
	c.t.Helper()
	c.mu.Lock()
	done, patience := c.done, c.to.Patience
	c.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		c.t.Fatalf("hubtest: %s waited for close %d: the connection is still open after %v%s", c.user, code, patience, c.untaken())
	}
	c.mu.Lock()
	err := c.ended
	c.mu.Unlock()
	got := 1006
	var ce websocket.CloseError
	if errors.As(err, &ce) {
		got = int(ce.Code)
	}
	if got != code {
		c.t.Fatalf("hubtest: %s waited for close %d: the connection has ended, %s", c.user, code, ending(err))
	}
}

// ExpectNo fails if a frame like that has come that no expectation has taken.
// It waits for no time, but first for all that the clients have sent to be
// done and to arrive.
//
// In a synctest bubble that is exact, and looks at this very moment: let time
// pass first for what comes after a while. Elsewhere all clients send a ping
// and wait for its pong (a frame of their rate, if that is limited). That
// covers what the clients of this server have sent, and what became of it in
// their hub; not what the program does on goroutines of its own, what a call
// does, what is on its way between two hubs, and what the hub gathers for a
// moment first: members and receipts, and a message that comes in the very
// instant in which it tells them.
func (c *Client) ExpectNo(typ string, fields ...any) {
	c.t.Helper()
	fits := c.fits(typ, fields)
	c.settle()
	if f, found := c.peek(fits); found {
		c.t.Fatalf("hubtest: %s expected no %s, and got %s", c.user, describe(typ, fields), f)
	}
}

// ExpectNothing fails if any frame at all has come that no expectation has
// taken. It is ExpectNo for all types, members included.
func (c *Client) ExpectNothing() {
	c.t.Helper()
	c.settle()
	if _, found := c.peek(func(*Frame) bool { return true }); found {
		c.t.Fatalf("hubtest: %s expected nothing.%s", c.user, c.untaken())
	}
}

func (c *Client) peek(fits func(*Frame) bool) (Frame, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.log {
		if l := &c.log[i]; l.taken == "" && fits(&l.Frame) {
			return l.Frame, true
		}
	}
	return Frame{}, false
}

// Messages lists all messages of a room that have come so far, on every
// connection of the client, in the order they came, expected or not. It waits
// as ExpectNo does, and takes none.
func (c *Client) Messages(room string) []Frame {
	c.t.Helper()
	c.settle()
	c.mu.Lock()
	defer c.mu.Unlock()
	var ms []Frame
	for i := range c.log {
		if f := &c.log[i].Frame; f.Type == "message" && f.Room == room {
			ms = append(ms, *f)
		}
	}
	return ms
}

// Texts are the bodies of messages: of JSON strings their text, of binary
// messages their bytes, else the JSON. For comparing with what should be.
func Texts(ms []Frame) []string {
	texts := make([]string, len(ms))
	for i, m := range ms {
		texts[i] = string(m.Body)
		if !m.Binary && len(m.Body) > 0 && m.Body[0] == '"' {
			_ = json.Unmarshal(m.Body, &texts[i]) // it came as JSON
		}
	}
	return texts
}
