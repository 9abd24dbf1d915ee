package gohub

import "net/http"

// Elsewhere reports whether a session would be sent to another node.
func Elsewhere(h *Hub, r *http.Request, who Identity) bool { return h.elsewhere(r, who) != nil }
