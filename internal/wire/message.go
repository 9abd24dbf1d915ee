package wire

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
)

// Message is what a room carries. Body is a JSON value, or any bytes when
// Binary; it is written as it is, so it must have been checked on the way in.
type Message struct {
	ID, Room, Sender, To, Kind string
	Seq                        int64
	Body                       []byte
	Binary                     bool
}

// messageOverhead is more than the keys, punctuation, type, seq and frame
// header of a message take together.
const messageOverhead = 160

// FrameSize is how much AppendMessage wants to have behind dst, as a rule more than it takes.
func FrameSize(m *Message) int {
	return messageOverhead + len(m.ID) + len(m.Room) + len(m.Sender) + len(m.To) + len(m.Kind) + len(m.Body)
}

// AppendMessage appends m as a frame: a text frame, or a binary one when m is
// binary. The hub encodes a message once and hands the same bytes to all.
//
// The header of a binary frame is at most 65,535 bytes: names that the Valid
// functions accept take less than a tenth of that.
func AppendMessage(dst []byte, m *Message) []byte {
	dst = slices.Grow(dst, FrameSize(m))
	start := len(dst)
	if !m.Binary {
		dst = append(dst, "\x00\x00\x00\x00"+`{"type":"message",`...)
		dst = appendFields(dst, m)
		dst = raw(dst, `,"body":`, m.Body)
		return seal(append(dst, '}'), start, finText)
	}
	dst = append(dst, "\x00\x00\x00\x00\x01\x00\x00"+`{"type":"message",`...)
	dst = append(appendFields(dst, m), '}')
	header := start + reserved + 3
	binary.BigEndian.PutUint16(dst[header-2:], uint16((len(dst)-header)&0xffff))
	return seal(append(dst, m.Body...), start, finBinary)
}

// appendFields appends the fields from id to kind.
func appendFields(dst []byte, m *Message) []byte {
	dst = str(dst, `"id":`, m.ID)
	dst = str(dst, `,"room":`, m.Room)
	dst = num(dst, `,"seq":`, m.Seq)
	dst = str(dst, `,"sender":`, m.Sender)
	dst = optional(dst, `,"to":`, m.To)
	return str(dst, `,"kind":`, m.Kind)
}

// Mark is how far one user has got in a room.
type Mark struct {
	User            string
	Delivered, Seen int64
}

// AppendHistory appends a page of ms, which must ascend, and the watermarks of
// the room. Binary messages stand in it as objects with "binary":true and their
// body in standard base64. It yields between parts (see package pace), so no lock
// may be held.
func AppendHistory(dst []byte, ref []byte, room string, ms []Message, more bool, marks []Mark) []byte {
	size := messageOverhead + len(ref) + len(room)
	for i := range ms {
		size += MessageSize(&ms[i])
	}
	dst = grow(dst, size)

	dst, start := begin(dst, "history", ref)
	dst = str(dst, `,"room":`, room)
	dst = append(dst, `,"messages":[`...)
	yielded := len(dst)
	for i := range ms {
		yielded = yield(dst, yielded)
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendFields(append(dst, '{'), &ms[i])
		if ms[i].Binary {
			dst = append(dst, `,"binary":true,"body":"`...)
			dst = base64.StdEncoding.AppendEncode(dst, ms[i].Body)
			dst = append(dst, '"')
		} else {
			dst = raw(dst, `,"body":`, ms[i].Body)
		}
		dst = append(dst, '}')
	}
	dst = truth(dst, `],"more":`, more)
	dst = append(dst, `,"watermarks":{`...)
	for i, m := range marks {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(dst, m.User)
		dst = num(dst, `:{"delivered":`, m.Delivered)
		dst = num(dst, `,"seen":`, m.Seen)
		dst = append(dst, '}')
	}
	return end(append(dst, '}'), start)
}

// MessageSize is an upper bound of what m adds to a history page, by which a
// page is ended before it grows past its limit.
func MessageSize(m *Message) int {
	n := messageOverhead + textSize(m.ID) + textSize(m.Room) + textSize(m.Sender) + textSize(m.To) + textSize(m.Kind)
	if m.Binary {
		return n + base64.StdEncoding.EncodedLen(len(m.Body))
	}
	return n + len(m.Body)
}
