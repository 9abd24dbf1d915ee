package auth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/x25519"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/auth"
)

// RoundTrip makes a provider its own network, for virtual time.
func (p *provider) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	down := p.down
	p.mu.Unlock()
	if down {
		p.mu.Lock()
		p.fetches++
		p.mu.Unlock()
		return nil, errors.New("connection refused")
	}
	rec := httptest.NewRecorder()
	p.ServeHTTP(rec, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return rec.Result(), nil
}

func (p *provider) setDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

// virtualProvider is one in a synctest bubble, and an Authenticator of its keys.
func virtualProvider(t *testing.T, keys ...jwk.Key) (*provider, *auth.Authenticator) {
	t.Helper()
	p := &provider{keys: keys}
	return p, newAuth(t, auth.Config{
		JWKS: "https://login.example.com/jwks.json", Client: &http.Client{Transport: p}, Logger: slog.New(slog.DiscardHandler),
	})
}

func virtual(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, f)
}

const (
	keyUnknown = "the token's key is unknown"
	keysAway   = "the keys for tokens cannot be had right now"
)

// by makes a token that names a key.
func by(t testing.TB, kid string, key *ecdsa.PrivateKey) string {
	t.Helper()
	return mint(t, auth.ES256, key, map[string]any{"kid": kid}, goodClaims(map[string]any{"exp": time.Now().Add(48 * time.Hour).Unix()}))
}

func named(t testing.TB, kid string, key *ecdsa.PrivateKey) jwk.Key {
	t.Helper()
	return asJWK(t, &key.PublicKey, map[string]any{"kid": kid})
}

// A provider that puts a new key beside the old one, and then takes that out.
func TestJWKSRotation(t *testing.T) {
	virtual(t, func(t *testing.T) {
		p, a := virtualProvider(t, named(t, "old", ecKey))
		verify := func(token string) error { _, err := a.Verify(t.Context(), token); return err }
		old, fresh := by(t, "old", ecKey), by(t, "new", otherECKey)
		require.NoError(t, verify(old))
		require.NoError(t, verify(old))
		require.Equal(t, 1, p.count(), "they are kept")

		p.set(nil, named(t, "old", ecKey), named(t, "new", otherECKey))
		time.Sleep(30 * time.Second)
		require.NoError(t, verify(fresh), "a kid that is new is asked for at once")
		require.NoError(t, verify(old))
		require.Equal(t, 2, p.count())

		p.set(nil, named(t, "new", otherECKey))
		time.Sleep(10 * time.Minute)
		require.NoError(t, verify(old), "who finds that they are old does not wait")
		synctest.Wait()
		require.Equal(t, 3, p.count())
		isRefused(t, verify(old), gohub.CodeUnauthorized, keyUnknown)
		require.NoError(t, verify(fresh))
		require.Equal(t, 3, p.count())
	})
}

// Tokens with made-up kids: the provider is asked twice a minute at most, all
// others are answered at once, and honest tokens go on.
func TestUnknownKeysDoNotHammer(t *testing.T) {
	virtual(t, func(t *testing.T) {
		p, a := virtualProvider(t, named(t, "k", ecKey))
		good := by(t, "k", ecKey)
		rest := good[strings.IndexByte(good, '.'):]
		var wg sync.WaitGroup
		for sender := range 50 {
			wg.Go(func() {
				for i := range 200 {
					start := time.Now()
					_, err := a.Verify(t.Context(), base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"alg":"ES256","kid":"%d-%d"}`, sender, i))+rest)
					isRefused(t, err, gohub.CodeUnauthorized, keyUnknown)
					require.Zero(t, time.Since(start))
					time.Sleep(time.Second)
				}
			})
		}
		for range 200 {
			_, err := a.Verify(t.Context(), good)
			require.NoError(t, err)
			time.Sleep(time.Second)
		}
		wg.Wait()
		require.LessOrEqual(t, p.count(), 1+200/30)
		require.Greater(t, p.count(), 3, "a new key would have been found")
	})
}

// Tokens without a kid never have keys fetched that are there.
func TestKidlessTokensDoNotFetch(t *testing.T) {
	virtual(t, func(t *testing.T) {
		p, a := virtualProvider(t, named(t, "k", ecKey), named(t, "l", otherECKey))
		for range 100 {
			_, err := a.Verify(t.Context(), mint(t, auth.ES256, newEC(), nil, goodClaims(nil)))
			isRefused(t, err, gohub.CodeUnauthorized, "the token's signature is wrong")
			_, err = a.Verify(t.Context(), mint(t, auth.HS256, hmacKey, nil, goodClaims(nil)))
			isRefused(t, err, gohub.CodeUnauthorized, "the token's algorithm is not its key's")
			time.Sleep(time.Second)
		}
		_, err := a.Verify(t.Context(), mint(t, auth.ES256, otherECKey, nil, goodClaims(nil)))
		require.NoError(t, err)
		require.Equal(t, 1, p.count())
	})
}

// All who need the keys wait for one fetch.
func TestJWKSOneFetchAtATime(t *testing.T) {
	virtual(t, func(t *testing.T) {
		p, a := virtualProvider(t)
		var under atomic.Int32
		set, err := json.Marshal(map[string]any{"keys": []jwk.Key{named(t, "k", ecKey)}})
		require.NoError(t, err)
		p.set(func(w http.ResponseWriter, _ *http.Request) {
			if under.Add(1) != 1 {
				t.Error("another one is under way")
			}
			time.Sleep(time.Second)
			under.Add(-1)
			_, _ = w.Write(set)
		})
		token := by(t, "k", ecKey)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				_, err := a.Verify(t.Context(), token)
				require.NoError(t, err)
			})
		}
		// One who goes away does not take the fetch along.
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err = a.Verify(ctx, token)
		isRefused(t, err, gohub.CodeUnavailable, keysAway)
		wg.Wait()
		require.Equal(t, 1, p.count())
	})
}

// Also when the caller's client does not end in time.
func TestJWKSOneFetchAtATimeWithSlowClient(t *testing.T) {
	virtual(t, func(t *testing.T) {
		var fetches atomic.Int32
		a := newAuth(t, auth.Config{
			JWKS: "https://login.example.com/", Logger: slog.New(slog.DiscardHandler),
			Client: &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
				fetches.Add(1)
				time.Sleep(2 * time.Minute)
				return nil, errors.New("given up")
			})},
		})
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 31*time.Second)
			_, err := a.Verify(ctx, by(t, "k", ecKey))
			cancel()
			isRefused(t, err, gohub.CodeUnavailable, keysAway)
		}
		require.EqualValues(t, 1, fetches.Load())
		time.Sleep(time.Minute)
		synctest.Wait()
	})
}

// Nor do more than a thousand wait, whatever they send.
func TestJWKSWaitersAreBounded(t *testing.T) {
	virtual(t, func(t *testing.T) {
		p, a := virtualProvider(t)
		p.set(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		token := by(t, "k", ecKey)
		var wg sync.WaitGroup
		var quick atomic.Int32
		for range 1500 {
			wg.Go(func() {
				start := time.Now()
				_, err := a.Verify(t.Context(), token)
				isRefused(t, err, gohub.CodeUnavailable, keysAway)
				if time.Since(start) == 0 {
					quick.Add(1)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 500, quick.Load())
		require.Equal(t, 1, p.count())
	})
}

// What was fetched last serves while the provider is down, for a day.
func TestJWKSServesStaleKeysWhileDown(t *testing.T) {
	virtual(t, func(t *testing.T) {
		p, a := virtualProvider(t, named(t, "k", ecKey))
		verify := func(token string) error { _, err := a.Verify(t.Context(), token); return err }
		token := by(t, "k", ecKey)
		require.NoError(t, verify(token))
		p.setDown(true)
		begin := time.Now()
		for time.Since(begin) < 24*time.Hour-time.Minute {
			time.Sleep(time.Minute)
			start := time.Now()
			require.NoError(t, verify(token))
			require.Zero(t, time.Since(start), "nobody waits for who is down")
		}
		require.LessOrEqual(t, p.count(), 24*60+1)
		time.Sleep(time.Minute)
		err := verify(token)
		isRefused(t, err, gohub.CodeUnavailable, keysAway)
		var e *gohub.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, 30*time.Second, e.RetryAfter)
		p.setDown(false)
		isRefused(t, verify(token), gohub.CodeUnavailable, keysAway)
		time.Sleep(30 * time.Second)
		require.NoError(t, verify(token))
	})
}

// A provider that is down from the beginning is asked twice a minute, too; static
// keys do not need it.
func TestJWKSDownFromTheBeginning(t *testing.T) {
	virtual(t, func(t *testing.T) {
		p := &provider{down: true}
		a := newAuth(t, auth.Config{
			Keys: []auth.Key{{ID: "static", Algorithm: auth.ES256, Key: otherECKey}},
			JWKS: "https://login.example.com/", Client: &http.Client{Transport: p}, Logger: slog.New(slog.DiscardHandler),
		})
		for range 300 {
			_, err := a.Verify(t.Context(), by(t, "k", ecKey))
			isRefused(t, err, gohub.CodeUnavailable, keysAway)
			_, err = a.Verify(t.Context(), by(t, "static", otherECKey))
			require.NoError(t, err)
			time.Sleep(time.Second)
		}
		require.Equal(t, 10, p.count())
		_, err := a.Verify(t.Context(), by(t, "static", ecKey))
		isRefused(t, err, gohub.CodeUnauthorized, "the token's signature is wrong")
	})
}

// An answer that never ends, or comes a byte at a time, is given up.
func TestJWKSFetchTakesFiveSeconds(t *testing.T) {
	virtual(t, func(t *testing.T) {
		p, a := virtualProvider(t)
		p.set(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		start := time.Now()
		_, err := a.Verify(t.Context(), by(t, "k", ecKey))
		isRefused(t, err, gohub.CodeUnavailable, keysAway)
		require.Equal(t, 5*time.Second, time.Since(start))
	})
}

// What a provider may not answer with; whether it may is seen by a token of
// its key, which all of them have.
func TestJWKSFetchIsBounded(t *testing.T) {
	t.Parallel()
	set := func(t *testing.T, more ...jwk.Key) []byte {
		t.Helper()
		b, err := json.Marshal(map[string]any{"keys": append([]jwk.Key{named(t, "k", ecKey)}, more...)})
		require.NoError(t, err)
		return b
	}
	for _, c := range []struct {
		name   string
		answer func(t *testing.T, w http.ResponseWriter, r *http.Request)
		ok     bool
		logs   string
	}{
		{"as it should be", func(t *testing.T, w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(set(t)) }, true, ""},
		{"large", func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(set(t))
			_, _ = io.WriteString(w, strings.Repeat(" ", 200<<10))
		}, true, ""},
		{"too large", func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(set(t))
			_, _ = io.WriteString(w, strings.Repeat(" ", 256<<10))
		}, false, "more than 262144 bytes"},
		{"endless", func(t *testing.T, w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(set(t))
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, strings.Repeat(" ", 64<<10)); err != nil {
					return
				}
			}
		}, false, "more than 262144 bytes"},
		{"too many keys", func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			more := make([]jwk.Key, 100)
			for i := range more {
				more[i] = named(t, fmt.Sprint(i), otherECKey)
			}
			_, _ = w.Write(set(t, more...))
		}, false, "101 keys"},
		{"redirect", func(t *testing.T, w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/moved" {
				_, _ = w.Write(set(t))
				return
			}
			http.Redirect(w, r, "/moved", http.StatusFound)
		}, false, "status is 302"},
		{"error with keys", func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write(set(t))
		}, false, "status is 500"},
		{"a page", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, false, "no JWK set"},
		{"nothing", func(*testing.T, http.ResponseWriter, *http.Request) {}, false, "no JWK set"},
		{"no keys", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"keys":[]}`) }, false, "no key that can be used"},
		{"large header", func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Pad", strings.Repeat("x", 64<<10))
			_, _ = w.Write(set(t))
		}, false, "header"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.set(func(w http.ResponseWriter, r *http.Request) { c.answer(t, w, r) })
			var log safeBuffer
			a := newAuth(t, auth.Config{JWKS: p.URL + "/?key=S3cret-of-the-URL", Logger: slog.New(slog.NewTextHandler(&log, nil))})
			_, err := a.Verify(t.Context(), by(t, "k", ecKey))
			require.Equal(t, 1, p.count())
			require.NotContains(t, log.String(), "S3cret")
			if c.ok {
				require.NoError(t, err)
				require.Empty(t, log.String())
				return
			}
			isRefused(t, err, gohub.CodeUnavailable, keysAway)
			require.Contains(t, log.String(), c.logs)
		})
	}
}

// A caller's own client is used, but follows no redirect either.
func TestJWKSClient(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.set(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/moved", http.StatusFound) })
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	a := newAuth(t, auth.Config{JWKS: p.URL, Client: client, Logger: slog.New(slog.DiscardHandler)})
	_, err := a.Verify(t.Context(), by(t, "k", ecKey))
	isRefused(t, err, gohub.CodeUnavailable, keysAway)
	require.Equal(t, 1, p.count())
	require.Nil(t, client.CheckRedirect, "it is the caller's")
}

// Which keys of a set check tokens, and by which algorithm.
func TestJWKSKeys(t *testing.T) {
	t.Parallel()
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	exchange, _, err := x25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	edPublic := edKey.Public()
	const algorithm = "the token's algorithm is not its key's"
	for _, c := range []struct {
		name   string
		key    any
		fields map[string]any
		alg    auth.Algorithm // of the token
		signer any
		says   string // "": it is taken
	}{
		{"ES256", &ecKey.PublicKey, map[string]any{"alg": "ES256", "use": "sig"}, auth.ES256, ecKey, ""},
		{"P-256 without alg", &ecKey.PublicKey, nil, auth.ES256, ecKey, ""},
		{"EdDSA", edPublic, map[string]any{"alg": "EdDSA"}, auth.EdDSA, edKey, ""},
		{"Ed25519, as RFC 9864 has it", edPublic, map[string]any{"alg": "Ed25519"}, auth.EdDSA, edKey, ""},
		{"Ed25519 without alg", edPublic, nil, auth.EdDSA, edKey, ""},
		{"RS256", &rsaKey.PublicKey, map[string]any{"alg": "RS256"}, auth.RS256, rsaKey, ""},
		{"PS256", &rsaKey.PublicKey, map[string]any{"alg": "PS256"}, auth.PS256, rsaKey, ""},
		{"RSA without alg", &rsaKey.PublicKey, nil, auth.RS256, rsaKey, ""},
		{"RSA without alg, token PS256", &rsaKey.PublicKey, nil, auth.PS256, rsaKey, algorithm},
		{"PS256, token RS256", &rsaKey.PublicKey, map[string]any{"alg": "PS256"}, auth.RS256, rsaKey, algorithm},
		{"for encryption", &ecKey.PublicKey, map[string]any{"use": "enc"}, auth.ES256, ecKey, keyUnknown},
		{"private", ecKey, nil, auth.ES256, ecKey, keyUnknown},
		{"private RSA", rsaKey, nil, auth.RS256, rsaKey, keyUnknown},
		{"private Ed25519", edKey, nil, auth.EdDSA, edKey, keyUnknown},
		{"secret", hmacKey, map[string]any{"alg": "HS256"}, auth.HS256, hmacKey, keyUnknown},
		{"RSA key for HS256", &rsaKey.PublicKey, map[string]any{"alg": "HS256"}, auth.HS256, hmacKey, keyUnknown},
		{"EC key for RS256", &ecKey.PublicKey, map[string]any{"alg": "RS256"}, auth.ES256, ecKey, keyUnknown},
		{"alg none", &ecKey.PublicKey, map[string]any{"alg": "none"}, auth.ES256, ecKey, keyUnknown},
		{"P-384", &p384.PublicKey, nil, auth.ES256, ecKey, keyUnknown},
		{"X25519", exchange, nil, auth.EdDSA, edKey, keyUnknown},
		{"RSA of 1024 bits", &small.PublicKey, nil, auth.RS256, small, keyUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			k, err := json.Marshal(asJWK(t, c.key, map[string]any{"kid": "k"}))
			require.NoError(t, err)
			var raw map[string]any
			require.NoError(t, json.Unmarshal(k, &raw))
			maps.Copy(raw, c.fields)
			p.set(func(w http.ResponseWriter, _ *http.Request) {
				_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{
					map[string]any{"kty": "unheard of"}, 7, nil, named(t, "other", otherECKey), raw,
				}})
			})
			_, err = newAuth(t, auth.Config{JWKS: p.URL}).Verify(t.Context(), mint(t, c.alg, c.signer, map[string]any{"kid": "k"}, goodClaims(nil)))
			if c.says == "" {
				require.NoError(t, err)
				return
			}
			isRefused(t, err, gohub.CodeUnauthorized, c.says)
		})
	}
}

// A token without a kid costs eight checks at most.
func TestKidlessTokensTryFewKeys(t *testing.T) {
	t.Parallel()
	var keys []auth.Key
	for i := range 9 {
		keys = append(keys, auth.Key{ID: fmt.Sprint(i), Algorithm: auth.ES256, Key: newEC()})
	}
	a := newAuth(t, auth.Config{Keys: keys})
	for i, k := range keys {
		_, err := a.Verify(t.Context(), mint(t, auth.ES256, k.Key, nil, goodClaims(nil)))
		if i < 8 {
			require.NoError(t, err)
			continue
		}
		isRefused(t, err, gohub.CodeUnauthorized, "the token's signature is wrong")
		_, err = a.Verify(t.Context(), mint(t, auth.ES256, k.Key, map[string]any{"kid": k.ID}, goodClaims(nil)))
		require.NoError(t, err)
	}
}

// A key that was withdrawn while nobody came is not taken once more.
func TestWithdrawnKeyAfterIdle(t *testing.T) {
	virtual(t, func(t *testing.T) {
		p, a := virtualProvider(t, named(t, "old", ecKey))
		verify := func(token string) error { _, err := a.Verify(t.Context(), token); return err }
		stolen := by(t, "old", ecKey)
		require.NoError(t, verify(stolen))
		p.set(nil, named(t, "new", otherECKey)) // "old" leaked, and is withdrawn
		time.Sleep(20 * time.Hour)              // nobody comes meanwhile
		isRefused(t, verify(stolen), gohub.CodeUnauthorized, keyUnknown)
	})
}
