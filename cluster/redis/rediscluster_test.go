//go:build unix

package redis

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/cluster/clustertest"
	"github.com/gohub/gohub/internal/redistest"
)

// connectAll gives a client of a Redis Cluster as a hub has it.
func connectAll(tb testing.TB, c *redistest.Cluster) rueidis.Client {
	tb.Helper()
	return connectBy(tb, c, rueidis.ClientOption{})
}

func connectBy(tb testing.TB, c *redistest.Cluster, o rueidis.ClientOption) rueidis.Client {
	tb.Helper()
	o = Defaults(o)
	for _, s := range c.Masters {
		o.InitAddress = append(o.InitAddress, s.Addr())
	}
	client, err := rueidis.NewClient(o)
	require.NoError(tb, err)
	require.Equal(tb, rueidis.ClientModeCluster, client.Mode())
	tb.Cleanup(client.Close)
	return client
}

func brokerOf(tb testing.TB, c *redistest.Cluster, prefix string) *Broker {
	tb.Helper()
	return brokerOn(tb, connectAll(tb, c), prefix)
}

// whole is a broker that is ready when all its partitions are served, as a suite
// wants it.
type whole struct{ *Broker }

func (w whole) Ready() error {
	if !isLeased(w.Broker) {
		return gohub.ErrUnavailable
	}
	return nil
}

// onAll sends a command to all servers.
func onAll(tb testing.TB, c *redistest.Cluster, words ...string) {
	tb.Helper()
	for _, s := range c.Masters {
		_, err := s.Do(words...)
		require.NoError(tb, err)
	}
}

// unhurried has the servers not take one for dead that pauses for a second: they, and
// it, would refuse calls then.
func unhurried(tb testing.TB, c *redistest.Cluster) {
	tb.Helper()
	setTimeout(tb, "15000", c.Masters...)
}

// setTimeout sets after how many ms servers take another one for dead.
func setTimeout(tb testing.TB, ms string, servers ...*redistest.Server) {
	tb.Helper()
	for _, s := range servers {
		_, err := s.Do("CONFIG", "SET", "cluster-node-timeout", ms)
		require.NoError(tb, err)
	}
}

// All suites hold on three servers, with 32 partitions among them.
func TestClusterSuites(t *testing.T) {
	t.Parallel() // it waits, most of the time
	c := redistest.NewCluster(t, 3, false)
	unhurried(t, c)
	forget := func(t *testing.T) {
		t.Helper()
		onAll(t, c, "FLUSHALL")
		onAll(t, c, "SCRIPT", "FLUSH")
	}
	t.Run("broker", func(t *testing.T) {
		p := prefix()
		f := clustertest.Features{
			DedupMessages: 5000,
			Second:        func(t *testing.T, _ gohub.Broker) gohub.Broker { t.Helper(); return whole{brokerOf(t, c, p)} },
		}
		clustertest.Run(t, f, func(t *testing.T) gohub.Broker { t.Helper(); return whole{brokerOf(t, c, p)} })
	})
	t.Run("claims", func(t *testing.T) {
		p := prefix()
		clustertest.RunClaims(t, func(t *testing.T) clustertest.Claims {
			t.Helper()
			return claimsOf(t, brokerOf(t, c, p), brokerOf(t, c, p), forget)
		})
	})
	t.Run("presence", func(t *testing.T) {
		var all []*Broker
		f := clustertest.PresenceFeatures{Linger: 3 * time.Second, Forget: func(t *testing.T) {
			t.Helper()
			begin := beginsAnew(all...)
			forget(t)
			require.Eventually(t, begin, patience, time.Millisecond)
		}}
		clustertest.RunPresence(t, f, func(t *testing.T) (nodes []clustertest.PresenceNode) {
			t.Helper()
			p := prefix()
			all = nil
			for range 3 {
				b := brokerOf(t, c, p)
				b.t.beat, b.t.linger, b.t.probe = 200*time.Millisecond, f.Linger, 10*time.Second
				all = append(all, b)
				nodes = append(nodes, clustertest.PresenceNode{Broker: whole{b}, Directory: b})
			}
			return nodes
		})
	})
	directories := func(t *testing.T) func() gohub.Directory {
		t.Helper()
		p := prefix()
		return func() gohub.Directory {
			b := brokerOf(t, c, p)
			b.t.beat, b.t.probe = 100*time.Millisecond, 10*time.Second
			runs(t, b, new(recorder))
			return b
		}
	}
	t.Run("nodes", func(t *testing.T) { clustertest.RunNodes(t, directories) })
	t.Run("tickets", func(t *testing.T) { clustertest.RunTickets(t, directories) })
	t.Run("rate limiter", func(t *testing.T) {
		const rate = 200.0
		var sessions []gohub.SessionLimiter
		p := prefix()
		for range 2 {
			l, err := NewRateLimiter(connectAll(t, c), LimitOptions{Prefix: p, User: gohub.Rate{Frames: rate, Bytes: 1 << 20}, Session: unlimited, Logger: quiet()})
			require.NoError(t, err)
			sessions = append(sessions, l.Session(gohub.Identity{User: "alice"}))
		}
		const seconds = 2
		wantTook(t, seconds, flood(t, rate*(seconds+2)+2*rate*overdraft, 10, sessions...))
	})
	t.Run("an eviction policy is refused", func(t *testing.T) {
		_, err := c.Masters[1].Do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
		require.NoError(t, err)
		client := connectAll(t, c)
		_, err = New(t.Context(), client, Options{})
		require.ErrorContains(t, err, "noeviction")
		_, err = New(t.Context(), client, Options{Unsafe: true})
		require.NoError(t, err)
	})
}

// Servers with as many slots have as many partitions, and the names stay what
// they are: others would be another cluster.
func TestPartitions(t *testing.T) {
	s := redistest.NewCluster(t, 3, false).Masters[0]
	keys := newKeyspace("gohub", clusterPartitions)
	for p, k := range keys {
		at, err := s.Do("CLUSTER", "KEYSLOT", k.meta())
		require.NoError(t, err)
		var n int
		_, err = fmt.Sscanf(at, ":%d", &n)
		require.NoError(t, err)
		assert.Equal(t, p, n*clusterPartitions/clusterSlots)
	}
	assert.Equal(t, []partKeys{"gohub:{10}:", "gohub:{113}:"}, []partKeys(keys[:2]))
	assert.Equal(t, keyspace{"gohub:{0}:"}, newKeyspace("gohub", 1))
	for partitions, want := range map[int][]int{1: {0}, clusterPartitions: {0, 11, 22}} {
		var are []int
		for p := range partitions {
			if newKeyspace("x", partitions).isHome(p) {
				are = append(are, p)
			}
		}
		assert.Equal(t, want, are)
	}
}
