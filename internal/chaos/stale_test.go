//go:build unix

package chaos

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// asking is a connection whose client gives up when it has asked.
type asking struct {
	net.Conn
	giveUp func()
}

func (c asking) Write(b []byte) (int, error) {
	defer c.giveUp()
	return c.Conn.Write(b)
}

// Clients of a node that is frozen give up, and connect to another one. When
// the node goes on it finds their handshakes; they have the sessions that count.
func TestHandshakesOfAFrozenNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, still(0))
	frozen, other := w.nodes[0], w.nodes[1]
	const clients = 20
	url := func(x *node, n int) string {
		return fmt.Sprintf("ws://%s/ws?user=%s&device=phone", *x.addr.Load(), fmt.Sprint("alice", n))
	}
	require.NoError(t, frozen.freeze())
	var given sync.WaitGroup
	for n := range clients {
		given.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			giveUp := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := new(net.Dialer).DialContext(ctx, network, addr)
				return asking{c, cancel}, err
			}}}
			_, _, err := websocket.Dial(ctx, url(frozen, n), &websocket.DialOptions{HTTPClient: giveUp})
			assert.ErrorIs(t, err, context.Canceled)
		})
	}
	given.Wait()
	live := make([]*raw, clients)
	for n := range live {
		live[n] = dialURL(w, url(other, n))
		live[n].expect("welcome")
	}
	require.NoError(t, frozen.thaw())
	frozen.thaw = nil
	require.Eventually(t, func() bool {
		var n int64
		return frozen.get(t.Context(), "/handshakes", &n) == nil && n >= clients
	}, patience, 10*time.Millisecond, "they are not dealt with")
	time.Sleep(time.Second) // what nodes tell each other arrives
	for _, r := range live {
		r.send(map[string]any{"type": "ping"})
		r.expect("pong")
	}
	for n := range live {
		require.Eventually(t, func() bool {
			var devices []string
			return frozen.get(t.Context(), fmt.Sprint("/sessions?user=alice", n), &devices) == nil && len(devices) == 0
		}, patience, 10*time.Millisecond)
	}
}
