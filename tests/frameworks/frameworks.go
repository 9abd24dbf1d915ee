// Package frameworks mounts a hub on the routers that people use, behind the
// middleware that they use, to show that it works there. docs/embedding.md
// quotes it. It is a module of its own so that nobody who uses gohub gets the
// routers along.
package frameworks

import (
	"context"
	"net/http"

	"github.com/gohub/gohub"
)

// NewHub makes the hub that the routers mount.
func NewHub(cfg gohub.Config) (*gohub.Hub, error) {
	cfg.Authenticator = gohub.AuthenticatorFunc(whoIs)
	return gohub.New(cfg)
}

// userKey is where the service's own middleware leaves the user.
type userKey struct{}

// whoIs believes what withUser has found, as there is no logout here. A real
// one looks the session up in its store, though middleware has: see docs/embedding.md.
func whoIs(r *http.Request) (gohub.Identity, error) {
	user, ok := r.Context().Value(userKey{}).(string)
	if !ok {
		return gohub.Identity{}, gohub.Errorf(gohub.CodeUnauthorized, "log in first")
	}
	return gohub.Identity{User: user}, nil
}

// withUser stands for a service's own session lookup: a real one does not
// believe a cookie.
func withUser(r *http.Request) *http.Request {
	c, err := r.Cookie("user")
	if err != nil {
		return r
	}
	return r.WithContext(context.WithValue(r.Context(), userKey{}, c.Value))
}

// sessions is withUser as middleware for net/http, chi and gorilla/mux.
func sessions(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, withUser(r))
	})
}
