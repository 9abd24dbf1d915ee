package gohub_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// Frames that share an allocation stay as they were when others come behind them, and
// nobody can append to one.
func TestFramesOfARoom(t *testing.T) {
	var room gohub.Frames
	var got, want [][]byte
	for i := range 2000 {
		m := memMessage("lobby", i)
		m.Body = append(append([]byte{'"'}, memText(rand.IntN(1<<rand.IntN(14)))...), '"')
		m.Sender = string(memText(1 + rand.IntN(20)))
		if rand.IntN(4) == 0 {
			m.To = "ümläut\x01"
		}
		m.Binary = rand.IntN(4) == 0
		want = append(want, gohub.AppendFrame(&m))
		got = append(got, room.Add(&m))
		require.Len(t, got[i], cap(got[i]))
	}
	for i := range want {
		require.Equal(t, string(want[i]), string(got[i]))
	}
}

// A busy room's frames are fewer allocations than messages; a private one's is its own, since
// not everybody has its neighbours.
func TestFramesShareAllocations(t *testing.T) {
	for to, most := range map[string]float64{"": 0.3, "bob": 2} {
		var room gohub.Frames
		m := memMessage("lobby", 1)
		m.To = to
		for range 100 {
			room.Add(&m)
		}
		allocs := testing.AllocsPerRun(1000, func() { room.Add(&m) })
		assert.LessOrEqual(t, allocs, most, to)
		assert.Equal(t, to != "", allocs >= 1, to)
	}
}
