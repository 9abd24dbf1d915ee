package hubtest_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/hubtest"
)

// cookies serves a program with a login, "/app/as?alice", which sets a cookie.
// Another one is renewed with every handshake.
func cookies(t testing.TB) *hubtest.Server {
	t.Helper()
	hub, err := gohub.New(hubtest.Config(t, gohub.Config{
		Authenticator: gohub.AuthenticatorFunc(func(r *http.Request) (gohub.Identity, error) {
			c, err := r.Cookie("user")
			if err != nil {
				return gohub.Identity{}, gohub.Errorf(gohub.CodeUnauthorized, "log in first")
			}
			id := gohub.Identity{User: c.Value}
			if v, err := r.Cookie("visit"); err == nil {
				id.Name = v.Value
			}
			return id, nil
		}),
	}))
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.HandleFunc("/app/as", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "user", Value: r.URL.RawQuery, Path: "/"})
		http.SetCookie(w, &http.Cookie{Name: "visit", Value: "none yet", Path: "/"})
	})
	visits := 0
	mux.HandleFunc("/app/ws", func(w http.ResponseWriter, r *http.Request) {
		visits++
		http.SetCookie(w, &http.Cookie{Name: "visit", Value: fmt.Sprint("after ", visits), Path: "/"})
		hub.Handler().ServeHTTP(w, r)
	})
	s := hubtest.Serve(t, mux)
	s.HTTP.Jar, err = cookiejar.New(nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, hub.Shutdown(context.Background())) })
	return s
}

func become(t testing.TB, s *hubtest.Server, user string) {
	t.Helper()
	res, err := s.HTTP.Get(s.URL + "/app/as?" + user)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
}

// A client stays who it was, whoever logs in after it.
func TestClientsKeepTheirCookies(t *testing.T) {
	both(t, func(t *testing.T) {
		s, next := cookies(t), cookies(t)
		become(t, s, "alice")
		alice := s.Dial("alice", hubtest.Path("/app/ws"))
		alice.Join("general")
		become(t, s, "bob")
		bob := s.Dial("bob", hubtest.Path("/app/ws"))
		bob.Join("general")
		for range 2 {
			alice.Cut()
			for bob.Presence("general").Count > 1 { // else she is there by the name that she had
			}
			alice.Resume()
			require.Equal(t, "alice", alice.User())
			alice.Say("general", "hello")
			bob.Expect("message", "sender", "alice")
		}
		users := alice.Presence("general").Users
		require.Len(t, users, 2)
		require.Equal(t, "after 3", users[0].Name, "what its last handshake has set")
		alice.ResumeAt(next)
		alice.Say("general", "hello")

		become(t, s, "alice")
		bob.Resume()
		alice.ResumeAt(s, hubtest.Path("/app/ws")) // the new login's
		bob.Expect("members")
	})
}

func TestWhoIsWelcomedIsWhoWasMeant(t *testing.T) {
	t.Parallel()
	ws := hubtest.Path("/app/ws")
	tests := []struct {
		name string
		do   func(t testing.TB, s *hubtest.Server)
		says string // "": it does not fail
	}{
		{"somebody else's login", func(t testing.TB, s *hubtest.Server) {
			s.Dial("alice", ws)
		}, `alice was welcomed as "u-1". If that is right, say hubtest.As("u-1")`},
		{"another name for it", func(t testing.TB, s *hubtest.Server) {
			require.Equal(t, "u-1", s.Dial("alice", ws, hubtest.As("u-1")).User())
		}, ""},
		{"not that one either", func(t testing.TB, s *hubtest.Server) {
			s.Dial("alice", ws, hubtest.As("u-2"))
		}, `alice was welcomed as "u-1", not as "u-2"`},
		{"anybody", func(t testing.TB, s *hubtest.Server) {
			s.Dial("alice", ws, hubtest.As("")).Resume()
		}, ""},
		{"anybody, but the same", func(t testing.TB, s *hubtest.Server) {
			alice := s.Dial("alice", ws, hubtest.As(""))
			alice.Resume(ws, hubtest.Header("Cookie", "user=u-2"))
		}, `alice was "u-1" before, and has resumed as "u-2"`},
		{"another one's login, to resume with", func(t testing.TB, s *hubtest.Server) {
			alice := s.Dial("alice", ws, hubtest.As("u-1"))
			become(t, s, "u-2")
			alice.Resume(ws)
		}, `alice was "u-1" before, and has resumed as "u-2"`},
		{"another one, on purpose", func(t testing.TB, s *hubtest.Server) {
			alice := s.Dial("alice", ws, hubtest.As("u-1"))
			become(t, s, "u-2")
			alice.Resume(ws, hubtest.As("u-2"))
		}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := try(t, func(t testing.TB) {
				s := cookies(t)
				become(t, s, "u-1")
				tt.do(t, s)
			})
			require.Empty(t, r.errors)
			if tt.says == "" {
				require.Empty(t, r.fatal)
				return
			}
			require.Contains(t, r.fatal, tt.says)
		})
	}
}

func TestAnonymousUsers(t *testing.T) {
	both(t, func(t *testing.T) {
		hub := hubtest.New(t, gohub.Config{AllowAnonymous: true})
		guest := hub.Dial("guest", hubtest.As(""))
		require.Contains(t, guest.User(), "anon-")
		guest.Join("general")
		guest.Cut()
		guest.Resume(hubtest.As(""))
		guest.Say("general", "hello")
	})
}

func TestRefusalsSayWhy(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, path string
		says       string
		hint       bool
	}{
		{"the hub's", "/app/ws", "alice cannot connect: /app/ws answered 401 Unauthorized: log in first", false},
		{"not there", "/ws?x=1", "alice cannot connect: /ws answered 404 Not Found: 404 page not found", true},
		{"a page", "/app/as?user", "alice cannot connect: /app/as answered 200 OK", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := try(t, func(t testing.TB) { cookies(t).Dial("alice", hubtest.Path(tt.path)) })
			require.Contains(t, r.fatal, tt.says)
			if tt.hint {
				require.Contains(t, r.fatal, `hubtest.Path("/ws")`)
			} else {
				require.NotContains(t, r.fatal, "hubtest.Path")
			}
			r = try(t, func(t testing.TB) { cookies(t).ExpectRefused("alice", 418, hubtest.Path(tt.path)) })
			require.Contains(t, r.fatal, "alice was to be refused with 418: ")
		})
	}
}

// A program that makes its hub of Config is as quick and quiet as New's.
func TestConfigIsForTests(t *testing.T) {
	virtual(t, func(t *testing.T) {
		var took time.Duration
		r := try(t, func(t testing.TB) {
			hub, err := gohub.New(hubtest.Config(t, gohub.Config{}))
			require.NoError(t, err)
			s := hubtest.Serve(t, hub.Handler())
			alice, bob := s.Dial("alice"), s.Dial("bob")
			alice.Join("general")
			for i := range 1000 { // in no time, and so without a limit
				alice.Publish("general", i)
			}
			alice.Ping()
			alice.ExpectNo("error")
			time.Sleep(time.Hour) // bob has said nothing in it
			bob.Ping()
			begun := time.Now()
			require.NoError(t, hub.Shutdown(context.Background()))
			took = time.Since(begun)
			alice.ExpectClose(gohub.CloseRestart)
		})
		require.Empty(t, r.all())
		require.Less(t, took, 100*time.Millisecond)
	})
	own := gohub.Config{
		Authenticator: gohub.AuthenticatorFunc(hubtest.Authenticate), RateLimiter: gohub.NewRateLimiter(gohub.Rate{}),
		DrainTime: time.Second, FirstFrameTimeout: time.Second,
	}
	got := hubtest.Config(t, own)
	require.Equal(t, own.RateLimiter, got.RateLimiter)
	require.Equal(t, own.DrainTime, got.DrainTime)
	require.Equal(t, own.FirstFrameTimeout, got.FirstFrameTimeout)
	require.Nil(t, hubtest.Config(t, gohub.Config{AllowAnonymous: true}).Authenticator)
}
