package gohub

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gohub/gohub/internal/wire"
	"github.com/gohub/gohub/internal/wsconn"
)

// Handler answers WebSocket handshakes, and plain GETs with negotiate: where
// to connect, and a ticket for it. Mount it anywhere; the ResponseWriter it
// gets must be, or unwrap to, one that can be hijacked.
//
// It returns as soon as the handshake is answered.
func (h *Hub) Handler() http.Handler { return http.HandlerFunc(h.serve) }

func (h *Hub) serve(w http.ResponseWriter, r *http.Request) {
	if isUpgrade(r) {
		// For a refusal: whoever wanted a WebSocket asks for nothing else here,
		// and net/http would keep the connection. The handshake changes it.
		w.Header().Set("Connection", "close")
	}
	if h.draining.Load() {
		problem(w, errDraining)
		return
	}
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		writeProblem(w, http.StatusMethodNotAllowed, &Error{Code: CodeBadRequest, Message: "GET is what this answers"})
		return
	}
	if !originAllowed(r, h.cfg.Origins) {
		problem(w, Errorf(CodeForbidden, "origin %q may not connect here", clip(r.Header.Get("Origin"))))
		return
	}
	who, err := h.identify(r)
	if err != nil {
		problem(w, err)
		return
	}
	if isUpgrade(r) {
		h.connect(w, r, who) //nolint:contextcheck // the session outlives its request
		return
	}
	h.negotiate(w, r, who)
}

func isUpgrade(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// identify asks the ticket, if there is one, else the Authenticator.
func (h *Hub) identify(r *http.Request) (Identity, *Error) {
	if t := r.URL.Query().Get("ticket"); t != "" && isUpgrade(r) {
		who, ok := h.tickets.redeem(t)
		if !ok {
			return who, Errorf(CodeUnauthorized, "the ticket is unknown, used or expired")
		}
		return who, nil
	}
	who, err := h.cfg.Authenticator.Authenticate(r)
	var e *Error
	switch {
	case errors.As(err, &e):
		return who, e
	case err != nil:
		h.log.Info("not authenticated", "remote", r.RemoteAddr, "err", err)
		return who, Errorf(CodeUnauthorized, "not authenticated")
	case !validUser(who.User):
		h.log.Error("Authenticator gave a user id that cannot be: 1-63 of A-Z a-z 0-9 . _ : -", "user", clip(who.User))
		return who, Errorf(CodeInternal, "the server gave you a user id that it cannot use")
	case !who.ExpiresAt.IsZero() && !time.Now().Before(who.ExpiresAt):
		return who, Errorf(CodeUnauthorized, "the token has expired")
	}
	if who.Name == "" {
		who.Name = who.User
	}
	// The strings may be parts of the request's header, which must not stay
	// for as long as the session, or the ticket, does.
	who.User, who.Name = strings.Clone(who.User), strings.Clone(who.Name)
	who.Device, who.Tenant = strings.Clone(who.Device), strings.Clone(who.Tenant)
	return who, nil
}

// connect answers the handshake and starts the session.
func (h *Hub) connect(w http.ResponseWriter, r *http.Request, who Identity) {
	conn, err := wsconn.Accept(w, r, &h.conns)
	if err != nil {
		h.log.Debug("handshake failed", "remote", r.RemoteAddr, "err", err)
		return
	}
	c := &Client{hub: h, conn: conn, id: rand.Text(), who: who, limit: h.cfg.RateLimiter.Session(who)}
	c.expires.Store(expiry(who))
	conn.Start(c)
	conn.Cork() // "welcome" comes first, and when it comes the session is known
	c.send(wire.AppendWelcome(nil, &wire.Welcome{
		Session:  c.id,
		User:     who.User,
		Node:     h.cfg.Node,
		PingMS:   h.cfg.PingInterval.Milliseconds(),
		MaxFrame: h.cfg.MaxFrame,
		Durable:  h.store.Durable(),
		Time:     time.Now().UnixMilli(),
	}))
	if err := h.register(c); err != nil {
		c.close(CloseRestart, "this node is shutting down")
		conn.Finish()
		return
	}
	conn.Uncork()
	go c.read() // ends with the connection; Shutdown waits for it
}

type negotiation struct {
	URL       string `json:"url"`
	Ticket    string `json:"ticket"`
	Node      string `json:"node"`
	ExpiresMS int64  `json:"expires_in_ms"`
}

func (h *Hub) negotiate(w http.ResponseWriter, r *http.Request, who Identity) {
	t, ok := h.tickets.issue(who)
	if !ok {
		problem(w, &Error{Code: CodeBusy, Message: "too many tickets are waiting to be used", RetryAfter: time.Second})
		return
	}
	at := h.cfg.URL
	if at == "" {
		scheme := "ws"
		if r.TLS != nil {
			scheme = "wss"
		}
		at = scheme + "://" + r.Host + requestPath(r)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(negotiation{at, t, h.cfg.Node, ticketLife.Milliseconds()})
}

// requestPath is the path that the client asked for: a mux may have taken a
// prefix off r.URL.
func requestPath(r *http.Request) string {
	if u, err := url.ParseRequestURI(r.RequestURI); err == nil { // also http://host/path, as proxies send it
		return u.EscapedPath()
	}
	return r.URL.EscapedPath()
}

// problem answers with an error as JSON (RFC 9457).
func problem(w http.ResponseWriter, e *Error) {
	status := http.StatusInternalServerError
	switch e.Code { //nolint:exhaustive // the others do not come here
	case CodeUnauthorized:
		status = http.StatusUnauthorized
	case CodeForbidden:
		status = http.StatusForbidden
	case CodeRateLimited:
		status = http.StatusTooManyRequests
	case CodeBadRequest:
		status = http.StatusBadRequest
	case CodeBusy, CodeUnavailable, CodeDraining:
		status = http.StatusServiceUnavailable
	}
	writeProblem(w, status, e)
}

func writeProblem(w http.ResponseWriter, status int, e *Error) {
	hd := w.Header()
	hd.Set("Content-Type", "application/problem+json")
	hd.Set("Cache-Control", "no-store")
	if e.RetryAfter > 0 {
		hd.Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct {
		Title   string `json:"title"`
		Status  int    `json:"status"`
		Code    Code   `json:"code"`
		Detail  string `json:"detail"`
		RetryMS int64  `json:"retry_ms,omitempty"`
	}{http.StatusText(status), status, e.Code, e.Message, e.RetryAfter.Milliseconds()})
}
