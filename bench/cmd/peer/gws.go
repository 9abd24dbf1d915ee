package main

import (
	"net/http"
	"time"

	"github.com/lxzan/gws"
)

// gws as its README has it: parallel handling of messages, a reader's goroutine
// for each connection, and a Broadcaster, which encodes a frame once. A map of
// rooms is ours, as its topics are in its README.
func newGWS(options) (http.Handler, error) {
	h := &gwsHandler{members: newRooms[*gws.Conn]()}
	upgrader := gws.NewUpgrader(h, &gws.ServerOption{ParallelEnabled: true, Recovery: gws.Recovery})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		socket, err := upgrader.Upgrade(w, r)
		if err != nil {
			return
		}
		go socket.ReadLoop() // so that the request can be collected, says its README
	}), nil
}

type gwsHandler struct {
	members *rooms[*gws.Conn]
}

const gwsDeadline = 60 * time.Second

func (h *gwsHandler) OnOpen(c *gws.Conn) {
	_ = c.SetDeadline(time.Now().Add(gwsDeadline))
	_ = c.WriteMessage(gws.OpcodeText, welcome)
}

func (h *gwsHandler) OnClose(c *gws.Conn, _ error) {
	if room, ok := c.Session().Load("room"); ok {
		h.members.leave(room.(string), c)
	}
}

func (h *gwsHandler) OnPing(c *gws.Conn, _ []byte) {
	_ = c.SetDeadline(time.Now().Add(gwsDeadline))
	_ = c.WritePong(nil)
}

func (h *gwsHandler) OnPong(*gws.Conn, []byte) {}

func (h *gwsHandler) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	payload := m.Bytes()
	switch kind, room := parse(payload); kind {
	case "join":
		c.Session().Store("room", room)
		h.members.join(room, c)
		_ = c.WriteMessage(gws.OpcodeText, joined(room))
	case "publish":
		b := gws.NewBroadcaster(gws.OpcodeText, message(payload))
		defer b.Close()
		for _, to := range h.members.of(room) {
			_ = b.Broadcast(to)
		}
	}
}
