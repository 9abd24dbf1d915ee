package gohub

import (
	"fmt"
	"net/http"
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
// Origin with every WebSocket handshake and let nobody forge it; a request
// without one does not come from a page.
func originAllowed(r *http.Request, list []string) bool {
	values := r.Header["Origin"]
	if len(values) == 0 {
		return true
	}
	o, host, ok := origin.Parse(values)
	return ok && (strings.EqualFold(host, r.Host) || origin.Listed(o, list))
}
