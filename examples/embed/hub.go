package main

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/gohub/gohub"
)

// addHub puts a hub at /ws, for whoever has a session of the service.
func addHub(s *service) (*gohub.Hub, error) {
	hub, err := gohub.New(gohub.Config{Authenticator: gohub.AuthenticatorFunc(s.whoIs)})
	if err != nil {
		return nil, err
	}
	s.mux.Handle("GET /ws", hub.Handler())
	s.ended = func(user string) {
		if err := hub.Revoke(context.Background(), gohub.Revocation{User: user, Reason: "logged out"}); err != nil {
			slog.Error("logout", "err", err)
		}
	}
	return hub, nil
}

// whoIs makes the service's session the hub's identity. It looks it up anew:
// since the middleware did, a logout may have come, whose Revoke is over.
func (s *service) whoIs(r *http.Request) (gohub.Identity, error) {
	in, ok := s.lookUp(r)
	if !ok {
		return gohub.Identity{}, gohub.Errorf(gohub.CodeUnauthorized, "log in first")
	}
	return gohub.Identity{User: in.user, ExpiresAt: in.expires}, nil
}
