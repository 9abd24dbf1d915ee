package frameworks

import (
	"net/http"

	"github.com/gohub/gohub"
)

// NetHTTP mounts the hub on the standard library's mux, below a prefix.
func NetHTTP(hub *gohub.Hub) http.Handler {
	api := http.NewServeMux()
	api.Handle("GET /ws", hub.Handler())

	mux := http.NewServeMux()
	mux.Handle("/api/", http.StripPrefix("/api", api))
	return sessions(mux)
}
