package gohub

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"time"
	"unicode/utf8"
)

// A Revocation names the sessions whose proof of identity is worth nothing any
// more: those of its Tenant for which each of User, Device and Login that is
// set is theirs. One of the three must be.
type Revocation struct {
	// Tenant is where; the empty one is a tenant like any other.
	Tenant string
	// User ends all that the user has.
	User string
	// Device ends what a device has: with User, as device names are the
	// Authenticator's to choose, and may be the same for different users.
	Device string
	// Login ends what rests on one login, which is [Identity].Login: a token's
	// "sid" or "jti", say.
	Login string
	// Renew lets them come back: their clients are told that the token has
	// expired (4001) and not that they are logged out (4501), so they renew it
	// and connect anew. For roles and rooms that have changed.
	Renew bool
	// Reason goes with the close code, for developers to read; what is beyond
	// 123 bytes is cut. Defaults to "revoked".
	Reason string
}

func (r *Revocation) check() error {
	switch {
	case r.User == "" && r.Device == "" && r.Login == "":
		return errors.New("gohub: Revocation has no User, Device or Login: it would end everybody's sessions")
	case !utf8.ValidString(r.Tenant + r.User + r.Device + r.Login + r.Reason):
		return errors.New("gohub: Revocation is not UTF-8: other hubs could not be told")
	}
	return nil
}

// names reports whether who is meant.
func (r *Revocation) names(who *Identity) bool {
	return r.Tenant == who.Tenant &&
		(r.User == "" || r.User == who.User) &&
		(r.Device == "" || r.Device == who.Device) &&
		(r.Login == "" || r.Login == who.Login)
}

// end closes a session, unless it is closing already.
func (r *Revocation) end(c *Client) {
	code := CloseUnauthorized
	if r.Renew {
		code = CloseTokenExpired
	}
	c.close(code, cmp.Or(r.Reason, "revoked"))
}

// Revoke ends the sessions that r names, and the tickets that negotiate has
// given out to the same, so that they can neither connect nor refresh. Who is
// just connecting, and was authenticated before, does not slip through. Their
// clients are told to stay away until the user logs in again (4501), unless
// r.Renew.
//
// When it returns, nothing more is sent to those sessions than what was
// waiting for them, and no further frame of theirs is acted upon; what they had
// begun, as a publish that middleware looks at, is finished. It waits for no
// client. The other hubs of the Broker are told by [Broker.Signal], and do the
// same when that arrives; with a Directory they are told again over a minute and
// a half, for those that were out of touch, and sessions that have begun since
// are left alone. Nothing is waited for today, so ctx ends nothing: who
// is logged out shall be, though the request that asked for it is over.
//
// It revokes what there is, and keeps nobody out: a token that is still good
// can be used again, unless the Authenticator knows better. So let the
// Authenticator know first. An error means that r cannot be, and that nothing
// was done.
func (h *Hub) Revoke(_ context.Context, r Revocation) error {
	if err := r.check(); err != nil {
		return err
	}
	o := order{ID: rand.Text(), Revoke: &r}
	h.revoke(&r, o.ID, 0)
	h.insist(r.Tenant, o)
	return nil
}

// revoke is this hub's part; id is the order's, and age is how old it is.
func (h *Hub) revoke(r *Revocation, id string, age time.Duration) {
	at := time.Now().Add(-age)
	h.revoked.add(r, id, at) // first: who is being let in looks there last
	h.tickets.revoke(r)
	sessions := h.sessionsOf(r.Tenant, r.User)
	if r.User == "" {
		sessions = h.allSessions()
	}
	n := 0
	for _, c := range sessions {
		if r.names(c.identity()) && !(age > 0 && c.began.After(at)) {
			r.end(c)
			n++
		}
	}
	h.log.Debug("revoked", "tenant", r.Tenant, "user", r.User, "device", r.Device, "login", r.Login, "renew", r.Renew, "sessions", n)
}

// revocations is a chain to which links are only added. Who is being let in
// holds the link that was the newest when that began, and once it is where
// Revoke would find it looks at those that have come since. Links that nobody
// holds are the garbage collector's; in a cluster those of the last minutes
// are kept, for tickets that come from other hubs.
type revocations struct {
	keep   bool
	mu     sync.Mutex // guards all below and every next; a leaf
	newest *revoked
	recent []*revoked // oldest first
}

type revoked struct {
	what *Revocation
	next *revoked
	id   string    // the order's
	n    int64     // place in the chain
	at   time.Time // when this hub heard of it
}

const (
	// revokedLate is for how long a revocation counts against tickets of other
	// hubs: one that was given before it is no good after ticketLife.
	revokedLate = ticketLife + 5*time.Second
	// revokedKept is for how long this hub says that it knew of it: longer,
	// as others may hear of it later.
	revokedKept = 4 * ticketLife
)

// now gives the newest link.
func (v *revocations) now() *revoked {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.newest
}

func (v *revocations) add(r *Revocation, id string, at time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	l := &revoked{what: r, id: id, n: v.newest.n + 1, at: at}
	v.newest.next = l
	v.newest = l
	if v.keep {
		old := 0
		for old < len(v.recent) && time.Since(v.recent[old].at) > revokedKept {
			old++
		}
		v.recent = append(slices.Delete(v.recent, 0, old), l)
	}
}

// heard reports whether an order has come already, in the last minutes.
func (v *revocations) heard(id string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.ContainsFunc(v.recent, func(l *revoked) bool { return l.id == id })
}

// known names the revocations of who, of the last minutes and up to link.
func (v *revocations) known(link *revoked, who *Identity) (ids []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, l := range v.recent {
		if l.n <= link.n && l.what.names(who) {
			ids = append(ids, l.id)
		}
	}
	return ids
}

// beyond reports whether who has been revoked, as late as a ticket may still
// be from before, by an order that is not among those known.
func (v *revocations) beyond(known []string, who *Identity) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, l := range v.recent {
		if time.Since(l.at) < revokedLate && l.what.names(who) && !slices.Contains(known, l.id) {
			return true
		}
	}
	return false
}

// since gives the first revocation after a link that names who, or nil. If
// there is none it does then, which may be nil, before another one can come.
func (v *revocations) since(link *revoked, who *Identity, then func()) *Revocation {
	v.mu.Lock()
	defer v.mu.Unlock()
	for l := link.next; l != nil; l = l.next {
		if l.what.names(who) {
			return l.what
		}
	}
	if then != nil {
		then()
	}
	return nil
}
