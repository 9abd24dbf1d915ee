package hubtest

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/coder/websocket"
)

// Cut breaks the connection: no Close frame either way, and what is on the way
// is lost. Nothing happens if it has ended already.
func (c *Client) Cut() {
	c.mu.Lock()
	nc := c.nc
	c.mu.Unlock()
	nc.cut()
	c.over()
}

// over waits for the end of the connection.
func (c *Client) over() {
	c.mu.Lock()
	done := c.done
	c.mu.Unlock()
	<-done
}

// Close ends the connection as a client does that is no longer needed: with
// code 1000.
func (c *Client) Close() {
	var ws *websocket.Conn
	c.change(func() {
		ws = c.ws
		if c.ended == nil { // coder's reader may not see the hub's answer
			c.ended = websocket.CloseError{Code: websocket.StatusNormalClosure}
		}
	})
	_ = ws.Close(websocket.StatusNormalClosure, "")
	c.over()
}

// Freeze stops the client from reading, as a suspended process does: pings are
// not answered either. What comes waits on the way, of which 64 KiB are
// possible before the hub's queue fills. It may go on sending.
func (c *Client) Freeze() { c.reading(func(p *pipe) { p.frozen = true }, true) }

// Thaw ends Freeze and Slow.
func (c *Client) Thaw() { c.Slow(0) }

// Slow lets the client read so many bytes a second; 0: no limit.
func (c *Client) Slow(bytesPerSecond int) {
	c.reading(func(p *pipe) { p.frozen, p.rate = false, bytesPerSecond }, bytesPerSecond > 0)
}

func (c *Client) reading(how func(*pipe), muted bool) {
	c.mu.Lock()
	c.muted = muted
	p := c.nc.in
	c.mu.Unlock()
	p.set(&p.next, time.Time{})
	p.change(how)
}

// Resume connects again and does what a client should: it joins every room it
// was in, since the last seq that it saw, and sends every publish again that
// is not answered, oldest first, with "retry". It returns when the rooms are
// joined, with the "joined" frames in the order of the rooms' names: Truncated
// says that more than Config.ReplayLimit messages were missed, of which the
// newest follow. A connection that is still there is cut first.
//
// It connects as Dial did: same options, and the cookies that were sent then,
// whoever has logged in since. If there are options, they take the place of
// all of Dial's, and HTTP.Jar is looked at again: for a new login, or a ticket,
// which is good for once. The test fails unless the hub welcomes the same user
// as before, or whom [As] says.
func (c *Client) Resume(opts ...Option) []Frame {
	c.t.Helper()
	return c.ResumeAt(c.at(), opts...)
}

// ResumeAt resumes at another server: at another hub of a cluster, as in
// alice.ResumeAt(hubs[1].Server), or at the next life of the program.
func (c *Client) ResumeAt(s *Server, opts ...Option) []Frame {
	c.t.Helper()
	if len(opts) > 0 {
		before := c.dialing.as
		c.dialing = s.dialing(c.user, opts)
		c.dialing.as = cmp.Or(c.dialing.as, before)
	}
	c.Cut()
	c.mu.Lock()
	last := maps.Clone(c.last)
	c.mu.Unlock()
	c.connect(s)
	var joined []Frame
	for _, room := range slices.Sorted(maps.Keys(last)) {
		joined = append(joined, c.JoinSince(room, last[room]))
	}
	c.mu.Lock()
	again := slices.Clone(c.outbox)
	c.mu.Unlock()
	for _, o := range again {
		c.asks("publish", o.fields)
		p, err := o.encode(true)
		if err == nil {
			err = c.write(o.binary, p)
		}
		if err != nil {
			c.t.Fatalf("hubtest: %s sends %s again: %v", c.user, o.id, err)
		}
	}
	return joined
}
