package gohub_test

import (
	"net/http"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// Who offers compression does not get it: a frame of some bytes cannot become
// one of megabytes, and sizes do not tell of secrets.
func TestNoCompression(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	for _, mode := range []websocket.CompressionMode{websocket.CompressionContextTakeover, websocket.CompressionNoContextTakeover} {
		var offered string
		client := *w.http
		client.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			offered = r.Header.Get("Sec-WebSocket-Extensions")
			return w.http.Transport.RoundTrip(r)
		})
		ws, res, err := websocket.Dial(t.Context(), w.url+"/?user=alice", &websocket.DialOptions{HTTPClient: &client, CompressionMode: mode})
		require.NoError(t, err)
		defer ws.CloseNow()
		require.Contains(t, offered, "permessage-deflate", "not what this test is about")
		require.Empty(t, res.Header.Values("Sec-WebSocket-Extensions"))
	}
}

type roundTrip func(r *http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
