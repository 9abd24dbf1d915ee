//go:build unix

package chaos

import (
	"context"
	"fmt"
	"strings"

	"github.com/coder/websocket"

	"github.com/gohub/gohub"
)

// Refs of what is not about a place.
const (
	refRooms     = -1
	refEavesdrop = -2
)

// newDirect is the direct room of the nth client: two users, of two devices
// each, have one. It is dormant until the client hears of it by an invite or in
// its list of rooms, or opens it by writing to the other user.
func newDirect(n, clients int) *place {
	me := n / 2
	if peer := me ^ 1; 2*peer+1 < clients {
		return &place{name: directName(me), peer: userName(peer), dormant: true}
	}
	return nil
}

func userName(n int) string { return fmt.Sprintf("user%03d", n) }

func directName(user int) string { return "@" + userName(user&^1) + "," + userName(user|1) }

// wake, if up, has the room be joined like any other from now on.
func (p *place) wake(up bool) {
	if up {
		p.dormant, p.opening = false, false
	}
}

// newPublish is for all in a place or, one in four, for one user alone. A
// direct room is opened by it, or may as well be named by its other user.
func (c *client) newPublish(p *place) *publish {
	o := &publish{Type: "publish", ID: gohub.NewID(), Room: p.name, Body: c.body()}
	switch {
	case p.dormant || p.peer != "" && c.rng.IntN(2) == 0:
		o.Room, o.To = "", p.peer
		if p.dormant {
			p.dormant, p.opening, p.hole = false, true, true
		}
	case c.rng.IntN(4) == 0:
		users := c.w.users(p)
		o.To = users[c.rng.IntN(len(users))]
	}
	return o
}

// users are those who may be in a place.
func (w *world) users(p *place) (names []string) {
	for _, c := range w.clients {
		if c.place(p.name) != nil {
			names = append(names, c.user)
		}
	}
	return names
}

// rooms are the names of all rooms.
func (w *world) rooms() (names []string) {
	for n := range w.o.rooms {
		names = append(names, roomName(n))
	}
	for n := 0; n < w.o.clients; n += 4 {
		if d := newDirect(n, w.o.clients); d != nil {
			names = append(names, d.name)
		}
	}
	return names
}

// invited: somebody has written in a direct room that this client is not in.
func (c *client) invited(p *place, f *frame) {
	switch {
	case p.peer == "" || f.From != p.peer && f.From != c.user:
		c.problem("invited to %s by %q", f.Room, f.From)
	case p.dormant: // else it joins, or has joined meanwhile
		p.from, p.last = f.Seq, f.Seq
		p.wake(true)
	}
}

// listed: the list of rooms makes up for invites that were lost.
func (c *client) listed(f *frame) {
	for i := range f.Rooms {
		room := f.Rooms[i].Room
		p := c.place(room)
		switch {
		case p == nil && strings.HasPrefix(room, "@"):
			c.problem("%s is on its list of rooms", room)
		case p != nil && p.dormant:
			p.wake(true)
		}
	}
	c.finalGot = c.finalAsked
	c.count()
}

// eavesdrop tries to join a direct room of two others.
func (c *client) eavesdrop(ctx context.Context) bool {
	room := directName(c.rng.IntN(c.w.o.clients / 2))
	if c.place(room) != nil {
		return true
	}
	return c.send(ctx, map[string]any{"type": "join", "room": room, "since": 0, "ref": refEavesdrop})
}

// overhears looks whether a message is for this client.
func (c *client) overhears(p *place, f *frame) {
	if f.To != "" && f.To != c.user && f.Sender != c.user {
		c.problem("%s: was shown what %s has written to %s", p.name, f.Sender, f.To)
	}
}

// twin keeps an older connection of a device open until the hubs end it.
func (w *world) twin(c *client, ws *websocket.Conn, frames chan frame) {
	w.opens(c.user, 1)
	w.twins.Go(func() { // ends with the connection
		defer w.opens(c.user, -1)
		for {
			select {
			case <-w.ended:
				_ = ws.CloseNow()
				for range frames {
				}
				return
			case f, ok := <-frames:
				if !ok {
					return
				}
				if f.closed != nil && websocket.CloseStatus(f.closed) == 4500 {
					w.asked.Add(1)
				}
			}
		}
	})
}

func (w *world) opens(user string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[user] += n
}
