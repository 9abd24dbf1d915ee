package gohub_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// get sends a plain GET to the hub's handler.
func get(h http.Handler, target string, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	maps.Copy(r.Header, header)
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec
}

// isProblem checks that an answer is a problem as RFC 9457 has it.
func isProblem(t *testing.T, rec *httptest.ResponseRecorder, status int, code string) map[string]any {
	t.Helper()
	require.Equal(t, status, rec.Code, rec.Body)
	require.Equal(t, "application/problem+json", rec.Header().Get("Content-Type"))
	require.Equal(t, "no-store", rec.Header().Get("Cache-Control"))
	var p map[string]any
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &p), rec.Body)
	require.Equal(t, http.StatusText(status), p["title"])
	require.EqualValues(t, status, p["status"])
	require.Equal(t, code, p["code"])
	require.NotEmpty(t, p["detail"])
	return p
}

func TestWelcome(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{Node: "node-7", MaxFrame: 5000, PingInterval: 7 * time.Second})
	before := time.Now().UnixMilli()
	a, b := w.as("alice"), w.as("alice")
	require.NotEmpty(t, a.session())
	require.NotEqual(t, a.session(), b.session())
	require.GreaterOrEqual(t, a.welcome.num("time"), before)
	require.LessOrEqual(t, a.welcome.num("time"), time.Now().UnixMilli())
	delete(a.welcome, "session")
	delete(a.welcome, "time")
	require.Equal(t, frame{
		"type": "welcome", "version": 1.0, "user": "alice", "node": "node-7", "ping_ms": 7000.0,
		"max_frame": 5000.0, "durable": false,
	}, a.welcome)

	durable := start(t, gohub.Config{Store: newSlowStore()})
	require.Equal(t, true, durable.as("alice").welcome["durable"])
	require.NotEmpty(t, durable.as("alice").welcome["node"])
}

func TestSubprotocol(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	for _, c := range []struct {
		offered []string
		want    string
	}{{[]string{"gohub.v1"}, "gohub.v1"}, {nil, ""}, {[]string{"other", "gohub.v1"}, "gohub.v1"}} {
		ws, _, err := websocket.Dial(t.Context(), w.url+"/?user=alice", &websocket.DialOptions{
			HTTPClient: w.http, Subprotocols: c.offered,
		})
		require.NoError(t, err)
		require.Equal(t, c.want, ws.Subprotocol(), "%v", c.offered)
		_, p, err := ws.Read(t.Context())
		require.NoError(t, err)
		require.Contains(t, string(p), `"welcome"`)
		require.NoError(t, ws.CloseNow())
	}
}

func TestNegotiate(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{Node: "node-7"})
	mux := http.NewServeMux()
	mux.Handle("/deep/", http.StripPrefix("/deep", w.hub.Handler()))
	rec := get(mux, "http://chat.example.com/deep/ws?user=alice&x=1", nil)
	require.Equal(t, http.StatusOK, rec.Code)
	require.Equal(t, "application/json", rec.Header().Get("Content-Type"))
	require.Equal(t, "no-store", rec.Header().Get("Cache-Control"))
	var n map[string]any
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &n))
	require.NotEmpty(t, n["ticket"])
	delete(n, "ticket")
	require.Equal(t, map[string]any{"url": "ws://chat.example.com/deep/ws", "node": "node-7", "expires_in_ms": 30_000.0}, n)

	rec = get(w.hub.Handler(), "https://chat.example.com/ws?user=alice", nil)
	require.Contains(t, rec.Body.String(), `"wss://chat.example.com/ws"`)
	configured := start(t, gohub.Config{URL: "wss://node-3.example.com/x"})
	require.Equal(t, "wss://node-3.example.com/x", configured.negotiate("user=alice")["url"])
}

func TestTicket(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w, other := startVirtual(t, gohub.Config{}), startVirtual(t, gohub.Config{})
		refused := func(w *world, query string) {
			t.Helper()
			_, status, err := w.handshake(query)
			require.Error(t, err)
			require.Equal(t, http.StatusUnauthorized, status)
		}
		ticket := func(query string) string {
			t.Helper()
			s, ok := w.negotiate(query)["ticket"].(string)
			require.True(t, ok)
			return "ticket=" + s
		}
		// It stands for all that the Authenticator said.
		first := ticket("user=alice&device=phone&name=Alice&tenant=acme&login=l1&rooms=a&rooms=b&claim=c")
		u := w.dial(first)
		require.Equal(t, "alice", u.welcome["user"])
		require.Equal(t, gohub.Identity{
			User: "alice", Device: "phone", Name: "Alice", Tenant: "acme", Login: "l1", Rooms: []string{"a", "b"}, Claims: map[string]any{"claim": "c"},
		}, w.hub.Sessions("acme", "alice")[0].Identity())
		refused(w, first) // once
		refused(w, "ticket=made-up")
		refused(w, "user=alice&ticket=made-up") // a bad one is not made up for by something else
		refused(other, ticket("user=alice"))    // at its own node

		soon, late := ticket("user=alice"), ticket("user=alice")
		pass(30*time.Second - time.Millisecond)
		w.dial(soon)
		pass(time.Millisecond)
		refused(w, late)

		// A ticket is for connecting: it does not get another one.
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/?"+ticket("user=alice"), nil)
		require.NoError(t, err)
		res, err := w.http.Do(req)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, http.StatusUnauthorized, res.StatusCode)
	})
}

// A ticket that a page has asked for is worth nothing to pages of other
// origins that may connect, nor to who has none; to refresh a session neither.
func TestTicketIsForItsOrigin(t *testing.T) {
	t.Parallel()
	const page, other = "https://app.example.com", "https://other.example.com"
	w := start(t, gohub.Config{Origins: []string{page, other}})
	own := w.url
	from := func(origin string) http.Header {
		h := http.Header{}
		if origin != "" {
			h.Set("Origin", origin)
		}
		return h
	}
	// asked by a page of the hub's own origin, as the browser knows it
	same := func(referer string) http.Header {
		return http.Header{"Sec-Fetch-Site": {"same-origin"}, "Referer": {referer}}
	}
	for _, c := range []struct {
		asked http.Header
		used  string
		ok    bool
	}{
		{from(page), page, true},
		{from(page), other, false},
		{from(page), own, false},
		{from(page), "", false},
		{same(own + "/chat?room=1"), own, true},
		{same(own + "/chat?room=1"), page, false},
		{same(own + "/chat?room=1"), "", false},
		{same(page + "/"), page, true}, // a proxy has changed Host
		{same(page + "/"), own, false},
		{same(""), page, true}, // it does not say which page
		{same("about:blank"), page, true},
		{http.Header{"Referer": {own + "/"}}, page, true}, // nor that it is of its own origin
		{http.Header{"Referer": {own + "/"}, "Origin": {page}}, page, true},
		{from(""), page, true}, // of a program for it
		{from(""), "", true},
	} {
		ticket := func() string {
			var n struct{ Ticket string }
			rec := get(w.hub.Handler(), w.url+"/?user=alice", c.asked)
			require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &n))
			require.NotEmpty(t, n.Ticket)
			return n.Ticket
		}
		u := w.with(from(c.used)).dial("user=alice")
		if f := u.ask(frame{"type": "refresh", "ticket": ticket()}, "refreshed"); c.ok {
			require.Equal(t, "refreshed", f["type"], "%v", c)
		} else {
			require.Equal(t, "unauthorized", f["code"], "%v", c)
		}
		given := ticket()
		again := func() int {
			h := from(c.used)
			h.Set("Upgrade", "websocket")
			return get(w.hub.Handler(), w.url+"/?ticket="+given, h).Code
		}
		if c.ok {
			require.NotEqual(t, http.StatusUnauthorized, again(), "%v", c) // 501: a recorder has no connection
		} else {
			require.Equal(t, http.StatusUnauthorized, again(), "%v", c)
		}
		require.Equal(t, http.StatusUnauthorized, again(), "once: %v", c)
	}
}

func TestTicketsAreBounded(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{})
		require.Equal(t, 100_000, gohub.FillTickets(w.hub))
		rec := get(w.hub.Handler(), "/?user=alice", nil)
		isProblem(t, rec, http.StatusServiceUnavailable, "busy")
		require.Equal(t, "1", rec.Header().Get("Retry-After"))
		w.as("alice") // who needs none
		pass(30*time.Second + time.Millisecond)
		w.dial("ticket=" + w.negotiate("user=alice")["ticket"].(string))
	})
}

func TestProblems(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		who    gohub.Identity
		err    error
		status int
		code   string
		retry  string
	}{
		"unauthorized": {err: gohub.Errorf(gohub.CodeUnauthorized, "who?"), status: 401, code: "unauthorized"},
		"forbidden":    {err: gohub.Errorf(gohub.CodeForbidden, "banned"), status: 403, code: "forbidden"},
		"rate limited": {
			err:    &gohub.Error{Code: gohub.CodeRateLimited, Message: "later", RetryAfter: 1500 * time.Millisecond},
			status: 429, code: "rate_limited", retry: "2",
		},
		"unavailable": {
			err:    fmt.Errorf("wrapped: %w", &gohub.Error{Code: gohub.CodeUnavailable, Message: "later", RetryAfter: time.Second}),
			status: 503, code: "unavailable", retry: "1",
		},
		"any other error":        {err: errors.New("password is hunter2"), status: 401, code: "unauthorized"},
		"user id that cannot be": {who: gohub.Identity{User: "a b"}, status: 500, code: "internal"},
		"no user id":             {status: 500, code: "internal"},
		"user id too long":       {who: gohub.Identity{User: strings.Repeat("u", 64)}, status: 500, code: "internal"},
		"expired":                {who: gohub.Identity{User: "a", ExpiresAt: time.Now()}, status: 401, code: "unauthorized"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, gohub.Config{Authenticator: gohub.AuthenticatorFunc(func(*http.Request) (gohub.Identity, error) {
				return c.who, c.err
			})})
			for _, header := range []http.Header{nil, {"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}} {
				rec := get(w.hub.Handler(), "/", header)
				isProblem(t, rec, c.status, c.code)
				require.Equal(t, c.retry, rec.Header().Get("Retry-After"))
				require.NotContains(t, rec.Body.String(), "hunter2")
				require.Equal(t, header != nil, rec.Header().Get("Connection") == "close", "whoever wanted a WebSocket asks for nothing else here")
			}
		})
	}
}

func TestOnlyGET(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodHead} {
		rec := httptest.NewRecorder()
		req := httptest.NewRequest(method, "/?user=alice", strings.NewReader("{}"))
		req.Header.Set("Upgrade", "websocket")
		w.hub.Handler().ServeHTTP(rec, req)
		isProblem(t, rec, http.StatusMethodNotAllowed, "bad_request")
		require.Equal(t, "close", rec.Header().Get("Connection"))
		require.Equal(t, "GET", rec.Header().Get("Allow"), method)
	}
}

func TestDrainingAnswers503(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	require.NoError(t, w.hub.Shutdown(t.Context()))
	for _, header := range []http.Header{nil, {"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}} {
		rec := get(w.hub.Handler(), "/?user=alice", header)
		p := isProblem(t, rec, http.StatusServiceUnavailable, "draining")
		require.Equal(t, "1", rec.Header().Get("Retry-After"))
		require.EqualValues(t, 1000, p["retry_ms"])
	}
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	list := []string{"https://example.com", "https://*.example.org", "http://localhost:3000", "https://*.ports.test:8443"}
	w := start(t, gohub.Config{Origins: list})
	anyone := start(t, gohub.Config{Origins: []string{"*"}})
	nobody := start(t, gohub.Config{})
	const host = "chat.test:8080"
	status := func(w *world, upgrade bool, origins ...string) int {
		header := http.Header{}
		if len(origins) > 0 {
			header["Origin"] = origins
		}
		if upgrade {
			header.Set("Upgrade", "websocket") // 501 from the recorder: it was let through
		}
		return get(w.hub.Handler(), "http://"+host+"/?user=alice", header).Code
	}
	for _, c := range []struct {
		origin string
		listed bool // by w
		own    bool // the host itself: allowed by all
	}{
		{"http://chat.test:8080", true, true},
		{"https://chat.test:8080", true, true}, // TLS ends before us
		{"HTTP://CHAT.TEST:8080", true, true},
		{"http://chat.test", false, false},
		{"http://chat.test:80800", false, false},
		{"https://example.com", true, false},
		{"https://EXAMPLE.com", true, false},
		{"http://example.com", false, false},
		{"https://example.com:444", false, false},
		{"https://sub.example.com", false, false},
		{"https://evilexample.com", false, false},
		{"https://example.com.evil.org", false, false},
		{"https://example.org", false, false},
		{"https://a.example.org", true, false},
		{"https://a.b.example.org", true, false},
		{"http://a.example.org", false, false},
		{"https://a.example.org:8443", false, false},
		{"https://.example.org", false, false},
		{"https://evilexample.org", false, false},
		{"https://a.example.org.evil.org", false, false},
		{"https://evil.org/.example.org", false, false},
		{"https://evil.org/a.example.org", false, false},
		{"https://evil.org?.example.org", false, false},
		{"https://evil.org#.example.org", false, false},
		{"https://user@a.example.org", false, false},
		{"https://example.com@evil.org", false, false},
		{"https://evil.org@example.com", false, false},
		{"http://x@chat.test:8080", false, false},
		{"http://chat.test:8080/", false, false},
		{"https://evil.org\\.example.org", false, false},
		{"http://localhost:3000", true, false},
		{"http://localhost", false, false},
		{"http://localhost:3001", false, false},
		{"https://a.ports.test:8443", true, false},
		{"https://a.ports.test", false, false},
		{"null", false, false},
		{"", false, false},
		{"*", false, false},
		{"example.com", false, false},
		{"//example.com", false, false},
		{"https://", false, false},
		{"https://example.com https://evil.org", false, false},
	} {
		for _, upgrade := range []bool{false, true} {
			ok := http.StatusOK
			if upgrade {
				ok = status(nobody, true)
				require.NotEqual(t, http.StatusForbidden, ok)
			}
			want := func(allowed bool) int {
				if allowed {
					return ok
				}
				return http.StatusForbidden
			}
			require.Equal(t, want(c.listed), status(w, upgrade, c.origin), "%q, upgrade %t", c.origin, upgrade)
			require.Equal(t, want(c.own), status(nobody, upgrade, c.origin), "%q, upgrade %t, no list", c.origin, upgrade)
		}
	}
	require.Equal(t, http.StatusOK, status(w, false), "no page, no Origin")
	require.Equal(t, http.StatusForbidden, status(w, false, "https://example.com", "https://example.com"))
	require.Equal(t, http.StatusForbidden, status(anyone, false, "https://example.com", "https://evil.org"))
	require.Equal(t, http.StatusOK, status(anyone, false, "https://anything.at.all:1234"))
	isProblem(t, get(w.hub.Handler(), "/?user=alice", http.Header{"Origin": {"https://evil.org"}}), http.StatusForbidden, "forbidden")
}

// Where the hub sees TLS end, a page of its own host came by TLS as well.
func TestOriginWithTLS(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	listed := start(t, gohub.Config{Origins: []string{"http://chat.test", "http://chat.test:8443"}})
	for _, host := range []string{"chat.test", "chat.test:8443"} {
		for _, c := range []struct {
			origin     string
			ok, listed bool
		}{
			{"https://" + host, true, true},
			{"HTTPS://" + host, true, true},
			{"http://" + host, false, true},
			{"ftp://" + host, false, false},
		} {
			for _, upgrade := range []bool{false, true} {
				header := http.Header{"Origin": {c.origin}}
				if upgrade {
					header.Set("Upgrade", "websocket")
				}
				target := "https://" + host + "/?user=alice"
				require.Equal(t, !c.ok, get(w.hub.Handler(), target, header).Code == http.StatusForbidden, "%v, upgrade %t", c, upgrade)
				require.Equal(t, !c.listed, get(listed.hub.Handler(), target, header).Code == http.StatusForbidden, "%v, upgrade %t", c, upgrade)
			}
		}
	}
}

// Pages can have the browser send a GET that does not say whose it is, with
// cookies if they are of the same site. They get no tickets, and so use up none.
func TestHiddenPagesGetNoTickets(t *testing.T) {
	t.Parallel()
	const page = "https://app.example.com"
	w := start(t, gohub.Config{Origins: []string{page}})
	for _, c := range []struct {
		site, origin string
		ok           bool
	}{
		{"same-origin", "", true},
		{"none", "", true}, // typed by hand
		{"", "", true},     // no browser, or an old one
		{"same-site", "", false},
		{"cross-site", "", false},
		{"anything-new", "", false},
		{"same-site", page, true},
		{"cross-site", page, true},
		{"cross-site", "https://evil.example", false},
	} {
		header := http.Header{}
		if c.site != "" {
			header.Set("Sec-Fetch-Site", c.site)
		}
		if c.origin != "" {
			header.Set("Origin", c.origin)
		}
		rec := get(w.hub.Handler(), "/?user=alice", header)
		if c.ok {
			require.Equal(t, http.StatusOK, rec.Code, "%v", c)
		} else {
			isProblem(t, rec, http.StatusForbidden, "forbidden")
		}
	}
}

func TestAnonymous(t *testing.T) {
	t.Parallel()
	hub, err := gohub.New(gohub.Config{AllowAnonymous: true})
	require.NoError(t, err)
	srv := httptest.NewServer(hub.Handler())
	defer srv.Close()
	names := make(map[string]bool)
	for range 3 {
		ws, _, err := websocket.Dial(t.Context(), srv.URL+"/?user=alice&name=x", nil)
		require.NoError(t, err)
		_, p, err := ws.Read(t.Context())
		require.NoError(t, err)
		names[decoded(t, p).str("user")] = true
		require.NoError(t, ws.CloseNow())
	}
	require.Len(t, names, 3, "everybody is somebody else")
	require.NotContains(t, names, "alice")
	require.NoError(t, hub.Shutdown(t.Context()))
}

// Hubs over one Broker that have each a Store of their own would have as many
// histories. Nobody means that, and nothing else says so.
func TestHubsThatShareNoStoreAreWarnedOf(t *testing.T) {
	t.Parallel()
	store := gohub.NewMemoryStore(gohub.MemoryStoreOptions{})
	for name, c := range map[string]struct {
		cfg  gohub.Config
		warn bool
	}{
		"alone":                      {gohub.Config{}, false},
		"in one process":             {gohub.Config{Broker: gohub.NewMemoryBroker()}, false},
		"over a Broker":              {gohub.Config{Broker: plainBroker{gohub.NewMemoryBroker()}}, true},
		"over a Broker with a Store": {gohub.Config{Broker: plainBroker{gohub.NewMemoryBroker()}, Store: store}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var logged bytes.Buffer
			c.cfg.AllowAnonymous, c.cfg.Logger = true, slog.New(slog.NewTextHandler(&logged, nil))
			hub, err := gohub.New(c.cfg)
			require.NoError(t, err)
			require.NoError(t, hub.Shutdown(t.Context()))
			require.Equal(t, c.warn, strings.Contains(logged.String(), "Config.Store is nil"), logged.String())
		})
	}
}

func TestConfigErrorsNameTheField(t *testing.T) {
	t.Parallel()
	for field, changes := range map[string][]func(c *gohub.Config){
		"Authenticator":      {func(c *gohub.Config) { c.Authenticator = nil }},
		"MaxFrame":           {func(c *gohub.Config) { c.MaxFrame = -1 }, func(c *gohub.Config) { c.MaxFrame = 1023 }},
		"MaxBody":            {func(c *gohub.Config) { c.MaxBody = -1 }, func(c *gohub.Config) { c.MaxBody = 65_537 }},
		"MaxQueue":           {func(c *gohub.Config) { c.MaxQueue = -1 }, func(c *gohub.Config) { c.MaxQueue = 100 }},
		"MaxRooms":           {func(c *gohub.Config) { c.MaxRooms = -2 }},
		"MaxPending":         {func(c *gohub.Config) { c.MaxPending = -1 }, func(c *gohub.Config) { c.MaxPending = 1 }},
		"MaxPendingBytes":    {func(c *gohub.Config) { c.MaxPendingBytes = -1 }, func(c *gohub.Config) { c.MaxPendingBytes = 1000 }, func(c *gohub.Config) { c.MaxFrame = 64<<20 + 1 }},
		"ReplayLimit":        {func(c *gohub.Config) { c.ReplayLimit = -1 }},
		"JoinReplay":         {func(c *gohub.Config) { c.JoinReplay = -2 }},
		"PingInterval":       {func(c *gohub.Config) { c.PingInterval = -1 }, func(c *gohub.Config) { c.PingInterval = time.Millisecond }},
		"WriteTimeout":       {func(c *gohub.Config) { c.WriteTimeout = -1 }},
		"CloseTimeout":       {func(c *gohub.Config) { c.CloseTimeout = time.Millisecond }},
		"MaxConns":           {func(c *gohub.Config) { c.MaxConns = -2 }},
		"MaxConnsPerIP":      {func(c *gohub.Config) { c.MaxConnsPerIP = -2 }},
		"HandshakeRate":      {func(c *gohub.Config) { c.HandshakeRate = -2 }, func(c *gohub.Config) { c.HandshakeRate = math.NaN() }},
		"HandshakeRatePerIP": {func(c *gohub.Config) { c.HandshakeRatePerIP = -0.5 }},
		`TrustedProxies has "10.0.0.0/33"`: {
			func(c *gohub.Config) { c.TrustedProxies = []string{"10.0.0.1", "10.0.0.0/33"} },
		},
		"TrustedProxies": {
			func(c *gohub.Config) { c.TrustedProxies = []string{""} },
			func(c *gohub.Config) { c.TrustedProxies = []string{"proxy.example.com"} },
			func(c *gohub.Config) { c.TrustedProxies = []string{"10.0.0.1:80"} },
			func(c *gohub.Config) { c.TrustedProxies = []string{"10.0.0.*"} },
			func(c *gohub.Config) { c.TrustedProxies = []string{"fe80::%eth0/10"} },
			func(c *gohub.Config) { c.TrustedProxies = []string{"fe80::1%eth0"} },
			func(c *gohub.Config) { c.TrustedProxies = []string{"::ffff:10.0.0.1"} },
			func(c *gohub.Config) { c.TrustedProxies = []string{"::ffff:10.0.0.0/104"} },
		},
		"Origins": {
			func(c *gohub.Config) { c.Origins = []string{"example.com"} },
			func(c *gohub.Config) { c.Origins = []string{"https://example.com", "https://example.com/path"} },
			func(c *gohub.Config) { c.Origins = []string{"https://example.com/"} },
			func(c *gohub.Config) { c.Origins = []string{"https://example.com?x"} },
			func(c *gohub.Config) { c.Origins = []string{"https://example.com#x"} },
			func(c *gohub.Config) { c.Origins = []string{"https://u@example.com"} },
			func(c *gohub.Config) { c.Origins = []string{"https://*"} },
			func(c *gohub.Config) { c.Origins = []string{"https://*."} },
			func(c *gohub.Config) { c.Origins = []string{"https://a.*.example.com"} },
			func(c *gohub.Config) { c.Origins = []string{"https://*example.com"} },
			func(c *gohub.Config) { c.Origins = []string{""} },
			func(c *gohub.Config) { c.Origins = []string{"https://exa mple.com"} },
		},
	} {
		for i, change := range changes {
			cfg := gohub.Config{Authenticator: gohub.AuthenticatorFunc(byQuery)}
			change(&cfg)
			hub, err := gohub.New(cfg)
			require.ErrorContains(t, err, "Config."+field, "%s, change %d", field, i)
			require.Nil(t, hub)
		}
	}
}
