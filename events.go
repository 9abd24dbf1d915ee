package gohub

import (
	"time"

	"github.com/gohub/gohub/internal/wire"
)

const (
	memberDelay   = 200 * time.Millisecond // comings and goings of this long are told together
	memberPause   = 4 * memberDelay        // and of this long where they do not end: to tell them is a write for each member
	memberNames   = 1000                   // above so many users only the count is told
	typingTimeout = 5 * time.Second
	typingRepeat  = time.Second // a session's "typing" is passed on no more often
)

// roomEvents is the part of a room that is told but not kept; guarded by the
// room's mu.
type roomEvents struct {
	joined, left map[string]struct{} // since members were told last
	timed        bool                // tellMembers is due
	told         time.Time           // when it last told something
	typing       map[*Client]*typist
}

type typist struct {
	timer  *time.Timer
	active bool
	until  time.Time // if active
	told   time.Time // that it types
	shown  bool      // others see it typing
}

func (e *roomEvents) came(user string) { e.changed(user, &e.joined, e.left) }
func (e *roomEvents) went(user string) { e.changed(user, &e.left, e.joined) }

func (e *roomEvents) changed(user string, to *map[string]struct{}, from map[string]struct{}) {
	if _, back := from[user]; back { // came and went, or the other way: nothing to tell
		delete(from, user)
		return
	}
	if *to == nil {
		*to = make(map[string]struct{})
	}
	(*to)[user] = struct{}{}
}

// tell has the members told after a while, or sooner, but not within
// memberPause of the last time; the room's mu is held.
func (e *roomEvents) tell(r *room, after time.Duration) {
	if !e.timed {
		e.timed = true
		time.AfterFunc(max(after, time.Until(e.told.Add(memberPause))), r.tellMembers)
	}
}

// tellMembers sends "members" with what has changed.
func (r *room) tellMembers() {
	r.mu.Lock()
	e := &r.events
	e.timed = false
	count, changed := len(r.users), len(e.joined)+len(e.left) > 0
	if ro := r.roster; ro != nil {
		count = ro.count
		changed = changed || ro.own == 0 && count != ro.told
	}
	if !r.gone && len(r.members) > 0 && changed {
		var joined, left []string
		if count <= memberNames {
			joined, left = keys(e.joined), keys(e.left)
		}
		r.pending = append(r.pending, frame{bytes: wire.AppendMembers(nil, r.id.Name, joined, left, count)})
		if ro := r.roster; ro != nil {
			ro.told = count
		}
		e.told = time.Now()
	}
	e.joined, e.left = nil, nil
	r.mu.Unlock()
	r.flush()
}

func keys(m map[string]struct{}) []string {
	s := make([]string, 0, len(m))
	for k := range m {
		s = append(s, k)
	}
	return s
}

// typing notes that c types, or no longer, and tells the others: that it types
// at most once in typingRepeat, later if it has to be, and that it has ended if
// they were told that it began. Who begins and ends all the time is no louder
// than who goes on.
func (r *room) typing(c *Client, active bool) {
	now := time.Now()
	r.mu.Lock()
	t := r.events.typing[c]
	tell := false
	switch {
	case active:
		if t == nil {
			if r.events.typing == nil {
				r.events.typing = make(map[*Client]*typist)
			}
			t = &typist{timer: time.AfterFunc(typingTimeout, func() { r.typingTimer(c) })}
			r.events.typing[c] = t
		}
		t.active, t.until = true, now.Add(typingTimeout)
		if tell = now.Sub(t.told) >= typingRepeat; tell {
			t.told, t.shown = now, true
		}
		if t.shown {
			t.timer.Reset(typingTimeout)
		} else {
			t.timer.Reset(t.told.Add(typingRepeat).Sub(now))
		}
	case t != nil: // remembered until its timer, for typingRepeat
		t.active = false
		tell, t.shown = t.shown, false
	}
	r.mu.Unlock()
	if tell {
		r.tellTyping(c, active)
	}
}

// typingTimer is the typist's: what came too soon to be told is told now, or
// the typing is over.
func (r *room) typingTimer(c *Client) {
	now := time.Now()
	r.mu.Lock()
	t := r.events.typing[c]
	begun, ended := false, false
	switch {
	case t == nil:
	case t.active && now.Before(t.until):
		if begun = !t.shown; begun {
			t.told, t.shown = now, true
		}
		t.timer.Reset(t.until.Sub(now))
	default:
		ended = r.stopTyping(c)
	}
	r.mu.Unlock()
	if begun || ended {
		r.tellTyping(c, begun)
	}
}

// stopTyping forgets the typist and reports whether others see c typing; mu is
// held.
func (r *room) stopTyping(c *Client) bool {
	t := r.events.typing[c]
	if t == nil {
		return false
	}
	t.timer.Stop()
	delete(r.events.typing, c)
	return t.shown
}

func (r *room) tellTyping(c *Client, active bool) {
	f := wire.AppendTyping(nil, r.id.Name, c.who.User, active)
	r.inline(func() {
		r.hub.broker.Signal(Target{Tenant: r.id.Tenant, Room: r.id.Name, Except: c.id}, f)
	})
}
