package auth_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/auth"
	"github.com/gohub/gohub/hubtest"
)

func TestCORS(t *testing.T) {
	t.Parallel()
	list := []string{"https://app.example.com", "https://*.example.org"}
	for _, c := range []struct {
		name    string
		cfg     auth.CORSConfig
		origins []string
		allowed string // Access-Control-Allow-Origin
		cookies bool
	}{
		{"listed", auth.CORSConfig{Origins: list}, []string{"https://app.example.com"}, "https://app.example.com", true},
		{"listed by a wildcard", auth.CORSConfig{Origins: list}, []string{"https://a.example.org"}, "https://a.example.org", true},
		{"wrong", auth.CORSConfig{Origins: list}, []string{"https://evil.example"}, "", false},
		{"absent", auth.CORSConfig{Origins: list}, nil, "", false},
		{"null", auth.CORSConfig{Origins: list}, []string{"null"}, "", false},
		{"another scheme", auth.CORSConfig{Origins: list}, []string{"http://app.example.com"}, "", false},
		{"another port", auth.CORSConfig{Origins: list}, []string{"https://app.example.com:8443"}, "", false},
		{"look-alike before", auth.CORSConfig{Origins: list}, []string{"https://evilapp.example.com"}, "", false},
		{"look-alike behind", auth.CORSConfig{Origins: list}, []string{"https://app.example.com.evil.example"}, "", false},
		{"look-alike of the wildcard", auth.CORSConfig{Origins: list}, []string{"https://evilexample.org"}, "", false},
		{"two", auth.CORSConfig{Origins: list}, []string{"https://app.example.com", "https://evil.example"}, "", false},
		{"newline", auth.CORSConfig{Origins: list}, []string{"https://app.example.com\r\nX: y"}, "", false},
		{"nobody listed", auth.CORSConfig{}, []string{"https://app.example.com"}, "", false},
		{"everybody", auth.CORSConfig{Origins: []string{"*"}}, []string{"https://evil.example"}, "*", false},
		{"everybody, null", auth.CORSConfig{Origins: []string{"*"}}, []string{"null"}, "", false},
		{"everybody, and listed", auth.CORSConfig{Origins: append([]string{"*"}, list...)}, []string{"https://app.example.com"}, "https://app.example.com", true},
		{"everybody, and not listed", auth.CORSConfig{Origins: append([]string{"*"}, list...)}, []string{"https://evil.example"}, "*", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cors, err := auth.CORS(c.cfg)
			require.NoError(t, err)
			reached := 0
			h := cors(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				reached++
				w.Header().Add("Vary", "Accept-Encoding")
				w.WriteHeader(http.StatusTeapot)
			}))
			ask := func(method string, header http.Header) http.Header {
				r := httptest.NewRequest(method, "/", nil)
				r.Header = header
				if c.origins != nil {
					r.Header["Origin"] = c.origins
				}
				rec := httptest.NewRecorder()
				h.ServeHTTP(rec, r)
				require.Equal(t, c.allowed, rec.Header().Get("Access-Control-Allow-Origin"))
				credentials := ""
				if c.cookies {
					credentials = "true"
				}
				require.Equal(t, credentials, rec.Header().Get("Access-Control-Allow-Credentials"))
				require.Contains(t, strings.Join(rec.Header()["Vary"], ", "), "Origin", "or a cache gives one origin's answer to another")
				return rec.Header()
			}
			got := ask(http.MethodGet, http.Header{})
			require.Equal(t, 1, reached)
			require.Contains(t, got["Vary"], "Accept-Encoding")
			require.Empty(t, got["Access-Control-Allow-Methods"])
			ask(http.MethodPost, http.Header{})
			ask(http.MethodOptions, http.Header{}) // no preflight
			require.Equal(t, 3, reached)

			got = ask(http.MethodOptions, http.Header{"Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {"content-type"}})
			if c.origins == nil {
				require.Equal(t, 4, reached, "no browser's")
				return
			}
			require.Equal(t, 3, reached, "a preflight is answered here")
			if c.allowed == "" {
				require.Empty(t, got["Access-Control-Allow-Methods"])
				require.Empty(t, got["Access-Control-Allow-Headers"])
				require.Empty(t, got["Access-Control-Max-Age"])
				return
			}
			require.Equal(t, "GET, HEAD, POST", got.Get("Access-Control-Allow-Methods"))
			require.Equal(t, "Authorization, Content-Type", got.Get("Access-Control-Allow-Headers"))
			require.Equal(t, "600", got.Get("Access-Control-Max-Age"))
			require.Contains(t, strings.Join(got["Vary"], ", "), "Access-Control-Request-Headers")
		})
	}
}

func TestCORSConfig(t *testing.T) {
	t.Parallel()
	for says, cfg := range map[string]auth.CORSConfig{
		"CORSConfig.Origins": {Origins: []string{"https://example.com", "example.com"}},
		"CORSConfig.MaxAge":  {MaxAge: time.Millisecond},
	} {
		_, err := auth.CORS(cfg)
		require.ErrorContains(t, err, says)
	}
	cors, err := auth.CORS(auth.CORSConfig{
		Origins: []string{"https://example.com"}, Methods: []string{"DELETE"}, Headers: []string{"X-A", "X-B"}, Expose: []string{"X-C"}, MaxAge: -1,
	})
	require.NoError(t, err)
	ask := func(method string) http.Header {
		r := httptest.NewRequest(method, "/", nil)
		r.Header.Set("Origin", "https://example.com")
		r.Header.Set("Access-Control-Request-Method", "DELETE")
		rec := httptest.NewRecorder()
		cors(http.NotFoundHandler()).ServeHTTP(rec, r)
		return rec.Header()
	}
	got := ask(http.MethodOptions)
	require.Equal(t, "GET, HEAD, POST, DELETE", got.Get("Access-Control-Allow-Methods"))
	require.Equal(t, "X-A, X-B", got.Get("Access-Control-Allow-Headers"))
	require.Equal(t, "0", got.Get("Access-Control-Max-Age"))
	require.Equal(t, "X-C", ask(http.MethodGet).Get("Access-Control-Expose-Headers"))
}

// One list for the hub, for CORS and for logins: a page of another origin
// negotiates with its visitor's cookie, reads the ticket, and connects.
func TestOneListOfOrigins(t *testing.T) {
	t.Parallel()
	origins := []string{"https://app.example.com"}
	a := newAuth(t, auth.Config{})
	hub, err := gohub.New(hubtest.Config(t, gohub.Config{Authenticator: a, Origins: origins}))
	require.NoError(t, err)
	cors, err := auth.CORS(auth.CORSConfig{Origins: origins})
	require.NoError(t, err)
	s := hubtest.Serve(t, cors(hub.Handler()))
	t.Cleanup(func() { require.NoError(t, hub.Shutdown(context.Background())) })
	cookie := accessCookie + "=" + mint(t, auth.ES256, ecKey, nil, goodClaims(nil))
	for origin, ok := range map[string]bool{"https://app.example.com": true, "https://evil.example": false} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/", nil)
		require.NoError(t, err)
		req.Header.Set("Origin", origin)
		req.Header.Set("Cookie", cookie)
		res, err := s.HTTP.Do(req)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		opts := []hubtest.Option{hubtest.Header("Origin", origin), hubtest.Header("Cookie", cookie)}
		if ok {
			require.Equal(t, http.StatusOK, res.StatusCode)
			require.Equal(t, origin, res.Header.Get("Access-Control-Allow-Origin"))
			s.Dial("alice", opts...)
			continue
		}
		require.Equal(t, http.StatusForbidden, res.StatusCode)
		require.Empty(t, res.Header.Get("Access-Control-Allow-Origin"))
		s.ExpectRefused("alice", http.StatusForbidden, opts...)
	}
}
