package gohub

import (
	"context"
	"time"
)

// rosterSettle is for how long after the Directory has forgotten its counts
// are those of the hubs that have told it everything anew, and not of all.
const rosterSettle = 3 * time.Second

// A roster is what a room knows of its members on all nodes, and what of its
// own the Directory does not know yet. A room has none without a Directory.
// It is guarded by the room's mu.
//
// Its states follow each other so that one call of the Directory is under way
// at a time: nothing to say, a timer runs (due), or the room is in the
// announcer's queue or with one of its workers (queued). Outside of the first
// it holds the room, like a join.
type roster struct {
	count   int  // distinct users on all nodes, as the Directory said last
	counted bool // it has said so
	heard   int  // how often it has told what has changed
	own     int  // users that came to this hub, less those that left it, and are not in count
	told    int  // the last count that a member was told

	waiting map[string]announcement // users of whose sessions the Directory is not told yet
	sending map[string]announcement // of whom it is being told
	// forgotten counts how often the Directory has lost what it was told,
	// renewed how often it has been told all again.
	forgotten, renewed int
	stale              bool // the count is to be asked for: some of what was told was lost
	flushes            []*flush
	failing            *backoff // the last call failed; nil: it did not

	timer  *time.Timer // nil: none runs
	due    time.Time   // when it does
	queued bool
}

// An announcement is one user's: what matters is how many sessions there are
// when it is sent, so however much happens meanwhile it is one.
type announcement struct {
	before int  // sessions that the Directory knows of
	unsure bool // or of those that were sent since
	sent   int
}

// A flush waits until what was to be announced when it began is.
type flush struct {
	done chan struct{}
	err  error // once done is closed
}

// changed notes that user has now sessions here, and had before; mu is held.
func (r *room) changed(user string, before, now int) {
	e, ro := &r.events, r.roster
	if ro == nil {
		switch {
		case before == 0:
			e.came(user)
		case now == 0:
			e.went(user)
		default:
			return
		}
		e.tell(r, memberDelay)
		return
	}
	ro.own += sign(now) - sign(before)
	if _, is := ro.waiting[user]; !is {
		if ro.waiting == nil {
			ro.waiting = make(map[string]announcement)
		}
		a := announcement{before: before}
		if s, is := ro.sending[user]; is {
			a.before = s.sent
		}
		ro.waiting[user] = a
	}
	r.announceIn(memberDelay)
}

func sign(n int) int { return min(max(n, 0), 1) }

// headcount is how many users are in the room, on all nodes, for somebody who
// joins it: those who came here just now are counted, as if they had not been
// on another node; if they had, all are told the right count soon. mu is held.
func (r *room) headcount() int {
	ro := r.roster
	if ro == nil {
		return len(r.users)
	}
	ro.told = max(ro.count+ro.own, len(r.users))
	return ro.told
}

// recount asks the Directory how many users there are, unless the room knows.
// If that fails, the first announcement will tell.
func (r *room) recount(ctx context.Context) {
	if r.roster == nil {
		return
	}
	r.mu.Lock()
	known, heard := r.roster.counted, r.roster.heard
	r.mu.Unlock()
	if known {
		return
	}
	page, err := r.hub.dir.Present(ctx, r.id, "", 0)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if ro := r.roster; !ro.counted && heard == ro.heard {
		ro.count, ro.counted = page.Count, true
		if wait := r.hub.announcer.unsettled(); wait > 0 {
			ro.stale = true
			r.announceIn(wait)
		}
	}
}

// hear takes what the Directory tells of all nodes.
func (r *room) hear(joined, left []string, count int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ro := r.roster
	if ro == nil || r.gone {
		return
	}
	ro.heard++
	if r.hub.announcer.unsettled() > 0 && ro.counted {
		count = max(0, ro.count+len(joined)-len(left))
	}
	ro.count, ro.counted = count, true
	for _, user := range joined {
		r.events.came(user)
	}
	for _, user := range left {
		r.events.went(user)
	}
	r.events.tell(r, 0) // gathered already
}

// doubt has the count asked for, and all announced again if the Directory has
// forgotten it; mu is held.
func (r *room) doubt(forgotten bool) {
	ro := r.roster
	if ro == nil || r.gone || !ro.counted && len(r.users) == 0 {
		return
	}
	ro.stale = true
	if forgotten {
		ro.forgotten++
	}
	r.announceIn(0)
}

// present lists users in the room by id, on all nodes, after cursor: with what
// this hub did before it was called.
func (h *Hub) present(ctx context.Context, id RoomID, cursor string, limit int) (PresencePage, error) {
	r := h.find(id)
	switch {
	case h.dir == nil && r == nil:
		return PresencePage{}, nil
	case h.dir == nil:
		return r.present(cursor, limit), nil
	case r != nil:
		if err := r.announced(ctx); err != nil {
			return PresencePage{}, err
		}
	}
	return h.dir.Present(ctx, id, cursor, limit)
}
