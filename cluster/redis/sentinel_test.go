//go:build unix

package redis

import (
	"context"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub/internal/redistest"
)

// Sentinel makes the replica the master when the master has died, and the dead
// one a replica when it is back. The hubs follow.
func TestSentinelFailover(t *testing.T) {
	t.Parallel() // it waits, most of the time
	master := redistest.New(t)
	replica := master.Replica(t)
	sentinel := master.Sentinel(t)
	require.Eventually(t, func() bool { // it has found the replica
		answer, err := sentinel.Do("SENTINEL", "REPLICAS", "hub")
		return err == nil && answer == "*1"
	}, patience, 50*time.Millisecond)

	st := startStormOn(t, func(prefix string) *Broker {
		o := Defaults(rueidis.ClientOption{InitAddress: []string{sentinel.Addr()}, Sentinel: rueidis.SentinelOption{MasterSet: "hub"}})
		client, err := rueidis.NewClient(o)
		require.NoError(t, err)
		t.Cleanup(client.Close)
		b, err := New(context.Background(), client, Options{Prefix: prefix, Logger: quiet()})
		require.NoError(t, err)
		b.t.grace, b.t.hold = 100*time.Millisecond, 200*time.Millisecond
		return b
	})
	st.goesOn(30)
	require.NoError(t, master.Kill9())
	st.goesOn(20)
	_, err := replica.Do("SET", "something", "1")
	require.NoError(t, err, "it is the master now")

	require.NoError(t, master.Start())
	require.Eventually(t, func() bool {
		_, err := master.Do("SET", "something", "2")
		return err != nil // READONLY
	}, patience, 50*time.Millisecond, "it is a replica now")
	st.goesOn(20)
	st.judge()
}
