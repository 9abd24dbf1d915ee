package main

import (
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// gorilla's chat example: a goroutine owns a room's members, each of whom has a
// channel and a goroutine that writes; what waits in the channel is joined in
// one frame, with newlines. One such hub a room; the example has one in all. Tuned,
// its write buffers are as large as a message (16 KiB and what is around it, the
// largest here) and in a pool, as the package's documentation on buffers advises.
type gorillaHub struct {
	clients    map[*gorillaClient]bool
	broadcast  chan []byte
	register   chan *gorillaClient
	unregister chan *gorillaClient
}

type gorillaClient struct {
	hub  *gorillaHub
	conn *websocket.Conn
	send chan []byte
}

// The example's, but for the size of a message: it allows 512 bytes.
const (
	gorillaWriteWait  = 10 * time.Second
	gorillaPongWait   = 60 * time.Second
	gorillaPingPeriod = gorillaPongWait * 9 / 10
	gorillaMaxMessage = 64 << 10
)

func newGorilla(o options) (http.Handler, error) {
	upgrader := websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024}
	if o.tuned {
		upgrader.WriteBufferSize, upgrader.WriteBufferPool = 17<<10, &sync.Pool{}
	}
	var mu sync.Mutex
	hubs := map[string]*gorillaHub{}
	hub := func(room string) *gorillaHub {
		mu.Lock()
		defer mu.Unlock()
		h := hubs[room]
		if h == nil {
			h = &gorillaHub{
				broadcast: make(chan []byte), register: make(chan *gorillaClient),
				unregister: make(chan *gorillaClient), clients: map[*gorillaClient]bool{},
			}
			hubs[room] = h
			go h.run() // for the life of the process
		}
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		c := &gorillaClient{conn: conn, send: make(chan []byte, 256)}
		c.send <- welcome
		go c.writePump()
		go c.readPump(hub)
	}), nil
}

func (h *gorillaHub) run() {
	for {
		select {
		case c := <-h.register:
			h.clients[c] = true
		case c := <-h.unregister:
			if h.clients[c] {
				delete(h.clients, c)
				close(c.send)
			}
		case m := <-h.broadcast:
			for c := range h.clients {
				select {
				case c.send <- m:
				default:
					close(c.send)
					delete(h.clients, c)
				}
			}
		}
	}
}

func (c *gorillaClient) readPump(hub func(room string) *gorillaHub) {
	defer func() {
		if c.hub != nil {
			c.hub.unregister <- c
		}
		_ = c.conn.Close()
	}()
	c.conn.SetReadLimit(gorillaMaxMessage)
	_ = c.conn.SetReadDeadline(time.Now().Add(gorillaPongWait))
	c.conn.SetPongHandler(func(string) error { return c.conn.SetReadDeadline(time.Now().Add(gorillaPongWait)) })
	for {
		_, payload, err := c.conn.ReadMessage()
		if err != nil {
			return
		}
		switch kind, room := parse(payload); {
		case kind == "join" && c.hub == nil:
			c.hub = hub(room)
			c.send <- joined(room)
			c.hub.register <- c
		case kind == "publish" && c.hub != nil:
			c.hub.broadcast <- message(payload)
		}
	}
}

func (c *gorillaClient) writePump() {
	ticker := time.NewTicker(gorillaPingPeriod)
	defer func() {
		ticker.Stop()
		_ = c.conn.Close()
	}()
	for {
		select {
		case m, ok := <-c.send:
			_ = c.conn.SetWriteDeadline(time.Now().Add(gorillaWriteWait))
			if !ok {
				_ = c.conn.WriteMessage(websocket.CloseMessage, nil)
				return
			}
			w, err := c.conn.NextWriter(websocket.TextMessage)
			if err != nil {
				return
			}
			_, _ = w.Write(m)
			for range len(c.send) {
				_, _ = w.Write([]byte{'\n'})
				_, _ = w.Write(<-c.send)
			}
			if w.Close() != nil {
				return
			}
		case <-ticker.C:
			_ = c.conn.SetWriteDeadline(time.Now().Add(gorillaWriteWait))
			if c.conn.WriteMessage(websocket.PingMessage, nil) != nil {
				return
			}
		}
	}
}
