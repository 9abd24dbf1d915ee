package gohub_test

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

func ring(tb testing.TB, nodes ...gohub.RingNode) *gohub.Ring {
	tb.Helper()
	r := new(gohub.Ring)
	require.NoError(tb, r.Set(nodes...))
	return r
}

// equals are nodes of the default weight.
func equals(names ...string) (nodes []gohub.RingNode) {
	for _, name := range names {
		nodes = append(nodes, gohub.RingNode{Name: name})
	}
	return nodes
}

// numbered are n names in the manner of format.
func numbered(format string, n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf(format, i))
	}
	return names
}

func owner(tb testing.TB, r *gohub.Ring, key string) string {
	tb.Helper()
	node, ok := r.Lookup(key)
	if !ok { // require is slow, and this is asked millions of times
		tb.Fatalf("nobody has %q", key)
	}
	return node
}

// loads counts the keys of each node.
func loads(tb testing.TB, r *gohub.Ring, keys []string) map[string]int {
	tb.Helper()
	n := map[string]int{}
	for _, key := range keys {
		n[owner(tb, r, key)]++
	}
	return n
}

// deviation is the standard deviation of nodes' loads, in relation to the mean.
func deviation(loads map[string]int, nodes int) float64 {
	total, squares := 0.0, 0.0
	for _, n := range loads {
		total += float64(n)
		squares += float64(n) * float64(n)
	}
	mean := total / float64(nodes)
	return math.Sqrt(squares/float64(nodes)-mean*mean) / mean
}

// seeded is a source of randomness whose seed a failing test shows.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// nodesOf makes n nodes with names and weights (up to most) of all sorts.
func nodesOf(rnd *rand.Rand, n, most int) []gohub.RingNode {
	nodes := make([]gohub.RingNode, n)
	format := []string{"%[2]d-%[1]x", "10.%[2]d.0.1:80%[1]x", "%[1]x.%[2]d.example", "%[1]x#%[2]d", "node-%[2]d\x00%[1]x"}[rnd.IntN(5)]
	for i := range nodes {
		nodes[i] = gohub.RingNode{Name: fmt.Sprintf(format, rnd.Uint32(), i), Weight: rnd.IntN(most + 1)}
	}
	return nodes
}

func TestRingLoad(t *testing.T) {
	t.Parallel()
	keys := slices.Concat(numbered("user-%d", 50_000), numbered("acme/%x@mobile", 50_000))
	words := strings.Fields("alpha bravo charlie delta echo foxtrot golf hotel india juliett")
	var squares float64
	sets := map[string][]string{
		"words": words, "digits": numbered("%d", 10), "letters": strings.Split("abcdefghij", ""),
		"addresses": numbered("10.0.0.%d:8080", 10), "IPv6": numbered("[2001:db8::%x]:443", 10),
		"pods": numbered("gohub-%d", 10), "hosts": numbered("chat%02d.eu-west.example.com", 10),
		"URLs": numbered("wss://n%d.example.com/ws", 10), "long": numbered(strings.Repeat("n", 300)+"%d", 10),
		"ids": numbered("0199c2f4-4f8e-7cc1-8d6c-3f0a8f6f2b1%d", 10), "zeros": numbered("node%08d", 10),
		"binary": numbered("\x00\xff%d\x00", 10),
	}
	for name, names := range sets {
		d := deviation(loads(t, ring(t, equals(names...)...), keys), len(names))
		t.Logf("%s: %.2f %%", name, 100*d)
		require.LessOrEqual(t, d, 0.08, name)
		squares += d * d
	}
	mean := math.Sqrt(squares / float64(len(sets)))
	t.Logf("root mean square: %.2f %%", 100*mean)
	require.Less(t, mean, 0.06, "what the doc comment says, and not what the next point would give")
}

// Names by chance, keys in even steps around the circle, whose deviation adds nothing.
func TestRingLoadTheory(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	const nodes, sets, steps = 10, 40, 1 << 15
	var squares float64
	for range sets {
		r, n := ring(t, nodesOf(rnd, nodes, 1)...), map[string]int{}
		for i := range uint64(steps) {
			n[gohub.RingAt(r, i*(math.MaxUint64/steps))]++
		}
		d := deviation(n, nodes)
		squares += d * d
	}
	mean := math.Sqrt(squares / sets)
	t.Logf("root mean square: %.2f %%", 100*mean)
	// 1/√400, nine tenths of its square because a node's share cannot exceed all; within six standard errors.
	theory := math.Sqrt(0.9 / 400)
	require.InDelta(t, theory, mean, 6*theory/math.Sqrt(2*(nodes-1)*sets))
}

func TestRingWeights(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	keys := numbered("user-%d", 50_000)
	for range 10 {
		nodes := nodesOf(rnd, 2+rnd.IntN(8), 6)
		total := 0
		for _, n := range nodes {
			total += max(n.Weight, 1)
		}
		got := loads(t, ring(t, nodes...), keys)
		for _, n := range nodes {
			weight := float64(max(n.Weight, 1))
			want := float64(len(keys)) * weight / float64(total)
			// Six standard deviations: of the points, and of the keys.
			near := 6 * math.Sqrt(1/(400*weight)+1/want)
			require.InEpsilon(t, want, got[n.Name], near, "%+v of %+v", n, nodes)
		}
	}
}

// Whatever changes, a key moves only to or from the node that changed.
func TestRingMoves(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	keys := numbered("user-%d", 5_000)
	for range 30 {
		nodes := nodesOf(rnd, 3+rnd.IntN(12), 4)
		before := ring(t, nodes...)
		at := rnd.IntN(len(nodes))
		one, others := nodes[at], slices.Delete(slices.Clone(nodes), at, at+1)
		less, more := one, one
		less.Weight = max(one.Weight, 1)
		more.Weight = less.Weight + 1 + rnd.IntN(3)
		for what, c := range map[string]struct{ small, large *gohub.Ring }{
			"the node":   {ring(t, others...), before},
			"its weight": {ring(t, append(others, less)...), ring(t, append(others, more)...)},
		} {
			moved := 0
			for _, key := range keys {
				from, to := owner(t, c.small, key), owner(t, c.large, key)
				if from != to {
					moved++
					require.Equal(t, one.Name, to, "%s came: key %q moved, of %+v", what, key, nodes)
				}
			}
			require.Positive(t, moved, "%s came and got nothing, of %+v", what, nodes)
		}
	}
}

func TestRingMovesFew(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	keys := numbered("user-%d", 30_000)
	most := 0.0
	for _, n := range []int{2, 3, 10, 30} {
		nodes := nodesOf(rnd, n, 1)
		before := ring(t, nodes...)
		for range min(n, 5) {
			nodes = append(nodes[1:], nodes[0])
			after := ring(t, nodes[1:]...)
			moved := 0
			for _, key := range keys {
				if owner(t, before, key) != owner(t, after, key) {
					moved++
				}
			}
			share := float64(moved) / float64(len(keys)) * float64(n)
			most = max(most, share)
			require.LessOrEqual(t, share, 1.3, "of n=%d, without %q", n, nodes[0].Name)
		}
	}
	t.Logf("%.3f/n at most", most)
}

func TestRingOrder(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	for range 10 {
		nodes := nodesOf(rnd, 10, 3)
		one := ring(t, nodes...)
		rnd.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
		// One that had others before, and got these step by step.
		other := ring(t, nodesOf(rnd, 5, 3)...)
		for n := range nodes {
			require.NoError(t, other.Set(nodes[:n+1]...))
		}
		for _, key := range numbered("user-%d", 2_000) {
			require.Equal(t, owner(t, one, key), owner(t, other, key), "%q of %+v", key, nodes)
		}
	}
}

// These may not change within a major version: programs of different ages must
// agree. They were made by another program, with github.com/cespare/xxhash/v2
// v2.3.0, which looks at every point for the nearest one.
func TestRingGolden(t *testing.T) {
	r := ring(t, gohub.RingNode{Name: "node-a"}, gohub.RingNode{Name: "node-b", Weight: 2}, gohub.RingNode{Name: "10.0.0.3:8080"}, gohub.RingNode{Name: "ñ#0", Weight: 3})
	for key, want := range map[string]string{
		"":                                     "node-a",
		"alice":                                "node-a",
		"bob":                                  "node-b",
		"acme/alice":                           "ñ#0",
		"user-1":                               "ñ#0",
		"user-2":                               "node-a",
		"user-3":                               "node-a",
		"user-4":                               "ñ#0",
		"user-5":                               "10.0.0.3:8080",
		"user-6":                               "ñ#0",
		"user-7":                               "node-b",
		"user-8":                               "node-b",
		"0199c2f4-4f8e-7cc1-8d6c-3f0a8f6f2b11": "ñ#0",
		"a key that is longer than thirty-two bytes": "ñ#0",
		"日本":     "node-b",
		"node-a": "node-a",
	} {
		require.Equal(t, want, owner(t, r, key), "%q", key)
	}
	want := map[string]int{"node-a": 2906, "node-b": 5838, "10.0.0.3:8080": 2663, "ñ#0": 8593}
	require.Equal(t, want, loads(t, r, numbered("user-%d", 20_000)), "all points are where they were")
}

// Lookup agrees with a look at every point, also where points coincide, across 0,
// and in the middle between two.
func TestRingNearest(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	near := func(v uint64) uint64 { return v + rnd.Uint64N(5) - 2 }
	for range 3_000 {
		points, places := map[string][]uint64{}, []uint64{0}
		for range 1 + rnd.IntN(6) {
			at := near(places[rnd.IntN(len(places))])
			if rnd.IntN(3) == 0 {
				at = rnd.Uint64()
			}
			places = append(places, at)
			node := string(rune('a' + rnd.IntN(4)))
			points[node] = append(points[node], at)
		}
		r := gohub.RingOfPoints(points)
		for range 20 {
			h := near(places[rnd.IntN(len(places))])
			if rnd.IntN(3) == 0 {
				h = h/2 + places[rnd.IntN(len(places))]/2
			}
			want, least, above := "", uint64(math.MaxUint64), false
			for _, node := range slices.Sorted(maps.Keys(points)) {
				for _, at := range points[node] {
					d := min(at-h, h-at)
					if want == "" || d < least || d == least && !above && at-h == d {
						want, least, above = node, d, at-h == d
					}
				}
			}
			require.Equal(t, want, gohub.RingAt(r, h), "%d of %v", h, points)
		}
	}
}

func TestRingShared(t *testing.T) {
	shared := map[string][]uint64{"b": {100}, "a": {100}, "c": {100, 300}}
	for _, h := range []uint64{99, 100, 101} {
		require.Equal(t, "a", gohub.RingAt(gohub.RingOfPoints(shared), h), "%d", h)
	}
	require.Equal(t, "c", gohub.RingAt(gohub.RingOfPoints(shared), 200), "the middle belongs to the upper point")
	delete(shared, "a")
	require.Equal(t, "b", gohub.RingAt(gohub.RingOfPoints(shared), 100), "whoever is left has it")
}

func TestRingEmpty(t *testing.T) {
	var r gohub.Ring
	nobody := func(what string) {
		node, ok := r.Lookup("alice")
		require.False(t, ok, what)
		require.Empty(t, node, what)
	}
	nobody("the zero value")
	require.NoError(t, r.Set())
	nobody("no nodes")
	require.NoError(t, r.Set(equals("only")...))
	for _, key := range []string{"", "alice", "only", "only#0"} {
		require.Equal(t, "only", owner(t, &r, key))
	}
	require.NoError(t, r.Set())
	nobody("all are gone")
}

func TestRingRefuses(t *testing.T) {
	r := ring(t, equals("first")...)
	for want, nodes := range map[string][]gohub.RingNode{
		`gohub: ring: node 2 of 2 has no name`:                            equals("a", ""),
		`gohub: ring: node "a" has weight -1: the least is 0, which is 1`: {{Name: "a", Weight: -1}},
		`gohub: ring: node "a" is there twice`:                            equals("a", "b", "a"),
		`gohub: ring: node "a" with weight 5001 is too much: all weights together are 5000 at most`: {
			{Name: "a", Weight: 5001},
		},
		`gohub: ring: node "b" with weight 2 is too much: all weights together are 5000 at most`: {
			{Name: "a", Weight: 4999}, {Name: "b", Weight: 2},
		},
		fmt.Sprintf(`gohub: ring: node "a" with weight %d is too much: all weights together are 5000 at most`, math.MaxInt): {
			{Name: "a", Weight: math.MaxInt},
		},
	} {
		require.EqualError(t, r.Set(nodes...), want)
		require.Equal(t, "first", owner(t, r, "alice"), "the ring stays as it was")
	}
	require.NoError(t, r.Set(gohub.RingNode{Name: "a", Weight: 4999}, gohub.RingNode{Name: "b"}), "as much as there may be")
}

// Lookups beside changes see one set of nodes or the other.
func TestRingConcurrent(t *testing.T) {
	t.Parallel()
	keys := numbered("user-%d", 500)
	sets := [][]gohub.RingNode{equals(numbered("a%d", 10)...), equals(numbered("b%d", 3)...), equals("c")}
	want := make([]map[string]string, len(sets))
	for i, nodes := range sets {
		want[i] = map[string]string{}
		for _, key := range keys {
			want[i][key] = owner(t, ring(t, nodes...), key)
		}
	}
	r := ring(t, sets[0]...)
	var seen [3]atomic.Int64
	var lookups, changes sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		lookups.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				key := keys[i%len(keys)]
				node, ok := r.Lookup(key)
				set := slices.IndexFunc(want, func(w map[string]string) bool { return w[key] == node })
				if !ok || set < 0 {
					t.Errorf("%q belongs to %q", key, node)
					return
				}
				seen[set].Add(1)
			}
		})
	}
	for i := range 2 {
		changes.Go(func() {
			// Until each was seen, or a lookup found what it should not.
			for n := i; !t.Failed() && (n < 60 || slices.ContainsFunc([]int{0, 1, 2}, func(s int) bool { return seen[s].Load() == 0 })); n++ {
				if err := r.Set(sets[n%len(sets)]...); err != nil {
					t.Error(err)
				}
			}
		})
	}
	changes.Wait()
	close(done)
	lookups.Wait()
}

func TestRingAllocs(t *testing.T) {
	r := ring(t, equals(numbered("node-%d", 10)...)...)
	for _, key := range []string{"alice", strings.Repeat("k", 200)} {
		require.Zero(t, testing.AllocsPerRun(1000, func() { r.Lookup(key) }))
	}
}

// BenchmarkRingLookup asks for 65,536 keys without a pattern: of 2,000 that
// come again and again the processor learns the way by heart, and takes a third of the time.
func BenchmarkRingLookup(b *testing.B) {
	const keys = 1 << 16
	text := make([]byte, keys+127)
	rnd := rand.NewChaCha8([32]byte{})
	_, _ = rnd.Read(text)
	all := string(text) // a key is a piece of it: in the cache, as one that was just read
	r := ring(b, equals(numbered("node-%d", 10)...)...)
	for _, size := range []int{12, 24, 63, 127} {
		b.Run(fmt.Sprintf("key=%d", size), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i = (i*25173 + 13849) % keys { // all of them, in an order of no use
				r.Lookup(all[i : i+size])
			}
		})
	}
}

func BenchmarkRingSet(b *testing.B) {
	for _, n := range []int{10, 100} {
		b.Run(fmt.Sprintf("nodes=%d", n), func(b *testing.B) {
			r, nodes := new(gohub.Ring), equals(numbered("node-%d", n)...)
			b.ReportAllocs()
			for b.Loop() {
				_ = r.Set(nodes...)
			}
		})
	}
	b.Run("most", func(b *testing.B) {
		r := new(gohub.Ring)
		for b.Loop() {
			_ = r.Set(gohub.RingNode{Name: "a", Weight: 2500}, gohub.RingNode{Name: "b", Weight: 2500})
		}
	})
}
