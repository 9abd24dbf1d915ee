package auth_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/auth"
)

// No token, cookie, key or password, nor a part of one, is in any log or
// answer, whatever goes wrong; and something does get logged.
func TestLogsKeepSecrets(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]func(b *bytes.Buffer, o *slog.HandlerOptions) slog.Handler{
		"text": func(b *bytes.Buffer, o *slog.HandlerOptions) slog.Handler { return slog.NewTextHandler(b, o) },
		"JSON": func(b *bytes.Buffer, o *slog.HandlerOptions) slog.Handler { return slog.NewJSONHandler(b, o) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var logs bytes.Buffer // all of it happens on this goroutine
			var answers strings.Builder
			var sent []string // what nobody may see again
			log := slog.New(handler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
			cfg := auth.Config{Keys: []auth.Key{{ID: "k1", Algorithm: auth.ES256, Key: ecKey}}, Issuer: issuer, Audience: audience, Logger: log}
			a, err := auth.New(cfg)
			require.NoError(t, err)
			log.Debug("the configuration", "config", cfg.Keys)
			away := &awayFamilies{Families: auth.NewMemoryFamilies()}
			logins, err := auth.NewLogins(a, auth.LoginConfig{
				Families: away,
				Check: func(r *http.Request) (gohub.Identity, error) {
					if r.PostFormValue("password") != "SECRET-right-password" {
						return gohub.Identity{}, errors.New("a wrong password")
					}
					return gohub.Identity{User: r.PostFormValue("user")}, nil
				},
			})
			require.NoError(t, err)
			post := func(h http.HandlerFunc, form url.Values, cookies ...*http.Cookie) []*http.Cookie {
				r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(form.Encode()))
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				for _, c := range cookies {
					r.AddCookie(c)
				}
				w := httptest.NewRecorder()
				h(w, r)
				answers.WriteString(w.Body.String())
				set := w.Result().Cookies()
				for _, c := range set {
					sent = append(sent, strings.FieldsFunc(c.Value, func(r rune) bool { return r == '.' })...)
				}
				return set
			}
			form := func(user, password string) url.Values { return url.Values{"user": {user}, "password": {password}} }
			sent = append(sent, "SECRET")

			post(logins.Login, form("alice", "SECRET-wrong-password"))
			post(logins.Login, form("not allowed", "SECRET-right-password"))
			first := post(logins.Login, form("alice", "SECRET-right-password"))
			require.Len(t, first, 2)
			away.broken = true
			post(logins.Refresh, nil, first...)
			away.broken = false
			second := post(logins.Refresh, nil, first...)
			post(logins.Refresh, nil, second...)
			post(logins.Refresh, nil, first...) // used twice
			post(logins.Refresh, nil, &http.Cookie{Name: first[1].Name, Value: "SECRET.made-up"})
			post(logins.Logout, nil, second...)

			for _, token := range []string{
				"SECRET", "SECRET.SECRET.SECRET", second[0].Value + "x", first[0].Value[:len(first[0].Value)-9] + "SECRETxyz",
				mint(t, auth.ES256, otherECKey, map[string]any{"kid": "k1"}, goodClaims(nil)),
				mint(t, auth.ES256, ecKey, map[string]any{"kid": "k1"}, goodClaims(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()})),
			} {
				_, err := a.Verify(context.Background(), token)
				require.Error(t, err)
				answers.WriteString(err.Error())
				log.Debug("refused", "err", err)
				sent = append(sent, strings.FieldsFunc(token, func(r rune) bool { return r == '.' })...)
			}
			for _, sign := range []string{"a login's user id cannot be", "no storage", "used twice", "LoginConfig.Check refused", "the configuration"} {
				require.Contains(t, logs.String(), sign, "the log is looked at where it says something")
			}
			private, err := ecKey.Bytes()
			require.NoError(t, err)
			for _, secret := range append(sent, new(big.Int).SetBytes(private).String()) {
				require.NotEmpty(t, secret)
				if strings.HasPrefix(secret, "eyJhbGciOiJFUzI1NiIs") {
					continue // the header of any token
				}
				require.NotContains(t, logs.String(), secret)
				require.NotContains(t, answers.String(), secret)
			}
		})
	}
}

// awayFamilies cannot be reached while it is broken.
type awayFamilies struct {
	auth.Families
	broken bool
}

func (f *awayFamilies) Get(ctx context.Context, id string) (auth.Family, error) {
	if f.broken {
		return auth.Family{}, errors.New("no storage")
	}
	return f.Families.Get(ctx, id)
}
