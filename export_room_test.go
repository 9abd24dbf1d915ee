package gohub

import "github.com/gohub/gohub/internal/wire"

// FanOut writes a frame to the members of a room, in this goroutine.
func FanOut(h *Hub, id RoomID) {
	r := h.find(id)
	r.event(frame{bytes: wire.AppendPing(nil)})
	r.flush()
}
