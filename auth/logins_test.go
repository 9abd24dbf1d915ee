package auth_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/auth"
	"github.com/gohub/gohub/hubtest"
)

const (
	accessCookie  = "__Host-gohub"
	refreshCookie = "__Host-gohub-refresh"
	password      = "correct horse battery staple"
)

// A site is a service with logins, and what it was told.
type site struct {
	*auth.Logins
	a   *auth.Authenticator
	log *safeBuffer

	mu            sync.Mutex // guards ended
	ended, reused []gohub.Identity
}

func newSite(t testing.TB, a auth.Config, cfg auth.LoginConfig) *site {
	t.Helper()
	s := &site{log: new(safeBuffer)}
	a.Logger = slog.New(slog.NewTextHandler(io.MultiWriter(s.log, &logged), &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.a = newAuth(t, a)
	if cfg.Check == nil {
		cfg.Check = func(r *http.Request) (gohub.Identity, error) {
			if r.PostFormValue("password") != password {
				return gohub.Identity{}, gohub.Errorf(gohub.CodeUnauthorized, "wrong name or password")
			}
			return gohub.Identity{User: r.PostFormValue("user"), Tenant: "acme", Rooms: []string{"general"}}, nil
		}
	}
	if cfg.Ended == nil {
		cfg.Ended = func(_ context.Context, who gohub.Identity) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.ended = append(s.ended, who)
		}
	}
	cfg.Reused = func(_ context.Context, who gohub.Identity) {
		s.mu.Lock()
		defer s.mu.Unlock()
		require.Len(t, s.reused, len(s.ended), "it comes before Ended")
		s.reused = append(s.reused, who)
	}
	l, err := auth.NewLogins(s.a, cfg)
	require.NoError(t, err)
	s.Logins = l
	t.Cleanup(func() {
		require.Empty(t, secrets.found(s.log.String()), "a secret was logged")
		require.NotContains(t, s.log.String(), password)
	})
	return s
}

func (s *site) endings() []gohub.Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ended)
}

// A browser has cookies, and says where its page is from.
type browser struct {
	t       testing.TB
	site    *site
	header  http.Header
	cookies map[string]string
}

func (s *site) browser(t testing.TB) *browser {
	return &browser{t, s, http.Header{"Sec-Fetch-Site": {"same-origin"}, "Origin": {"https://chat.example.com"}}, map[string]string{}}
}

// other is a browser with the same cookies, those of a thief for example.
func (b *browser) other() *browser {
	return &browser{b.t, b.site, b.header, maps.Clone(b.cookies)}
}

func (b *browser) post(h http.HandlerFunc, body string) *httptest.ResponseRecorder {
	b.t.Helper()
	r := httptest.NewRequest(http.MethodPost, "https://chat.example.com/auth", strings.NewReader(body))
	maps.Copy(r.Header, b.header)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, name := range slices.Sorted(maps.Keys(b.cookies)) {
		r.AddCookie(&http.Cookie{Name: name, Value: b.cookies[name]})
	}
	rec := httptest.NewRecorder()
	h(rec, r)
	for _, c := range rec.Result().Cookies() {
		secrets.add("." + c.Value)
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	require.Empty(b.t, secrets.found(rec.Body.String()), "an answer has a secret in it that scripts can read")
	require.Equal(b.t, "no-store", rec.Header().Get("Cache-Control"))
	return rec
}

func (b *browser) login(user string) {
	b.t.Helper()
	rec := b.post(b.site.Login, "user="+user+"&password="+strings.ReplaceAll(password, " ", "+"))
	require.Equal(b.t, http.StatusOK, rec.Code, rec.Body)
}

func (b *browser) refresh(status int) *httptest.ResponseRecorder {
	b.t.Helper()
	rec := b.post(b.site.Refresh, "")
	require.Equal(b.t, status, rec.Code, rec.Body)
	return rec
}

// who is whom the Authenticator takes the browser for.
func (b *browser) who() (gohub.Identity, error) {
	r := httptest.NewRequest(http.MethodGet, "https://chat.example.com/ws", nil)
	for name, v := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: v})
	}
	return b.site.a.Authenticate(r)
}

func TestLogin(t *testing.T) {
	virtual(t, func(t *testing.T) {
		s := newSite(t, auth.Config{}, auth.LoginConfig{})
		b := s.browser(t)
		rec := b.post(s.Login, "user=alice&password=wrong")
		require.Equal(t, http.StatusUnauthorized, rec.Code)
		require.Equal(t, "application/problem+json", rec.Header().Get("Content-Type"))
		require.Contains(t, rec.Body.String(), "wrong name or password")
		require.Empty(t, b.cookies)

		rec = b.post(s.Login, "user=alice&password="+strings.ReplaceAll(password, " ", "+"))
		require.Equal(t, http.StatusOK, rec.Code)
		var said struct {
			User    string
			Expires int64
		}
		require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &said))
		require.Equal(t, "alice", said.User)
		require.Equal(t, time.Now().Add(5*time.Minute).UnixMilli(), said.Expires)

		who, err := b.who()
		require.NoError(t, err)
		require.NotEmpty(t, who.Login)
		require.Equal(t, gohub.Identity{
			User: "alice", Tenant: "acme", Rooms: []string{"general"}, Login: who.Login, ExpiresAt: time.Now().Add(5*time.Minute + 30*time.Second),
		}, who)
		id, _, _ := strings.Cut(b.cookies[refreshCookie], ".")
		require.NotContains(t, id, who.Login, "what tokens are called by is not told")

		again := s.browser(t)
		again.login("alice")
		other, err := again.who()
		require.NoError(t, err)
		require.NotEqual(t, who.Login, other.Login, "logins can be told apart")
		time.Sleep(5*time.Minute + 30*time.Second)
		_, err = b.who()
		isRefused(t, err, gohub.CodeUnauthorized, "the token has expired")
	})
}

func TestLoginRefusals(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		check  func(r *http.Request) (gohub.Identity, error)
		body   string
		status int
		code   string
	}{
		"error of its own": {func(*http.Request) (gohub.Identity, error) {
			return gohub.Identity{}, errors.New("no such user")
		}, "", 401, "unauthorized"},
		"too often": {func(*http.Request) (gohub.Identity, error) {
			return gohub.Identity{}, &gohub.Error{Code: gohub.CodeRateLimited, RetryAfter: time.Minute}
		}, "", 429, "rate_limited"},
		"user id that cannot be": {func(*http.Request) (gohub.Identity, error) {
			return gohub.Identity{User: "alice@example.com"}, nil
		}, "", 500, "internal"},
		"body that is too large": {func(r *http.Request) (gohub.Identity, error) {
			_, err := io.ReadAll(r.Body)
			return gohub.Identity{User: "alice"}, err
		}, strings.Repeat("x", 64<<10+1), 413, "too_large"},
		"more than a cookie holds": {func(*http.Request) (gohub.Identity, error) {
			return gohub.Identity{User: "alice", Name: strings.Repeat("x", 4000)}, nil
		}, "", 500, "internal"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, auth.Config{}, auth.LoginConfig{Check: c.check})
			b := s.browser(t)
			rec := b.post(s.Login, c.body)
			require.Equal(t, c.status, rec.Code)
			require.Contains(t, rec.Body.String(), `"code":"`+c.code+`"`)
			require.NotContains(t, rec.Body.String(), "no such user", "an error's text is for the log")
			require.Empty(t, b.cookies)
		})
	}
}

func TestCookieFlags(t *testing.T) {
	virtual(t, func(t *testing.T) {
		for _, c := range []struct {
			name            string
			cfg             auth.Config
			login           auth.LoginConfig
			access, refresh string
		}{
			{
				"by default",
				auth.Config{},
				auth.LoginConfig{},
				"__Host-gohub=?; Path=/; Max-Age=300; HttpOnly; Secure; SameSite=Lax",
				"__Host-gohub-refresh=?; Path=/; Max-Age=2592000; HttpOnly; Secure; SameSite=Lax",
			},
			{
				"strict",
				auth.Config{Cookie: "__Host-chat"},
				auth.LoginConfig{SameSite: http.SameSiteStrictMode, Access: time.Minute, Life: time.Hour},
				"__Host-chat=?; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=Strict",
				"__Host-chat-refresh=?; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Strict",
			},
			{
				"none",
				auth.Config{},
				auth.LoginConfig{SameSite: http.SameSiteNoneMode},
				"__Host-gohub=?; Path=/; Max-Age=300; HttpOnly; Secure; SameSite=None",
				"__Host-gohub-refresh=?; Path=/; Max-Age=2592000; HttpOnly; Secure; SameSite=None",
			},
			{
				"insecure",
				auth.Config{Insecure: true},
				auth.LoginConfig{SameSite: http.SameSiteDefaultMode},
				"gohub=?; Path=/; Max-Age=300; HttpOnly; SameSite=Lax",
				"gohub-refresh=?; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax",
			},
		} {
			s := newSite(t, c.cfg, c.login)
			b := s.browser(t)
			check := func(rec *httptest.ResponseRecorder, access, refresh string) {
				t.Helper()
				set := rec.Header()["Set-Cookie"]
				require.Len(t, set, 2, c.name)
				for i, want := range []string{access, refresh} {
					name, rest, _ := strings.Cut(set[i], "=")
					value, flags, _ := strings.Cut(rest, ";")
					if value != "" {
						value = "?"
					}
					require.Equal(t, want, name+"="+value+";"+flags, c.name)
				}
			}
			check(b.post(s.Login, "user=alice&password="+strings.ReplaceAll(password, " ", "+")), c.access, c.refresh)
			check(b.refresh(http.StatusOK), c.access, c.refresh)
			cleared := func(s string) string {
				before, after, _ := strings.Cut(strings.Replace(s, "=?", "=", 1), "Max-Age=")
				_, after, _ = strings.Cut(after, ";")
				return before + "Max-Age=0;" + after
			}
			check(b.post(s.Logout, ""), cleared(c.access), cleared(c.refresh))
			require.Empty(t, b.cookies)
		}
	})
}

func TestLoginConfig(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		a    auth.Config
		l    auth.LoginConfig
		says string
	}{
		"no private key":     {auth.Config{Keys: []auth.Key{{Algorithm: auth.ES256, Key: &ecKey.PublicKey}}}, auth.LoginConfig{}, "Config.Keys"},
		"JWKS alone":         {auth.Config{JWKS: "https://login.example.com/"}, auth.LoginConfig{}, "Config.Keys"},
		"no cookie":          {auth.Config{Cookie: "-"}, auth.LoginConfig{}, "Config.Cookie"},
		"cookie unprotected": {auth.Config{Cookie: "session"}, auth.LoginConfig{}, "__Host-"},
		"cookie not secure":  {auth.Config{Cookie: "__Host-x", Insecure: true}, auth.LoginConfig{}, "Config.Cookie"},
		"any origin":         {auth.Config{}, auth.LoginConfig{Origins: []string{"*"}}, "LoginConfig.Origins"},
		"no origin":          {auth.Config{}, auth.LoginConfig{Origins: []string{"example.com"}}, "LoginConfig.Origins"},
		"None without TLS":   {auth.Config{Insecure: true}, auth.LoginConfig{SameSite: http.SameSiteNoneMode}, "LoginConfig.SameSite"},
		"short access":       {auth.Config{}, auth.LoginConfig{Access: time.Millisecond}, "LoginConfig.Access"},
		"negative life":      {auth.Config{}, auth.LoginConfig{Life: -1}, "LoginConfig.Life"},
		"life below access":  {auth.Config{}, auth.LoginConfig{Life: time.Minute}, "LoginConfig.Life"},
		"negative grace":     {auth.Config{}, auth.LoginConfig{Grace: -time.Second}, "LoginConfig.Grace"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := auth.NewLogins(newAuth(t, c.a), c.l)
			require.ErrorContains(t, err, c.says)
		})
	}
}

// Each refresh gives new ones of both, until the login's time is over.
func TestRefreshRotates(t *testing.T) {
	virtual(t, func(t *testing.T) {
		s := newSite(t, auth.Config{}, auth.LoginConfig{Life: time.Hour})
		b := s.browser(t)
		b.login("alice")
		first, err := b.who()
		require.NoError(t, err)
		seen := map[string]bool{b.cookies[refreshCookie]: true, b.cookies[accessCookie]: true}
		for range 14 {
			time.Sleep(4 * time.Minute)
			b.refresh(http.StatusOK)
			for _, c := range b.cookies {
				require.False(t, seen[c])
				seen[c] = true
			}
			who, err := b.who()
			require.NoError(t, err)
			require.Equal(t, first.Login, who.Login)
			require.Equal(t, []string{"general"}, who.Rooms)
		}
		time.Sleep(3 * time.Minute) // 59 of 60 have gone
		b.refresh(http.StatusOK)
		who, err := b.who()
		require.NoError(t, err)
		require.True(t, time.Now().Add(90*time.Second).Equal(who.ExpiresAt), "the access token ends with the login, and the leeway")
		time.Sleep(time.Minute)
		rec := b.refresh(http.StatusUnauthorized)
		require.Contains(t, rec.Body.String(), "not logged in any more")
		require.Empty(t, b.cookies)
		require.Empty(t, s.endings())
	})
}

// refused is a refresh that ends in 401 and a code; the cookies are gone.
func (b *browser) refused(code string) {
	b.t.Helper()
	rec := b.refresh(http.StatusUnauthorized)
	var said struct{ Code string }
	require.NoError(b.t, json.Unmarshal(rec.Body.Bytes(), &said))
	require.Equal(b.t, code, said.Code)
	require.Empty(b.t, b.cookies)
}

// alarm is a refresh by who has one of two copies. A look does not end the
// login, and says whose it is, for the frame of the page that then refreshes.
func (b *browser) alarm() {
	b.t.Helper()
	delete(b.cookies, accessCookie)
	who, err := b.peek()
	require.ErrorIs(b.t, err, auth.ErrReused)
	isRefused(b.t, err, gohub.CodeUnauthorized, "this login has been used from two places, and has ended")
	require.Equal(b.t, "alice", who.User)
	require.Nil(b.t, who.Rooms)
	require.Empty(b.t, b.site.endings())
	b.refused(auth.CodeReused)
}

// A refresh token that is used again ends the login, for the thief and for
// the one stolen from, whichever comes first.
func TestRefreshReuse(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps func(b, thief *browser)
	}{
		{"the thief comes second", func(b, thief *browser) {
			b.refresh(http.StatusOK)
			time.Sleep(10 * time.Second)
			thief.alarm()
			b.refused("unauthorized")
		}},
		{"the thief comes first", func(b, thief *browser) {
			thief.refresh(http.StatusOK)
			time.Sleep(10 * time.Second)
			b.alarm()
			thief.refused("unauthorized")
		}},
		{"an old one, at once", func(b, thief *browser) {
			b.refresh(http.StatusOK)
			b.refresh(http.StatusOK)
			thief.alarm()
			b.refused("unauthorized")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				s := newSite(t, auth.Config{}, auth.LoginConfig{})
				b, bystander := s.browser(t), s.browser(t)
				b.login("alice")
				bystander.login("alice")
				who, err := b.who()
				require.NoError(t, err)
				c.steps(b, b.other())
				require.Len(t, s.endings(), 1)
				require.Equal(t, who.Login, s.endings()[0].Login)
				require.Equal(t, "alice", s.endings()[0].User)
				require.Equal(t, "acme", s.endings()[0].Tenant)
				require.Equal(t, s.endings(), s.reused)
				require.Contains(t, s.log.String(), "used twice")
				bystander.refresh(http.StatusOK) // another login of the user's
			})
		})
	}
}

// Tabs refresh at the same time, and answers get lost: for a while the token
// before the newest gets the newest.
func TestRefreshGrace(t *testing.T) {
	virtual(t, func(t *testing.T) {
		s := newSite(t, auth.Config{}, auth.LoginConfig{})
		b := s.browser(t)
		b.login("alice")
		tab := b.other()
		b.refresh(http.StatusOK)
		time.Sleep(10*time.Second - 1)
		tab.refresh(http.StatusOK)
		require.Equal(t, b.cookies[refreshCookie], tab.cookies[refreshCookie], "whichever answer comes last, the browser has the newest")
		b.refresh(http.StatusOK)
		require.Empty(t, s.endings())

		none := newSite(t, auth.Config{}, auth.LoginConfig{Grace: -1})
		b = none.browser(t)
		b.login("alice")
		tab = b.other()
		b.refresh(http.StatusOK)
		tab.refresh(http.StatusUnauthorized)
		b.refresh(http.StatusUnauthorized)
	})
}

// peek is whose page the browser would be shown.
func (b *browser) peek() (gohub.Identity, error) {
	r := httptest.NewRequest(http.MethodGet, "https://chat.example.com/", nil)
	for name, v := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: v})
	}
	return b.site.Peek(r)
}

func TestPeek(t *testing.T) {
	virtual(t, func(t *testing.T) {
		f := &failingFamilies{Families: auth.NewMemoryFamilies()}
		s := newSite(t, auth.Config{}, auth.LoginConfig{Families: f, Life: time.Hour})
		b := s.browser(t)
		nobody := func(b *browser, code gohub.Code) {
			t.Helper()
			who, err := b.peek()
			refusal, ok := errors.AsType[*gohub.Error](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, code, refusal.Code)
			require.Zero(t, who)
		}
		nobody(b, gohub.CodeUnauthorized)
		b.login("alice")
		time.Sleep(10 * time.Minute) // the access token is over
		delete(b.cookies, accessCookie)
		old := b.other()
		for range 3 { // as often as one likes
			who, err := b.peek()
			require.NoError(t, err)
			require.Equal(t, "alice", who.User)
			require.Equal(t, "acme", who.Tenant)
			require.Equal(t, []string{"general"}, who.Rooms)
			require.NotEmpty(t, who.Login)
			require.Zero(t, who.ExpiresAt)
		}
		b.refresh(http.StatusOK)
		_, err := old.peek()
		require.NoError(t, err, "within Grace")
		time.Sleep(11 * time.Second)
		who, err := old.peek()
		require.ErrorIs(t, err, auth.ErrReused)
		require.Equal(t, "alice", who.User)
		require.Empty(t, s.endings(), "a look ends nothing")

		f.fail = "get"
		nobody(b, gohub.CodeUnavailable)
		f.fail = ""
		for _, bad := range []string{"", "x", b.cookies[refreshCookie] + "x", "." + b.cookies[refreshCookie]} {
			thief := b.other()
			thief.cookies[refreshCookie] = bad
			nobody(thief, gohub.CodeUnauthorized)
		}
		left := b.other()
		require.Equal(t, http.StatusNoContent, b.post(s.Logout, "").Code)
		nobody(left, gohub.CodeUnauthorized)

		b.login("alice")
		time.Sleep(time.Hour)
		nobody(b, gohub.CodeUnauthorized)
	})
}

// Whoever may not refresh any more does not look either; only a refresh ends
// the login.
func TestPeekAsksRecheck(t *testing.T) {
	virtual(t, func(t *testing.T) {
		var now gohub.Identity
		var err error
		s := newSite(t, auth.Config{}, auth.LoginConfig{Recheck: func(_ context.Context, who gohub.Identity) (gohub.Identity, error) {
			require.NotEmpty(t, who.Login)
			return now, err
		}})
		b := s.browser(t)
		b.login("alice")
		old := b.other()
		now = gohub.Identity{User: "alice", Tenant: "acme"}
		b.refresh(http.StatusOK)
		time.Sleep(time.Minute) // old's token is used up
		now = gohub.Identity{User: "alice", Tenant: "acme", Name: "Alice B.", Rooms: []string{"garden"}, Login: "another", ExpiresAt: time.Now()}
		who, peekErr := b.peek()
		require.NoError(t, peekErr)
		require.Equal(t, "Alice B.", who.Name)
		require.Equal(t, []string{"garden"}, who.Rooms, "as of now")
		require.NotEqual(t, "another", who.Login)
		require.Zero(t, who.ExpiresAt)

		for _, tt := range []struct {
			who  gohub.Identity
			err  error
			code gohub.Code
		}{
			{now, gohub.Errorf(gohub.CodeForbidden, "closed"), gohub.CodeForbidden},
			{now, gohub.Errorf(gohub.CodeUnauthorized, "gone"), gohub.CodeUnauthorized},
			{now, errors.New("no database"), gohub.CodeUnavailable},
			{gohub.Identity{User: "bob", Tenant: "acme"}, nil, gohub.CodeInternal},
			{gohub.Identity{User: "alice", Tenant: "other"}, nil, gohub.CodeInternal},
		} {
			now, err = tt.who, tt.err
			who, peekErr := b.peek()
			refusal, ok := errors.AsType[*gohub.Error](peekErr)
			require.True(t, ok, "%v", peekErr)
			require.Equal(t, tt.code, refusal.Code)
			require.Zero(t, who)
			who, peekErr = old.peek()
			require.Equal(t, refusal, peekErr, "also with a token that is used up")
			require.Zero(t, who)
		}
		require.Empty(t, s.endings(), "a look ends nothing")
		now, err = gohub.Identity{User: "alice", Tenant: "acme"}, nil
		b.refresh(http.StatusOK)
	})
}

// Many at the very same time.
func TestRefreshRace(t *testing.T) {
	t.Parallel()
	s := newSite(t, auth.Config{}, auth.LoginConfig{})
	b := s.browser(t)
	b.login("alice")
	for range 20 {
		tabs := make([]*browser, 16)
		var wg sync.WaitGroup
		for i := range tabs {
			tabs[i] = b.other()
			wg.Go(func() {
				rec := tabs[i].post(s.Refresh, "")
				if rec.Code != http.StatusOK {
					t.Error(rec.Code, rec.Body)
				}
			})
		}
		wg.Wait()
		for _, tab := range tabs {
			require.Equal(t, tabs[0].cookies[refreshCookie], tab.cookies[refreshCookie])
		}
		require.NotEqual(t, b.cookies[refreshCookie], tabs[0].cookies[refreshCookie])
		b.cookies = tabs[0].cookies
	}
	require.Empty(t, s.endings())
}

// Refresh tokens that never were.
func TestRefreshAttacks(t *testing.T) {
	virtual(t, func(t *testing.T) {
		f := &failingFamilies{Families: auth.NewMemoryFamilies()}
		s := newSite(t, auth.Config{}, auth.LoginConfig{Families: f})
		alice, bob := s.browser(t), s.browser(t)
		alice.login("alice")
		bob.login("bob")
		aliceID, aliceSecret, _ := strings.Cut(alice.cookies[refreshCookie], ".")
		_, bobSecret, _ := strings.Cut(bob.cookies[refreshCookie], ".")
		for name, token := range map[string]string{
			"nothing":         "",
			"garbage":         "garbage",
			"dot":             ".",
			"no family":       "." + aliceSecret,
			"unknown family":  "AAAAAAAAAAAAAAAAAAAAAAAAAA." + aliceSecret,
			"huge family":     strings.Repeat("A", 100_000) + "." + aliceSecret,
			"no secret":       aliceID + ".",
			"short secret":    aliceID + "." + aliceSecret[:40],
			"long secret":     aliceID + "." + aliceSecret + "AAAA",
			"padded":          aliceID + "." + aliceSecret + "=",
			"huge":            aliceID + "." + strings.Repeat("A", 100_000),
			"an access token": alice.cookies[accessCookie],
			"more dots":       alice.cookies[refreshCookie] + ".x",
		} {
			b := s.browser(t)
			b.cookies[refreshCookie] = token
			rec := b.refresh(http.StatusUnauthorized)
			require.Contains(t, rec.Body.String(), "not logged in any more", name)
		}
		require.LessOrEqual(t, f.longest, 84, "the storage is not bothered")
		b := s.browser(t)
		rec := b.refresh(http.StatusUnauthorized)
		require.Contains(t, rec.Body.String(), "no token: log in first")
		b.header = maps.Clone(b.header)
		b.header["Cookie"] = []string{refreshCookie + "=" + bob.cookies[refreshCookie] + "; " + refreshCookie + "=" + alice.cookies[refreshCookie]}
		rec = b.refresh(http.StatusUnauthorized)
		require.Contains(t, rec.Body.String(), "more than one token")
		alice.refresh(http.StatusOK)
		bob.refresh(http.StatusOK)
		require.Empty(t, s.endings(), "none of these was ever a token of theirs")

		// Who knows the family's id has seen a token of it.
		b = s.browser(t)
		b.cookies[refreshCookie] = aliceID + "." + bobSecret
		b.refresh(http.StatusUnauthorized)
		alice.refresh(http.StatusUnauthorized)
		bob.refresh(http.StatusOK)
		require.Len(t, s.endings(), 1)
	})
}

// A refresh asks who the user is now.
func TestRecheck(t *testing.T) {
	virtual(t, func(t *testing.T) {
		var now func(who gohub.Identity) (gohub.Identity, error)
		s := newSite(t, auth.Config{}, auth.LoginConfig{Recheck: func(_ context.Context, who gohub.Identity) (gohub.Identity, error) {
			return now(who)
		}})
		b := s.browser(t)
		b.login("alice")
		before := maps.Clone(b.cookies)

		now = func(who gohub.Identity) (gohub.Identity, error) {
			who.Rooms, who.Login, who.ExpiresAt = []string{"other"}, "x", time.Now().Add(time.Hour)
			return who, nil
		}
		first, err := b.who()
		require.NoError(t, err)
		b.refresh(http.StatusOK)
		who, err := b.who()
		require.NoError(t, err)
		require.Equal(t, []string{"other"}, who.Rooms)
		require.Equal(t, first.Login, who.Login)

		after := maps.Clone(b.cookies)
		for _, c := range []struct {
			err    error
			user   string
			status int
		}{
			{errors.New("database gone"), "alice", 503},
			{&gohub.Error{Code: gohub.CodeUnavailable, Message: "later"}, "alice", 503},
			{nil, "bob", 500},
		} {
			now = func(who gohub.Identity) (gohub.Identity, error) { who.User = c.user; return who, c.err }
			b.refresh(c.status)
			require.Equal(t, after, b.cookies, "nothing has changed")
		}
		require.NotEqual(t, before, after)
		now = func(who gohub.Identity) (gohub.Identity, error) { return who, nil }
		b.refresh(http.StatusOK)
		require.Empty(t, s.endings())

		now = func(who gohub.Identity) (gohub.Identity, error) {
			return who, gohub.Errorf(gohub.CodeForbidden, "this account is closed")
		}
		rec := b.refresh(http.StatusForbidden)
		require.Contains(t, rec.Body.String(), "this account is closed")
		require.Empty(t, b.cookies)
		require.Len(t, s.endings(), 1)
		now = func(who gohub.Identity) (gohub.Identity, error) { return who, nil }
		b.cookies = after
		b.refresh(http.StatusUnauthorized)
	})
}

// failingFamilies fail when told.
type failingFamilies struct {
	auth.Families
	fail    string
	longest int // of the ids that were looked up
}

var errStorage = errors.New("storage is away")

func (f *failingFamilies) err(what string) error {
	if f.fail == what {
		return errStorage
	}
	return nil
}

func (f *failingFamilies) Add(ctx context.Context, fam auth.Family) error {
	return errors.Join(f.err("add"), f.Families.Add(ctx, fam))
}

func (f *failingFamilies) Get(ctx context.Context, id string) (auth.Family, error) {
	f.longest = max(f.longest, len(id))
	if err := f.err("get"); err != nil {
		return auth.Family{}, err
	}
	return f.Families.Get(ctx, id)
}

func (f *failingFamilies) Swap(ctx context.Context, was [32]byte, fam auth.Family) (bool, error) {
	if err := f.err("swap"); err != nil {
		return false, err
	}
	return f.Families.Swap(ctx, was, fam)
}

func (f *failingFamilies) Remove(ctx context.Context, id string) error {
	if err := f.err("remove"); err != nil {
		return err
	}
	return f.Families.Remove(ctx, id)
}

func (f *failingFamilies) RemoveUser(ctx context.Context, tenant, user string) error {
	if err := f.err("remove user"); err != nil {
		return err
	}
	return f.Families.RemoveUser(ctx, tenant, user)
}

// What cannot be kept or looked up is 503, and can be tried again.
// ending ends a login as soon as it has been looked up, as a logout in another
// tab may.
type ending struct {
	auth.Families
	on bool
}

func (e *ending) Get(ctx context.Context, id string) (auth.Family, error) {
	f, err := e.Families.Get(ctx, id)
	if e.on && err == nil {
		err = e.Remove(ctx, id)
	}
	return f, err
}

// A refresh that a logout overtakes gives nothing, also within Grace.
func TestLogoutOvertakesRefresh(t *testing.T) {
	for _, grace := range []bool{false, true} {
		t.Run(fmt.Sprint("grace=", grace), func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				e := &ending{Families: auth.NewMemoryFamilies()}
				s := newSite(t, auth.Config{}, auth.LoginConfig{Families: e})
				b := s.browser(t)
				b.login("alice")
				if grace {
					before := maps.Clone(b.cookies)
					b.refresh(http.StatusOK)
					b.cookies = before
				}
				e.on = true
				b.refresh(http.StatusUnauthorized)
			})
		})
	}
}

func TestFamiliesAway(t *testing.T) {
	virtual(t, func(t *testing.T) {
		f := &failingFamilies{Families: auth.NewMemoryFamilies()}
		s := newSite(t, auth.Config{}, auth.LoginConfig{Families: f})
		b := s.browser(t)
		f.fail = "add"
		rec := b.post(s.Login, "user=alice&password="+strings.ReplaceAll(password, " ", "+"))
		require.Equal(t, http.StatusServiceUnavailable, rec.Code)
		require.Equal(t, "1", rec.Header().Get("Retry-After"))
		require.NotContains(t, rec.Body.String(), errStorage.Error())
		require.Contains(t, s.log.String(), errStorage.Error())
		require.Empty(t, b.cookies)
		f.fail = ""
		b.login("alice")
		before := maps.Clone(b.cookies)
		for _, fail := range []string{"get", "swap"} {
			f.fail = fail
			b.refresh(http.StatusServiceUnavailable)
			require.Equal(t, before, b.cookies)
		}
		for _, fail := range []string{"get", "remove"} {
			f.fail = fail
			require.Equal(t, http.StatusServiceUnavailable, b.post(s.Logout, "").Code)
			require.Equal(t, before, b.cookies, "else it could not be tried again")
		}
		f.fail = "remove user"
		require.ErrorIs(t, s.EndUser(t.Context(), "acme", "alice"), errStorage)
		require.Empty(t, s.endings())
		f.fail = ""
		b.refresh(http.StatusOK)
		require.Equal(t, http.StatusNoContent, b.post(s.Logout, "").Code)
		require.Len(t, s.endings(), 1)
	})
}

func TestLogout(t *testing.T) {
	virtual(t, func(t *testing.T) {
		s := newSite(t, auth.Config{}, auth.LoginConfig{})
		stranger := s.browser(t)
		require.Equal(t, http.StatusNoContent, stranger.post(s.Logout, "").Code)
		require.Empty(t, s.endings())

		b, other := s.browser(t), s.browser(t)
		b.login("alice")
		other.login("alice")
		who, err := b.who()
		require.NoError(t, err)
		kept := b.other()
		require.Equal(t, http.StatusNoContent, b.post(s.Logout, "").Code)
		require.Empty(t, b.cookies)
		require.Len(t, s.endings(), 1)
		require.Equal(t, who.Login, s.endings()[0].Login)
		require.Empty(t, s.reused, "a logout is no theft")
		kept.refresh(http.StatusUnauthorized)
		other.refresh(http.StatusOK)

		// The login is not known any more, as after a restart; its sessions
		// may be there still.
		b = s.browser(t)
		b.login("bob")
		require.NoError(t, s.EndUser(t.Context(), "acme", "bob"))
		require.Equal(t, gohub.Identity{Tenant: "acme", User: "bob"}, s.endings()[1])
		require.Equal(t, http.StatusNoContent, b.post(s.Logout, "").Code)
		require.Len(t, s.endings(), 3)
		require.Equal(t, "bob", s.endings()[2].User)

		require.NoError(t, s.EndUser(t.Context(), "other", "alice"))
		other.refresh(http.StatusOK)
		require.NoError(t, s.EndUser(t.Context(), "acme", "alice"))
		other.refresh(http.StatusUnauthorized)
	})
}

// heeding are Families as databases are: what is asked of them ends with its
// context.
type heeding struct {
	auth.Families
	got  func() // is told that one was looked up
	slow bool   // nothing is removed in time
}

func (h *heeding) Get(ctx context.Context, id string) (auth.Family, error) {
	if err := ctx.Err(); err != nil {
		return auth.Family{}, err
	}
	if h.got != nil {
		defer h.got()
	}
	return h.Families.Get(ctx, id)
}

func (h *heeding) Remove(ctx context.Context, id string) error {
	if h.slow {
		<-ctx.Done()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return h.Families.Remove(ctx, id)
}

// Who hangs up, as a page does that navigates away, is logged out all the same;
// a thief who does cannot keep a login that was used twice.
func TestLogoutIsNotCalledOff(t *testing.T) {
	virtual(t, func(t *testing.T) {
		f := &heeding{Families: auth.NewMemoryFamilies()}
		s, theft := newSite(t, auth.Config{}, auth.LoginConfig{Families: f}), newSite(t, auth.Config{}, auth.LoginConfig{Families: f})
		with := func(h http.HandlerFunc, hangUp func(cancel func())) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				ctx, cancel := context.WithCancel(r.Context())
				defer cancel()
				hangUp(cancel)
				h(w, r.WithContext(ctx))
			}
		}
		b := s.browser(t)
		b.login("alice")
		kept := b.other()
		require.Equal(t, http.StatusNoContent, b.post(with(s.Logout, func(cancel func()) { cancel() }), "").Code)
		kept.refresh(http.StatusUnauthorized)
		require.Len(t, s.endings(), 1)

		victim := theft.browser(t)
		victim.login("alice")
		thief := victim.other()
		victim.refresh(http.StatusOK)
		time.Sleep(11 * time.Second) // the grace is over
		rec := thief.post(with(theft.Refresh, func(cancel func()) { f.got = cancel }), "")
		require.Equal(t, http.StatusUnauthorized, rec.Code)
		f.got = nil
		victim.refresh(http.StatusUnauthorized)
		require.Len(t, theft.endings(), 1)

		b.login("alice")
		f.slow = true
		began := time.Now()
		require.Equal(t, http.StatusServiceUnavailable, b.post(s.Logout, "").Code)
		require.Equal(t, 10*time.Second, time.Since(began))
		f.slow = false
		b.refresh(http.StatusOK)
		require.Len(t, s.endings(), 1, "it can be tried again")
	})
}

// Pages of other sites cannot log a visitor in, out, or refresh. What is
// refused sets no cookie and ends nothing.
func TestCSRF(t *testing.T) {
	t.Parallel()
	origins := []string{"https://app.example.com", "https://*.example.org"}
	s := newSite(t, auth.Config{}, auth.LoginConfig{Origins: origins})
	for _, c := range []struct {
		name         string
		site, origin []string // Sec-Fetch-Site, Origin
		ok           bool
	}{
		{"own page", []string{"same-origin"}, []string{"https://chat.example.com"}, true},
		{"no browser", nil, nil, true},
		{"old browser, own page", nil, []string{"https://chat.example.com"}, true},
		{"listed", []string{"same-site"}, []string{"https://app.example.com"}, true},
		{"listed by a wildcard", []string{"cross-site"}, []string{"https://a.example.org"}, true},
		{"old browser, listed", nil, []string{"https://app.example.com"}, true},
		{"another site", []string{"cross-site"}, []string{"https://evil.example"}, false},
		{"sibling subdomain", []string{"same-site"}, []string{"https://evil.example.com"}, false},
		{"another site that hides its origin", []string{"cross-site"}, []string{"null"}, false},
		{"another site without an origin", []string{"cross-site"}, nil, false},
		{"old browser, another site", nil, []string{"https://evil.example"}, false},
		{"old browser, null", nil, []string{"null"}, false},
		{"look-alike", []string{"cross-site"}, []string{"https://app.example.com.evil.example"}, false},
		{"two origins", []string{"cross-site"}, []string{"https://app.example.com", "https://evil.example"}, false},
		{"own host, another port", nil, []string{"https://chat.example.com:444"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := s.browser(t)
			b.login("alice")
			b.header = http.Header{}
			if c.site != nil {
				b.header["Sec-Fetch-Site"] = c.site
			}
			if c.origin != nil {
				b.header["Origin"] = c.origin
			}
			for name, h := range map[string]http.HandlerFunc{"login": s.Login, "refresh": s.Refresh, "logout": s.Logout} {
				victim := b.other()
				before := maps.Clone(victim.cookies)
				rec := victim.post(h, "user=mallory&password="+strings.ReplaceAll(password, " ", "+"))
				if c.ok {
					require.Less(t, rec.Code, 300, name)
					b.header = http.Header{}
					b.login("alice") // anew, for what comes next
					continue
				}
				require.Equal(t, http.StatusForbidden, rec.Code, name)
				require.Empty(t, rec.Header()["Set-Cookie"])
				require.Equal(t, before, victim.cookies)
			}
			if !c.ok {
				b.header = http.Header{}
				b.refresh(http.StatusOK) // it is there still
			}
		})
	}
	t.Run("not by GET", func(t *testing.T) {
		t.Parallel()
		for name, h := range map[string]http.HandlerFunc{"login": s.Login, "refresh": s.Refresh, "logout": s.Logout} {
			for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut} {
				rec := httptest.NewRecorder()
				h(rec, httptest.NewRequest(method, "/", nil))
				require.Equal(t, http.StatusMethodNotAllowed, rec.Code, name)
				require.Equal(t, http.MethodPost, rec.Header().Get("Allow"))
				require.Empty(t, rec.Header()["Set-Cookie"])
			}
		}
	})
}

// From the login to a session of the hub, and to its end by a logout in
// another tab.
func TestLogoutEndsSessions(t *testing.T) {
	t.Parallel()
	var hub *hubtest.Hub
	s := newSite(t, auth.Config{}, auth.LoginConfig{Ended: func(_ context.Context, who gohub.Identity) {
		err := hub.Revoke(t.Context(), gohub.Revocation{Tenant: who.Tenant, User: who.User, Login: who.Login, Reason: "logged out"})
		if err != nil {
			t.Error(err)
		}
	}})
	hub = hubtest.New(t, gohub.Config{Authenticator: s.a})
	connect := func(b *browser, user string) *hubtest.Client {
		return hub.Dial(user, hubtest.Header("Cookie", accessCookie+"="+b.cookies[accessCookie]))
	}
	alice, phone, bob := s.browser(t), s.browser(t), s.browser(t)
	alice.login("alice")
	phone.login("alice")
	bob.login("bob")
	tab1, tab2, there, other := connect(alice, "alice"), connect(alice, "alice"), connect(phone, "alice"), connect(bob, "bob")
	require.Equal(t, http.StatusNoContent, alice.post(s.Logout, "").Code)
	tab1.ExpectClose(gohub.CloseUnauthorized)
	tab2.ExpectClose(gohub.CloseUnauthorized)
	there.Join("general") // another login
	require.NoError(t, s.EndUser(t.Context(), "acme", "alice"))
	there.ExpectClose(gohub.CloseUnauthorized)
	other.Join("general")
}

// A session lives past its token by a refresh, and is closed without.
func TestSessionOutlivesItsToken(t *testing.T) {
	virtual(t, func(t *testing.T) {
		s := newSite(t, auth.Config{Leeway: -1}, auth.LoginConfig{})
		hub := hubtest.New(t, gohub.Config{Authenticator: s.a})
		b := s.browser(t)
		b.login("alice")
		cookie := func() string { return accessCookie + "=" + b.cookies[accessCookie] }
		c, left := hub.Dial("alice", hubtest.Header("Cookie", cookie())), hub.Dial("alice", hubtest.Header("Cookie", cookie()))
		time.Sleep(4 * time.Minute)
		b.refresh(http.StatusOK)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, hub.URL+"/", nil)
		require.NoError(t, err)
		req.Header.Set("Cookie", cookie())
		res, err := hub.HTTP.Do(req)
		require.NoError(t, err)
		defer res.Body.Close()
		var n struct{ Ticket string }
		require.NoError(t, json.NewDecoder(res.Body).Decode(&n))
		c.Send("refresh", "ref", 1, "ticket", n.Ticket)
		c.Expect("refreshed")
		time.Sleep(2 * time.Minute)
		left.ExpectClose(gohub.CloseTokenExpired)
		c.Send("ping", "ref", 2)
		c.Expect("pong")
		time.Sleep(4 * time.Minute)
		c.ExpectClose(gohub.CloseTokenExpired)
		synctest.Wait()
	})
}

// Start and End are for a service with pages of its own.
func TestStartAndEnd(t *testing.T) {
	t.Parallel()
	s := newSite(t, auth.Config{}, auth.LoginConfig{})
	b := s.browser(t)
	page := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if err := s.Start(w, r, gohub.Identity{User: r.PostFormValue("user")}); err != nil {
			http.Error(w, "no", http.StatusTeapot)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
	require.Equal(t, http.StatusTeapot, b.post(page, "user=a@b").Code)
	require.Equal(t, http.StatusSeeOther, b.post(page, "user=alice").Code)
	who, err := b.who()
	require.NoError(t, err)
	require.Equal(t, "alice", who.User)
	b.refresh(http.StatusOK)
	b.post(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if err := s.End(w, r); err != nil {
			t.Error(err)
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}, "")
	require.Empty(t, b.cookies)
	require.Len(t, s.endings(), 1)
}

// What is kept of a login is not what its owner has: a copy of the storage
// lets nobody in.
func TestStorageHasNoTokens(t *testing.T) {
	t.Parallel()
	f := auth.NewMemoryFamilies()
	s := newSite(t, auth.Config{}, auth.LoginConfig{Families: f})
	for name, pick := range map[string]func(auth.Family) [32]byte{
		"Salt":     func(f auth.Family) [32]byte { return f.Salt },
		"Current":  func(f auth.Family) [32]byte { return f.Current },
		"Previous": func(f auth.Family) [32]byte { return f.Previous },
	} {
		b, thief := s.browser(t), s.browser(t)
		b.login("alice")
		b.refresh(http.StatusOK)
		id, _, _ := strings.Cut(b.cookies[refreshCookie], ".")
		kept, err := f.Get(t.Context(), id)
		require.NoError(t, err)
		require.NotZero(t, pick(kept), name)
		what := pick(kept)
		thief.cookies[refreshCookie] = id + "." + base64.RawURLEncoding.EncodeToString(what[:])
		require.Equal(t, http.StatusUnauthorized, thief.post(s.Refresh, "").Code, name)
	}
}

func TestMemoryFamilies(t *testing.T) {
	virtual(t, func(t *testing.T) {
		m, ctx := auth.NewMemoryFamilies(), t.Context()
		add := func(id, user string, life time.Duration) {
			t.Helper()
			require.NoError(t, m.Add(ctx, auth.Family{ID: id, Who: gohub.Identity{User: user}, Expires: time.Now().Add(life)}))
		}
		has := func(id string) bool { _, err := m.Get(ctx, id); return !errors.Is(err, auth.ErrNoFamily) }
		name := func(i int) string { return "f" + time.Duration(i).String() }

		// 100 of a user; the oldest goes.
		for i := range 101 {
			add(name(i), "alice", time.Hour)
		}
		add("bob's", "bob", time.Hour)
		require.False(t, has(name(0)))
		require.True(t, has(name(1)))
		require.NoError(t, m.Remove(ctx, name(50)))
		add("a", "alice", time.Hour)
		require.True(t, has(name(1)), "there was room again")

		swapped, err := m.Swap(ctx, [32]byte{}, auth.Family{ID: "a", Who: gohub.Identity{User: "alice"}, Current: [32]byte{1}, Expires: time.Now().Add(time.Hour)})
		require.NoError(t, err)
		require.True(t, swapped)
		for _, id := range []string{"a", "none"} {
			swapped, err = m.Swap(ctx, [32]byte{}, auth.Family{ID: id})
			require.NoError(t, err)
			require.False(t, swapped)
		}
		f, err := m.Get(ctx, "a")
		require.NoError(t, err)
		require.Equal(t, [32]byte{1}, f.Current)

		require.NoError(t, m.RemoveUser(ctx, "acme", "alice"))
		require.True(t, has("a"), "that is another tenant's")
		require.NoError(t, m.RemoveUser(ctx, "", "alice"))
		require.False(t, has("a"))
		require.True(t, has("bob's"))

		// What has expired goes when somebody comes.
		time.Sleep(time.Hour)
		require.True(t, has("bob's"))
		add("late", "carol", time.Hour)
		require.False(t, has("bob's"))

		// 100,000 in all; the oldest goes.
		for i := range 100_000 {
			add("x"+time.Duration(i).String(), "u"+time.Duration(i).String(), time.Hour)
		}
		require.False(t, has("late"))
		require.True(t, has("x0s"))
		add("one more", "dave", time.Hour)
		require.False(t, has("x0s"))
	})
}
