package hubtest

import (
	"encoding/json"
	"fmt"
	"slices"
)

// A question is something that the test has sent with Send or Publish, until
// its answer comes. It tells whether there is still an error to wait for.
type question struct {
	typ    string // "": sent as text or bytes, so anything
	ref    string // as JSON; "": none
	id     string // of a publish
	room   string
	answer *Frame
}

// answerTo names the frames that answer; what is not here has errors alone.
var answerTo = map[string]string{
	"join": "joined", "leave": "left", "publish": "ack", "history": "history", "presence": "presence",
	"rooms": "rooms", "call": "result", "refresh": "refreshed", "ping": "pong",
}

// later tells that the answer may come after those to what was sent later.
func (q *question) later() bool { return q.typ == "publish" || q.typ == "call" || q.typ == "" }

// answeredBy errs on the side of no: what is not known to be answered is
// waited for.
func (q *question) answeredBy(f *Frame) bool {
	if q.typ == "publish" {
		return (f.Type == "ack" || f.Type == "error") && f.ID != "" && f.ID == q.id
	}
	if string(f.Ref) != q.ref || f.Type == "error" && f.ID != "" {
		return false
	}
	return f.Type == "error" || f.Type == answerTo[q.typ] && (q.room == "" || f.Room == q.room)
}

// asks remembers what is about to be sent.
func (c *Client) asks(typ string, fields map[string]any) {
	q := &question{typ: typ}
	q.id, _ = fields["id"].(string)
	q.room, _ = fields["room"].(string)
	if ref, ok := fields["ref"]; ok {
		p, _ := json.Marshal(ref) // it was made of JSON
		q.ref = string(p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, q)
	c.newest = q
}

// answers notes which question f answers. The hub goes by order, so those
// before it have had their answer, or have none; but for publishes and calls.
// An error without a ref may be that of a call, and is taken for the one of
// something else: then the call counts as not answered. mu is held.
func (c *Client) answers(f *Frame) {
	fits := func(later bool) func(*question) bool {
		return func(q *question) bool { return q.later() == later && q.answeredBy(f) }
	}
	i := slices.IndexFunc(c.asked, fits(false))
	if i < 0 {
		i = slices.IndexFunc(c.asked, fits(true))
	}
	if i < 0 {
		return
	}
	c.asked[i].answer = f
	before := slices.DeleteFunc(slices.Clone(c.asked[:i]), func(q *question) bool { return !q.later() })
	c.asked = append(before, c.asked[i+1:]...)
}

// allAnswered tells, as an error, that no answer is to come; mu is held.
func (c *Client) allAnswered() error {
	if c.newest == nil || c.newest.answer == nil || len(c.asked) > 0 {
		return nil
	}
	return fmt.Errorf("%s has been answered, by\n\t%s", c.newest.typ, c.newest.answer)
}
