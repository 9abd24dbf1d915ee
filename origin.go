package gohub

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// checkOrigins tells at start what originAllowed could never match.
func checkOrigins(list []string) error {
	for _, o := range list {
		if o == "*" {
			continue
		}
		u, err := url.Parse(o)
		if err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil || u.Fragment != "" ||
			u.Host == "*." || strings.Contains(strings.TrimPrefix(u.Host, "*."), "*") {
			return fmt.Errorf("gohub: Config.Origins has %q: an origin is scheme://host or scheme://*.host, with a port where it has one", o)
		}
	}
	return nil
}

// originAllowed says whether a page may open a connection. Browsers send
// Origin with every WebSocket handshake and let nobody forge it; a request
// without one does not come from a page.
func originAllowed(r *http.Request, list []string) bool {
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return true
	}
	if len(origins) > 1 {
		return false
	}
	origin := strings.ToLower(origins[0])
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || origin != u.Scheme+"://"+u.Host { // no path, nor anything else
		return false
	}
	if strings.EqualFold(u.Host, r.Host) {
		return true
	}
	for _, o := range list {
		if o == "*" || origin == strings.ToLower(o) {
			return true
		}
		scheme, domain, wild := strings.Cut(strings.ToLower(o), "://*.")
		if !wild {
			continue
		}
		rest, ok := strings.CutPrefix(origin, scheme+"://")
		if !ok {
			continue
		}
		if sub, ok := strings.CutSuffix(rest, "."+domain); ok && sub != "" {
			return true
		}
	}
	return false
}
