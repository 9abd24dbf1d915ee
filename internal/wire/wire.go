// Package wire is the codec of protocol gohub.v1: it decodes what a client
// sends and encodes whole WebSocket frames of what the server answers.
//
// Both directions run once per message on the busiest path of the hub, so they
// use no reflection and, with buffers that are reused, allocate nothing. The
// body of a message is never decoded: its syntax is checked and its bytes are
// carried as they came. docs/decisions/0001-json-codec.md has the measurements
// behind writing a scanner here instead of using a library, and testdata/wire
// has golden vectors for those who write a client in another language.
package wire

// Type is the `type` of a client frame.
type Type uint8

// Unknown is the zero Type: missing, or none that the protocol knows.
const (
	Unknown Type = iota
	Join
	Leave
	Publish
	Typing
	Receipt
	History
	Presence
	Rooms
	Call
	Refresh
	Ping
)

var typeNames = [...]string{
	Unknown:  "unknown",
	Join:     "join",
	Leave:    "leave",
	Publish:  "publish",
	Typing:   "typing",
	Receipt:  "receipt",
	History:  "history",
	Presence: "presence",
	Rooms:    "rooms",
	Call:     "call",
	Refresh:  "refresh",
	Ping:     "ping",
}

// String is the name on the wire, or "unknown".
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return typeNames[Unknown]
}

// Has tells which optional fields a frame carried, because their zero value
// means something too: `since: 0` is "from the start", no `since` is "the last
// twenty". A field that is null was not carried, except body.
type Has uint16

// One bit a field.
const (
	HasSince Has = 1 << iota
	HasBefore
	HasAfter
	HasLimit
	HasDelivered
	HasSeen
	HasBody
	HasActive
)

// Command is one decoded client frame. Its byte slices alias the frame, or a
// scratch inside the Command where the JSON text had escapes: they are valid
// until the frame's buffer is reused or the Command decodes the next one.
// Copying a Command copies that scratch's address, not the scratch.
//
// Decoding checks JSON types only. Whether a room, id or kind is acceptable is
// for the Valid functions, and whether a field was required for the hub.
type Command struct {
	Type                                  Type
	Has                                   Has
	Binary                                bool // came as a binary frame: Body is bytes, not JSON
	Retry                                 bool
	Active                                bool
	Limit                                 int
	Since, Before, After, Delivered, Seen int64
	Ref                                   []byte // raw JSON of ref, a string or number; nil when absent
	// Decoded text; nil when absent, empty but not nil for "".
	ID, Room, To, Kind, Name, Cursor, Ticket []byte
	Body                                     []byte // raw JSON value, or the bytes after the header of a binary frame

	scratch []byte // unescaped text
}

// maxScratch bounds what a reused Command keeps: one hostile frame of escapes
// must not pin its size for as long as the connection lives.
const maxScratch = 4096

func (c *Command) reset() {
	scratch := c.scratch[:0]
	if cap(scratch) > maxScratch {
		scratch = nil
	}
	*c = Command{scratch: scratch}
}

// The protocol error codes that decoding can end in.
const (
	CodeBadJSON     = "bad_json"
	CodeUnknownType = "unknown_type"
	CodeBadRequest  = "bad_request"
)

// Error is what a bad frame is answered with. Code is one of the protocol's
// error codes; Message is written for the developer of the client.
type Error struct{ Code, Message string }

func (e *Error) Error() string { return e.Code + ": " + e.Message }
