package main

import (
	"encoding/json"
	"net/http"
	"strings"
)

// securityHeaders are those of every answer. The policy lets the page load its
// own files and talk to its own server and, of several, the other nodes, to
// which negotiate may send it, and nothing else. Trusted Types turn any use of innerHTML into an error. There is no
// Strict-Transport-Security: at localhost it would be for every port and every
// other program there; for a host of its own the proxy in front sets it.
func securityHeaders(conf config) map[string]string {
	connect := []string{"'self'"}
	if conf.redis != "" { // the other nodes' pages may connect here, and this one's there
		for _, origin := range conf.origins {
			connect = append(connect, origin, strings.Replace(origin, "http", "ws", 1))
		}
	}
	return map[string]string{
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src " + strings.Join(connect, " ") + "; " +
			"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
		"X-Content-Type-Options":       "nosniff",
		"Referrer-Policy":              "same-origin",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Permissions-Policy":           "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
	}
}

// ofDocuments are those that say something of a document alone, and nothing of a
// script or a style sheet: at an address where nothing else is, they are left out.
// Two dozen files would otherwise carry more of them than of themselves.
var ofDocuments = []string{"Content-Security-Policy", "Cross-Origin-Opener-Policy", "Permissions-Policy", "Referrer-Policy"}

func withSecurityHeaders(conf config, next http.Handler) http.Handler {
	headers := securityHeaders(conf)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range headers {
			w.Header().Set(name, value)
		}
		next.ServeHTTP(w, r)
	})
}

// A problem is an error answer in the form of RFC 9457.
type problem struct {
	status int
	detail string
}

func (p problem) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/problem+json")
	writeJSON(w, p.status, map[string]any{
		"type": "about:blank", "title": http.StatusText(p.status), "status": p.status, "detail": p.detail,
	})
}

// writeJSON answers with v, which is never cached: it depends on the cookie.
func writeJSON(w http.ResponseWriter, status int, v any) {
	h := w.Header()
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/json")
	}
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // fails only when the client is gone
}
