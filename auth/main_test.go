package auth_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/auth"
	"github.com/gohub/gohub/internal/atrest"
)

// Every line that anything logs in these tests goes here as well, and at the
// end no secret may be in it.
var logged safeBuffer

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug})))
	code := atrest.M(m, goleak.Find).Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			println(err.Error())
			code = 1
		}
		if s := secrets.found(logged.String()); s != "" {
			println("this was logged: " + s)
			code = 1
		}
	}
	os.Exit(code)
}

// A safeBuffer may be written to by many.
type safeBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// secrets are what must not be seen in any log or answer.
var secrets secretList

type secretList struct {
	mu  sync.Mutex // guards all
	all []string
}

// add remembers the parts of a token that are long enough to be told apart.
func (l *secretList) add(token string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, part := range strings.Split(token, ".") {
		if len(part) >= 16 && !(i == 0 && strings.Contains(token, "..")) {
			l.all = append(l.all, part[:16], part[len(part)-16:])
		}
	}
}

// found gives the first secret that is in text.
func (l *secretList) found(text string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.all {
		if strings.Contains(text, s) {
			return s
		}
	}
	return ""
}

// The keys of all tests. Making them takes time; nothing changes them.
var (
	ecKey, otherECKey = newEC(), newEC()
	_, edKey, _       = ed25519.GenerateKey(rand.Reader)
	rsaKey, _         = rsa.GenerateKey(rand.Reader, 2048)
	hmacKey           = []byte("0123456789abcdef0123456789abcdef")
)

func newEC() *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}

const (
	issuer   = "https://login.example.com/"
	audience = "chat"
)

// goodClaims are of a token that is taken, with changes; nil takes a claim out.
func goodClaims(changes map[string]any) map[string]any {
	now := time.Now()
	c := map[string]any{
		"iss": issuer, "aud": audience, "sub": "alice", "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// mint signs with jwx, as somebody else's service would: what is checked is
// not made by what checks it.
func mint(t testing.TB, alg auth.Algorithm, key any, head, claims map[string]any) string {
	t.Helper()
	h := jws.NewHeaders()
	for k, v := range head {
		require.NoError(t, h.Set(k, v))
	}
	payload, err := json.Marshal(claims)
	require.NoError(t, err)
	token, err := jws.Sign(payload, jws.WithKey(jwa.SignatureAlgorithm(alg), key, jws.WithProtectedHeaders(h)))
	require.NoError(t, err)
	secrets.add(string(token))
	return string(token)
}

// forge puts a token together of any header, claims and signature.
func forge(t testing.TB, head string, claims map[string]any, sign func(input []byte) []byte) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	require.NoError(t, err)
	input := base64.RawURLEncoding.EncodeToString([]byte(head)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	token := input + "." + base64.RawURLEncoding.EncodeToString(sign([]byte(input)))
	secrets.add(token)
	return token
}

func newAuth(t testing.TB, cfg auth.Config) *auth.Authenticator {
	t.Helper()
	if cfg.Keys == nil && cfg.JWKS == "" {
		cfg.Keys = []auth.Key{{ID: "k1", Algorithm: auth.ES256, Key: ecKey}}
	}
	if cfg.Issuer == "" {
		cfg.Issuer = issuer
	}
	if cfg.Audience == "" && !cfg.AnyAudience {
		cfg.Audience = audience
	}
	a, err := auth.New(cfg)
	require.NoError(t, err)
	return a
}

// isRefused checks code and text of a refusal.
func isRefused(t testing.TB, err error, code gohub.Code, text string) {
	t.Helper()
	var e *gohub.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, code, e.Code)
	require.Equal(t, text, e.Message)
}

// A provider is an identity provider's JWKS.
type provider struct {
	*httptest.Server
	mu      sync.Mutex // guards what follows
	keys    []jwk.Key
	answer  func(w http.ResponseWriter, r *http.Request) // instead of the keys
	fetches int
	down    bool // for RoundTrip
}

func newProvider(t testing.TB, keys ...jwk.Key) *provider {
	p := &provider{keys: keys}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.fetches++
	answer, keys := p.answer, slices.Clone(p.keys)
	p.mu.Unlock()
	if answer != nil {
		answer(w, r)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"keys": keys})
}

func (p *provider) set(answer func(w http.ResponseWriter, r *http.Request), keys ...jwk.Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer, p.keys = answer, keys
}

func (p *provider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fetches
}

// asJWK makes a JWK of a Go key.
func asJWK(t testing.TB, key any, fields map[string]any) jwk.Key {
	t.Helper()
	k, err := jwk.FromRaw(key)
	require.NoError(t, err)
	for f, v := range fields {
		require.NoError(t, k.Set(f, v))
	}
	return k
}
