package gohub

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/gohub/gohub/internal/origin"
)

// checkOrigins tells at start what originAllowed could never match.
func checkOrigins(list []string) error {
	for _, o := range list {
		if !origin.ValidEntry(o) {
			return fmt.Errorf("gohub: Config.Origins has %q: an origin is scheme://host or scheme://*.host, with a port where it has one", o)
		}
	}
	return nil
}

// originAllowed says whether a page may open a connection. Browsers send
// Origin with every WebSocket handshake and let nobody forge it. The hub's own
// host is the page's by its name alone, but where TLS ends here: then a page that
// came without TLS may be anybody's on the way.
func originAllowed(r *http.Request, list []string) bool {
	values := r.Header["Origin"]
	if len(values) == 0 {
		return true
	}
	o, host, ok := origin.Parse(values)
	own := strings.EqualFold(host, r.Host) && (r.TLS == nil || strings.HasPrefix(o, "https://"))
	return ok && (own || origin.Listed(o, list))
}

// hidden reports whether a request is of a page that is not the hub's own, and
// does not say whose. Browsers send plain GETs of any page that does not want to
// read the answer, with cookies if it is of the same site, and without Origin:
// it could use up its visitor's tickets.
func hidden(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none": // no browser, or an old one; the hub's own page; nobody's, as typed by hand
		return false
	}
	return len(r.Header["Origin"]) == 0
}

// pageOf is the origin of the page that a negotiate is of; empty: it is not
// known. Browsers send no Origin with a GET to the page's own, but where they
// say that it is one the Referer is of the same, and r.Host may be a proxy's idea.
func pageOf(r *http.Request) string {
	if o := r.Header.Get("Origin"); o != "" {
		return strings.Clone(o)
	}
	u, err := url.Parse(r.Header.Get("Referer"))
	if err != nil || u.Host == "" || r.Header.Get("Sec-Fetch-Site") != "same-origin" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}
