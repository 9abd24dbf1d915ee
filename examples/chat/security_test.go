package main

import (
	"io/fs"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

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
