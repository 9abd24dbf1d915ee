//go:build unix

package chaos

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	envSeed     = "GOHUB_CHAOS_SEED"
	envDuration = "GOHUB_CHAOS_DURATION" // set: make chaos runs
	envClients  = "GOHUB_CHAOS_CLIENTS"
)

// patience is how long a test waits for what must come.
const patience = time.Minute

// long says for how long, in make chaos.
func long(t *testing.T) time.Duration {
	t.Helper()
	s := os.Getenv(envDuration)
	if s == "" {
		return 0
	}
	d, err := time.ParseDuration(s)
	require.NoError(t, err, envDuration)
	return d
}

func fromEnv(t *testing.T, name string, def uint64) uint64 {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return def
	}
	n, err := strconv.ParseUint(s, 10, 64)
	require.NoError(t, err, name)
	return n
}

// TestChaos has faults strike the cluster: some that always are the same, one
// after the other, or in make chaos whatever the seed gives, two at a time.
func TestChaos(t *testing.T) {
	seed := fromEnv(t, envSeed, 1)
	d := long(t)
	o := ordinary()
	if d > 0 {
		seed = fromEnv(t, envSeed, newSeed())
		o = options{clients: int(fromEnv(t, envClients, 300)), rooms: 30, roomsEach: 3, every: time.Second, stay: 20 * time.Second}
	}
	o.breaks, o.rests = true, true
	t.Logf("seed %d", seed)
	w := newWorld(t, seed, o)
	w.goesOn(20)
	rng := rand.New(rand.NewPCG(seed, 0))
	if d > 0 {
		// Faults for most of the time, and between them what needs some quiet:
		// a node's death and Redis' absence, and presence after all of that.
		stormy := max(d-3*time.Minute, d/4) / 2
		w.storm(t.Context(), rng, stormy, 30, 2*time.Second, false)
		w.quiet(t.Context(), "faults, one at a time", time.Now(), presenceFor+5*time.Second, w.nodes...)
		w.aNodeDies(t.Context(), w.nodes[rng.IntN(len(w.nodes))])
		w.goesOn(20)
		w.redisIsAway(t.Context(), time.Minute)
		w.storm(t.Context(), rng, stormy, 30, 2*time.Second, true)
		w.quiet(t.Context(), "faults, two at a time", time.Now(), presenceFor+5*time.Second, w.nodes...)
	} else {
		for i, k := range []kind{
			killNode, killSubscriptions, partition("Redis", redisProxy), killRedis, partition("Postgres", pgProxy),
			freezeNode, flush, cutOutput, restartPostgres, freezeRedis,
		} {
			w.strike(t.Context(), k(w, rng, w.nodes[i%len(w.nodes)], 2))
		}
	}
	w.goesOn(20)
	w.settle()
	w.judge()
}
