package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/auth"
)

// itself is who makes the tokens of the logins, and whom they are for.
const itself = "gohub-chat"

// accounts are what logins rest on: the key of the tokens, and the logins
// themselves.
type accounts struct {
	key    *ecdsa.PrivateKey
	logins auth.Families
}

// passing accounts end with the process; the page then logs in again by itself.
func passing() (accounts, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return accounts{key, auth.NewMemoryFamilies()}, err
}

// newAuth makes who tells users apart, and their logins. ended is told whose
// login has ended, and why.
func newAuth(conf config, acc accounts, log *slog.Logger, ended func(ctx context.Context, who gohub.Identity, why string) error) (*auth.Authenticator, *auth.Logins, error) {
	a, err := auth.New(auth.Config{
		Keys:     []auth.Key{{ID: "1", Algorithm: auth.ES256, Key: acc.key}},
		Issuer:   itself,
		Audience: itself,
		Insecure: !conf.secure(),
		Logger:   log,
	})
	if err != nil {
		return nil, nil, err
	}
	end := func(ctx context.Context, who gohub.Identity, why string) {
		log.Info("logout", "user", who.User, "why", why)
		if err := ended(ctx, who, why); err != nil {
			log.Error("its sessions live on", "user", who.User, "error", err)
		}
	}
	logins, err := auth.NewLogins(a, auth.LoginConfig{
		Check: func(r *http.Request) (gohub.Identity, error) {
			who, err := readLogin(r)
			if err == nil {
				log.Info("login", "user", who.User, "device", who.Device)
			}
			return who, err
		},
		Ended:    func(ctx context.Context, who gohub.Identity) { end(ctx, who, "logged out") },
		Reused:   func(ctx context.Context, who gohub.Identity) { end(ctx, who, auth.CodeReused) }, // the page looks for it
		Origins:  conf.origins,
		Families: acc.logins,
	})
	return a, logins, err
}

// fromPage adds what a page says of itself, which is nothing of who somebody is,
// so there is nothing to prove: its language, and in the query its device, as each
// tab does for itself: logins in browsers are of no device, since the tabs share the
// cookies.
func fromPage(users gohub.Authenticator) gohub.AuthenticatorFunc {
	return func(r *http.Request) (gohub.Identity, error) {
		who, err := users.Authenticate(r)
		who.Claims = map[string]any{langClaim: localeOf(r).Lang} // ours have no others
		if device := r.URL.Query().Get("device"); err == nil && who.Device == "" && validID(device) {
			who.Device = device
		}
		return who, err
	}
}

// readLogin takes a name on trust: a real service checks a password here.
// With a device a new connection replaces the one before; without, every
// connection is a session of its own.
func readLogin(r *http.Request) (who gohub.Identity, err error) {
	switch mt, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mt {
	case "application/json":
		var body struct{ User, Device string }
		dec := json.NewDecoder(r.Body)
		if err = dec.Decode(&body); err == nil {
			if _, more := dec.Token(); !errors.Is(more, io.EOF) {
				err = errors.New("more than one value")
			}
		}
		who.User, who.Device = body.User, body.Device
	case "application/x-www-form-urlencoded":
		err = r.ParseForm()
		who.User, who.Device = r.PostForm.Get("user"), r.PostForm.Get("device")
	default:
		return who, gohub.Errorf(gohub.CodeBadRequest, "send a form or JSON")
	}
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case tooLarge:
		return who, err // auth says so
	case err != nil:
		return who, gohub.Errorf(gohub.CodeBadRequest, "the request could not be read")
	case who.User == "":
		return who, gohub.Errorf(gohub.CodeBadRequest, "user: give a name")
	case !validID(who.User):
		return who, gohub.Errorf(gohub.CodeBadRequest, "user: "+idRule)
	case who.Device != "" && !validID(who.Device):
		return who, gohub.Errorf(gohub.CodeBadRequest, "device: "+idRule)
	}
	return who, nil
}

const idRule = "1 to 63 of the letters A-Z and a-z, digits, and . _ : - are allowed"

// validID holds names to what the protocol allows for user ids.
func validID(s string) bool {
	if s == "" || len(s) > 63 {
		return false
	}
	return !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._:-", c)
	})
}
