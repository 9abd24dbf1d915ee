package gohub

import (
	"strings"
	"time"
)

// RoomID names a room inside a tenant. A name has 1–128 of
// A-Z a-z 0-9 . _ : @ , - and begins with @ where it is a direct room's, which
// [DirectRoom] makes. The tenant comes from the
// [Authenticator] only; clients never send or see it. The empty tenant is a
// tenant like any other: programs that serve one organisation leave it empty.
type RoomID struct {
	Tenant string
	Name   string
}

// String gives the id for logs: "tenant/name", or the name alone.
func (r RoomID) String() string {
	if r.Tenant == "" {
		return r.Name
	}
	return r.Tenant + "/" + r.Name
}

// Direct reports the two users of a direct room ("@alice,bob", sorted). For
// any other room ok is false. A user's room with itself names it twice.
func (r RoomID) Direct() (a, b string, ok bool) {
	if !strings.HasPrefix(r.Name, "@") {
		return "", "", false
	}
	a, b, ok = strings.Cut(r.Name[1:], ",")
	if !ok || a > b || !validUser(a) || !validUser(b) {
		return "", "", false
	}
	return a, b, true
}

// DirectRoom gives the id of the room that two users of a tenant share.
func DirectRoom(tenant, a, b string) RoomID {
	if a > b {
		a, b = b, a
	}
	return RoomID{Tenant: tenant, Name: "@" + a + "," + b}
}

// A Message is one message of a room. Messages are values that nobody changes
// once they are ordered: Body is shared by everyone who holds a copy.
type Message struct {
	Room   RoomID
	ID     string // a UUID made by the sender's client, unique within the room
	Seq    int64  // place in the room's order; also its time, in µs since the Unix epoch
	Sender string
	To     string // when set, only this user and Sender ever see it
	Kind   string // 1–32 of a-z 0-9 . _ -; "chat" unless the sender says otherwise
	Body   []byte // one JSON value, or any bytes when Binary
	Binary bool
}

// VisibleTo reports whether user may see m. The empty user stands for the
// embedding program, which sees everything.
func (m *Message) VisibleTo(user string) bool {
	return m.To == "" || user == "" || m.To == user || m.Sender == user
}

// Time is when m was ordered, read from its Seq.
func (m *Message) Time() time.Time { return time.UnixMicro(m.Seq) }

// size is what m counts for in limits that are given in bytes.
func (m *Message) size() int {
	return len(m.Body) + len(m.ID) + len(m.Sender) + len(m.To) + len(m.Kind) + len(m.Room.Name) + messageOverhead
}

// messageOverhead is the size of a Message value itself, rounded up.
const messageOverhead = 160

// Ordered is what became of one message given to [Broker.Publish] or
// [Store.Append].
type Ordered struct {
	// Seq is the message's place in its room: the first one it got, when the
	// same id had been seen before.
	Seq int64
	// Duplicate: the id was known from the same sender. From a Broker that
	// proves nothing about storage; from a Store it means stored.
	Duplicate bool
	// Err is nil, [ErrIDConflict], [ErrUnavailable] or, from a Broker,
	// [ErrUnknown].
	Err error
}
