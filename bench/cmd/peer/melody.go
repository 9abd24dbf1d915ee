package main

import (
	"net/http"

	"github.com/olahol/melody"
)

// melody has sessions and broadcasts to a list of them. Its example for several
// channels filters all sessions for each message, which costs as much as there
// are sessions; a map of rooms, as here, is kinder to it.
func newMelody(options) (http.Handler, error) {
	m := melody.New()
	m.Config.MaxMessageSize = 64 << 10 // 512 bytes as it comes
	members := newRooms[*melody.Session]()
	m.HandleConnect(func(s *melody.Session) { _ = s.Write(welcome) })
	m.HandleMessage(func(s *melody.Session, payload []byte) {
		switch kind, room := parse(payload); kind {
		case "join":
			s.Set("room", room)
			members.join(room, s)
			_ = s.Write(joined(room))
		case "publish":
			_ = m.BroadcastMultiple(message(payload), members.of(room))
		}
	})
	m.HandleDisconnect(func(s *melody.Session) {
		if room, ok := s.Get("room"); ok {
			members.leave(room.(string), s)
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = m.HandleRequest(w, r) // it has answered
	}), nil
}
