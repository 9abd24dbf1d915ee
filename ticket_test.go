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
// through all of them each time would stop everybody else's. It is done once a second.
func TestTooManyTickets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b ticketBox
		issue := func(user string) bool {
			_, _, ok := b.issue(Identity{User: user}, nil, "")
			return ok
		}
		fill := func() {
			for i := range maxTickets {
				if !issue(fmt.Sprint("user", i)) { // require is slow
					t.Fatalf("no ticket after %d", i)
				}
			}
		}
		fill()
		time.Sleep(ticketLife)
		require.False(t, issue("bob"), "looked through: they end now")
		time.Sleep(ticketSweep)
		require.False(t, issue("bob"), "not looked through: they have ended")
		time.Sleep(time.Nanosecond)
		fill()
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
