package gohub

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// However many rooms always have more to be stored, one message of another
// waits for a round of all of them at most.
func TestLaneTakesTurns(t *testing.T) {
	for name, size := range map[string]int64{"small": 100, "large": batchMostLen / 4} {
		t.Run(name, func(t *testing.T) {
			var l lane
			l.init()
			push := func(room string, n int) {
				for range n {
					l.push(&commit{m: Message{Room: RoomID{Name: room}, ID: NewID()}, size: size})
				}
			}
			const busy = 40
			for i := range busy {
				push(fmt.Sprint("busy", i), 2*batchShare)
			}
			push("quiet", 1)
			perBatch := batchMost / batchShare // rooms
			if size > 100 {
				perBatch = 1 // its bytes fill one
			}
			for n := 1; ; n++ {
				require.LessOrEqual(t, n, busy/perBatch+1)
				batch := l.batch()
				require.NotEmpty(t, batch)
				l.remove(batch...)
				l.turn(0)
				for _, cm := range batch {
					if cm.m.Room.Name == "quiet" {
						return
					}
					push(cm.m.Room.Name, 1)
				}
			}
		})
	}
}

// What is taken out of the middle leaves the others in order, and the rest of
// a room's list is the next batch's.
func TestLaneKeepsARoomsOrder(t *testing.T) {
	var l lane
	l.init()
	var all []*commit
	for i := range 5 {
		cm := &commit{m: Message{Room: RoomID{Name: "r"}, ID: NewID(), Seq: int64(i)}, size: 1}
		require.Equal(t, i == 0, l.push(cm), "the first one starts the lane")
		all = append(all, cm)
	}
	require.Equal(t, all, l.batch())
	l.remove(all[2])
	require.Equal(t, []*commit{all[0], all[1], all[3], all[4]}, l.batch())
	l.remove(all[0], all[1])
	l.turn(0)
	require.Equal(t, all[3:], l.batch())
	l.remove(all[3:]...)
	l.turn(0)
	require.Empty(t, l.batch())
	require.Empty(t, l.byID)
	require.Empty(t, l.byRoom)
	require.False(t, l.busy)
}
