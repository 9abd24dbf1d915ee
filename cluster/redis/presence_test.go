//go:build unix

package redis

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub/cluster/clustertest"
	"github.com/gohub/gohub/internal/redistest"
)

func TestPresence(t *testing.T) {
	s := redistest.New(t)
	f := clustertest.PresenceFeatures{
		Linger: 3 * time.Second,
		Forget: func(t *testing.T) { t.Helper(); require.NoError(t, s.FlushAll()) },
	}
	clustertest.RunPresence(t, f, func(t *testing.T) (nodes []clustertest.PresenceNode) {
		p := prefix()
		for range 3 {
			b := broker(t, s, p)
			b.t.beat, b.t.linger, b.t.probe = 100*time.Millisecond, f.Linger, 10*time.Second
			nodes = append(nodes, clustertest.PresenceNode{Broker: b, Directory: b})
		}
		return nodes
	})
}
