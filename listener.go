package gohub

// listener is the hub as a Directory sees it.
type listener struct{ h *Hub }

func (l listener) Members(room RoomID, joined, left []string, count int) {}

func (l listener) Forgotten() { l.h.devices.doubt() }
