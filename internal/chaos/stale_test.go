//go:build unix

package chaos

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

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
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // also a busy machine has sent the request by then
			defer cancel()
			_, _, err := websocket.Dial(ctx, url(frozen, n), &websocket.DialOptions{HTTPClient: w.http})
			assert.ErrorIs(t, err, context.DeadlineExceeded)
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
	}, 20*time.Second, 10*time.Millisecond, "they are not dealt with")
	time.Sleep(time.Second) // what nodes tell each other arrives
	for _, r := range live {
		r.send(map[string]any{"type": "ping"})
		r.expect("pong")
	}
	for n := range live {
		var devices []string
		require.NoError(t, frozen.get(t.Context(), fmt.Sprint("/sessions?user=alice", n), &devices))
		require.Empty(t, devices)
	}
}
