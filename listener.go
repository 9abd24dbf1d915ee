package gohub

// listener is the hub as a Directory sees it.
type listener struct{ h *Hub }

func (l listener) Members(room RoomID, joined, left []string, count int) {
	if r := l.h.find(room); r != nil {
		r.hear(joined, left, count)
	}
}

func (l listener) Forgotten(everything bool) {
	l.h.devices.doubt()
	if everything {
		l.h.announcer.forgot()
	}
	for _, r := range l.h.allRooms() {
		r.mu.Lock()
		r.doubt(true)
		r.mu.Unlock()
	}
}
