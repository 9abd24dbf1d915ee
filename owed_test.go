package gohub_test

import (
	"net/http"
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
		require.Equal(t, 20, allowed(w.dial("user=alice&tenant=other"), 25), "nobody else's")
		require.Equal(t, 20, allowed(w.as("bob"), 25))
		first, second = w.as("alice"), w.as("alice")
		require.Zero(t, allowed(first, 5), "and gets it back")
		require.Zero(t, allowed(second, 5))
		third := w.as("alice")
		require.Equal(t, 20, allowed(third, 25), "which leaves a third session with a new one")
		pass(time.Second)
		require.Equal(t, 10, allowed(first, 25), "it refills as ever")
		first.hangUp()
		pass(1500 * time.Millisecond)
		require.Equal(t, 15, allowed(w.as("alice"), 25), "also between two sessions")
	})
}

// What takes longer than ten seconds to pay off is forgotten after them, and
// before twenty.
func TestWhatIsOwedIsForgotten(t *testing.T) {
	for wait, want := range map[time.Duration]int{9 * time.Second: 0, 21 * time.Second: 1} {
		t.Run(wait.String(), func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				w := startVirtual(t, gohub.Config{RateLimiter: gohub.NewRateLimiter(gohub.Rate{Frames: 0.01})})
				pass(5 * time.Second) // the limiter's tenth second lies between
				u := w.as("alice")
				require.Equal(t, 1, allowed(u, 5)) // owed for 100 s
				u.hangUp()
				pass(wait)
				require.Equal(t, want, allowed(w.as("alice"), 5))
			})
		})
	}
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

// A handshake that comes to nothing has not taken what is owed.
func TestFailedHandshakeKeepsWhatIsOwed(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{RateLimiter: gohub.NewRateLimiter(gohub.Rate{Frames: 10})})
		u := w.as("alice")
		require.Equal(t, 20, allowed(u, 25))
		u.hangUp()
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/?user=alice", nil)
		req.Header = http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}} // no key, no version
		res, err := w.http.Do(req)
		require.NoError(t, err)
		_ = res.Body.Close()
		require.Zero(t, allowed(w.as("alice"), 25))
	})
}
