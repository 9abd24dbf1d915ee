package seldom

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Line
		for range 3 {
			var warned atomic.Int32
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					if l.At(slog.LevelWarn) == slog.LevelWarn {
						warned.Add(1)
					}
				})
			}
			wg.Wait()
			require.EqualValues(t, 1, warned.Load())
			time.Sleep(time.Second - 1)
			require.Equal(t, slog.LevelDebug, l.At(slog.LevelError))
			time.Sleep(time.Nanosecond)
		}
	})
}
