package gohub

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"sync"
	"time"
)

// lentTicket is a ticket that other hubs than the one that gives it take. It
// is in the Directory, as JSON, under a hash of what the client has.
type lentTicket struct {
	Who    Identity
	Origin string   `json:",omitempty"` // as of ticket
	At     []string // Node.ID of the hubs that take it
	// Knew names the revocations of Who from before who was authenticated.
	// Every other one that the hub at which it is used has heard of counts
	// against it. No two nodes' clocks are compared.
	Knew []string `json:",omitempty"`
}

const (
	lentLen = 27 // an "n" and rand.Text
	// ticketWait is for how long somebody who connects waits for the Directory
	// to keep or give a ticket.
	ticketWait = time.Second
)

// lentKey is what the Directory knows a ticket by: who reads it there cannot
// use it.
func lentKey(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])
}

// lend gives a ticket that one of the hubs at takes; ctx is to end it in
// ticketWait. false: it cannot be had,
// because the Directory cannot be reached, or the user has too many, or who
// does not survive being carried.
func (h *Hub) lend(ctx context.Context, who Identity, link *revoked, origin string, at []string) (id string, life time.Duration, ok bool) {
	life = ticketLife
	if !who.ExpiresAt.IsZero() {
		life = min(life, time.Until(who.ExpiresAt))
	}
	if life <= 0 || !h.lending.may(userID{who.Tenant, who.User}) {
		return "", 0, false
	}
	b, err := json.Marshal(lentTicket{who, origin, at, h.revoked.known(link, &who)})
	if err != nil || bytes.Contains(b, []byte(`\ufffd`)) { // stands for what is not UTF-8
		h.log.Error("an Identity cannot be given to another node: its Claims are no JSON, or something in it is not UTF-8", "user", who.User, "err", err)
		return "", 0, false
	}
	id = "n" + rand.Text()
	if err := h.dir.PutTicket(ctx, lentKey(id), b, life); err != nil {
		h.log.Debug("no ticket for another node", "user", who.User, "err", err)
		return "", 0, false
	}
	return id, life, h.revoked.since(link, &who, nil) == nil // Revoke may have come meanwhile
}

// redeem gives what a ticket stands for, once: one of this hub's own, or one
// that was lent for it. Those for other hubs it takes only anywhere: a session
// that is here already renews itself by them, wherever a new one would belong.
func (h *Hub) redeem(ctx context.Context, id string, anywhere bool) (ticket, *Error) {
	link := h.revoked.now() // before it is taken
	if t, ok := h.tickets.redeem(id); ok {
		return t, nil
	}
	if h.dir == nil || len(id) != lentLen {
		return ticket{}, errTicket
	}
	ctx, cancel := context.WithTimeout(ctx, ticketWait)
	defer cancel()
	b, err := h.dir.TakeTicket(ctx, lentKey(id))
	if err != nil {
		h.log.Debug("a ticket cannot be looked for", "err", err)
		return ticket{}, errUnavailable
	}
	var t lentTicket
	if b == nil || json.Unmarshal(b, &t) != nil ||
		!anywhere && !slices.Contains(t.At, h.self) ||
		!validUser(t.Who.User) ||
		h.revoked.beyond(t.Knew, &t.Who) {
		return ticket{}, errTicket
	}
	return ticket{who: t.Who, link: link, origin: t.Origin}, nil
}

// lending bounds how many tickets this hub has in the Directory: of a user
// userTickets in ticketLife, and maxTickets of all. At the seam of two such
// stretches of time there may be twice as many.
type lending struct {
	mu    sync.Mutex // guards all below; a leaf
	until time.Time
	all   int
	of    map[userID]int
}

func (l *lending) may(user userID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.of == nil || now.After(l.until) {
		l.until, l.all, l.of = now.Add(ticketLife), 0, make(map[userID]int)
	}
	if l.all >= maxTickets || l.of[user] >= userTickets {
		return false
	}
	l.all++
	l.of[user]++
	return true
}
