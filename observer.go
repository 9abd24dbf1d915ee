package gohub

import (
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/gohub/gohub/internal/problem"
)

// An Observer is told what happens in a hub, for metrics, audit and the
// program's own bookkeeping, such as joining a new session to its user's
// rooms. Any of its functions may be nil. They are called concurrently, and
// whoever calls waits for them: what takes time belongs into a goroutine of
// the program's. A panic in one is logged and goes no further.
//
// What can be counted is in [Hub.Totals] already, at no cost.
type Observer struct {
	// SessionOpened is called on the session's goroutine, after "welcome" and
	// before its first frame is read: [Hub.Join] works here.
	SessionOpened func(c *Client)
	// SessionClosed is called once for each SessionOpened, when the session
	// has left its rooms.
	SessionClosed func(c *Client, end SessionEnd)
	// HandshakeRefused is called when a handshake or a negotiate was refused,
	// before the answer is written, with what the client is told.
	HandshakeRefused func(r *http.Request, err *Error)
	// Stored is called for every message that this hub has stored, when the
	// Store has committed it: took is the time since it was ordered, which is
	// when members saw it. m may be kept, and its Body must not be changed. What is stored after it waits
	// for this function: with a MemoryStore it runs on the publisher's own goroutine,
	// with others before the next batch of that room and of some more.
	Stored func(m Message, took time.Duration)
}

// A SessionEnd says how a session ended.
type SessionEnd struct {
	// Code is of the first Close frame, which a client that was cut off may not
	// have got; 0: the connection broke without one.
	Code int
	// ByClient: the client sent it. It may say what it likes, 4503 as well;
	// 1005 stands for a frame without a code.
	ByClient bool
	Duration time.Duration // since the handshake
}

// observe calls one of the Observer's functions.
func (h *Hub) observe(what string, f func()) {
	_ = guard(h, what, func() error { f(); return nil })
}

// seldom warns of what may be so for every frame of every client: once a
// second; the rest is for debugging.
func (h *Hub) seldom(doing string, room RoomID, err error) {
	h.log.Log(h.ctx, h.warned.At(slog.LevelWarn), "not possible right now", "doing", doing, "room", room, "err", err)
}

// clock is the time, if somebody will be told how long something took.
func (h *Hub) clock() time.Time {
	if h.cfg.Observer.Stored == nil {
		return time.Time{}
	}
	return time.Now()
}

func (h *Hub) tellStored(m *Message, took time.Duration) {
	defer func() {
		if p := recover(); p != nil {
			h.log.Error("panic", "in", "Observer.Stored", "value", p, "stack", string(debug.Stack()))
		}
	}()
	h.cfg.Observer.Stored(*m, took)
}

func (c *Client) opened() {
	h := c.hub
	h.count.opened.Add(1)
	h.log.Debug("session opened", "session", c.id, "user", c.who.User, "tenant", c.who.Tenant)
	if f := h.cfg.Observer.SessionOpened; f != nil {
		h.observe("Observer.SessionOpened", func() { f(c) })
	}
}

func (c *Client) closed() {
	h := c.hub
	end := SessionEnd{Code: c.conn.CloseCode(), ByClient: c.conn.ClosedByPeer(), Duration: time.Since(c.began)}
	code := end.Code
	if end.ByClient {
		code = ClosedByClient
	}
	count(&h.count.mu, h.count.closed, code)
	h.log.Debug("session closed", "session", c.id, "user", c.who.User, "tenant", c.who.Tenant, "code", end.Code, "by_client", end.ByClient, "duration", end.Duration)
	if f := h.cfg.Observer.SessionClosed; f != nil {
		h.observe("Observer.SessionClosed", func() { f(c, end) })
	}
}

// refuse answers a handshake or a negotiate with an error.
func (h *Hub) refuse(w http.ResponseWriter, r *http.Request, e *Error) {
	h.refused(r, e)
	partWith(w, r)
	problem.Write(w, problem.Status(string(e.Code)), string(e.Code), e.Message, e.RetryAfter)
}

// refused counts and tells that a handshake or a negotiate is refused.
func (h *Hub) refused(r *http.Request, e *Error) {
	count(&h.count.mu, h.count.refused, e.Code)
	h.log.Debug("handshake refused", "remote", h.ClientAddr(r), "code", e.Code, "reason", e.Message)
	if f := h.cfg.Observer.HandshakeRefused; f != nil {
		h.observe("Observer.HandshakeRefused", func() { f(r, e) })
	}
}
