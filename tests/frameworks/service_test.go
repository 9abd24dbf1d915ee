package frameworks

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// What docs/embedding.md says of rules, publishing and health is so.
func TestService(t *testing.T) {
	cfg, rules := Rules(map[string][]string{"red": {"alice", "bob"}})
	draining := make(chan struct{})
	s := serveWith(t, cfg, func(hub *gohub.Hub) http.Handler {
		rules(hub)
		mux := http.NewServeMux()
		mux.Handle("/api/", NetHTTP(hub))
		mux.Handle("POST /deployed/{team}", Deployed(hub))
		Health(mux, hub, draining)
		return mux
	})
	var n struct{ URL string }
	require.NoError(t, json.Unmarshal(s.get(s.url, header("alice", "")).body, &n))
	require.Equal(t, "wss://chat.example.com/api/ws", n.URL)

	as := func(user string) *websocket.Conn {
		ws, a := s.handshake(header(user, "https://app.example.com"))
		require.NotNil(t, ws, "%s", a.body)
		exchange(t, ws, nil, "welcome")
		return ws
	}
	carol := as("carol")
	require.Equal(t, "forbidden", exchange(t, carol, map[string]any{"type": "join", "ref": 1, "room": "red"}, "error")["code"])
	alice, bob := as("alice"), as("bob")
	exchange(t, alice, map[string]any{"type": "join", "ref": 1, "room": "red"}, "joined")
	exchange(t, bob, map[string]any{"type": "join", "ref": 1, "room": "red"}, "joined")
	link := map[string]any{"type": "publish", "id": gohub.NewID(), "room": "red", "body": "see http://x"}
	require.Equal(t, "forbidden", exchange(t, alice, link, "error")["code"])

	base := strings.TrimSuffix(s.url, "/api/ws")
	id := gohub.NewID()
	for range 2 {
		res, err := s.client.PostForm(base+"/deployed/red", url.Values{"id": {id}, "version": {"7"}})
		require.NoError(t, err)
		require.Equal(t, http.StatusNoContent, s.read(res).status)
	}
	plain := map[string]any{"type": "publish", "id": gohub.NewID(), "room": "red", "body": "thanks"}
	exchange(t, alice, plain, "ack")
	m := exchange(t, bob, nil, "message")
	require.Equal(t, []any{id, "system", "deployed", map[string]any{"version": "7"}}, []any{m["id"], m["sender"], m["kind"], m["body"]})
	require.Equal(t, "thanks", exchange(t, bob, nil, "message")["body"], "the repeated request is one message")

	health := s.get(base+"/healthz", nil)
	require.Equal(t, http.StatusOK, health.status)
	require.Contains(t, string(health.body), `"Sessions":3`)
	require.Equal(t, http.StatusNoContent, s.get(base+"/readyz", nil).status)
	close(draining)
	require.Equal(t, http.StatusServiceUnavailable, s.get(base+"/readyz", nil).status)
}

// A hub that is gone says so to the program, too.
func TestDeployedWhenShutDown(t *testing.T) {
	hub, err := NewHub(gohub.Config{})
	require.NoError(t, err)
	require.NoError(t, hub.Shutdown(t.Context()))
	rec := httptest.NewRecorder()
	Deployed(hub)(rec, httptest.NewRequest(http.MethodPost, "/deployed/red", nil))
	require.Equal(t, http.StatusServiceUnavailable, rec.Code)
}
