package gohub

import "encoding/json"

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
}

type kick struct{ Tenant, User, Reason string }

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
	if o.Revoke != nil && o.Revoke.check() == nil {
		h.revoke(o.Revoke, o.ID)
	}
	if o.Replace != nil {
		h.devices.replace(o.Replace)
	}
	if o.Kick != nil {
		h.kick(o.Kick)
	}
	if o.CloseRoom != nil {
		h.closeRoom(*o.CloseRoom)
	}
}
