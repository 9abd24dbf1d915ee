package auth_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/auth"
)

// An identity provider has the users, and says who they are.
func ExampleNew() {
	a, err := auth.New(auth.Config{
		JWKS:     "https://login.example.com/.well-known/jwks.json",
		Issuer:   "https://login.example.com/", // as in its tokens, to the letter
		Audience: "chat",
	})
	if err != nil {
		log.Fatal(err)
	}
	hub, err := gohub.New(gohub.Config{Authenticator: a})
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("GET /ws", hub.Handler())
	_ = hub.Shutdown(context.Background())
}

// A provider whose user ids have another alphabet, and whose roles say which
// rooms there are.
func ExampleConfig_map() {
	cfg := auth.Config{
		JWKS:     "https://tenant.eu.auth0.com/.well-known/jwks.json",
		Issuer:   "https://tenant.eu.auth0.com/",
		Audience: "https://chat.example.com",
		Claims:   auth.ClaimNames{User: "-", Tenant: "org_id"},
		Map: func(claims map[string]any, who *gohub.Identity) error {
			sub, _ := claims["sub"].(string) // "auth0|5f7c8ec7c33c6c004bbafe82"
			who.User = strings.ReplaceAll(sub, "|", ":")
			if who.Tenant == "" {
				return gohub.Errorf(gohub.CodeForbidden, "you belong to no organisation")
			}
			return nil
		},
	}
	a, err := auth.New(cfg)
	fmt.Println(a != nil, err)
	// Output: true <nil>
}

// A service with users of its own: three handlers, and the hub.
func ExampleLogins() {
	key, err := readKey("2026-11.pem")
	if err != nil {
		log.Fatal(err)
	}
	a, err := auth.New(auth.Config{
		Keys:     []auth.Key{{ID: "2026-11", Algorithm: auth.ES256, Key: key}},
		Issuer:   "https://chat.example.com",
		Audience: "https://chat.example.com",
	})
	if err != nil {
		log.Fatal(err)
	}
	hub, err := gohub.New(gohub.Config{Authenticator: a})
	if err != nil {
		log.Fatal(err)
	}
	logins, err := auth.NewLogins(a, auth.LoginConfig{
		Check: func(r *http.Request) (gohub.Identity, error) {
			return checkPassword(r.Context(), r.PostFormValue("user"), r.PostFormValue("password"))
		},
		Ended: func(ctx context.Context, who gohub.Identity) {
			what := gohub.Revocation{Tenant: who.Tenant, User: who.User, Login: who.Login, Reason: "logged out"}
			if err := hub.Revoke(ctx, what); err != nil {
				log.Print(err)
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /auth/login", logins.Login)
	mux.HandleFunc("POST /auth/refresh", logins.Refresh)
	mux.HandleFunc("POST /auth/logout", logins.Logout)
	mux.Handle("GET /ws", hub.Handler())
}

// Whoever has a copy of an access token can use it until it expires, unless
// the Authenticator remembers for so long which logins have ended.
func ExampleLogins_ended() {
	a := newConfig([]auth.Key{{ID: "2026-11", Algorithm: auth.ES256, Key: ecKey}})

	var over sync.Map // logins that have ended, but whose tokens have not
	whoIs := func(r *http.Request) (gohub.Identity, error) {
		who, err := a.Authenticate(r)
		if _, ended := over.Load(who.Login); err == nil && ended {
			return who, gohub.Errorf(gohub.CodeUnauthorized, "this login has ended")
		}
		return who, err
	}
	hub, err := gohub.New(gohub.Config{Authenticator: gohub.AuthenticatorFunc(whoIs)})
	if err != nil {
		log.Fatal(err)
	}
	ended := func(ctx context.Context, who gohub.Identity) {
		if who.Login != "" { // else it was EndUser
			over.Store(who.Login, true)                                      // before Revoke: who comes now is refused
			time.AfterFunc(6*time.Minute, func() { over.Delete(who.Login) }) // LoginConfig.Access, the leeway, and some
		}
		what := gohub.Revocation{Tenant: who.Tenant, User: who.User, Login: who.Login, Reason: "logged out"}
		if err := hub.Revoke(ctx, what); err != nil {
			log.Print(err)
		}
	}
	_, err = auth.NewLogins(a, auth.LoginConfig{Check: checkForm, Ended: ended})
	fmt.Println(err, hub.Shutdown(context.Background()))
	// Output: <nil> <nil>
}

// checkPassword is the service's own. An unknown user costs as much time as a
// wrong password, and both hear the same.
func checkPassword(_ context.Context, user, password string) (gohub.Identity, error) {
	if user == "" || password == "" {
		return gohub.Identity{}, gohub.Errorf(gohub.CodeUnauthorized, "wrong name or password")
	}
	return gohub.Identity{User: user, Name: strings.ToUpper(user)}, nil
}

// readKey reads a private key as `openssl genpkey` writes it.
func readKey(file string) (any, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, errors.New(file + " is no PEM")
	}
	return x509.ParsePKCS8PrivateKey(block.Bytes)
}

// The first key signs, all check.
func ExampleConfig_rotation() {
	newKey, oldKey := ecKey, otherECKey
	before := newConfig([]auth.Key{
		{ID: "2026-10", Algorithm: auth.ES256, Key: oldKey},
	})
	during := newConfig([]auth.Key{
		{ID: "2026-11", Algorithm: auth.ES256, Key: newKey},
		{ID: "2026-10", Algorithm: auth.ES256, Key: &oldKey.PublicKey},
	})
	token, err := before.Issue(gohub.Identity{User: "alice"}, 5*time.Minute)
	if err != nil {
		log.Fatal(err)
	}
	who, err := during.Verify(context.Background(), token)
	fmt.Println(who.User, err)
	// Output: alice <nil>
}

func newConfig(keys []auth.Key) *auth.Authenticator {
	a, err := auth.New(auth.Config{Keys: keys, Issuer: "https://chat.example.com", Audience: "chat"})
	if err != nil {
		log.Fatal(err)
	}
	return a
}

// Pages of another origin of the service's: one list for all three.
func ExampleCORS() {
	origins := []string{"https://app.example.com", "https://*.example.org"}

	a := newConfig([]auth.Key{{ID: "2026-11", Algorithm: auth.ES256, Key: ecKey}})
	logins, err := auth.NewLogins(a, auth.LoginConfig{Check: checkForm, Origins: origins})
	if err != nil {
		log.Fatal(err)
	}
	hub, err := gohub.New(gohub.Config{Authenticator: a, Origins: origins})
	if err != nil {
		log.Fatal(err)
	}
	cors, err := auth.CORS(auth.CORSConfig{Origins: origins})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /auth/refresh", logins.Refresh)
	mux.Handle("GET /ws", hub.Handler())
	handler := cors(mux) // around the mux, which knows no OPTIONS

	fmt.Println(handler != nil, hub.Shutdown(context.Background()))
	// Output: true <nil>
}

func checkForm(r *http.Request) (gohub.Identity, error) {
	return checkPassword(r.Context(), r.PostFormValue("user"), r.PostFormValue("password"))
}

// A token that says nothing of rooms opens none, and the board's is for
// its members whatever tokens say.
func ExampleClaimNames() {
	mayJoin := func(ctx context.Context, who gohub.Identity, room gohub.RoomID) error {
		if who.Rooms == nil || room.Name == "board" && who.Claims["role"] != "board" {
			return gohub.Errorf(gohub.CodeForbidden, "this room is not open to you")
		}
		return gohub.ListedRooms(ctx, who, room)
	}
	cfg := auth.ClaimNames{Rooms: "chat_rooms", Keep: []string{"role"}}
	alice := gohub.Identity{User: "alice", Rooms: []string{"general", "team-*", "board"}}
	fmt.Println(cfg.Rooms)
	fmt.Println(mayJoin(context.Background(), alice, gohub.RoomID{Name: "team-red"}))
	fmt.Println(mayJoin(context.Background(), alice, gohub.RoomID{Name: "board"}))
	// Output:
	// chat_rooms
	// <nil>
	// forbidden: this room is not open to you
}
