package wire

import (
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"
	"unicode/utf8"
)

// Decode reads a text frame into c, which it resets first. The transport has
// checked that p is UTF-8.
//
// A refused frame yields an *Error. The whole object is read all the same, so
// that c.ID and c.Ref are there for the answer wherever in the frame they
// stood; only a syntax error ends the reading, and then c has what came before
// it. Of several faults bad_json comes first, then unknown_type.
//
// Fields that the protocol does not have for this type are ignored, whatever
// they hold. A key given twice counts as given the second time only.
func Decode(c *Command, p []byte) error {
	c.reset()
	return c.decode(p)
}

// DecodeBinary reads a binary frame into c, which it resets first: u8 version,
// u16 header length, JSON header, body. Everything wrong with that shape is
// bad_json, including a header that is not UTF-8, which the transport checks in
// text frames only, and one of a type that cannot be binary.
func DecodeBinary(c *Command, p []byte) error {
	c.reset()
	c.Binary = true
	if len(p) < 3 {
		return &Error{CodeBadJSON, "binary frame shorter than its 3-byte prefix"}
	}
	if p[0] != binaryVersion {
		return &Error{CodeBadJSON, "binary frame of a version other than 1"}
	}
	end := 3 + int(binary.BigEndian.Uint16(p[1:]))
	if end > len(p) {
		return &Error{CodeBadJSON, "binary frame shorter than its header length"}
	}
	if !utf8.Valid(p[3:end]) {
		return &Error{CodeBadJSON, "header of the binary frame is not UTF-8"}
	}
	err := c.decode(p[3:end])
	c.Body, c.Has = p[end:len(p):len(p)], c.Has|HasBody // a body in the header is ignored
	if c.Type != Publish && c.Type != Unknown {         // Unknown has its own error
		return &Error{CodeBadJSON, "binary frame that is not a publish"}
	}
	return err
}

// binaryVersion is the first byte of every binary frame.
const binaryVersion = 1

// field is a known key of a client frame, numbered to fit a bit set.
type field int

const (
	fieldUnknown field = iota
	fieldType
	fieldRef
	fieldID
	fieldRoom
	fieldTo
	fieldKind
	fieldName
	fieldCursor
	fieldTicket
	fieldSince
	fieldBefore
	fieldAfter
	fieldLimit
	fieldDelivered
	fieldSeen
	fieldRetry
	fieldActive
	fieldBody
)

// known has the fields each type has in the protocol, body aside, which cannot
// be wrong. Every type may have a ref: there is an answer to each, be it error.
var known = [...]uint32{
	Join:     set(fieldRef, fieldRoom, fieldSince),
	Leave:    set(fieldRef, fieldRoom),
	Publish:  set(fieldRef, fieldID, fieldRoom, fieldTo, fieldKind, fieldRetry),
	Typing:   set(fieldRef, fieldRoom, fieldActive),
	Receipt:  set(fieldRef, fieldRoom, fieldDelivered, fieldSeen),
	History:  set(fieldRef, fieldRoom, fieldBefore, fieldAfter, fieldLimit),
	Presence: set(fieldRef, fieldRoom, fieldCursor),
	Rooms:    set(fieldRef),
	Call:     set(fieldRef, fieldName),
	Refresh:  set(fieldRef, fieldTicket),
	Ping:     set(fieldRef),
}

func set(fs ...field) (s uint32) {
	for _, f := range fs {
		s |= 1 << f
	}
	return s
}

func (c *Command) decode(p []byte) error {
	i := space(p, 0)
	if i >= len(p) || p[i] != '{' {
		return &Error{CodeBadJSON, "not a JSON object"}
	}
	var (
		bad  uint32 // fields whose last value had the wrong type
		name []byte // of the type
	)
	if i = space(p, i+1); i < len(p) && p[i] == '}' {
		i++
	} else {
		for {
			if i >= len(p) || p[i] != '"' {
				return syntax(^i)
			}
			start := i + 1
			end, escaped := text(p, start)
			if end < 0 {
				return syntax(end)
			}
			f := fieldOf(p[start:end-1], escaped)
			if i = space(p, end); i >= len(p) || p[i] != ':' {
				return syntax(^i)
			}

			start, escaped = space(p, i+1), false
			if start < len(p) && p[start] == '"' {
				end, escaped = text(p, start+1)
			} else {
				end = value(p, start, 1)
			}
			if end < 0 {
				return syntax(end)
			}
			if f == fieldType {
				if !c.text(&name, p[start:end], escaped) {
					name = p[start:end] // a type that is no string is unknown, too
				}
			} else if bad &^= 1 << f; !c.set(f, p[start:end:end], escaped) {
				bad |= 1 << f
			}

			if i = space(p, end); i >= len(p) {
				return syntax(^i)
			}
			if p[i] == ',' {
				i = space(p, i+1)
				continue
			}
			if p[i] != '}' {
				return syntax(^i)
			}
			i++
			break
		}
	}
	if i = space(p, i); i < len(p) {
		return &Error{CodeBadJSON, "data after the JSON object, at byte " + strconv.Itoa(i)}
	}
	if c.Type = typeOf(name); c.Type == Unknown {
		return unknownType(name)
	}
	if bad &= known[c.Type]; bad != 0 {
		return wrongType(field(bits.TrailingZeros32(bad)))
	}
	return nil
}

// set takes raw, a valid JSON value, as the field f; false if its type is wrong.
func (c *Command) set(f field, raw []byte, escaped bool) bool {
	switch f {
	case fieldBody:
		c.Body = raw
		c.Has |= HasBody
		return true
	case fieldRef:
		c.Ref = nil
		if raw[0] == '"' || raw[0] == '-' || raw[0]-'0' <= 9 {
			c.Ref = raw
			return true
		}
		return raw[0] == 'n'
	case fieldID:
		return c.text(&c.ID, raw, escaped)
	case fieldRoom:
		return c.text(&c.Room, raw, escaped)
	case fieldTo:
		return c.text(&c.To, raw, escaped)
	case fieldKind:
		return c.text(&c.Kind, raw, escaped)
	case fieldName:
		return c.text(&c.Name, raw, escaped)
	case fieldCursor:
		return c.text(&c.Cursor, raw, escaped)
	case fieldTicket:
		return c.text(&c.Ticket, raw, escaped)
	case fieldSince:
		return c.integer(&c.Since, HasSince, raw)
	case fieldBefore:
		return c.integer(&c.Before, HasBefore, raw)
	case fieldAfter:
		return c.integer(&c.After, HasAfter, raw)
	case fieldDelivered:
		return c.integer(&c.Delivered, HasDelivered, raw)
	case fieldSeen:
		return c.integer(&c.Seen, HasSeen, raw)
	case fieldLimit:
		var n int64
		ok := c.integer(&n, HasLimit, raw)
		c.Limit = int(min(n, math.MaxInt)) // any limit that large is "the most there is"
		return ok
	case fieldRetry:
		return boolean(&c.Retry, raw)
	case fieldActive:
		c.Has &^= HasActive
		if raw[0] == 't' || raw[0] == 'f' {
			c.Has |= HasActive
		}
		return boolean(&c.Active, raw)
	default: // a field of no interest, whatever it holds
		return true
	}
}

// text sets dst to a string's text, or to nil for null and what is no string.
func (c *Command) text(dst *[]byte, raw []byte, escaped bool) bool {
	if raw[0] != '"' {
		*dst = nil
		return raw[0] == 'n'
	}
	s := raw[1 : len(raw)-1 : len(raw)-1]
	if escaped {
		n := len(c.scratch)
		c.scratch = unescape(c.scratch, s)
		s = c.scratch[n:len(c.scratch):len(c.scratch)]
	}
	*dst = s
	return true
}

// integer takes a whole number from 0 to the largest int64, written as one:
// 1.0 and 1e3 are refused, since not every client could write a seq like that
// without losing digits.
func (c *Command) integer(dst *int64, has Has, raw []byte) bool {
	*dst = 0
	c.Has &^= has
	if raw[0] == 'n' {
		return true
	}
	if string(raw) != "-0" {
		var n uint64
		for _, d := range raw {
			if d -= '0'; d > 9 || n > math.MaxInt64/10 {
				return false
			}
			n = n*10 + uint64(d)
		}
		if n > math.MaxInt64 {
			return false
		}
		*dst = int64(n)
	}
	c.Has |= has
	return true
}

func boolean(dst *bool, raw []byte) bool {
	*dst = raw[0] == 't'
	return *dst || raw[0] == 'f' || raw[0] == 'n'
}

// fieldOf finds the field of a key, given as it stands between its quotes.
func fieldOf(name []byte, escaped bool) field {
	if escaped {
		const longest = len("delivered") * len(`\u0000`)
		if len(name) > longest {
			return fieldUnknown
		}
		var buf [longest]byte
		name = unescape(buf[:0], name)
	}
	switch string(name) {
	case "type":
		return fieldType
	case "ref":
		return fieldRef
	case "id":
		return fieldID
	case "room":
		return fieldRoom
	case "to":
		return fieldTo
	case "kind":
		return fieldKind
	case "name":
		return fieldName
	case "cursor":
		return fieldCursor
	case "ticket":
		return fieldTicket
	case "since":
		return fieldSince
	case "before":
		return fieldBefore
	case "after":
		return fieldAfter
	case "limit":
		return fieldLimit
	case "delivered":
		return fieldDelivered
	case "seen":
		return fieldSeen
	case "retry":
		return fieldRetry
	case "active":
		return fieldActive
	case "body":
		return fieldBody
	}
	return fieldUnknown
}

func typeOf(name []byte) Type {
	switch string(name) {
	case "publish":
		return Publish
	case "receipt":
		return Receipt
	case "typing":
		return Typing
	case "join":
		return Join
	case "leave":
		return Leave
	case "history":
		return History
	case "presence":
		return Presence
	case "rooms":
		return Rooms
	case "call":
		return Call
	case "refresh":
		return Refresh
	case "ping":
		return Ping
	}
	return Unknown
}

func syntax(at int) error {
	return &Error{CodeBadJSON, "invalid JSON at byte " + strconv.Itoa(^at)}
}

func unknownType(name []byte) error {
	if name == nil {
		return &Error{CodeUnknownType, "no type"}
	}
	return &Error{CodeUnknownType, "unknown type " + string(cut(name, 32))}
}

// cut shortens s to n bytes, fewer if that would split a character.
func cut[T ~string | ~[]byte](s T, n int) T {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}

func wrongType(f field) error {
	var what string
	switch {
	case f == fieldRef:
		what = "ref must be a string or a number"
	case f >= fieldRetry:
		what = fieldNames[f] + " must be true or false"
	case f >= fieldSince:
		what = fieldNames[f] + " must be an integer from 0 to 9223372036854775807"
	default:
		what = fieldNames[f] + " must be a string"
	}
	return &Error{CodeBadRequest, what}
}

var fieldNames = [...]string{
	fieldID:        "id",
	fieldRoom:      "room",
	fieldTo:        "to",
	fieldKind:      "kind",
	fieldName:      "name",
	fieldCursor:    "cursor",
	fieldTicket:    "ticket",
	fieldSince:     "since",
	fieldBefore:    "before",
	fieldAfter:     "after",
	fieldLimit:     "limit",
	fieldDelivered: "delivered",
	fieldSeen:      "seen",
	fieldRetry:     "retry",
	fieldActive:    "active",
}
