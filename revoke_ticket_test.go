package gohub

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// hooked calls at when a session is about to get its budget.
type hooked struct {
	RateLimiter
	at func()
}

func (h hooked) Session(id Identity) SessionLimiter {
	h.at()
	return h.RateLimiter.Session(id)
}

// pipeWriter gives away the connection nc.
type pipeWriter struct {
	*httptest.ResponseRecorder
	nc net.Conn
}

func (p pipeWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return p.nc, bufio.NewReadWriter(bufio.NewReader(p.nc), bufio.NewWriter(p.nc)), nil
}

// A handshake that begins when Revoke has begun, and takes its ticket before
// Revoke has got to the tickets, does not slip through either.
func TestRevokeBetweenTicketAndSession(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // who is woken runs when this goroutine waits
	done := make(chan struct{})
	h, err := New(Config{AllowAnonymous: true, DrainTime: -1, CloseTimeout: time.Second, RateLimiter: hooked{NewRateLimiter(Rate{}), func() { <-done }}})
	require.NoError(t, err)
	id, _, _ := h.tickets.issue(Identity{User: "alice", Login: "l1"}, h.revoked.now(), "")
	h.tickets.mu.Lock() // as somebody's negotiate does
	before := h.revoked.now()
	go func() { _ = h.Revoke(t.Context(), Revocation{User: "alice", Login: "l1"}); close(done) }()
	for h.revoked.now() == before {
		runtime.Gosched()
	}
	time.Sleep(100 * time.Microsecond) // Revoke waits for the tickets
	h.tickets.mu.Unlock()
	client, server := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, client) }() // ends with client
	r := httptest.NewRequest(http.MethodGet, "/?ticket="+id, nil)
	r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
	h.serve(pipeWriter{httptest.NewRecorder(), server}, r)
	for _, c := range h.sessionsOf("", "alice") {
		require.True(t, c.ended.Load(), "a session of the revoked login lives on")
	}
	_ = client.Close()
	_ = h.Shutdown(t.Context())
}
