package gohub

import (
	"encoding/json"
	"slices"
	"sync"
	"time"
)

// An order is what one hub tells the others to do. It travels as a signal to a
// Target with no more than a Tenant, as JSON, which no WebSocket frame begins
// like. What a hub does not know, from a newer one, it leaves.
type order struct {
	From      string      // who has done it already
	ID        string      `json:",omitempty"` // no other order's, of a Revoke
	Revoke    *Revocation `json:",omitempty"`
	Replace   *Claim      `json:",omitempty"` // end what is older
	Kick      *kick       `json:",omitempty"`
	CloseRoom *RoomID     `json:",omitempty"`
	// Age is how old a repetition of a Revoke or Kick is, in ns: sessions that
	// have begun since are none of its business. Clocks are not compared.
	Age time.Duration `json:",omitempty"`
}

type kick struct{ Tenant, User, Reason string }

// repeatAfter is when a Revoke or Kick is told again: a hub may have been out
// of touch when it was told first, and nothing would show it what it missed.
var repeatAfter = []time.Duration{time.Second, 3 * time.Second, 10 * time.Second, 30 * time.Second, 90 * time.Second}

// repeatMost is how many of them are remembered; beyond that the oldest go.
const repeatMost = 10_000

// repeats are the orders of this hub that are to be told again.
type repeats struct {
	mu  sync.Mutex // guards all; a leaf
	all []repeat   // oldest first
}

type repeat struct {
	tenant string
	order  order
	at     time.Time
	told   int // how often again
}

func (r *repeats) add(tenant string, o order) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.all) >= repeatMost {
		r.all = slices.Delete(r.all, 0, len(r.all)/10)
	}
	r.all = append(r.all, repeat{tenant, o, time.Now(), 0})
}

// due gives those whose time has come, with their ages.
func (r *repeats) due() (now []repeat) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.all {
		x := &r.all[i]
		if age := time.Since(x.at); age >= repeatAfter[x.told] {
			x.told++
			x.order.Age = age
			now = append(now, *x)
		}
	}
	r.all = slices.DeleteFunc(r.all, func(x repeat) bool { return x.told == len(repeatAfter) })
	return now
}

// insist is broadcast, again and again for a while.
func (h *Hub) insist(tenant string, o order) {
	h.broadcast(tenant, o)
	if h.dir != nil { // else nobody repeats it
		h.repeats.add(tenant, o)
	}
}

// broadcast tells all other hubs.
func (h *Hub) broadcast(tenant string, o order) {
	o.From = h.self
	b, err := json.Marshal(o)
	if err != nil { // strings and numbers alone: it cannot be
		h.log.Error("an order cannot be written", "err", err)
		return
	}
	h.broker.Signal(Target{Tenant: tenant}, b)
}

// obey does what another hub has ordered.
func (h *Hub) obey(b []byte) {
	var o order
	if err := json.Unmarshal(b, &o); err != nil {
		h.log.Error("another hub's order cannot be read", "err", err)
		return
	}
	if o.From == h.self {
		return
	}
	if o.Revoke != nil && o.Revoke.check() == nil && !(o.Age > 0 && h.revoked.heard(o.ID)) {
		h.revoke(o.Revoke, o.ID, o.Age)
	}
	if o.Replace != nil {
		h.devices.replace(o.Replace)
	}
	if o.Kick != nil {
		h.kick(o.Kick, o.Age)
	}
	if o.CloseRoom != nil {
		h.closeRoom(*o.CloseRoom)
	}
}
