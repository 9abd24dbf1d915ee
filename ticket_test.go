package gohub

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/require"
)

// Whoever asks when there are too many tickets is refused at once: looking
// through all of them each time would stop everybody else's.
func TestTooManyTickets(t *testing.T) {
	fill := func(t *testing.T, b *ticketBox) {
		for i := range maxTickets {
			_, _, ok := b.issue(Identity{User: fmt.Sprint("user", i)}, nil, "")
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
			b.issue(Identity{User: "bob"}, nil, "")
		}
		require.Less(t, time.Since(began), filled, "1,000 refusals have taken longer than 100,000 tickets")
	})
	t.Run("ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var b ticketBox
			fill(t, &b)
			_, _, ok := b.issue(Identity{User: "bob"}, nil, "")
			require.False(t, ok)
			time.Sleep(ticketLife + ticketSweep)
			fill(t, &b)
		})
	})
}

// Revocations are kept only for who began before them.
func TestRevocationsAreForgotten(t *testing.T) {
	v := revocations{newest: new(revoked)}
	first := v.now()
	add := func(user string) weak.Pointer[Revocation] {
		r := &Revocation{User: user}
		v.add(r, "", time.Now())
		return weak.Make(r)
	}
	a, b := add("alice"), add("bob")
	runtime.GC()
	require.NotNil(t, a.Value())
	require.NotNil(t, v.since(first, &Identity{User: "alice"}, nil))
	second := v.now()
	runtime.KeepAlive(first)
	add("carol")
	runtime.GC()
	require.Nil(t, a.Value())
	require.NotNil(t, b.Value(), "a link's own revocation goes with it")
	require.Nil(t, v.since(second, &Identity{User: "bob"}, nil))
	runtime.KeepAlive(second)
	require.NotNil(t, v.since(second, &Identity{User: "carol"}, nil))
}
