package auth_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/auth"
	"github.com/gohub/gohub/hubtest"
)

// attackKeys are what the attacked Authenticator takes.
func attackKeys() []auth.Key {
	return []auth.Key{
		{ID: "ec", Algorithm: auth.ES256, Key: ecKey},
		{ID: "ed", Algorithm: auth.EdDSA, Key: edKey},
		{ID: "rsa", Algorithm: auth.RS256, Key: &rsaKey.PublicKey},
	}
}

const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

func hs256(secret []byte) func([]byte) []byte {
	return func(input []byte) []byte {
		mac := hmac.New(sha256.New, secret)
		mac.Write(input)
		return mac.Sum(nil)
	}
}

func noSignature([]byte) []byte { return nil }

// A tokenAttack is a token that must not get anybody in.
type tokenAttack struct {
	name  string
	token func(t testing.TB) string
	says  string // what the client hears
}

func tokenAttacks() []tokenAttack {
	kid := map[string]any{"kid": "ec"}
	claims := func(changes map[string]any) func(t testing.TB) string {
		return func(t testing.TB) string { return mint(t, auth.ES256, ecKey, kid, goodClaims(changes)) }
	}
	header := func(more map[string]any, key any) func(t testing.TB) string {
		return func(t testing.TB) string {
			more["kid"] = "ec"
			return mint(t, auth.ES256, key, more, goodClaims(nil))
		}
	}
	forged := func(head string, sign func([]byte) []byte) func(t testing.TB) string {
		return func(t testing.TB) string { return forge(t, head, goodClaims(nil), sign) }
	}
	text := func(s string) func(t testing.TB) string {
		return func(testing.TB) string { secrets.add(s); return s }
	}
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	der, err := x509.MarshalPKIXPublicKey(&ecKey.PublicKey)
	if err != nil {
		panic(err)
	}
	rsaDER, err := x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)
	if err != nil {
		panic(err)
	}
	asPEM := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}) }
	point, err := ecKey.PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	own, err := jwk.FromRaw(&otherECKey.PublicKey)
	if err != nil {
		panic(err)
	}
	good := func(t testing.TB) string { return mint(t, auth.ES256, ecKey, kid, goodClaims(nil)) }

	const (
		malformed = "the token is malformed"
		algorithm = "the token's algorithm is not its key's"
		signature = "the token's signature is wrong"
		unknown   = "the token's key is unknown"
	)
	return []tokenAttack{
		{"expired", claims(map[string]any{"exp": in(-31 * time.Second)}), "the token has expired"},
		{"without an end", claims(map[string]any{"exp": nil}), malformed},
		{"end that is text", claims(map[string]any{"exp": "9999999999"}), malformed},
		{"end before time began", claims(map[string]any{"exp": -1}), malformed},
		{"end that is null", func(t testing.TB) string {
			c := goodClaims(nil)
			c["exp"] = json.RawMessage("null")
			return mint(t, auth.ES256, ecKey, kid, c)
		}, malformed},
		{"not valid yet", claims(map[string]any{"nbf": in(time.Hour)}), "the token is not valid yet"},
		{"beginning that is text", claims(map[string]any{"nbf": "0"}), malformed},
		{"another issuer's", claims(map[string]any{"iss": "https://evil.example/"}), "the token is another issuer's"},
		{"issuer that begins like ours", claims(map[string]any{"iss": issuer + "x"}), "the token is another issuer's"},
		{"no issuer", claims(map[string]any{"iss": nil}), "the token is another issuer's"},
		{"issuers, ours among them", claims(map[string]any{"iss": []string{issuer}}), "the token is another issuer's"},
		{"another audience", claims(map[string]any{"aud": "mail"}), "the token is for another audience"},
		{"other audiences", claims(map[string]any{"aud": []string{"mail", "chat2"}}), "the token is for another audience"},
		{"no audience", claims(map[string]any{"aud": nil}), "the token is for another audience"},
		{"audience in an object", claims(map[string]any{"aud": map[string]any{"chat": "chat"}}), "the token is for another audience"},
		{"audiences in objects", claims(map[string]any{"aud": []any{map[string]any{"chat": "chat"}, []string{"chat"}}}), "the token is for another audience"},
		{"no user", claims(map[string]any{"sub": nil}), "the token's user id cannot be used here"},
		{"user id that cannot be", claims(map[string]any{"sub": "a,b"}), "the token's user id cannot be used here"},
		{"user id that is a number", claims(map[string]any{"sub": 7}), "a claim of the token cannot be used here"},
		{"tenant that is no text", claims(map[string]any{"tenant": []string{"acme"}}), "a claim of the token cannot be used here"},
		{"rooms that are no list", claims(map[string]any{"rooms": "all"}), "a claim of the token cannot be used here"},
		{"room that is a number", claims(map[string]any{"rooms": []any{"a", 1}}), "a claim of the token cannot be used here"},

		{"alg none", forged(`{"alg":"none","kid":"ec"}`, noSignature), algorithm},
		{"alg None", forged(`{"alg":"None","kid":"ec"}`, noSignature), algorithm},
		{"alg none without a kid", forged(`{"alg":"none"}`, noSignature), algorithm},
		{"no alg", forged(`{"kid":"ec"}`, noSignature), algorithm},
		{"no alg, and no kid", forged(`{}`, noSignature), algorithm},
		{"alg given twice", forged(`{"alg":"ES256","alg":"none","kid":"ec"}`, noSignature), algorithm},
		{"alg in capitals, too", forged(`{"alg":"ES256","ALG":"none","kid":"ec"}`, noSignature), algorithm},
		{"HS256 with the public key as PEM", forged(`{"alg":"HS256","kid":"ec"}`, hs256(asPEM(der))), algorithm},
		{"HS256 with the public key as DER", forged(`{"alg":"HS256","kid":"ec"}`, hs256(der)), algorithm},
		{"HS256 with the public point", forged(`{"alg":"HS256","kid":"ec"}`, hs256(point)), algorithm},
		{"HS256 with the RSA key as PEM", forged(`{"alg":"HS256","kid":"rsa"}`, hs256(asPEM(rsaDER))), algorithm},
		{"HS256 with nothing", forged(`{"alg":"HS256","kid":"ec"}`, hs256(nil)), algorithm},
		{"HS256 without a kid", forged(`{"alg":"HS256"}`, hs256(asPEM(der))), algorithm},
		{"right key, wrong algorithm of it", func(t testing.TB) string {
			return mint(t, auth.PS256, rsaKey, map[string]any{"kid": "rsa"}, goodClaims(nil))
		}, algorithm},
		{"another key's kid", func(t testing.TB) string {
			return mint(t, auth.ES256, ecKey, map[string]any{"kid": "ed"}, goodClaims(nil))
		}, algorithm},
		{"unknown kid", func(t testing.TB) string {
			return mint(t, auth.ES256, ecKey, map[string]any{"kid": "EC"}, goodClaims(nil))
		}, unknown},
		{"kid that is a path", func(t testing.TB) string {
			return mint(t, auth.ES256, ecKey, map[string]any{"kid": "../../../../dev/null"}, goodClaims(nil))
		}, unknown},
		{"kid that is a number", forged(`{"alg":"ES256","kid":1}`, noSignature), malformed},
		{"somebody else's signature", header(map[string]any{}, otherECKey), signature},
		{"somebody else's signature without a kid", func(t testing.TB) string {
			return mint(t, auth.ES256, otherECKey, nil, goodClaims(nil))
		}, signature},
		{"jwk brings the key along", header(map[string]any{"jwk": own}, otherECKey), signature},
		{"jku says where the key is", header(map[string]any{"jku": "https://evil.example/jwks.json"}, otherECKey), signature},
		{"x5u says where the certificate is", header(map[string]any{"x5u": "https://evil.example/cert.pem"}, otherECKey), signature},
		{"crit", forged(`{"alg":"ES256","kid":"ec","crit":["exp"],"exp":1}`, noSignature), malformed},
		{"crit with b64", forged(`{"alg":"ES256","kid":"ec","crit":["b64"],"b64":false}`, noSignature), malformed},
		{"logout token", header(map[string]any{"typ": "logout+jwt"}, ecKey), "this is another kind of token"},
		{"proof of possession", header(map[string]any{"typ": "dpop+jwt"}, ecKey), "this is another kind of token"},

		{"no signature", func(t testing.TB) string { return strings.Join(strings.Split(good(t), ".")[:2], ".") + "." }, signature},
		{"only zeros for a signature", forged(`{"alg":"ES256","kid":"ec"}`, func([]byte) []byte { return make([]byte, 64) }), signature},
		{"signature that is too long", func(t testing.TB) string { return good(t) + "AAAA" }, signature},
		{"claims exchanged", func(t testing.TB) string {
			p := strings.Split(good(t), ".")
			q := strings.Split(claims(map[string]any{"sub": "admin"})(t), ".")
			return p[0] + "." + q[1] + "." + p[2]
		}, signature},
		{"two parts", func(t testing.TB) string { return strings.Join(strings.Split(good(t), ".")[:2], ".") }, malformed},
		{"four parts", func(t testing.TB) string { return good(t) + ".AAAA" }, malformed},
		{"five parts, as if encrypted", text("eyJhbGciOiJkaXIifQ..aaaa.bbbb.cccc"), malformed},
		{"JSON serialization", func(t testing.TB) string {
			p := strings.Split(good(t), ".")
			return `{"payload":"` + p[1] + `","signatures":[{"protected":"` + p[0] + `","signature":"` + p[2] + `"}]}`
		}, malformed},
		{"newline in the signature", func(t testing.TB) string { g := good(t); return g[:len(g)-4] + "\n" + g[len(g)-4:] }, malformed},
		{"another way to write the signature", func(t testing.TB) string {
			g := good(t) // of the last letter, two bits count
			last := strings.IndexByte(base64url, g[len(g)-1])
			return g[:len(g)-1] + string(base64url[last|1])
		}, malformed},
		{"padding", func(t testing.TB) string { return good(t) + "==" }, malformed},
		{"header that is no JSON", text(base64.RawURLEncoding.EncodeToString([]byte("alg=none")) + ".e30.AAAA"), malformed},
		{"claims that are no JSON", func(t testing.TB) string {
			return signRaw(t, []byte("sub=alice"))
		}, malformed},
		{"claims that are null", func(t testing.TB) string { return signRaw(t, []byte("null")) }, malformed},
		{"claims that are not UTF-8", func(t testing.TB) string {
			payload, err := json.Marshal(goodClaims(map[string]any{"tenant": "?"}))
			require.NoError(t, err)
			return signRaw(t, bytes.ReplaceAll(payload, []byte("?"), []byte("\xff")))
		}, malformed},
		{"deep JSON", func(t testing.TB) string {
			return signRaw(t, []byte(strings.Repeat("[", 3000)+strings.Repeat("]", 3000)))
		}, malformed},
		{"garbage", text("garbage"), malformed},
		{"dots", text(".."), malformed},
		{"many dots", text(strings.Repeat(".", 8000)), malformed},
		{"bytes", text("\x00\x01\xfe\xff.\x00.\x00"), malformed},
		{"nothing", text(""), malformed},
		{"a good one, too large", claims(map[string]any{"pad": strings.Repeat("x", 8<<10)}), "the token is too large"},
		{"huge", text(strings.Repeat("A", 500_000)), "the token is too large"},
	}
}

// signRaw signs any payload with the right key.
func signRaw(t testing.TB, payload []byte) string {
	t.Helper()
	h := jws.NewHeaders()
	require.NoError(t, h.Set("kid", "ec"))
	token, err := jws.Sign(payload, jws.WithKey(jwa.ES256, ecKey, jws.WithProtectedHeaders(h)))
	require.NoError(t, err)
	return string(token)
}

// Whatever is wrong with a token: it is refused with a constant text, in the
// header and in the cookie, by the hub, too, and nothing of it is logged.
func TestTokenAttacks(t *testing.T) {
	t.Parallel()
	var log safeBuffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	a := newAuth(t, auth.Config{Keys: attackKeys(), Logger: logger})
	hub := hubtest.New(t, gohub.Config{Authenticator: a, Logger: logger})
	good := mint(t, auth.ES256, ecKey, map[string]any{"kid": "ec"}, goodClaims(nil))
	bearer := func(token string) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Authorization"] = []string{"Bearer " + token}
		return r
	}
	who, err := a.Authenticate(bearer(good))
	require.NoError(t, err, "else nothing below means anything")
	require.Equal(t, "alice", who.User)

	for _, c := range tokenAttacks() {
		t.Run(c.name, func(t *testing.T) {
			token := c.token(t)
			_, err := a.Verify(t.Context(), token)
			isRefused(t, err, gohub.CodeUnauthorized, c.says)
			_, err = a.Authenticate(bearer(token))
			require.Error(t, err)
			r := bearer(token)
			r.AddCookie(&http.Cookie{Name: "__Host-gohub", Value: good})
			_, err = a.Authenticate(r)
			require.Error(t, err, "a bad token is not made up for by a good cookie")
			r = httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Cookie", "__Host-gohub="+token)
			_, err = a.Authenticate(r)
			require.Error(t, err)

			if url.QueryEscape(token) == token && len(token) < 10_000 { // http.Client sends no others
				hub.ExpectRefused("alice", http.StatusUnauthorized, hubtest.Header("Authorization", "Bearer "+token))
				hub.ExpectRefused("alice", http.StatusUnauthorized, hubtest.Header("Cookie", "__Host-gohub="+token))
			}
		})
	}
	require.Empty(t, secrets.found(log.String()), "a part of a token was logged")
	require.Contains(t, log.String(), "the token has expired", "the log was looked at")
	hub.Dial("alice", hubtest.Header("Authorization", "Bearer "+good))
	hub.Dial("alice", hubtest.Header("Cookie", "__Host-gohub="+good))
}

// What comes with a request beside the token.
func TestRequestAttacks(t *testing.T) {
	t.Parallel()
	good := mint(t, auth.ES256, ecKey, map[string]any{"kid": "k1"}, goodClaims(nil))
	other := mint(t, auth.ES256, ecKey, map[string]any{"kid": "k1"}, goodClaims(map[string]any{"sub": "mallory"}))
	const none, two = "no token: log in first", "more than one token"
	for _, c := range []struct {
		name   string
		cfg    auth.Config
		header http.Header
		says   string // "": it is taken
	}{
		{"no token", auth.Config{}, http.Header{}, none},
		{"bearer", auth.Config{}, http.Header{"Authorization": {"Bearer " + good}}, ""},
		{"bearer in lower case", auth.Config{}, http.Header{"Authorization": {"bearer  " + good}}, ""},
		{"cookie", auth.Config{}, http.Header{"Cookie": {"a=b; __Host-gohub=" + good}}, ""},
		{"two Authorizations", auth.Config{}, http.Header{"Authorization": {"Bearer " + good, "Bearer " + other}}, two},
		{"two cookies, as a sibling subdomain plants one", auth.Config{}, http.Header{"Cookie": {"__Host-gohub=" + other + "; __Host-gohub=" + good}}, two},
		{"two cookies in two headers", auth.Config{}, http.Header{"Cookie": {"__Host-gohub=" + good, "__Host-gohub=" + other}}, two},
		{"two cookies that are the same", auth.Config{}, http.Header{"Cookie": {"__Host-gohub=" + good + "; __Host-gohub=" + good}}, two},
		{"cookie of another name", auth.Config{}, http.Header{"Cookie": {"gohub=" + good}}, none},
		{"cookie of another case", auth.Config{}, http.Header{"Cookie": {"__host-gohub=" + good}}, none},
		{"cookie of the refresh token", auth.Config{}, http.Header{"Cookie": {"__Host-gohub-refresh=" + good}}, none},
		{"cookie where none counts", auth.Config{Cookie: "-"}, http.Header{"Cookie": {"__Host-gohub=" + good + "; -=" + good}}, none},
		{"header where no cookie counts", auth.Config{Cookie: "-"}, http.Header{"Authorization": {"Bearer " + good}}, ""},
		{"another scheme", auth.Config{}, http.Header{"Authorization": {"Basic " + good}}, none},
		{"another scheme beside the cookie", auth.Config{}, http.Header{"Authorization": {"Basic eDp5"}, "Cookie": {"__Host-gohub=" + good}}, ""},
		{"Bearer alone", auth.Config{}, http.Header{"Authorization": {"Bearer"}, "Cookie": {"__Host-gohub=" + good}}, "the token is malformed"},
		{"insecure cookie", auth.Config{Insecure: true}, http.Header{"Cookie": {"gohub=" + good}}, ""},
		{"own cookie", auth.Config{Cookie: "session"}, http.Header{"Cookie": {"session=" + good}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header = c.header
			who, err := newAuth(t, c.cfg).Authenticate(r)
			if c.says == "" {
				require.NoError(t, err)
				require.Equal(t, "alice", who.User)
				return
			}
			isRefused(t, err, gohub.CodeUnauthorized, c.says)
		})
	}
}

// A page of another origin, with the visitor's cookie on every request.
func TestOriginAttacks(t *testing.T) {
	t.Parallel()
	a := newAuth(t, auth.Config{})
	list := []string{"https://app.example.com", "https://*.example.org"}
	hub := hubtest.New(t, gohub.Config{Authenticator: a, Origins: list})
	strict := hubtest.New(t, gohub.Config{Authenticator: a, Origins: list, RequireOrigin: true})
	cookie := hubtest.Header("Cookie", "__Host-gohub="+mint(t, auth.ES256, ecKey, map[string]any{"kid": "k1"}, goodClaims(nil)))
	for _, c := range []struct {
		name    string
		origins []string
		ok      bool
	}{
		{"own host", []string{"http://hub.test"}, true},
		{"listed", []string{"https://app.example.com"}, true},
		{"subdomain of a listed one", []string{"https://a.b.example.org"}, true},
		{"wrong", []string{"https://evil.example"}, false},
		{"null", []string{"null"}, false},
		{"empty", []string{""}, false},
		{"star", []string{"*"}, false},
		{"two", []string{"https://app.example.com", "https://evil.example"}, false},
		{"two in one", []string{"https://app.example.com, https://evil.example"}, false},
		{"another scheme", []string{"http://app.example.com"}, false},
		{"another port", []string{"https://app.example.com:8443"}, false},
		{"look-alike that ends like ours", []string{"https://evilapp.example.com"}, false},
		{"look-alike that begins like ours", []string{"https://app.example.com.evil.example"}, false},
		{"look-alike of the wildcard", []string{"https://evilexample.org"}, false},
		{"the wildcard's own domain", []string{"https://example.org"}, false},
		{"the wildcard itself", []string{"https://*.example.org"}, true}, // no browser is there
		{"user before the host", []string{"https://app.example.com@evil.example"}, false},
		{"path", []string{"https://app.example.com/x"}, false},
		{"wildcard in a path", []string{"https://evil.example/.example.org"}, false},
		{"wildcard in a fragment", []string{"https://evil.example#.example.org"}, false},
		{"wildcard in a query", []string{"https://evil.example?.example.org"}, false},
		{"letters that look alike", []string{"https://аpp.example.com"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			opts := []hubtest.Option{cookie}
			for _, o := range c.origins {
				opts = append(opts, hubtest.Header("Origin", o))
			}
			if c.ok {
				hub.Dial("alice", opts...)
				return
			}
			hub.ExpectRefused("alice", http.StatusForbidden, opts...)
		})
	}
	t.Run("absent", func(t *testing.T) {
		t.Parallel()
		hub.Dial("alice", cookie)                                   // no browser leaves it out
		strict.ExpectRefused("alice", http.StatusForbidden, cookie) // where told
		hub.ExpectRefused("alice", http.StatusUnauthorized)         // without a cookie
		strict.Dial("alice", cookie, hubtest.Header("Origin", list[0]))
	})
}
