package gohub

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unique"

	"github.com/gohub/gohub/internal/pace"
	"github.com/gohub/gohub/internal/problem"
	"github.com/gohub/gohub/internal/wire"
	"github.com/gohub/gohub/internal/wsconn"
)

// Handler answers WebSocket handshakes, and plain GETs with negotiate: where
// to connect, and a ticket for it. Mount it anywhere; the ResponseWriter it
// gets must be, or unwrap to, one that can be hijacked. Where that is not so,
// as under [http.TimeoutHandler] or over HTTP/2, a handshake is answered with
// 501, and the log names the writer's type.
//
// The answer to a handshake, 101, goes to the connection directly: middleware
// that records statuses does not see it. Header fields set before the handler
// is called are part of it.
//
// It returns as soon as the handshake is answered.
func (h *Hub) Handler() http.Handler { return http.HandlerFunc(h.serve) }

func (h *Hub) serve(w http.ResponseWriter, r *http.Request) {
	// Of many handshakes at once not all come before the sessions' frames.
	pace.Yield()

	if h.draining.Load() && (h.ctx.Err() != nil || h.routes() == nil) { // else it may know where to go
		h.refuse(w, r, errDraining)
		return
	}
	if r.Method != http.MethodGet {
		partWith(w, r)
		w.Header().Set("Allow", http.MethodGet)
		problem.Write(w, http.StatusMethodNotAllowed, string(CodeBadRequest), "GET is what this answers", 0)
		return
	}
	upgrade := isUpgrade(r)
	if upgrade && h.cfg.RequireOrigin && len(r.Header["Origin"]) == 0 {
		h.refuse(w, r, Errorf(CodeForbidden, "a handshake needs an Origin here"))
		return
	}
	if !originAllowed(r, h.cfg.Origins) {
		h.refuse(w, r, Errorf(CodeForbidden, "origin %q may not connect here", clip(r.Header.Get("Origin"))))
		return
	}
	if hidden(r) {
		h.refuse(w, r, Errorf(CodeForbidden, "a page of another origin has to say of which"))
		return
	}
	place, err := h.perimeter.admit(r, upgrade)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	defer place.release()   // unless a session has taken it over
	link := h.revoked.now() // before anybody says who this is
	who, from, err := h.identify(r)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	if from != nil {
		link = from
	} else if upgrade && h.redirect(w, r, who, link) {
		return
	}
	if upgrade {
		h.connect(w, r, who, link, &place) //nolint:contextcheck // the session outlives its request
		return
	}
	h.negotiate(w, r, who, link)
}

// partWith has the connection closed after an answer to a handshake that is not
// 101: whoever wanted a WebSocket asks for nothing else here, and net/http would keep it.
func partWith(w http.ResponseWriter, r *http.Request) {
	if isUpgrade(r) && r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
}

func isUpgrade(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// identify asks the ticket, if there is one, else the Authenticator.
func (h *Hub) identify(r *http.Request) (Identity, *revoked, *Error) {
	if id := ticketOf(r); id != "" && isUpgrade(r) {
		t, err := h.redeem(r.Context(), id, false)
		switch {
		case err != nil:
			return Identity{}, nil, err
		case !t.isFor(r.Header.Get("Origin")):
			return Identity{}, nil, errTicket
		}
		return t.who, t.link, nil
	}
	who, err := h.cfg.Authenticator.Authenticate(r)
	err = notNil(err)
	var e *Error
	switch {
	case errors.As(err, &e):
		return who, nil, e
	case err != nil:
		h.log.Debug("not authenticated", "remote", h.ClientAddr(r), "err", err)
		return who, nil, Errorf(CodeUnauthorized, "not authenticated")
	case !validUser(who.User):
		h.log.Log(r.Context(), h.failed.At(slog.LevelError), "Authenticator gave a user id that cannot be: 1-63 of A-Z a-z 0-9 . _ : -", "user", clip(who.User))
		return who, nil, Errorf(CodeInternal, "the server gave you a user id that it cannot use")
	case !who.ExpiresAt.IsZero() && !time.Now().Before(who.ExpiresAt):
		return who, nil, Errorf(CodeUnauthorized, "the token has expired")
	}
	if who.Name == "" {
		who.Name = who.User
	}
	// The strings may be parts of the request's header, which must not stay
	// for as long as the session, or the ticket, does.
	who.User, who.Name = strings.Clone(who.User), strings.Clone(who.Name)
	who.Device, who.Tenant, who.Login = strings.Clone(who.Device), strings.Clone(who.Tenant), strings.Clone(who.Login)
	who.Rooms = slices.Clone(who.Rooms)
	for i, room := range who.Rooms {
		who.Rooms[i] = strings.Clone(room)
	}
	return who, nil, nil
}

// ticketOf parses the query only if there is one: nobody else here needs it.
func ticketOf(r *http.Request) string {
	if !strings.Contains(r.URL.RawQuery, "ticket=") {
		return ""
	}
	return r.URL.Query().Get("ticket")
}

// errAbandoned: the client is gone before its session has begun. While this
// process was stopped, or very late, it has given up, and has the session that
// counts elsewhere by now.
var errAbandoned = errors.New("the client has given up")

// errTooLate: the session has ended while it was claimed, by its token or for
// want of a first frame.
var errTooLate = errors.New("the session has ended before it began")

// connect answers the handshake and starts the session, which takes over its
// place. link is from before who was authenticated.
func (h *Hub) connect(w http.ResponseWriter, r *http.Request, who Identity, link *revoked, place *pass) {
	if !h.arrive() {
		h.refuse(w, r, errDraining)
		return
	}
	started := false
	defer func() {
		if !started {
			h.readers.Done()
		}
	}()
	limit := h.cfg.RateLimiter.Session(who) // first: it may panic, and no connection is taken over yet
	if limit == nil {
		h.log.Error("the RateLimiter gave no SessionLimiter", "user", who.User)
		h.refuse(w, r, errInternal)
		return
	}
	defer func() {
		if l, ok := h.cfg.RateLimiter.(endedLimiter); ok && !started {
			l.Ended(who, limit, 0)
		}
	}()
	conn, no := wsconn.Accept(w, r, &h.conns)
	if no != nil {
		h.notUpgraded(w, r, no)
		return
	}
	c := &Client{hub: h, conn: conn, id: rand.Text(), who: who, limit: limit, began: time.Now(), origin: unique.Make(r.Header.Get("Origin"))}
	c.expires.Store(expiry(who))
	// "welcome" comes first, and when it comes the session is known. Where there
	// is no claim to wait for it goes out with the answer to the handshake.
	waits := h.devices.asks(c)
	welcomed := !waits && c.welcome()
	conn.Start(connHandler{c})
	registered, there := h.devices.claim(c)
	var err error
	if waits {
		conn.Cork()
		welcomed = c.welcome()
	}
	switch {
	case !there:
		err = errAbandoned
	case !welcomed:
		err = errTooLate
	default:
		err = h.register(c)
	}
	registered()
	if err != nil {
		h.log.Debug("a handshake has come to nothing", "remote", h.ClientAddr(r), "user", who.User, "err", err)
		c.close(CloseRestart, goodbye)
		conn.Finish()
		h.gone(c)
		return
	}
	if r := h.revoked.since(link, &who, nil); r != nil { // Revoke may not have seen it
		r.end(c)
	}
	conn.Uncork()
	c.place = place.take()
	started = true
	go c.start() // ends with the connection; Shutdown waits for it
}

// welcome queues the session's first frame; false: it is closing already.
func (c *Client) welcome() bool {
	h := c.hub
	return c.conn.Queue(wire.AppendWelcome(make([]byte, 0, 320), &wire.Welcome{
		Session:  c.id,
		User:     c.who.User,
		Node:     h.cfg.Node,
		PingMS:   h.cfg.PingInterval.Milliseconds(),
		MaxFrame: h.cfg.MaxFrame,
		Durable:  h.store.Durable(),
		Time:     time.Now().UnixMilli(),
	}))
}

// notUpgraded answers a handshake that came to nothing. That the connection
// cannot be had is the program's fault, not the client's, and the client does
// not learn what it is made of.
func (h *Hub) notUpgraded(w http.ResponseWriter, r *http.Request, no *wsconn.Refusal) {
	partWith(w, r)
	maps.Copy(w.Header(), no.Header)
	e := &Error{Code: CodeBadRequest, Message: no.Error()}
	var hijack *wsconn.HijackError
	switch {
	case !errors.As(no, &hijack):
	case r.ProtoMajor > 1:
		h.log.Warn("a WebSocket handshake came over a protocol that has no connection to take over: clients need HTTP/1.1 for it",
			"path", r.URL.Path, "proto", r.Proto, "writer", hijack.Writer)
		e = &Error{Code: CodeInternal, Message: "a WebSocket needs a connection of its own: connect over HTTP/1.1"}
	default:
		h.log.Error("a WebSocket handshake failed: middleware's ResponseWriter hides the connection. Give it "+
			"Unwrap() http.ResponseWriter, or mount the hub outside of that middleware, as http.TimeoutHandler",
			"path", r.URL.Path, "writer", hijack.Writer, "err", hijack.Err)
		e = &Error{Code: CodeInternal, Message: "the server cannot take this connection over: something in it is in the way. Its log says what"}
	}
	h.refused(r, e)
	problem.Write(w, no.Status, string(e.Code), e.Message, 0)
}

type negotiation struct {
	URL       string `json:"url"`
	Ticket    string `json:"ticket"`
	Node      string `json:"node"`
	ExpiresMS int64  `json:"expires_in_ms"`
}

// negotiate tells the client where its session belongs, and gives it a ticket
// for there; where the other hubs are not known, that is here.
func (h *Hub) negotiate(w http.ResponseWriter, r *http.Request, who Identity, link *revoked) {
	n := negotiation{URL: h.cfg.URL, Node: h.cfg.Node}
	if n.URL == "" {
		scheme := "ws"
		if r.TLS != nil {
			scheme = "wss"
		}
		n.URL = scheme + "://" + r.Host + requestPath(r)
	}
	var life time.Duration
	var ok bool
	origin := pageOf(r)
	ctx, cancel := context.WithTimeout(r.Context(), ticketWait) // for both
	defer cancel()
	if p := h.elsewhere(r, who); p != nil {
		if n.Ticket, life, ok = h.lend(ctx, who, link, origin, p.ids); ok {
			n.URL, n.Node = p.url, p.node
		}
	}
	if here := h.here(); !ok && len(here) > 0 && h.hasOthers() { // for this URL, and refresh anywhere
		n.Ticket, life, ok = h.lend(ctx, who, link, origin, here)
	}
	if !ok {
		if h.draining.Load() {
			h.refuse(w, r, errDraining)
			return
		}
		if n.Ticket, life, ok = h.tickets.issue(who, link, origin); !ok {
			h.refuse(w, r, &Error{Code: CodeBusy, Message: "too many tickets are waiting to be used", RetryAfter: time.Second})
			return
		}
		if h.revoked.since(link, &who, nil) != nil { // Revoke may not have seen it
			h.tickets.redeem(n.Ticket)
			h.refuse(w, r, errRevoked)
			return
		}
	}
	n.ExpiresMS = life.Milliseconds()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(n)
}

// requestPath is the path that the client asked for: a mux may have taken a
// prefix off r.URL.
func requestPath(r *http.Request) string {
	if u, err := url.ParseRequestURI(r.RequestURI); err == nil { // also http://host/path, as proxies send it
		return u.EscapedPath()
	}
	return r.URL.EscapedPath()
}
