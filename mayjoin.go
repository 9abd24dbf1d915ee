package gohub

import (
	"context"
	"strings"
)

// ListedRooms is what a hub without [Config].MayJoin goes by: the rooms that
// [Identity].Rooms lists. Who has no list, which is nil and not an empty one,
// may join every room. A program's own MayJoin may call it and add to it.
//
// An entry is the name of a room, or the beginning of one and a "*" at the
// end, which stands for anything or nothing: "team-*" lists "team-red" and
// "team-", and "*" lists all. A "*" elsewhere is no wildcard; as no room has
// one in its name, such an entry lists nothing. Names are compared byte by
// byte.
//
// Direct rooms need not be listed: they are open to their two users and nobody
// else, and rooms of another tenant are to nobody. So it serves a program's own
// handlers as well, before [Hub.Publish], which asks nobody.
func ListedRooms(_ context.Context, who Identity, room RoomID) error {
	if room.Tenant != who.Tenant {
		return Errorf(CodeForbidden, "room %q is not open to you", clip(room.Name))
	}
	if a, b, direct := room.Direct(); direct {
		return directFor(who.User, a, b)
	}
	if who.Rooms == nil {
		return nil
	}
	for _, entry := range who.Rooms {
		if listed(entry, room.Name) {
			return nil
		}
	}
	return Errorf(CodeForbidden, "room %q is not open to you", clip(room.Name))
}

// directFor is nil if user is one of the two that a direct room is for.
func directFor(user, a, b string) error {
	if user != a && user != b {
		return Errorf(CodeForbidden, "a direct room is for its two users")
	}
	return nil
}

func listed(entry, room string) bool {
	if begin, ok := strings.CutSuffix(entry, "*"); ok {
		return strings.HasPrefix(room, begin)
	}
	return entry == room
}

// mayJoin says whether the client may join a room, or write into it by naming
// the other user of it.
func (c *Client) mayJoin(id RoomID) error {
	if err := c.canJoin(id); err != nil {
		return err
	}
	if c.hub.cfg.MayJoin == nil && id.Name[0] == '@' {
		return nil // ListedRooms has nothing against it
	}
	return c.authorize(c.Identity(), id)
}

// authorize asks MayJoin about who the client is, or is about to be.
func (c *Client) authorize(who Identity, id RoomID) error {
	if c.hub.cfg.MayJoin == nil {
		return ListedRooms(c.hub.ctx, who, id)
	}
	c.idle() // it may wait for something
	return guard(c.hub, "MayJoin", func() error { return c.hub.cfg.MayJoin(c.hub.ctx, who, id) })
}

// canJoin checks what holds for everybody.
func (c *Client) canJoin(id RoomID) error {
	if err := checkRoom(id); err != nil {
		return err
	}
	if a, b, direct := id.Direct(); direct {
		if err := directFor(c.who.User, a, b); err != nil {
			return err
		}
	}
	if c.hub.closing.Load() {
		return errDraining
	}
	return nil
}
