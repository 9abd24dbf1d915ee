package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

func TestViewRing(t *testing.T) {
	nodes := []gohub.Node{{Name: "a", Sessions: 3}, {Name: "b", URL: "ws://b/ws"}, {Name: "c"}, {Name: "gone", Leaving: true}}
	v, err := new(pictures).view("b", nodes)
	require.NoError(t, err)
	assert.Equal(t, "b", v.Node)
	require.Len(t, v.Nodes, 3)
	require.Len(t, v.Ring, ringSlices)
	assert.Equal(t, 3, v.Nodes[0].Sessions)
	assert.Equal(t, "ws://b/ws", v.Nodes[1].URL)
	sum := 0.0
	for i, n := range v.Nodes {
		sum += n.Share
		assert.InDelta(t, 1.0/3, n.Share, 0.1, n.Name)
		moved := 0
		for slice, owner := range n.Without {
			assert.NotEqual(t, i, owner, "it is gone")
			if owner != v.Ring[slice] {
				moved++
				assert.Equal(t, i, v.Ring[slice], "only what it had changes hands")
			}
		}
		assert.InDelta(t, n.Share, float64(moved)/ringSlices, 1e-9, n.Name)
	}
	assert.InDelta(t, 1, sum, 1e-9)
	assert.IsIncreasing(t, []int{v.Ring[0], v.Ring[ringSlices/2], v.Ring[ringSlices-1]}, "side by side")

	alone, err := new(pictures).view("a", nodes[:1])
	require.NoError(t, err)
	assert.InDelta(t, 1, alone.Nodes[0].Share, 1e-9)
	assert.Empty(t, alone.Nodes[0].Without)
	none, err := new(pictures).view("a", nil)
	require.NoError(t, err)
	assert.Empty(t, none.Ring)
	_, err = new(pictures).view("a", []gohub.Node{{Name: "a"}, {Name: "a"}})
	assert.Error(t, err, "two of a name")
}

// A request costs no rings while the nodes are the same.
func TestPictureIsKept(t *testing.T) {
	var ring pictures
	nodes := []gohub.Node{{Name: "a"}, {Name: "b"}}
	first, err := ring.of(nodes)
	require.NoError(t, err)
	nodes[0].Sessions = 7
	same, err := ring.of(nodes)
	require.NoError(t, err)
	require.Same(t, first, same)
	v, err := ring.view("a", nodes)
	require.NoError(t, err)
	require.Equal(t, 7, v.Nodes[0].Sessions)
	nodes[0].Weight = 2
	other, err := ring.of(nodes)
	require.NoError(t, err)
	require.NotSame(t, first, other)
	require.Greater(t, other.share[0], first.share[0])
}
