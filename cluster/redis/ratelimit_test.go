//go:build unix

package redis

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/internal/redistest"
)

// unlimited is a session limiter that lets everything pass.
var unlimited = gohub.NewRateLimiter(gohub.Rate{})

func limiter(t testing.TB, s *redistest.Server, o LimitOptions) gohub.RateLimiter {
	t.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	l, err := NewRateLimiter(connect(t, s), o)
	require.NoError(t, err)
	return l
}

// flood spends as fast as it may on all sessions, and counts.
func flood(t *testing.T, lasts time.Duration, bytes int, sessions ...gohub.SessionLimiter) (passed int64) {
	t.Helper()
	var n atomic.Int64
	var wg sync.WaitGroup
	end := time.Now().Add(lasts)
	for _, s := range sessions {
		wg.Go(func() {
			for now := time.Now(); now.Before(end); now = time.Now() {
				if retry := s.Spend(now, bytes); retry > 0 {
					assert.Less(t, retry, 10*time.Second)
					time.Sleep(min(retry, 20*time.Millisecond))
					continue
				}
				n.Add(1)
			}
		})
	}
	wg.Wait()
	return n.Load()
}

func TestUserLimitOnSeveralHubs(t *testing.T) {
	t.Parallel() // it waits, most of the time
	s := redistest.New(t)
	const rate, hubs, lasts = 200.0, 3, 4 * time.Second
	o := LimitOptions{Prefix: prefix(), User: gohub.Rate{Frames: rate}, Session: unlimited}
	alice := gohub.Identity{User: "alice"}
	var sessions []gohub.SessionLimiter
	for range hubs {
		l := limiter(t, s, o)
		sessions = append(sessions, l.Session(alice), l.Session(alice))
	}
	got := float64(flood(t, lasts, 10, sessions...))
	fair := rate * (lasts.Seconds() + 2)
	assert.LessOrEqual(t, got, fair+hubs*rate*overdraft+10, "the rate, its burst, and a second on each hub")
	assert.GreaterOrEqual(t, got, 0.9*fair)

	// All that is paid off: no more than the rate from now on.
	got = float64(flood(t, lasts, 10, sessions...))
	assert.InDelta(t, rate*lasts.Seconds(), got, 0.25*rate*lasts.Seconds(), "the rate, over both hubs")

	// Others have their own.
	for _, other := range []gohub.Identity{{User: "bob"}, {User: "alice", Tenant: "t"}} {
		got := float64(flood(t, time.Second, 10, limiter(t, s, o).Session(other)))
		assert.GreaterOrEqual(t, got, 1.9*rate, "%+v has a burst of its own", other)
	}
}

// A session's own limit is none that connecting anew gets around.
func TestConnectingAnewBringsNoBurst(t *testing.T) {
	l := limiter(t, redistest.New(t), LimitOptions{Prefix: prefix(), User: gohub.Rate{Frames: 1000}, Session: gohub.NewRateLimiter(gohub.Rate{Bytes: 1000})})
	hub, err := gohub.New(gohub.Config{
		RateLimiter: l, Logger: slog.New(slog.DiscardHandler),
		Authenticator: gohub.AuthenticatorFunc(func(*http.Request) (gohub.Identity, error) { return gohub.Identity{User: "alice"}, nil }),
	})
	require.NoError(t, err)
	srv := httptest.NewServer(hub.Handler())
	t.Cleanup(srv.Close)
	t.Cleanup(func() { require.NoError(t, hub.Shutdown(context.Background())) })
	refused := func() (n int) {
		c, _, err := websocket.Dial(t.Context(), srv.URL, &websocket.DialOptions{Subprotocols: []string{"gohub.v1"}})
		require.NoError(t, err)
		defer func() { require.NoError(t, c.Close(websocket.StatusNormalClosure, "")) }()
		for range 4 {
			require.NoError(t, c.Write(t.Context(), websocket.MessageText, []byte(`{"type":"ping","ref":"`+strings.Repeat("x", 450)+`"}`)))
		}
		for answers := 0; answers < 4; {
			_, b, err := c.Read(t.Context())
			require.NoError(t, err)
			for line := range strings.Lines(string(b)) {
				if strings.Contains(line, "rate_limited") {
					n++
				}
				if !strings.Contains(line, "welcome") {
					answers++
				}
			}
		}
		return n
	}
	require.Zero(t, refused(), "a burst is 2,000 bytes")
	again := 0
	for range 20 { // it may come before the end of the one before
		again += refused()
	}
	require.Positive(t, again)
}

func TestUserLimitOfBytes(t *testing.T) {
	t.Parallel() // it waits, most of the time
	s := redistest.New(t)
	const rate, frame, lasts = 100_000.0, 1000, 3 * time.Second
	l := limiter(t, s, LimitOptions{Prefix: prefix(), User: gohub.Rate{Bytes: rate}, Session: unlimited})
	got := frame * float64(flood(t, lasts, frame, l.Session(gohub.Identity{User: "u"})))
	fair := rate * (lasts.Seconds() + 2)
	assert.LessOrEqual(t, got, fair+rate*overdraft+frame)
	assert.GreaterOrEqual(t, got, 0.9*fair)
}

// An honest client that sends what has gathered, well within the burst, is not
// refused because the answer of Redis is not there yet.
func TestUserLimitLetsABurstPass(t *testing.T) {
	s := redistest.New(t)
	session := limiter(t, s, LimitOptions{Prefix: prefix(), User: gohub.Rate{Frames: 100}, Session: unlimited}).Session(gohub.Identity{User: "u"})
	now := time.Now()
	for range 100 {
		require.Zero(t, session.Spend(now, 1))
	}
}

func TestUserLimitWithoutRedis(t *testing.T) {
	t.Parallel() // it waits, most of the time
	s := redistest.New(t)
	const rate = 50.0
	l := limiter(t, s, LimitOptions{Prefix: prefix(), User: gohub.Rate{Frames: rate}, Session: gohub.NewRateLimiter(gohub.Rate{Frames: 1000}), Timeout: 200 * time.Millisecond})
	session := l.Session(gohub.Identity{User: "u"})
	flood(t, 500*time.Millisecond, 1, session)
	require.NoError(t, s.Kill9())
	flood(t, 4*time.Second, 1, session) // now it has been noticed
	got := float64(flood(t, time.Second, 1, session))
	assert.InDelta(t, 1000, got, 300, "the session's own limit is what holds")
	require.NoError(t, s.Start())
	flood(t, 3*time.Second, 1, session)
	for range 8 { // until it has been noticed, which takes a busy machine longer
		if got = float64(flood(t, 2*time.Second, 1, session)); got <= 3*rate {
			break
		}
	}
	assert.InDelta(t, 2*rate, got, rate, "the user's holds again")
}

func TestUserLimitAndSessionLimit(t *testing.T) {
	s := redistest.New(t)
	l := limiter(t, s, LimitOptions{Prefix: prefix(), User: gohub.Rate{Frames: 1000}, Session: gohub.NewRateLimiter(gohub.Rate{Frames: 5})})
	session := l.Session(gohub.Identity{User: "u"})
	now := time.Now()
	for range 10 {
		require.Zero(t, session.Spend(now, 1))
	}
	assert.Positive(t, session.Spend(now, 1), "the session's burst is used up")
	assert.Nil(t, limiter(t, s, LimitOptions{Prefix: prefix(), User: gohub.Rate{Frames: 1}, Session: none{}}).Session(gohub.Identity{User: "u"}))
}

type none struct{}

func (none) Session(gohub.Identity) gohub.SessionLimiter { return nil }

func TestLimitOptions(t *testing.T) {
	c := connect(t, redistest.New(t))
	for want, o := range map[string]LimitOptions{
		"LimitOptions.User is empty": {},
		"Prefix":                     {Prefix: "{}", User: gohub.Rate{Frames: 1}},
		"Timeout":                    {Timeout: -1, User: gohub.Rate{Frames: 1}},
	} {
		_, err := NewRateLimiter(c, o)
		require.ErrorContains(t, err, want)
	}
	_, err := NewRateLimiter(nil, LimitOptions{User: gohub.Rate{Frames: 1}})
	require.ErrorContains(t, err, "client")
}

// What a hub keeps of users who are gone goes, too.
func TestUserLimitForgetsUsers(t *testing.T) {
	l := limiter(t, redistest.New(t), LimitOptions{Prefix: prefix(), User: gohub.Rate{Frames: 1}}).(*userLimiter)
	for _, u := range []string{"a", "b"} {
		l.Session(gohub.Identity{User: u})
	}
	l.users[userOf{"", "a"}].used = time.Now().Add(-2 * forgetUsers)
	l.swept = time.Now().Add(-2 * forgetUsers)
	l.Session(gohub.Identity{User: "c"})
	assert.NotContains(t, l.users, userOf{"", "a"})
	assert.Len(t, l.users, 2)
}

func BenchmarkUserLimit(b *testing.B) {
	l := limiter(b, redistest.New(b), LimitOptions{Prefix: prefix(), User: gohub.Rate{Frames: 1e9}, Session: unlimited})
	session := l.Session(gohub.Identity{User: "u"})
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		session.Spend(now, 100)
	}
}
