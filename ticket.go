package gohub

import (
	"crypto/rand"
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
)

type ticketBox struct {
	mu   sync.Mutex
	m    map[string]ticket
	next time.Time // when the old ones are looked for next
}

type ticket struct {
	who     Identity
	expires time.Time
}

func (b *ticketBox) issue(who Identity) (string, bool) {
	now := time.Now()
	id := rand.Text()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.m == nil {
		b.m = make(map[string]ticket)
	}
	if now.After(b.next) {
		b.next = now.Add(ticketSweep)
		for k, t := range b.m {
			if now.After(t.expires) {
				delete(b.m, k)
			}
		}
	}
	if len(b.m) >= maxTickets {
		return "", false
	}
	b.m[id] = ticket{who, now.Add(ticketLife)}
	return id, true
}

// redeem gives a ticket's identity, once.
func (b *ticketBox) redeem(id string) (Identity, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t, ok := b.m[id]
	delete(b.m, id)
	return t.who, ok && time.Now().Before(t.expires)
}
