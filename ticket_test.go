package gohub

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Whoever asks when there are too many tickets is refused at once: looking
// through all of them each time would stop everybody else's.
func TestTooManyTickets(t *testing.T) {
	fill := func(t *testing.T, b *ticketBox) {
		for i := range maxTickets {
			_, ok := b.issue(Identity{User: fmt.Sprint("user", i)})
			require.True(t, ok)
		}
	}
	t.Run("costs little", func(t *testing.T) {
		var b ticketBox
		began := time.Now()
		fill(t, &b)
		filled := time.Since(began)
		began = time.Now()
		for range maxTickets / 100 {
			b.issue(Identity{User: "bob"})
		}
		require.Less(t, time.Since(began), filled, "1,000 refusals have taken longer than 100,000 tickets")
	})
	t.Run("ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var b ticketBox
			fill(t, &b)
			_, ok := b.issue(Identity{User: "bob"})
			require.False(t, ok)
			time.Sleep(ticketLife + ticketSweep)
			fill(t, &b)
		})
	})
}
