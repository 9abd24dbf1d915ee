package auth_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/auth"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	//lint:ignore SA1019 there is no other way to make one that is wrong
	off := &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1), Y: big.NewInt(1)}
	key := func(alg auth.Algorithm, k any) func(*auth.Config) {
		return func(c *auth.Config) { c.Keys = []auth.Key{{ID: "k", Algorithm: alg, Key: k}} }
	}
	for name, c := range map[string]struct {
		change func(c *auth.Config)
		says   string // "": it is fine
	}{
		"as it is":                   {func(*auth.Config) {}, ""},
		"no key":                     {func(c *auth.Config) { c.Keys = nil }, "no Keys and no JWKS"},
		"no issuer":                  {func(c *auth.Config) { c.Issuer = "" }, "Config.Issuer"},
		"no audience":                {func(c *auth.Config) { c.Audience = "" }, "Config.Audience"},
		"any audience":               {func(c *auth.Config) { c.Audience, c.AnyAudience = "", true }, ""},
		"any audience, and one":      {func(c *auth.Config) { c.AnyAudience = true }, "AnyAudience"},
		"negative leeway":            {func(c *auth.Config) { c.Leeway = -time.Second }, "Config.Leeway"},
		"tiny tokens":                {func(c *auth.Config) { c.MaxToken = 255 }, "Config.MaxToken"},
		"cookie that cannot be":      {func(c *auth.Config) { c.Cookie = "a b" }, "Config.Cookie"},
		"JWKS by http":               {func(c *auth.Config) { c.JWKS = "http://login.example.com/" }, "Config.JWKS"},
		"JWKS by http, almost here":  {func(c *auth.Config) { c.JWKS = "http://localhost.example.com/" }, "Config.JWKS"},
		"JWKS by http, here":         {func(c *auth.Config) { c.JWKS = "http://127.0.0.1:1/" }, ""},
		"JWKS by http, here by name": {func(c *auth.Config) { c.JWKS = "http://localhost:1/" }, ""},
		"JWKS in a file":             {func(c *auth.Config) { c.JWKS = "file:///etc/keys" }, "Config.JWKS"},
		"JWKS that is no URL":        {func(c *auth.Config) { c.JWKS = "https://%zz" }, "Config.JWKS"},
		"ES256, public":              {key(auth.ES256, &ecKey.PublicKey), ""},
		"EdDSA":                      {key(auth.EdDSA, edKey), ""},
		"EdDSA, public":              {key(auth.EdDSA, edKey.Public()), ""},
		"RS256":                      {key(auth.RS256, rsaKey), ""},
		"PS256, public":              {key(auth.PS256, &rsaKey.PublicKey), ""},
		"HS256":                      {key(auth.HS256, hmacKey), ""},
		"HS256, short":               {key(auth.HS256, hmacKey[:31]), "the least is 32"},
		"HS256, text":                {key(auth.HS256, string(hmacKey)), "HS256 needs a []byte"},
		"HS256, public key":          {key(auth.HS256, &rsaKey.PublicKey), "HS256 needs a []byte"},
		"ES256, secret":              {key(auth.ES256, hmacKey), "ES256 needs a *ecdsa"},
		"ES256, not P-256":           {key(auth.ES256, p384), "not P-256"},
		"ES256, not on the curve":    {key(auth.ES256, off), "not on the curve"},
		"ES256, nil":                 {key(auth.ES256, (*ecdsa.PrivateKey)(nil)), "cannot be used"},
		"ES256, nil and public":      {key(auth.ES256, (*ecdsa.PublicKey)(nil)), "cannot be used"},
		"EdDSA, short":               {key(auth.EdDSA, edKey[:10]), "cannot be used"},
		"EdDSA, public and short":    {key(auth.EdDSA, ed25519.PublicKey("short")), "cannot be used"},
		"RS256, 1024 bits":           {key(auth.RS256, small), "the least is 2048"},
		"RS256, nil":                 {key(auth.RS256, (*rsa.PrivateKey)(nil)), "cannot be used"},
		"RS256, empty":               {key(auth.RS256, &rsa.PublicKey{}), "cannot be used"},
		"no key at all":              {key(auth.ES256, nil), "cannot be used"},
		"no algorithm":               {key("", ecKey), `its Algorithm is ""`},
		"none":                       {key("none", nil), `its Algorithm is "none"`},
		"ES384":                      {key("ES384", p384), `its Algorithm is "ES384"`},
		"two keys of a name":         {func(c *auth.Config) { c.Keys = append(c.Keys, auth.Key{ID: "k1", Algorithm: auth.EdDSA, Key: edKey}) }, "another's already"},
		"two keys that have no name": {func(c *auth.Config) { c.Keys[0].ID = ""; c.Keys = append(c.Keys, c.Keys[0]) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := auth.Config{Keys: []auth.Key{{ID: "k1", Algorithm: auth.ES256, Key: ecKey}}, Issuer: issuer, Audience: audience}
			c.change(&cfg)
			_, err := auth.New(cfg)
			if c.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, err.Error(), string(hmacKey[:16]))
		})
	}
}

// Tokens that others make, in all the ways that are right.
func TestGoodTokens(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		alg    auth.Algorithm
		key    any
		public any
		head   map[string]any
		claims map[string]any
	}{
		"ES256":                   {auth.ES256, ecKey, &ecKey.PublicKey, map[string]any{"kid": "k"}, nil},
		"EdDSA":                   {auth.EdDSA, edKey, edKey.Public(), map[string]any{"kid": "k"}, nil},
		"RS256":                   {auth.RS256, rsaKey, &rsaKey.PublicKey, map[string]any{"kid": "k"}, nil},
		"PS256":                   {auth.PS256, rsaKey, &rsaKey.PublicKey, map[string]any{"kid": "k"}, nil},
		"HS256":                   {auth.HS256, hmacKey, hmacKey, map[string]any{"kid": "k"}, nil},
		"no kid":                  {auth.ES256, ecKey, ecKey, nil, nil},
		"typ JWT":                 {auth.ES256, ecKey, ecKey, map[string]any{"typ": "JWT"}, nil},
		"typ at+jwt":              {auth.ES256, ecKey, ecKey, map[string]any{"typ": "application/at+JWT"}, nil},
		"several audiences":       {auth.ES256, ecKey, ecKey, nil, map[string]any{"aud": []string{"mail", audience}}},
		"no nbf, no iat":          {auth.ES256, ecKey, ecKey, nil, map[string]any{"nbf": nil, "iat": nil}},
		"issued in the future":    {auth.ES256, ecKey, ecKey, nil, map[string]any{"iat": 9999999999}},
		"end with a fraction":     {auth.ES256, ecKey, ecKey, nil, map[string]any{"exp": float64(time.Now().Unix()) + 60.5}},
		"end after the last year": {auth.ES256, ecKey, ecKey, nil, map[string]any{"exp": 1e300}},
		"claims nobody knows":     {auth.ES256, ecKey, ecKey, nil, map[string]any{"x": map[string]any{"y": []int{1}}, "": 7}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAuth(t, auth.Config{Keys: []auth.Key{{ID: "k", Algorithm: c.alg, Key: c.public}}})
			who, err := a.Verify(t.Context(), mint(t, c.alg, c.key, c.head, goodClaims(c.claims)))
			require.NoError(t, err)
			require.Equal(t, "alice", who.User)
			require.True(t, who.ExpiresAt.After(time.Now()))
			require.Less(t, who.ExpiresAt.Year(), 10000, "it has to fit the wire")
		})
	}
}

// Leeway is on both sides, and a session lasts as long as its token is taken.
func TestLeeway(t *testing.T) {
	virtual(t, func(t *testing.T) {
		a, exact := newAuth(t, auth.Config{}), newAuth(t, auth.Config{Leeway: -1})
		const leeway = 30 * time.Second
		begin := time.Now().Add(time.Minute)
		end := begin.Add(time.Minute)
		token := mint(t, auth.ES256, ecKey, nil, goodClaims(map[string]any{"nbf": begin.Unix(), "exp": end.Unix()}))
		at := func(when time.Time) { time.Sleep(time.Until(when)) }
		taken := func(a *auth.Authenticator, until time.Time) {
			t.Helper()
			who, err := a.Verify(t.Context(), token)
			require.NoError(t, err)
			require.True(t, until.Equal(who.ExpiresAt))
		}
		refused := func(a *auth.Authenticator, why string) {
			t.Helper()
			_, err := a.Verify(t.Context(), token)
			isRefused(t, err, gohub.CodeUnauthorized, why)
		}
		at(begin.Add(-leeway - time.Nanosecond))
		refused(a, "the token is not valid yet")
		at(begin.Add(-leeway))
		taken(a, end.Add(leeway))
		at(begin.Add(-time.Nanosecond))
		refused(exact, "the token is not valid yet")
		at(begin)
		taken(exact, end)
		at(end.Add(-time.Nanosecond))
		taken(exact, end)
		at(end)
		refused(exact, "the token has expired")
		at(end.Add(leeway - time.Nanosecond))
		taken(a, end.Add(leeway))
		at(end.Add(leeway))
		refused(a, "the token has expired")
		synctest.Wait()
	})
}

func TestClaims(t *testing.T) {
	t.Parallel()
	all := map[string]any{
		"name": "Alice Ä", "device": "phone", "tenant": "acme", "sid": "login-1", "rooms": []string{"a", "team-*"},
		"https://example.com/user": "u-7", "org": "globex", "role": "admin", "n": 7, "": "nobody's",
	}
	for name, c := range map[string]struct {
		cfg  auth.Config
		want gohub.Identity
	}{
		"by default": {auth.Config{}, gohub.Identity{
			User: "alice", Name: "Alice Ä", Device: "phone", Tenant: "acme", Login: "login-1", Rooms: []string{"a", "team-*"},
		}},
		"by other names": {
			auth.Config{Claims: auth.ClaimNames{User: "https://example.com/user", Name: "-", Device: "-", Tenant: "org", Login: "jti", Rooms: "-"}},
			gohub.Identity{User: "u-7", Tenant: "globex"},
		},
		"some kept": {
			auth.Config{Claims: auth.ClaimNames{Rooms: "-", Keep: []string{"role", "n", "none"}}},
			gohub.Identity{User: "alice", Name: "Alice Ä", Device: "phone", Tenant: "acme", Login: "login-1", Claims: map[string]any{"role": "admin", "n": 7.0}},
		},
		"mapped": {
			auth.Config{Claims: auth.ClaimNames{User: "-", Rooms: "-"}, Map: func(claims map[string]any, who *gohub.Identity) error {
				role, _ := claims["role"].(string)
				who.User, who.Rooms = "x:"+role, []string{role + "s"}
				return nil
			}},
			gohub.Identity{User: "x:admin", Name: "Alice Ä", Device: "phone", Tenant: "acme", Login: "login-1", Rooms: []string{"admins"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			who, err := newAuth(t, c.cfg).Verify(t.Context(), mint(t, auth.ES256, ecKey, nil, goodClaims(all)))
			require.NoError(t, err)
			who.ExpiresAt = time.Time{}
			require.Equal(t, c.want, who)
		})
	}
}

// Whoever has a good token that cannot be used can bring it as often as they
// like. The log says so once a second.
func TestUnusableTokensDoNotFillTheLog(t *testing.T) {
	for name, c := range map[string]struct {
		claims map[string]any
		refuse func(map[string]any, *gohub.Identity) error
		says   string
	}{
		"user id": {map[string]any{"sub": "alice@example.com"}, nil, "its user id cannot be"},
		"claim":   {map[string]any{"name": 7}, nil, "is no string"},
		"rooms":   {map[string]any{"rooms": "general"}, nil, "is no list of strings"},
		"map":     {nil, func(map[string]any, *gohub.Identity) error { return errors.New("database gone") }, "database gone"},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				var log safeBuffer
				a := newAuth(t, auth.Config{
					Map:    c.refuse,
					Logger: slog.New(slog.NewTextHandler(&log, nil)),
				})
				token := mint(t, auth.ES256, ecKey, nil, goodClaims(c.claims))
				for i := range 3 {
					for range 20 {
						_, err := a.Verify(t.Context(), token)
						require.Error(t, err)
					}
					require.Equal(t, i+1, strings.Count(log.String(), "\n"), log.String())
					time.Sleep(time.Second)
				}
				require.Contains(t, log.String(), "a good token cannot be used")
				require.Contains(t, log.String(), c.says)
			})
		})
	}
}

func TestMapRefuses(t *testing.T) {
	t.Parallel()
	var log safeBuffer
	refuse := func(err error) error {
		a := newAuth(t, auth.Config{
			Map:    func(map[string]any, *gohub.Identity) error { return err },
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		_, err = a.Verify(t.Context(), mint(t, auth.ES256, ecKey, nil, goodClaims(nil)))
		return err
	}
	isRefused(t, refuse(gohub.Errorf(gohub.CodeForbidden, "not here")), gohub.CodeForbidden, "not here")
	isRefused(t, refuse(errors.New("database gone")), gohub.CodeUnauthorized, "a claim of the token cannot be used here")
	require.Contains(t, log.String(), "database gone")
}

// Rotation: the new key in front signs, the old one is taken until it is out.
func TestRotation(t *testing.T) {
	t.Parallel()
	old := auth.Key{ID: "2025", Algorithm: auth.HS256, Key: hmacKey}
	fresh := auth.Key{ID: "2026", Algorithm: auth.ES256, Key: ecKey}
	alice := gohub.Identity{User: "alice", Tenant: "acme"}
	issue := func(a *auth.Authenticator) string {
		t.Helper()
		token, err := a.Issue(alice, time.Minute)
		require.NoError(t, err)
		return token
	}
	before := newAuth(t, auth.Config{Keys: []auth.Key{old}})
	during := newAuth(t, auth.Config{Keys: []auth.Key{fresh, old}})
	after := newAuth(t, auth.Config{Keys: []auth.Key{fresh}})
	first, second := issue(before), issue(during)
	for _, c := range []struct {
		a     *auth.Authenticator
		token string
		says  string
	}{
		{before, first, ""},
		{during, first, ""},
		{during, second, ""},
		{after, second, ""},
		{after, first, keyUnknown},
		{before, second, keyUnknown},
	} {
		who, err := c.a.Verify(t.Context(), c.token)
		if c.says == "" {
			require.NoError(t, err)
			require.Equal(t, "acme", who.Tenant)
		} else {
			isRefused(t, err, gohub.CodeUnauthorized, c.says)
		}
	}
}

// What Issue makes is what Verify gives.
func TestIssue(t *testing.T) {
	t.Parallel()
	alice := gohub.Identity{
		User: "alice", Name: "Alice", Device: "phone", Tenant: "acme", Login: "l-1", Rooms: []string{"a"},
		Claims: map[string]any{"role": "admin", "iss": "https://evil.example/", "secret": "not for the token"},
	}
	for _, k := range []auth.Key{
		{Algorithm: auth.HS256, Key: hmacKey},
		{Algorithm: auth.ES256, Key: ecKey},
		{Algorithm: auth.EdDSA, Key: edKey},
		{Algorithm: auth.RS256, Key: rsaKey},
		{Algorithm: auth.PS256, Key: rsaKey},
	} {
		t.Run(string(k.Algorithm), func(t *testing.T) {
			t.Parallel()
			for _, names := range []auth.ClaimNames{
				{Keep: []string{"role", "iss"}},
				{User: "uid", Name: "n", Device: "d", Tenant: "t", Login: "l", Rooms: "r", Keep: []string{"role"}},
			} {
				a := newAuth(t, auth.Config{Keys: []auth.Key{k}, Claims: names})
				before := time.Now()
				token, err := a.Issue(alice, time.Minute)
				require.NoError(t, err)
				who, err := a.Verify(t.Context(), token)
				require.NoError(t, err)
				const life = 90 * time.Second // and the leeway; the token says it in whole seconds
				require.WithinRange(t, who.ExpiresAt, before.Add(life-time.Second), time.Now().Add(life))
				want := alice
				want.ExpiresAt, want.Claims = who.ExpiresAt, map[string]any{"role": "admin"}
				delete(who.Claims, "iss")
				require.Equal(t, want, who)
			}
		})
	}
	_, err := newAuth(t, auth.Config{Keys: []auth.Key{{Algorithm: auth.ES256, Key: &ecKey.PublicKey}}}).Issue(alice, time.Minute)
	require.ErrorContains(t, err, "no token can be signed")
}

// However a key is printed or logged: its secret is not there.
func TestKeysDoNotPrintTheirSecret(t *testing.T) {
	t.Parallel()
	k := auth.Key{ID: "k", Algorithm: auth.HS256, Key: hmacKey}
	cfg := auth.Config{Keys: []auth.Key{k}}
	var log strings.Builder
	text := slog.New(slog.NewTextHandler(&log, nil))
	inJSON := slog.New(slog.NewJSONHandler(&log, nil))
	for _, l := range []*slog.Logger{text, inJSON} {
		l.Info("key", "key", k, "keys", cfg.Keys)
	}
	b, err := json.Marshal(k)
	require.NoError(t, err)
	log.Write(b)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		_, _ = fmt.Fprintf(&log, verb+verb, k, cfg.Keys)
	}
	_, _ = fmt.Fprintf(&log, "%+v", cfg)
	for _, secret := range []string{"0123456789abcdef", "MDEyMzQ1Njc4", "48 49 50", "303132333435", "0x30, 0x31"} {
		require.NotContains(t, log.String(), secret)
	}
	require.Contains(t, log.String(), `HS256 key "k"`)
}
