package gohub

import (
	"crypto/rand"
	"slices"
	"sync"
	"time"
)

// A ticket stands in for the Authenticator once: negotiate gives it to a
// client that has shown who it is, and the handshake, or "refresh", takes it
// back. Browsers need it where a cookie does not reach.
const (
	ticketLife  = 30 * time.Second
	ticketSweep = time.Second // looking for old ones takes milliseconds when there are many
	maxTickets  = 100_000     // in one process; beyond it negotiate answers 503
	userTickets = 100         // of one user; one more takes the place of the oldest
)

type ticketBox struct {
	mu   sync.Mutex
	m    map[string]ticket
	of   map[userID][]string // a user's, oldest first
	next time.Time           // when the old ones are looked for next
}

type ticket struct {
	who     Identity
	link    *revoked  // from before who was authenticated
	origin  string    // of the page that asked for it; empty: of none, or it is not known
	expires time.Time // no later than who does
}

// isFor reports whether pages of an origin may use the ticket; "": programs.
func (t *ticket) isFor(origin string) bool { return t.origin == "" || t.origin == origin }

// issue gives a ticket, and for how long it is good.
func (b *ticketBox) issue(who Identity, link *revoked, origin string) (id string, life time.Duration, ok bool) {
	now := time.Now()
	life = ticketLife
	if !who.ExpiresAt.IsZero() {
		life = min(life, who.ExpiresAt.Sub(now))
	}
	id = rand.Text()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.m == nil {
		b.m, b.of = make(map[string]ticket), make(map[userID][]string)
	}
	if now.After(b.next) {
		b.next = now.Add(ticketSweep)
		for k, t := range b.m {
			if now.After(t.expires) {
				b.drop(k, t)
			}
		}
	}
	user := userID{who.Tenant, who.User}
	if mine := b.of[user]; len(mine) >= userTickets {
		b.drop(mine[0], b.m[mine[0]])
	}
	if len(b.m) >= maxTickets {
		return "", 0, false
	}
	b.m[id] = ticket{who, link, origin, now.Add(life)}
	b.of[user] = append(b.of[user], id)
	return id, life, true
}

// drop forgets a ticket; mu is held.
func (b *ticketBox) drop(id string, t ticket) {
	delete(b.m, id)
	user := userID{t.who.Tenant, t.who.User}
	mine := b.of[user]
	if i := slices.Index(mine, id); i >= 0 {
		mine = slices.Delete(mine, i, i+1)
	}
	if b.of[user] = mine; len(mine) == 0 {
		delete(b.of, user)
	}
}

// redeem gives what a ticket stands for, once.
func (b *ticketBox) redeem(id string) (ticket, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t, ok := b.m[id]
	if ok {
		b.drop(id, t)
	}
	return t, ok && time.Now().Before(t.expires)
}

// revoke forgets the tickets of whom r names.
func (b *ticketBox) revoke(r *Revocation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.User == "" { // milliseconds when there are many
		for id, t := range b.m {
			if r.names(&t.who) {
				b.drop(id, t)
			}
		}
		return
	}
	for _, id := range slices.Clone(b.of[userID{r.Tenant, r.User}]) {
		if t := b.m[id]; r.names(&t.who) {
			b.drop(id, t)
		}
	}
}
