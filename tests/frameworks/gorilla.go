package frameworks

import (
	"net/http"

	"github.com/gorilla/mux"

	"github.com/gohub/gohub"
)

// Gorilla mounts the hub on gorilla/mux.
func Gorilla(hub *gohub.Hub) http.Handler {
	r := mux.NewRouter()
	api := r.PathPrefix("/api").Subrouter()
	api.Use(sessions)
	api.Handle("/ws", hub.Handler()).Methods(http.MethodGet)
	return r
}
