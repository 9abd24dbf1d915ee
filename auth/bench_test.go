package auth_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub/auth"
)

// Authenticating a handshake, with the key at hand. The target is 150 µs for
// ES256 at the median.
func BenchmarkAuthenticate(b *testing.B) {
	for _, c := range []struct {
		name string
		alg  auth.Algorithm
		key  any
	}{
		{"ES256", auth.ES256, ecKey},
		{"EdDSA", auth.EdDSA, edKey},
		{"RS256", auth.RS256, rsaKey},
		{"PS256", auth.PS256, rsaKey},
		{"HS256", auth.HS256, hmacKey},
	} {
		b.Run(c.name, func(b *testing.B) {
			a := newAuth(b, auth.Config{Keys: []auth.Key{{ID: "k", Algorithm: c.alg, Key: c.key}}})
			benchAuthenticate(b, a, mint(b, c.alg, c.key, map[string]any{"kid": "k"}, benchClaims()))
		})
	}
	b.Run("ES256 from a JWKS", func(b *testing.B) {
		p := newProvider(b, asJWK(b, &ecKey.PublicKey, map[string]any{"kid": "k"}))
		a := newAuth(b, auth.Config{JWKS: p.URL})
		benchAuthenticate(b, a, mint(b, auth.ES256, ecKey, map[string]any{"kid": "k"}, benchClaims()))
		require.Equal(b, 1, p.count())
	})
	b.Run("unknown key", func(b *testing.B) {
		a := newAuth(b, auth.Config{})
		r := request(mint(b, auth.ES256, ecKey, map[string]any{"kid": "other"}, benchClaims()))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := a.Authenticate(r); err == nil {
				b.Fatal("let in")
			}
		}
	})
}

// benchClaims are as many as a provider's tokens have.
func benchClaims() map[string]any {
	return goodClaims(map[string]any{
		"name": "Alice Example", "tenant": "acme", "device": "phone", "sid": "4c1ad2a6", "jti": "0199c2f4-4f8e-7cc1-8d6c-3f0a8f6f2b11",
		"rooms": []string{"general", "support", "team-*"}, "scope": "openid profile email", "exp": time.Now().Add(time.Hour).Unix(),
	})
}

func request(token string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/ws", nil)
	r.AddCookie(&http.Cookie{Name: "other", Value: "something"})
	r.AddCookie(&http.Cookie{Name: "__Host-gohub", Value: token})
	return r
}

func benchAuthenticate(b *testing.B, a *auth.Authenticator, token string) {
	b.Helper()
	r := request(token)
	_, err := a.Authenticate(r)
	require.NoError(b, err)
	took := make([]time.Duration, 0, 1<<16)
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		if _, err := a.Authenticate(r); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
}
