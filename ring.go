package gohub

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/gohub/gohub/internal/xxh64"
)

// A Ring says which of several nodes a key belongs to, by consistent hashing:
// everybody who gives it the same nodes gets the same answers, in whatever
// order they are given, and when a node comes or goes only the keys that it
// gains or loses change hands, some 1/n of them.
//
// The zero value is a ring without nodes. All methods are safe for concurrent
// use: [Ring.Lookup] takes no lock, allocates nothing and sees the nodes of one
// [Ring.Set], never a mixture. A Ring must not be copied after first use.
//
// # Algorithm
//
// That of Karger et al., "Consistent Hashing and Random Trees" (STOC 1997),
// with virtual nodes: each node has 200 points for each unit of its weight on
// a circle of 2^64, and a key belongs to the nearest point, on either side.
// With the next point on one side, as in ketama, loads of equal nodes would
// have a relative standard deviation of 1/√200, which is 7 %, and of ten nodes
// more than 8 % for one set of names in six. The nearest of two halves the
// variance: 1/√400, which is 5 %; for ten nodes 4.7 %, and more than 8 % for
// one set in 300. To spread load more evenly multiply all weights: by four
// halves the deviation.
//
// A node's i-th point, from 0, is XXH64 with seed 0 of its name, "#" and i in
// decimal; a key lies at its own XXH64. A point that two nodes share belongs to
// the name that sorts first, a key in the middle between two points to the one
// above it. None of this changes within a major version, for programs of
// different ages must agree.
//
// XXH64 is no secret: a user who chooses the key can choose the node as well.
type Ring struct{ table atomic.Pointer[ringTable] }

// A RingNode is a node as a [Ring] knows it.
type RingNode struct {
	// Name is what Lookup returns: any text but "", the same in every process,
	// and no other node's.
	Name string
	// Weight is how much of the load the node takes in relation to others, in
	// whole units. A node that shall take nothing is left out. All weights
	// together are 5,000 at most, a million points. Defaults to 1.
	Weight int
}

func (n RingNode) weight() int { return max(n.Weight, 1) }

const (
	ringVirtual   = 200  // points for each unit of weight, 24 bytes each
	ringMaxWeight = 5000 // 24 MB, and a quarter of a second of Set
)

// ringTable is what Lookup searches. It never changes: Set makes another.
type ringTable struct {
	at   []uint64 // ascending, each once
	node []string // whose point it is
}

// ringPoint is one of a node's places on the circle.
type ringPoint struct {
	at   uint64
	node string
}

// Set replaces the ring's nodes by these; none at all empties it. A node that
// stays keeps its points, and a weight that grows adds some to them, so no key
// moves between two nodes that are as they were. Of several calls at a time
// the last one counts.
//
// An error names the node that has no name, a negative weight, a name that was
// there before, or a weight that makes too many points; the ring stays as it was.
func (r *Ring) Set(nodes ...RingNode) error {
	left, names := ringMaxWeight, make(map[string]bool, len(nodes))
	for i, n := range nodes {
		switch {
		case n.Name == "":
			return fmt.Errorf("gohub: ring: node %d of %d has no name", i+1, len(nodes))
		case n.Weight < 0:
			return fmt.Errorf("gohub: ring: node %q has weight %d: the least is 0, which is 1", n.Name, n.Weight)
		case names[n.Name]:
			return fmt.Errorf("gohub: ring: node %q is there twice", n.Name)
		case n.weight() > left:
			return fmt.Errorf("gohub: ring: node %q with weight %d is too much: all weights together are %d at most",
				n.Name, n.weight(), ringMaxWeight)
		}
		names[n.Name] = true
		left -= n.weight()
	}
	points := make([]ringPoint, 0, (ringMaxWeight-left)*ringVirtual)
	for _, n := range nodes {
		prefix := append([]byte(n.Name), '#')
		for i := range n.weight() * ringVirtual {
			at := xxh64.Sum(string(strconv.AppendInt(prefix, int64(i), 10)))
			points = append(points, ringPoint{at, n.Name})
		}
	}
	r.table.Store(newRingTable(points))
	return nil
}

// Lookup returns the name of the node that key belongs to. ok is false when
// the ring has no nodes. The empty key is a key like any other.
func (r *Ring) Lookup(key string) (node string, ok bool) {
	t := r.table.Load()
	if t == nil || len(t.at) == 0 {
		return "", false
	}
	return t.nearest(xxh64.Sum(key)), true
}

// newRingTable sorts points, which it may keep and change.
func newRingTable(points []ringPoint) *ringTable {
	slices.SortFunc(points, func(a, b ringPoint) int {
		if a.at == b.at {
			return cmp.Compare(a.node, b.node)
		}
		return cmp.Compare(a.at, b.at)
	})
	points = slices.CompactFunc(points, func(a, b ringPoint) bool { return a.at == b.at })
	t := &ringTable{make([]uint64, len(points)), make([]string, len(points))}
	for i, p := range points {
		t.at[i], t.node[i] = p.at, p.node
	}
	return t
}

// nearest is the owner of the point with the least distance to h.
func (t *ringTable) nearest(h uint64) string {
	above, _ := slices.BinarySearch(t.at, h) // the first at h or above
	below := above - 1
	if above == len(t.at) { // the circle closes
		above = 0
	}
	if below < 0 {
		below = len(t.at) - 1
	}
	if h-t.at[below] < t.at[above]-h { // also across 0: unsigned
		return t.node[below]
	}
	return t.node[above]
}
