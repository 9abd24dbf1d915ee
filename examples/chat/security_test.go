package main

import (
	"bufio"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// Who sends half a header is cut off, and a large one refused: by the very
// server that the program starts, but that its time is a hundredth.
func TestSlowAndLargeHeaders(t *testing.T) {
	dial := func(server *http.Server, says string) net.Conn {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		served := make(chan error, 1)
		go func() { served <- server.Serve(ln) }()
		nc, err := net.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		require.NoError(t, nc.SetDeadline(time.Now().Add(server.ReadTimeout-time.Second))) // by which it would end anyway
		said := make(chan struct{})
		go func() { // ends with the connection: it may be closed before all is read
			defer close(said)
			_, _ = io.WriteString(nc, says)
		}()
		t.Cleanup(func() {
			_ = nc.Close()
			<-said
			_ = server.Close()
			assert.ErrorIs(t, <-served, http.ErrServerClosed)
		})
		return nc
	}
	const begins = "GET / HTTP/1.1\r\nHost: h\r\nX-Header: "
	for _, says := range []string{"", begins} {
		server := testApp(t, config{}).server(nil)
		assert.LessOrEqual(t, server.ReadHeaderTimeout, 10*time.Second)
		server.ReadHeaderTimeout /= 100
		_, err := dial(server, says).Read(make([]byte, 1))
		require.Error(t, err) // EOF, or a reset where it has not read all
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	}
	large := dial(testApp(t, config{}).server(nil), begins+strings.Repeat("x", 32<<10)+"\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(large), nil)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	assert.Equal(t, http.StatusRequestHeaderFieldsTooLarge, res.StatusCode)
}

// Behind a proxy that ends TLS the cookies are those of TLS, negotiate tells the
// address that clients know, and limits are by the address that the proxy tells.
func TestBehindAProxy(t *testing.T) {
	conf := config{rate: 50, url: "wss://chat.example.com/ws", proxies: []string{"192.0.2.0/24"}} // httptest's
	a := testApp(t, conf)
	in := do(a.handler, loginRequest("alice"))
	for _, c := range in.Result().Cookies() {
		assert.True(t, c.Secure, c.Name)
		assert.Contains(t, c.Name, "__Host-")
	}
	r := withCookies(in, "GET", "/ws")
	r.Header.Set("X-Forwarded-For", "203.0.113.7, 192.0.2.9")
	assert.Equal(t, "203.0.113.7", a.hub.ClientAddr(r).String())
	w := do(a.handler, r)
	assert.Equal(t, http.StatusOK, w.Code)
	assert.Contains(t, w.Body.String(), `"url":"wss://chat.example.com/ws"`)

	var with, without gohub.Config
	conf.limitAddresses(&with)
	config{}.limitAddresses(&without)
	assert.Equal(t, gohub.Config{TrustedProxies: conf.proxies, MaxConns: 10_000, MaxConnsPerIP: 50, HandshakeRatePerIP: 5}, with)
	assert.Equal(t, gohub.Config{}, without)
}

// A rate of frames does not lift the one of bytes.
func TestRateIsOfBytesToo(t *testing.T) {
	for rate, refused := range map[int]bool{50: true, 0: false} {
		s := gohub.NewRateLimiter(config{rate: rate}.sessionRate()).Session(gohub.Identity{User: "alice"})
		now := time.Now()
		assert.Zero(t, s.Spend(now, 2<<20), "the burst")
		assert.Equal(t, refused, s.Spend(now, 1<<10) > 0, "rate %d", rate)
	}
}

// Every answer has the headers, whoever gives it: files, the hub, auth, errors.
func TestSecurityHeaders(t *testing.T) {
	want := map[string]string{
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
			"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
		"X-Content-Type-Options":       "nosniff",
		"Referrer-Policy":              "same-origin",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Permissions-Policy":           "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
		// At localhost it would be for all ports and programs there.
		"Strict-Transport-Security": "",
	}
	files, err := fs.Glob(webFiles, "web/*")
	require.NoError(t, err)
	requests := []string{"GET /", "GET /ws", "POST /login", "GET /login", "POST /refresh", "POST /logout", "OPTIONS /login", "POST /settings", "GET /healthz", "POST /healthz", "GET /static/0/icon.svg", "GET /static/0/nothing.js", "GET /nowhere"}
	for _, file := range files {
		requests = append(requests, "GET "+strings.TrimPrefix(file, "web"))
	}
	for _, secure := range []bool{false, true} {
		h := testApp(t, config{tls: secure, origins: []string{"https://friend.example"}}).handler
		for _, request := range requests {
			method, path, _ := strings.Cut(request, " ")
			r := httptest.NewRequest(method, path, nil)
			r.Header.Set("Origin", "https://evil.example")
			w := do(h, r)
			for name, value := range want {
				assert.Equal(t, value, w.Header().Get(name), "%s: %s", request, name)
			}
			assert.Empty(t, w.Header().Get("Access-Control-Allow-Origin"), request)
		}
	}
}

// Of several nodes each page may be sent to the others.
func TestPolicyOfSeveralNodes(t *testing.T) {
	policy := securityHeaders(config{redis: "redis://x", origins: []string{"http://127.0.0.1:8082", "https://chat-2.example"}})["Content-Security-Policy"]
	assert.Contains(t, policy, "connect-src 'self' http://127.0.0.1:8082 ws://127.0.0.1:8082 https://chat-2.example wss://chat-2.example; ")
}

// Pages of a listed origin may use everything, and read what they are answered.
func TestListedOriginMayRead(t *testing.T) {
	h := testApp(t, config{origins: []string{"https://friend.example"}}).handler
	in := do(h, loginRequest("alice"))
	for _, request := range []string{"GET /ws", "POST /refresh"} {
		method, path, _ := strings.Cut(request, " ")
		r := withCookies(in, method, path)
		r.Header.Set("Origin", "https://friend.example")
		r.Header.Set("Sec-Fetch-Site", "same-site")
		w := do(h, r)
		assert.Equal(t, 200, w.Code, request)
		assert.Equal(t, "https://friend.example", w.Header().Get("Access-Control-Allow-Origin"))
		assert.Equal(t, "true", w.Header().Get("Access-Control-Allow-Credentials"))
	}
}
