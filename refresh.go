package gohub

import (
	"errors"

	"github.com/gohub/gohub/internal/wire"
)

// refresh puts the identity of a ticket in the place of the session's. User,
// tenant and device stay as they were; the rooms that the new one may not be
// in are left.
func (c *Client) refresh(cmd *wire.Command) error {
	c.waits()
	t, refused := c.hub.redeem(c.hub.ctx, string(cmd.Ticket), true)
	who := t.who
	switch {
	case refused != nil:
		return refused
	case !t.isFor(c.origin.Value()):
		return errTicket
	case who.User != c.who.User || who.Tenant != c.who.Tenant:
		return Errorf(CodeForbidden, "the ticket is another user's")
	case who.Device != "" && who.Device != c.who.Device:
		return Errorf(CodeForbidden, "the ticket is another device's")
	}
	who.Device = c.who.Device
	lost, err := c.lost(who)
	if err != nil {
		return err
	}
	expires := expiry(who)
	r := c.hub.revoked.since(t.link, &who, func() { // in one step: Revoke sees one identity or the other
		c.fresh.Store(&who)
		c.expires.Store(expires)
	})
	if r != nil {
		return errRevoked
	}
	for _, m := range lost {
		c.expel(m)
	}
	c.send(wire.AppendRefreshed(nil, cmd.Ref, expires))
	return nil
}

var (
	errTicket  = &Error{Code: CodeUnauthorized, Message: "the ticket is unknown, used or expired"}
	errRevoked = &Error{Code: CodeUnauthorized, Message: "the login has been revoked"}
)

// lost asks for each room that the client has joined whether who may. An error
// means that it cannot be said of one of them now: then nothing is to change.
func (c *Client) lost(who Identity) (lost []*member, err error) {
	c.mu.Lock()
	rooms := append([]*member(nil), c.rooms...)
	c.mu.Unlock()
	for _, m := range rooms {
		if m.placed.Load() {
			continue
		}
		err := c.authorize(who, m.room.id)
		if err == nil {
			continue
		}
		if e, ok := errors.AsType[*Error](err); !ok || e.RetryAfter > 0 {
			return nil, err
		}
		lost = append(lost, m)
	}
	return lost, nil
}

// expiry is a token's end in Unix ms; 0: never.
func expiry(who Identity) int64 {
	if who.ExpiresAt.IsZero() {
		return 0
	}
	return who.ExpiresAt.UnixMilli()
}
