package main

import (
	"context"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// coder/websocket with the hub of its chat example: a channel a subscriber, and
// whoever does not keep up is closed. The channels hold 256 messages, as
// gorilla's and melody's do; the example's hold 16, fewer than are under way here.
type subscriber struct {
	messages chan []byte
	close    func()
}

func newCoder(options) (http.Handler, error) {
	members := newRooms[*subscriber]()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"gohub.v1"}})
		if err != nil {
			return
		}
		defer func() { _ = c.CloseNow() }()
		c.SetReadLimit(64 << 10)
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		s := &subscriber{messages: make(chan []byte, 256), close: cancel}
		s.messages <- welcome
		go s.write(ctx, c) // ends with ctx
		in := ""
		defer func() { members.leave(in, s) }()
		for {
			_, payload, err := c.Read(ctx)
			if err != nil {
				return
			}
			switch kind, room := parse(payload); kind {
			case "join":
				in = room
				members.join(room, s)
				s.messages <- joined(room)
			case "publish":
				publish(members.of(room), message(payload))
			}
		}
	}), nil
}

func publish(to []*subscriber, m []byte) {
	for _, s := range to {
		select {
		case s.messages <- m:
		default:
			s.close()
		}
	}
}

func (s *subscriber) write(ctx context.Context, c *websocket.Conn) {
	defer s.close()
	for {
		select {
		case m := <-s.messages:
			bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
			err := c.Write(bounded, websocket.MessageText, m)
			cancel()
			if err != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}
