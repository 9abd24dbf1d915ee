package gohub_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// refresh gets a ticket as whoever query says and gives it to the session.
func (u *user) refresh(w *world, query string) frame {
	u.t.Helper()
	return u.ask(frame{"type": "refresh", "ticket": w.negotiate(query)["ticket"]}, "refreshed")
}

func TestRefreshTakesTheNewIdentity(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{Authenticator: gohub.AuthenticatorFunc(byQueryExpiring)})
		u := w.dial("user=alice&device=phone&tenant=acme&name=Alice&login=l1&rooms=a&claim=c1&life=1m")
		c := w.hub.Sessions("acme", "alice")[0]
		before := c.Identity()
		require.Equal(t, "Alice", before.Name)
		require.Equal(t, "refreshed", u.refresh(w, "user=alice&tenant=acme&name=Alison&login=l2&rooms=b&rooms=c&claim=c2&life=2m")["type"])
		require.Equal(t, gohub.Identity{
			User: "alice", Tenant: "acme", Device: "phone", Name: "Alison", Login: "l2", Rooms: []string{"b", "c"},
			Claims: map[string]any{"claim": "c2"}, ExpiresAt: time.Now().Add(2 * time.Minute),
		}, c.Identity())
		require.Equal(t, "Alice", before.Name, "what was given out stays")
		u.join("b")
		require.Equal(t, "Alison", w.present(gohub.RoomID{Tenant: "acme", Name: "b"}, "", 0).Users[0].Name)

		// What it says of a device is that of the session, or it is another's.
		const same = "user=alice&tenant=acme&life=5m"
		for _, device := range []string{"laptop", "phone2"} {
			refused := u.refresh(w, same+"&device="+device)
			require.Equal(t, "forbidden", refused["code"])
		}
		require.Equal(t, "refreshed", u.refresh(w, same+"&device=phone&name=Ali")["type"])
		require.Equal(t, "phone", c.Identity().Device)
		tab := w.dial(same)
		require.Equal(t, "forbidden", tab.refresh(w, same+"&device=tab")["code"])
		tab.sync()

		// The login that the session rests on now is the one that ends it.
		u.refresh(w, same+"&login=l2")
		w.revoke(gohub.Revocation{Tenant: "acme", Login: "l1"})
		u.sync()
		w.revoke(gohub.Revocation{Tenant: "acme", Login: "l2"})
		u.closes(gohub.CloseUnauthorized)
	})
}

// A ticket is no longer good than the token that it was given for.
func TestTicketEndsWithItsToken(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{Authenticator: gohub.AuthenticatorFunc(byQueryExpiring)})
		u := w.dial("user=alice&life=1h")
		tickets := make([]map[string]any, 4)
		for i := range tickets {
			tickets[i] = w.negotiate("user=alice&life=20s")
			require.InEpsilon(t, 20_000, tickets[i]["expires_in_ms"], 0.001)
		}
		pass(20*time.Second - time.Millisecond)
		w.dial("ticket=" + tickets[0]["ticket"].(string))
		require.Equal(t, "refreshed", w.dial("user=alice&life=1h").ask(frame{"type": "refresh", "ticket": tickets[1]["ticket"]}, "refreshed")["type"])
		pass(time.Millisecond)
		w.refused("ticket="+tickets[2]["ticket"].(string), http.StatusUnauthorized, "unauthorized")
		u.fails("unauthorized", frame{"type": "refresh", "ticket": tickets[3]["ticket"]})
		u.sync()
	})
}

// Rooms that the new identity may not be in are left, by the default rule and
// by a program's own.
func TestRefreshRechecksRooms(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"default", "own"} {
		backends(t, func(t *testing.T, kind func(gohub.Config) gohub.Config) {
			var cfg gohub.Config
			var closed atomic.Bool // to everybody
			if name == "own" {
				cfg.MayJoin = func(ctx context.Context, who gohub.Identity, room gohub.RoomID) error {
					if closed.Load() && room.Name == "closed" {
						return gohub.Errorf(gohub.CodeNotFound, "there is no such room any more")
					}
					return gohub.ListedRooms(ctx, who, room)
				}
			}
			w := start(t, kind(cfg))
			u, other, bob := w.dial("user=alice"), w.dial("user=alice"), w.as("bob", "lost")
			for _, r := range []string{"kept", "lost", "lost-2", "closed", "@alice,bob"} {
				u.join(r)
			}
			other.join("lost")
			require.NoError(t, w.hub.Join(u.session(), "placed"))
			u.expect("joined", "room", "placed")

			closed.Store(true)
			w.fill("lost", 1)
			u.collect("lost", 1)
			ref := gohub.NewID()
			u.send(frame{"type": "refresh", "ref": ref, "ticket": w.negotiate("user=alice&rooms=kept&rooms=clo*")["ticket"]})
			gone := map[any]bool{"lost": true, "lost-2": true}
			if name == "own" {
				gone["closed"] = true
			}
			left := map[any]bool{}
			var answer frame
			for { // in the order in which they came
				f := u.until("left or refreshed", func(f frame) bool { return f["type"] == "left" || f["type"] == "refreshed" })
				if f["type"] == "refreshed" {
					answer = f
					break
				}
				require.Equal(t, frame{"type": "left", "room": f["room"]}, f, "without a ref")
				left[f["room"]] = true
			}
			require.Equal(t, gone, left)
			require.Equal(t, ref, answer["ref"])
			require.Zero(t, answer.num("expires"))

			// Nothing more of it, no way back, and not on the list.
			w.fill("lost", 1)
			bob.collect("lost", 2)
			other.collect("lost", 2)
			u.sync()
			require.Empty(t, u.messages("lost"))
			u.fails("not_joined", frame{"type": "history", "room": "lost"})
			require.Equal(t, "not_joined", u.say("lost", 1)["code"])
			u.fails("forbidden", frame{"type": "join", "room": "lost"})
			for _, r := range []string{"kept", "@alice,bob", "placed"} {
				require.Equal(t, "ack", u.say(r, 1)["type"], r)
			}
			list := u.ask(frame{"type": "rooms"}, "rooms")
			require.Nil(t, roomIn(t, list, "lost-2"))
			require.NotNil(t, roomIn(t, list, "kept"))
			require.Equal(t, "ack", other.say("lost", 1)["type"], "that session's token says otherwise")

			// And in again, when a later one lets it.
			u.refresh(w, "user=alice&rooms=*")
			u.join("lost")
		})
	}
}

// When it cannot be said whether a room is still open to the user, all stays
// as it is, the end of the old token included.
func TestRefreshThatCannotBeJudged(t *testing.T) {
	for name, c := range map[string]struct {
		fault func() error
		code  string
	}{
		"error":     {func() error { return errors.New("the database is away") }, "internal"},
		"panic":     {func() error { panic("the database is away") }, "internal"},
		"try later": {func() error { return &gohub.Error{Code: gohub.CodeUnavailable, RetryAfter: time.Second} }, "unavailable"},
		"nil error": {func() error { var e *gohub.Error; return e }, "internal"},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				broken := false
				w := startVirtual(t, gohub.Config{
					Authenticator: gohub.AuthenticatorFunc(byQueryExpiring),
					MayJoin: func(_ context.Context, who gohub.Identity, room gohub.RoomID) error {
						switch {
						case who.Login == "":
							return nil
						case broken && room.Name == "b":
							return c.fault()
						case room.Name == "b":
							return nil
						}
						return gohub.Errorf(gohub.CodeForbidden, "not any more")
					},
				})
				u := w.dial("user=alice&life=1m")
				for _, r := range []string{"a", "b", "c"} {
					u.join(r)
				}
				broken = true
				f := u.refresh(w, "user=alice&login=new&life=5m")
				require.Equal(t, c.code, f["code"])
				require.NotZero(t, f["retry_ms"])
				require.Empty(t, w.hub.Sessions("", "alice")[0].Identity().Login)
				for _, r := range []string{"a", "b", "c"} {
					require.Equal(t, "ack", u.say(r, 1)["type"])
				}
				broken = false
				kept := w.dial("user=bob&life=1m")
				kept.join("b")
				require.Equal(t, "refreshed", kept.refresh(w, "user=bob&login=new&life=5m")["type"])
				pass(time.Minute + time.Second)
				u.closes(gohub.CloseTokenExpired)
				kept.sync()
			})
		})
	}
}

// What a refresh is about to make of the session is revoked while the program
// is asked about its rooms.
func TestRevokeWhileRefreshing(t *testing.T) {
	virtual(t, func(t *testing.T) {
		var w *world
		var meanwhile func()
		w = startVirtual(t, gohub.Config{
			Authenticator: gohub.AuthenticatorFunc(byQueryExpiring),
			MayJoin: func(_ context.Context, who gohub.Identity, _ gohub.RoomID) error {
				if who.Login == "new" {
					meanwhile()
				}
				return nil
			},
		})
		u := w.dial("user=alice&login=old&life=1m")
		u.join("r")
		meanwhile = func() { w.revoke(gohub.Revocation{Login: "new"}) }
		require.Equal(t, "unauthorized", u.refresh(w, "user=alice&login=new&life=1h")["code"])
		require.Equal(t, "old", w.hub.Sessions("", "alice")[0].Identity().Login)
		require.Equal(t, "ack", u.say("r", 1)["type"], "it lives on as what it was")

		meanwhile = func() { w.revoke(gohub.Revocation{Login: "old"}) }
		u.send(frame{"type": "refresh", "ticket": w.negotiate("user=alice&login=new&life=1h")["ticket"]})
		u.closes(gohub.CloseUnauthorized)

		meanwhile = func() {}
		u = w.dial("user=alice&login=old&life=1m")
		u.join("r")
		require.Equal(t, "refreshed", u.refresh(w, "user=alice&login=new&life=1h")["type"])
		pass(59 * time.Minute)
		u.sync()
	})
}

// What the program has joined a session to stays, whoever was there first.
func TestPlacedStaysPlaced(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{})
		u := w.dial("user=alice")
		u.join("own")
		u.join("first")
		require.NoError(t, w.hub.Join(u.session(), "first"))
		require.NoError(t, w.hub.Join(u.session(), "again"))
		u.expect("joined", "room", "again")
		u.join("again", 0)
		u.ask(frame{"type": "refresh", "ticket": w.negotiate("user=alice&rooms=general")["ticket"]}, "refreshed")
		require.ElementsMatch(t, []string{"first", "again"}, w.hub.Sessions("", "alice")[0].Rooms())
	})
}

// The list of rooms has none that is not open any more.
func TestRoomsListHasOpenRoomsOnly(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	u := w.dial("user=alice&rooms=secret&rooms=general")
	u.join("secret")
	u.sync()
	w.post(gohub.Message{Room: gohub.RoomID{Name: "secret"}, Sender: "bob", Body: []byte(`"x"`)})
	v := w.dial("user=alice&rooms=general")
	v.fails("forbidden", frame{"type": "join", "room": "secret"})
	require.Empty(t, v.ask(frame{"type": "rooms"}, "rooms")["rooms"])
}
