package gohub_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// allowed sends so many pings and counts how many are answered.
func allowed(u *user, pings int) int {
	for range pings {
		u.send(frame{"type": "ping"})
	}
	synctest.Wait()
	return len(u.all("pong"))
}

// hangUp ends a session as its client would.
func (u *user) hangUp() {
	_ = u.ws.CloseNow()
	synctest.Wait()
}

func TestConnectingAnewBringsNoBurst(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{RateLimiter: gohub.NewRateLimiter(gohub.Rate{Frames: 10})})
		first, second := w.as("alice"), w.as("alice")
		require.Equal(t, 20, allowed(first, 25))
		require.Equal(t, 20, allowed(second, 25), "each session has its own")
		first.hangUp()
		second.hangUp()
		first, second = w.as("alice"), w.as("alice")
		require.Zero(t, allowed(first, 5), "and gets it back")
		require.Zero(t, allowed(second, 5))
		third := w.as("alice")
		require.Equal(t, 20, allowed(third, 25), "which leaves a third session with a new one")
		require.Equal(t, 20, allowed(w.dial("user=alice&tenant=other"), 25), "as another tenant's user")
		require.Equal(t, 20, allowed(w.as("bob"), 25))
		pass(time.Second)
		require.Equal(t, 10, allowed(first, 25), "it refills as ever")
		first.hangUp()
		pass(1500 * time.Millisecond)
		require.Equal(t, 15, allowed(w.as("alice"), 25), "also between two sessions")
		third.hangUp()
		pass(21 * time.Second)
		require.Equal(t, 20, allowed(w.as("alice"), 25))
	})
}

// Who asks for much and does not wait for the answer has to pay for it in the
// next session.
func TestAnswersArePaidForInTheNextSession(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{RateLimiter: gohub.NewRateLimiter(gohub.Rate{Frames: 10})})
		for range 20 { // 1 MB
			w.post(gohub.Message{Room: gohub.RoomID{Name: "long"}, Sender: "bot", Body: []byte(`"` + strings.Repeat("x", 50_000) + `"`)})
		}
		u := w.as("alice")
		u.send(frame{"type": "join", "room": "long", "since": 0})
		u.collect("long", 20)
		u.hangUp()
		require.InDelta(t, 20-1-1_000_000/65_536, allowed(w.as("alice"), 25), 1)
	})
}
