package gohub

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// However many are refused at the same time, nothing of the queue stays
// taken, and never is more taken than there is.
func TestRefusedReservationsTakeNothing(t *testing.T) {
	t.Parallel()
	h, err := New(Config{AllowAnonymous: true, MaxPending: 4, MaxBody: 2000, MaxPendingBytes: 5000})
	require.NoError(t, err)
	rooms := []*room{{}, {}, {}, {}}
	var wg sync.WaitGroup
	for i := range 16 {
		r := rooms[i%len(rooms)]
		wg.Go(func() {
			for range 30_000 {
				if h.persist.reserve(r, 1900) {
					h.persist.cancel(r, 1900)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }() // ends with them
	for going := true; going; {
		select {
		case <-done:
			going = false
		default:
			require.LessOrEqual(t, h.persist.messages.Load(), int64(4))
			require.LessOrEqual(t, h.persist.bytes.Load(), int64(5000))
		}
	}
	require.Zero(t, h.persist.messages.Load())
	require.Zero(t, h.persist.bytes.Load())
	for _, r := range rooms {
		require.Zero(t, r.uncommitted.Load())
	}
	require.NoError(t, h.Shutdown(t.Context()))
}
