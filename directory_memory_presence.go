package gohub

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// presenceGrace is how long users of a node that has left are still present.
const presenceGrace = 5 * time.Second

// memoryPresence is who is in the rooms; guarded by the directory's mu.
type memoryPresence struct {
	listeners map[*memoryNode]Listener
	rooms     map[RoomID]map[string]*presentUser
}

// A presentUser is on one node at least.
type presentUser struct {
	name string
	on   map[*memoryRun]PresentUser // what each node has announced
}

// A memoryRun is a node until it leaves.
type memoryRun struct{ _ byte }

func (p *memoryPresence) init() {
	p.listeners = make(map[*memoryNode]Listener)
	p.rooms = make(map[RoomID]map[string]*presentUser)
}

func (n *memoryNode) listen(l Listener) {
	n.d.mu.Lock()
	defer n.d.mu.Unlock()
	n.d.presence.listeners[n] = l
	n.left = false
	n.started()
}

// started gives the node's run; the directory's mu is held.
func (n *memoryNode) started() *memoryRun {
	if n.run == nil {
		n.run = new(memoryRun)
	}
	return n.run
}

// leave tells the node nothing more, and has its users leave after a while.
func (n *memoryNode) leave() {
	n.d.mu.Lock()
	defer n.d.mu.Unlock()
	delete(n.d.presence.listeners, n)
	n.left = true
	if run := n.run; run != nil {
		n.run = nil
		time.AfterFunc(presenceGrace, func() { n.d.end(run) })
	}
}

// end takes out what a node has announced.
func (d *MemoryDirectory) end(run *memoryRun) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for room, users := range d.presence.rooms {
		var gone []PresentUser
		for id, u := range users {
			if _, is := u.on[run]; is {
				gone = append(gone, PresentUser{User: id})
			}
		}
		d.announce(run, room, gone, false)
	}
}

func (n *memoryNode) Announce(ctx context.Context, room RoomID, users []PresentUser, again bool) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	n.d.mu.Lock()
	defer n.d.mu.Unlock()
	if n.left {
		return 0, fmt.Errorf("%w: this node has left", ErrUnavailable)
	}
	return n.d.announce(n.started(), room, users, again), nil
}

func (d *MemoryDirectory) announce(run *memoryRun, id RoomID, users []PresentUser, quiet bool) (count int) {
	p := &d.presence
	room := p.rooms[id]
	if room == nil {
		room = make(map[string]*presentUser)
		p.rooms[id] = room
	}
	var joined, left []string
	for _, x := range users {
		u := room[x.User]
		switch {
		case u == nil && x.Sessions <= 0:
		case u == nil:
			room[x.User] = &presentUser{x.Name, map[*memoryRun]PresentUser{run: x}}
			joined = append(joined, x.User)
		case x.Sessions > 0:
			if x.Name != "" && u.on[run].Name != x.Name {
				u.name = x.Name
			}
			u.on[run] = x
		default:
			if delete(u.on, run); len(u.on) == 0 {
				delete(room, x.User)
				left = append(left, x.User)
			}
		}
	}
	count = len(room)
	if count == 0 {
		delete(p.rooms, id)
	}
	if len(joined)+len(left) > 0 && !quiet {
		for _, l := range p.listeners {
			l.Members(id, joined, left, count)
		}
	}
	return count
}

func (n *memoryNode) Present(ctx context.Context, id RoomID, cursor string, limit int) (PresencePage, error) {
	if err := ctx.Err(); err != nil {
		return PresencePage{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	n.d.mu.Lock()
	defer n.d.mu.Unlock()
	room := n.d.presence.rooms[id]
	page := PresencePage{Count: len(room)}
	if limit <= 0 {
		return page, nil
	}
	for id, u := range room {
		if id <= cursor {
			continue
		}
		sessions := 0
		for _, x := range u.on {
			sessions += x.Sessions
		}
		page.Users = append(page.Users, PresentUser{id, u.name, sessions})
	}
	slices.SortFunc(page.Users, func(a, b PresentUser) int { return cmp.Compare(a.User, b.User) })
	if len(page.Users) > limit {
		page.Users = page.Users[:limit:limit]
		page.Cursor = page.Users[limit-1].User
	}
	return page, nil
}
