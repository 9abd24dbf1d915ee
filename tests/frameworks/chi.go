package frameworks

import (
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/gohub/gohub"
)

// Chi mounts the hub on chi.
func Chi(hub *gohub.Hub) http.Handler {
	r := chi.NewRouter()
	r.Use(middleware.RequestID, middleware.Logger, middleware.Recoverer, middleware.Compress(5))
	r.Route("/api", func(r chi.Router) {
		r.Use(sessions)
		r.Method(http.MethodGet, "/ws", hub.Handler())
	})
	return r
}
