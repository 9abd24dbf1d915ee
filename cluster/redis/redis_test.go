//go:build unix

package redis

import (
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/cluster/clustertest"
	"github.com/gohub/gohub/internal/redistest"
)

func TestBroker(t *testing.T) {
	s := redistest.New(t)
	p := prefix()
	f := clustertest.Features{
		DedupMessages: 5000,
		Second:        func(t *testing.T, _ gohub.Broker) gohub.Broker { return broker(t, s, p) },
	}
	clustertest.Run(t, f, func(t *testing.T) gohub.Broker { return broker(t, s, p) })
}

// The same with everything that is put off done at once: rooms are
// unsubscribed, dropped and trimmed under the suite's hands.
func TestEagerBroker(t *testing.T) {
	s := redistest.New(t)
	p := prefix()
	eager := func(t *testing.T) gohub.Broker {
		t.Helper()
		b := broker(t, s, p)
		b.t.beat, b.t.unsubscribe, b.t.idle = 2*time.Millisecond, 0, 0
		b.t.probe = 10 * time.Second
		return b
	}
	f := clustertest.Features{
		DedupMessages: 5000,
		Second:        func(t *testing.T, _ gohub.Broker) gohub.Broker { t.Helper(); return eager(t) },
	}
	clustertest.Run(t, f, eager)
}

func TestNewWithoutAServer(t *testing.T) {
	_, err := New(t.Context(), noServers{}, Options{})
	require.EqualError(t, err, "redis: read maxmemory_policy: the client knows no server")
}

// noServers is a client of a Redis Cluster that has none.
type noServers struct{ rueidis.Client }

func (noServers) Mode() rueidis.ClientMode         { return rueidis.ClientModeCluster }
func (noServers) Nodes() map[string]rueidis.Client { return nil }

func TestDefaultsReadFromMasters(t *testing.T) {
	o := Defaults(rueidis.ClientOption{
		ReplicaOnly:      true,
		SendToReplicas:   func(rueidis.Completed) bool { return true },
		ReadNodeSelector: func(uint16, []rueidis.NodeInfo) int { return 0 },
	})
	require.False(t, o.ReplicaOnly)
	require.Nil(t, o.SendToReplicas)
	require.Nil(t, o.ReadNodeSelector)
}
