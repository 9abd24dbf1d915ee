package frameworks

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/gohub/gohub"
)

// Rules are a hub's configuration and middleware as a service has them that
// knows who belongs to which team.
func Rules(teams map[string][]string) (gohub.Config, func(hub *gohub.Hub)) {
	cfg := gohub.Config{
		// Behind a proxy that ends TLS, or under another name than clients use.
		URL: "wss://chat.example.com/api/ws",
		// Pages of other origins than the hub's own that may connect.
		Origins: []string{"https://app.example.com"},
		// Rooms are named after teams; whoever is not in one learns nothing of it.
		MayJoin: func(_ context.Context, who gohub.Identity, room gohub.RoomID) error {
			if _, _, direct := room.Direct(); direct || slices.Contains(teams[room.Name], who.User) {
				return nil
			}
			return gohub.Errorf(gohub.CodeForbidden, "this is another team's room")
		},
	}
	return cfg, func(hub *gohub.Hub) {
		hub.Use(func(next gohub.PublishFunc) gohub.PublishFunc {
			return func(ctx context.Context, p *gohub.Publish) error {
				if strings.Contains(string(p.Message.Body), "http://") {
					return gohub.Errorf(gohub.CodeForbidden, "no links, please")
				}
				return next(ctx, p)
			}
		})
	}
}

// Deployed is a handler of the service's own: what it is told, the team's room
// is told.
func Deployed(hub *gohub.Hub) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := json.Marshal(map[string]string{"version": r.PostFormValue("version")})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, err = hub.Publish(r.Context(), gohub.Message{
			Room:   gohub.RoomID{Name: r.PathValue("team")},
			ID:     r.PostFormValue("id"), // the event's own UUID: who repeats the request does not repeat the message
			Sender: "system",              // a name that the Authenticator gives nobody
			Kind:   "deployed",
			Body:   body,
		})
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

// Health adds the two questions that a balancer and a supervisor ask: whether
// the process can go on, and whether it wants more connections.
func Health(mux *http.ServeMux, hub *gohub.Hub) {
	probe := func(check func() error) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if err := check(); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		}
	}
	mux.HandleFunc("GET /healthz", probe(hub.Health)) // no: restart the process
	mux.HandleFunc("GET /readyz", probe(hub.Ready))   // no: send new clients elsewhere
}

// Observed joins every session to its user's own room and counts how sessions
// end, as an example of what an Observer is for.
func Observed(cfg gohub.Config, hub func() *gohub.Hub, ended func(code int)) gohub.Config {
	cfg.Observer = gohub.Observer{
		SessionOpened: func(c *gohub.Client) { _ = hub().Join(c.ID(), "news-"+c.User()) },
		SessionClosed: func(_ *gohub.Client, end gohub.SessionEnd) { ended(end.Code) },
	}
	return cfg
}
