package auth_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/auth"
)

// Nobody but who has the key gets in, whatever they send, and what they hear
// is one of a few texts.
func FuzzVerify(f *testing.F) {
	a := newAuth(f, auth.Config{Keys: attackKeys(), Logger: slog.New(slog.DiscardHandler)})
	long := map[string]any{"exp": time.Now().Add(100 * time.Hour).Unix(), "tenant": "acme"}
	good := []string{
		mint(f, auth.ES256, ecKey, map[string]any{"kid": "ec"}, goodClaims(long)),
		mint(f, auth.EdDSA, edKey, map[string]any{"kid": "ed"}, goodClaims(long)),
		mint(f, auth.RS256, rsaKey, nil, goodClaims(long)),
	}
	var texts []string
	for _, token := range good {
		f.Add(token)
	}
	for _, c := range tokenAttacks() {
		f.Add(c.token(f))
		texts = append(texts, c.says)
	}
	f.Fuzz(func(t *testing.T, token string) {
		who, err := a.Verify(t.Context(), token)
		if err == nil {
			// A signature may have more than one form; what it signs has not.
			signed := func(s string) string { return s[:strings.LastIndexByte(s, '.')] }
			if !slices.ContainsFunc(good, func(g string) bool { return signed(g) == signed(token) }) {
				t.Fatalf("%q got in", token)
			}
			require.Equal(t, "alice", who.User)
			return
		}
		var e *gohub.Error
		require.ErrorAs(t, err, &e)
		require.Contains(t, texts, e.Message)
		require.Zero(t, who)
	})
}

type roundTripper func(r *http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Whatever a provider answers, only its own keys get in.
func FuzzJWKS(f *testing.F) {
	add := func(keys ...any) {
		b, err := json.Marshal(map[string]any{"keys": keys})
		require.NoError(f, err)
		f.Add(b)
	}
	var all []any
	for _, k := range []any{&ecKey.PublicKey, edKey.Public(), &rsaKey.PublicKey, ecKey, hmacKey} {
		j, err := jwk.FromRaw(k)
		require.NoError(f, err)
		add(j)
		all = append(all, j)
	}
	add(all...)
	add(7, nil, []int{}, map[string]any{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, map[string]any{"kty": "RSA", "n": "", "e": ""})
	add(map[string]any{"kty": "oct", "k": "AAAA", "alg": "HS256", "kid": "k"})
	f.Add([]byte(`{"keys":{}}`))
	token := mint(f, auth.ES256, otherECKey, nil, goodClaims(map[string]any{"exp": time.Now().Add(100 * time.Hour).Unix()}))
	point, err := otherECKey.PublicKey.Bytes()
	require.NoError(f, err)
	x := base64.RawURLEncoding.EncodeToString(point[1:33])
	f.Fuzz(func(t *testing.T, body []byte) {
		a := newAuth(t, auth.Config{
			JWKS:   "https://login.example.com/",
			Logger: slog.New(slog.DiscardHandler),
			Client: &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(body)))}, nil
			})},
		})
		if _, err := a.Verify(t.Context(), token); err == nil && !strings.Contains(string(body), x) {
			t.Fatalf("%q let a stranger in", body)
		}
	})
}

// No cookie but a login's own refreshes it.
func FuzzRefresh(f *testing.F) {
	families := auth.NewMemoryFamilies()
	s, err := auth.NewLogins(newAuth(f, auth.Config{Logger: slog.New(slog.DiscardHandler)}), auth.LoginConfig{Families: families})
	require.NoError(f, err)
	rec := httptest.NewRecorder()
	require.NoError(f, s.Start(rec, httptest.NewRequest(http.MethodPost, "/", nil), gohub.Identity{User: "alice"}))
	own := rec.Result().Cookies()[1].Value
	f.Add(refreshCookie + "=" + own[:len(own)-1])
	f.Add(refreshCookie + "=" + own[:10])
	f.Add(refreshCookie + "=.")
	f.Add(refreshCookie + "=a.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add(refreshCookie + "=x; " + refreshCookie + "=y")
	f.Add("")
	f.Fuzz(func(t *testing.T, cookies string) {
		if strings.Contains(cookies, own) {
			return
		}
		for _, h := range []http.HandlerFunc{s.Refresh, s.Logout} {
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			r.Header.Set("Cookie", cookies)
			rec := httptest.NewRecorder()
			h(rec, r)
			for _, c := range rec.Result().Cookies() {
				require.Empty(t, c.Value)
			}
		}
	})
}
