package gohub

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// announceWorkers is how many rooms at most tell the Directory something at a
// time.
const announceWorkers = 16

// An announcer has the rooms of a hub tell the Directory who is in them, those
// first that have waited longest. Its goroutines end when no room waits.
type announcer struct {
	hub *Hub

	mu      sync.Mutex // guards what follows; taken under a room's mu, and the hub's under it
	queue   []*room
	workers int

	settled atomic.Int64 // Unix ns from which on counts are those of all nodes
}

// forgot begins the time in which counts are not those of all nodes.
func (a *announcer) forgot() { a.settled.Store(time.Now().Add(rosterSettle).UnixNano()) }

// unsettled is how long that time still is.
func (a *announcer) unsettled() time.Duration {
	at := a.settled.Load()
	if at == 0 {
		return 0
	}
	return max(0, time.Until(time.Unix(0, at)))
}

// push queues the room.
func (a *announcer) push(r *room) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queue = append(a.queue, r)
	a.grow()
}

// grow starts a worker if there is work for one more; mu is held. A hub that
// has ended announces nothing.
func (a *announcer) grow() {
	if len(a.queue) > 0 && a.workers < announceWorkers && a.hub.spawn(a.work) { // ends when the queue is empty, or with the hub
		a.workers++
	}
}

func (a *announcer) next() *room {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.queue) == 0 {
		a.workers--
		a.queue = nil
		return nil
	}
	r := a.queue[0]
	a.queue[0] = nil
	a.queue = a.queue[1:]
	a.grow()
	return r
}

func (a *announcer) work() {
	for r := a.next(); r != nil && a.hub.ctx.Err() == nil; r = a.next() {
		if err := r.announce(a.hub.ctx); err != nil && !errors.Is(err, ErrUnavailable) {
			a.hub.seldom("members", r.id, err)
		}
	}
}

// announceIn has the room announced after a while, or sooner; mu is held.
func (r *room) announceIn(after time.Duration) {
	ro := r.roster
	due := time.Now().Add(after)
	switch {
	case ro.queued:
		return
	case ro.timer == nil:
		r.refs++
	case !due.Before(ro.due) || !ro.timer.Stop():
		return
	}
	if after <= 0 {
		ro.timer, ro.queued = nil, true
		r.hub.announcer.push(r)
		return
	}
	r.announceAt(due)
}

// announceAt has a timer, which holds the room, queue it; mu is held.
func (r *room) announceAt(due time.Time) {
	ro := r.roster
	ro.due = due
	ro.timer = time.AfterFunc(time.Until(due), func() {
		r.mu.Lock()
		ro.timer, ro.queued = nil, true
		r.mu.Unlock()
		r.hub.announcer.push(r)
	})
}

// announceAgain has it announced again after a failure: the Directory may fail
// for some rooms and not for others, so each waits for itself. mu is held.
func (r *room) announceAgain() {
	ro := r.roster
	if ro.failing == nil {
		ro.failing = newBackoff()
	}
	ro.queued = false
	r.announceAt(time.Now().Add(ro.failing.step()))
}

// announced returns when the Directory knows what has been so here when it was
// called.
func (r *room) announced(ctx context.Context) error {
	r.mu.Lock()
	ro := r.roster
	if len(ro.waiting) == 0 && len(ro.sending) == 0 && ro.renewed == ro.forgotten {
		r.mu.Unlock()
		return nil
	}
	if ro.failing != nil {
		r.mu.Unlock()
		return ErrUnavailable
	}
	f := &flush{done: make(chan struct{})}
	ro.flushes = append(ro.flushes, f)
	r.announceIn(0)
	r.mu.Unlock()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	case <-r.hub.ctx.Done():
		return ErrUnavailable
	}
}

// announce makes one call of the Directory: it says again what that has
// forgotten, or what has changed, or asks for the count. After an error it is
// called again.
func (r *room) announce(ctx context.Context) error {
	ro, a := r.roster, r.hub.announcer
	r.mu.Lock()
	again := ro.renewed < ro.forgotten
	forgotten, heard := ro.forgotten, ro.heard
	var users []PresentUser
	var flushes []*flush
	if again {
		users = r.known()
	} else {
		users = r.news()
		flushes, ro.flushes = ro.flushes, nil
	}
	ask := !again && len(users) == 0 && ro.stale && a.unsettled() == 0
	if ask {
		ro.stale = false
	}
	r.mu.Unlock()

	count, err := 0, error(nil)
	switch {
	case len(users) > 0:
		count, err = r.hub.dir.Announce(ctx, r.id, users, again)
	case ask:
		var page PresencePage
		page, err = r.hub.dir.Present(ctx, r.id, "", 0)
		count = page.Count
	}

	r.mu.Lock()
	idle := false
	if err == nil {
		ro.sending, ro.failing = nil, nil
		if again {
			ro.renewed = forgotten
		}
		r.counts(count, !again && (ask || len(users) > 0) && heard == ro.heard)
		idle = r.goesOn(again)
	} else {
		ro.stale = ro.stale || ask
		for user, x := range ro.sending {
			x.unsure = true
			if ro.waiting == nil {
				ro.waiting = make(map[string]announcement)
			}
			ro.waiting[user] = x
		}
		ro.sending = nil
		flushes = append(flushes, ro.flushes...)
		ro.flushes = nil
		r.announceAgain()
	}
	r.mu.Unlock()
	for _, f := range flushes {
		f.err = err
		close(f.done)
	}
	if idle {
		r.hub.release(r)
	}
	return err
}

// known lists the users that the Directory was told of; mu is held. Those of
// whom it was not, or not of their end, follow as news.
func (r *room) known() []PresentUser {
	users := make([]PresentUser, 0, len(r.users))
	for user, o := range r.users {
		n := o.sessions
		if a, waits := r.roster.waiting[user]; waits {
			n = a.before
		}
		if n > 0 {
			users = append(users, PresentUser{User: user, Name: o.name, Sessions: n})
		}
	}
	for user, a := range r.roster.waiting {
		if r.users[user] == nil && a.before > 0 {
			users = append(users, PresentUser{User: user, Sessions: a.before})
		}
	}
	return users
}

// news makes what waits what is being sent; mu is held.
func (r *room) news() []PresentUser {
	ro := r.roster
	var users []PresentUser
	for user, a := range ro.waiting {
		u := PresentUser{User: user}
		if o := r.users[user]; o != nil {
			u.Name, u.Sessions = o.name, o.sessions
		}
		if a.sent = u.Sessions; a.sent == a.before && !a.unsure {
			delete(ro.waiting, user)
			continue
		}
		ro.waiting[user] = a
		users = append(users, u)
	}
	ro.sending, ro.waiting = ro.waiting, nil
	return users
}

// counts takes a count that was asked for, if it is not older than what is
// known; mu is held.
func (r *room) counts(count int, newer bool) {
	ro, settling := r.roster, r.hub.announcer.unsettled() > 0
	if newer && !(settling && ro.counted) {
		ro.count, ro.counted = count, true
	}
	ro.own = 0
	for user, a := range ro.waiting {
		if r.users[user] != nil {
			ro.own++
		}
		ro.own -= sign(a.before)
	}
	if !settling && ro.own == 0 && ro.count != ro.told {
		r.events.tell(r, 0)
	}
}

// goesOn says when the room is announced next; true: there is nothing to say.
// mu is held.
func (r *room) goesOn(again bool) bool {
	ro := r.roster
	ro.queued = false
	switch {
	case ro.renewed < ro.forgotten, len(ro.flushes) > 0, again && len(ro.waiting) > 0:
		r.announceIn(0)
	case len(ro.waiting) > 0:
		r.announceIn(memberDelay)
	case ro.stale:
		r.announceIn(r.hub.announcer.unsettled())
	default:
		return true
	}
	r.refs-- // announceIn has its own
	return false
}
