package gohub

import (
	"slices"
	"time"

	"github.com/gohub/gohub/internal/wire"
)

// FanOut writes a frame to the members of a room, as if that took milliseconds.
func FanOut(h *Hub, id RoomID) {
	r := h.find(id)
	r.mu.Lock()
	members := slices.Clone(r.members)
	r.mu.Unlock()
	write([]frame{{bytes: wire.AppendPing(nil)}}, members, time.Nanosecond)
}
