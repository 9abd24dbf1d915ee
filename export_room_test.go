package gohub

import (
	"time"

	"github.com/gohub/gohub/internal/wire"
)

// Hasten has a hub that nobody has come to yet make room as if all took milliseconds.
func Hasten(h *Hub) { h.stepAfter = time.Nanosecond }

// FanOut writes a frame to the members of a room, in this goroutine.
func FanOut(h *Hub, id RoomID) {
	r := h.find(id)
	r.event(frame{bytes: wire.AppendPing(nil)})
	r.flush()
}

// A Frames is a room of which only the frames are of interest.
type Frames struct{ r room }

// Add gives the bytes of a message's frame, which the room keeps.
func (f *Frames) Add(m *Message) []byte {
	x := f.r.encode(m)
	f.r.keep(x)
	return x.bytes
}

// AppendFrame is what the bytes are to be.
func AppendFrame(m *Message) []byte {
	w := wireMessage(m)
	return wire.AppendMessage(nil, &w)
}
