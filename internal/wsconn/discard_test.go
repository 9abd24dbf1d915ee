package wsconn

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// However many go on sending after they were closed, they get 32 MiB/s
// together; who would have to wait for long takes no turn.
func TestDiscardsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all turns
		const second = 32 << 20 / discardPart
		for i := range second/4 + 1 {
			wait, ok := all.turn()
			require.True(t, ok)
			require.Equal(t, time.Duration(i)*time.Second/second, wait)
		}
		for range 1000 {
			_, ok := all.turn()
			require.False(t, ok)
		}
		time.Sleep(time.Second / second)
		wait, ok := all.turn()
		require.True(t, ok)
		require.Equal(t, time.Second/4, wait)
		time.Sleep(time.Minute)
		wait, ok = all.turn()
		require.True(t, ok, "nothing is saved up, and nothing is owed")
		require.Zero(t, wait)
	})
}

// A crowd that never stops sending ends when its time is over, all of it.
func TestCrowdNeverStopsSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.CloseTimeout = 2 * time.Second
		w := start(t, overPipe, o, nil)
		const crowd = 100
		began := time.Now()
		var all []*session
		var sent atomic.Int64
		for range crowd {
			p, s := w.dial()
			all = append(all, s)
			s.Shutdown(4002, "enough")
			go func() { // ends with the connection
				more := clientText(filler(32 << 10))
				for {
					n, err := p.nc.Write(more)
					sent.Add(int64(n))
					if err != nil {
						return
					}
				}
			}()
			go func() { // the same
				b := make([]byte, 1024)
				for {
					if _, err := p.nc.Read(b); err != nil {
						return
					}
				}
			}()
		}
		for _, s := range all {
			require.ErrorIs(t, s.ended(t), ErrLatched)
		}
		require.InDelta(t, o.CloseTimeout, time.Since(began), float64(discardWait))
		const own = crowd * (discardAtOnce + discardPart) // before it takes turns
		require.InDelta(t, 2*(32<<20), sent.Load()-own, 16<<20)
	})
}
