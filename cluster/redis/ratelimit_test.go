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

// flood spends as fast as it may on all sessions until n frames have passed, and
// tells how long that took. A machine that pauses makes it longer, and never shorter.
func flood(t *testing.T, n float64, bytes int, sessions ...gohub.SessionLimiter) time.Duration {
	t.Helper()
	var passed atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for _, s := range sessions {
		wg.Go(func() {
			for now := began; float64(passed.Load()) < n && assert.Less(t, now.Sub(began), patience); now = time.Now() {
				if retry := s.Spend(now, bytes); retry > 0 {
					assert.Less(t, retry, 10*time.Second)
					time.Sleep(min(retry, 20*time.Millisecond))
					continue
				}
				passed.Add(1)
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	t.Logf("%.0f frames took %v", n, took.Round(time.Millisecond))
	return took
}

// wantTook allows for frames that sessions let pass at the same moment, and for pauses
// that the burst does not make up for.
func wantTook(t *testing.T, seconds float64, took time.Duration) {
	t.Helper()
	assert.GreaterOrEqual(t, took.Seconds(), 0.95*seconds, "no more than the rate, its burst, and a second on each hub")
	assert.Less(t, took.Seconds(), seconds+3, "and no less")
}

func TestUserLimitOnSeveralHubs(t *testing.T) {
	t.Parallel() // it waits, most of the time
	s := redistest.New(t)
	const rate, hubs, seconds = 200.0, 3, 4
	o := LimitOptions{Prefix: prefix(), User: gohub.Rate{Frames: rate}, Session: unlimited}
	alice := gohub.Identity{User: "alice"}
	var sessions []gohub.SessionLimiter
	for range hubs {
		l := limiter(t, s, o)
		sessions = append(sessions, l.Session(alice), l.Session(alice))
	}
	wantTook(t, seconds, flood(t, rate*(seconds+2)+hubs*rate*overdraft, 10, sessions...))

	// Others have their own.
	key := func(s gohub.SessionLimiter) string { return s.(*userSession).user.key }
	for _, other := range []gohub.Identity{{User: "bob"}, {User: "alice", Tenant: "t"}} {
		session := limiter(t, s, o).Session(other)
		assert.NotEqual(t, key(sessions[0]), key(session))
		flood(t, 1.9*rate, 10, session)
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
	const rate, frame, seconds = 100_000.0, 1000, 3
	l := limiter(t, s, LimitOptions{Prefix: prefix(), User: gohub.Rate{Bytes: rate}, Session: unlimited})
	wantTook(t, seconds, flood(t, rate*(seconds+2+overdraft)/frame, frame, l.Session(gohub.Identity{User: "u"})))
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
	s := redistest.New(t)
	const rate, own = 50.0, 1000
	l := limiter(t, s, LimitOptions{Prefix: prefix(), User: gohub.Rate{Frames: rate}, Session: gohub.NewRateLimiter(gohub.Rate{Frames: own})})
	session := l.Session(gohub.Identity{User: "u"})
	var ahead time.Duration // this test's clock
	// passes is how many frames do at one moment, at which the session's burst is whole.
	passes := func() (n int) {
		ahead += 10 * time.Second
		for now := time.Now().Add(ahead); n < 5*own && session.Spend(now, 1) == 0; n++ {
		}
		return n
	}
	alone := func() bool { // a frame has it ask
		session.Spend(time.Now().Add(ahead), 1)
		user := session.(*userSession).user
		user.mu.Lock()
		defer user.mu.Unlock()
		return user.alone
	}
	require.Less(t, passes(), own, "the user's limit is lower")
	require.NoError(t, s.Kill9())
	require.Eventually(t, alone, patience, time.Millisecond)
	require.Equal(t, 2*own, passes(), "the session's own limit is what holds")
	began := time.Now()
	require.NoError(t, s.Start())
	require.Eventually(t, func() bool { return !alone() }, patience, time.Millisecond)
	n := passes()
	assert.LessOrEqual(t, float64(n), rate*(time.Since(began).Seconds()+2+overdraft)+1, "the user's holds again")
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
