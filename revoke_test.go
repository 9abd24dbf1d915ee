package gohub_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

func (w *world) revoke(r gohub.Revocation) {
	w.t.Helper()
	require.NoError(w.t, w.hub.Revoke(context.Background(), r))
}

func TestRevoke(t *testing.T) {
	const (
		phone   = "user=alice&device=phone&login=l1"
		laptop  = "user=alice&device=laptop&login=l2"
		tab     = "user=alice&login=l2"
		unknown = "user=alice"
		bob     = "user=bob&device=phone&login=l3"
		acme    = "user=alice&device=phone&login=l1&tenant=acme"
	)
	all := []string{phone, laptop, tab, unknown, bob, acme}
	for name, c := range map[string]struct {
		what gohub.Revocation
		ends []string
	}{
		"user":             {gohub.Revocation{User: "alice"}, []string{phone, laptop, tab, unknown}},
		"user of a tenant": {gohub.Revocation{Tenant: "acme", User: "alice"}, []string{acme}},
		"device":           {gohub.Revocation{Device: "phone"}, []string{phone, bob}},
		"device of a user": {gohub.Revocation{User: "alice", Device: "phone"}, []string{phone}},
		"login":            {gohub.Revocation{Login: "l2"}, []string{laptop, tab}},
		"login on a device": {
			gohub.Revocation{User: "alice", Device: "laptop", Login: "l2"}, []string{laptop},
		},
		"login of a user":   {gohub.Revocation{User: "alice", Login: "l1"}, []string{phone}},
		"login of a tenant": {gohub.Revocation{Tenant: "acme", Login: "l1"}, []string{acme}},
		"another's login":   {gohub.Revocation{User: "bob", Login: "l1"}, nil},
		"nobody":            {gohub.Revocation{User: "carol"}, nil},
		"nobody's tenant":   {gohub.Revocation{Tenant: "red", User: "alice"}, nil},
		"to be renewed":     {gohub.Revocation{User: "bob", Renew: true, Reason: "roles"}, []string{bob}},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				w := startVirtual(t, gohub.Config{})
				sessions := map[string]*user{}
				connect, refresh := map[string]string{}, map[string]any{}
				for _, q := range all {
					sessions[q] = w.dial(q)
					connect[q] = "ticket=" + w.negotiate(q)["ticket"].(string)
					refresh[q] = w.negotiate(q)["ticket"]
				}
				w.revoke(c.what)

				code, reason := gohub.CloseUnauthorized, "revoked"
				if c.what.Renew {
					code, reason = gohub.CloseTokenExpired, c.what.Reason
				}
				for _, q := range c.ends {
					sessions[q].closes(code)
					require.ErrorContains(t, sessions[q].end, reason)
					w.refused(connect[q], http.StatusUnauthorized, "unauthorized")
					delete(sessions, q)
					// It keeps nobody out: the Authenticator does.
					again := w.dial(q)
					again.fails("unauthorized", frame{"type": "refresh", "ticket": refresh[q]})
					again.sync()
				}
				for q, u := range sessions {
					require.Equal(t, "refreshed", u.ask(frame{"type": "refresh", "ticket": refresh[q]}, "refreshed")["type"], q)
					w.dial(connect[q])
				}
			})
		})
	}
}

func TestRevokeRefusals(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	u := w.dial("user=alice")
	for says, r := range map[string]gohub.Revocation{
		"User, Device or Login": {Tenant: "", Reason: "everybody"},
		"UTF-8":                 {User: "alice", Device: "\xff"},
	} {
		require.ErrorContains(t, w.hub.Revoke(t.Context(), r), says)
	}
	u.sync()
	// A caller that has gone away does not keep it from being done.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, w.hub.Revoke(ctx, gohub.Revocation{User: "alice", Reason: strings.Repeat("long", 100)}))
	u.closes(gohub.CloseUnauthorized)
}

// revoking does something where the hub asks for a limiter: a session's
// identity is settled then, and the session not known yet.
type revoking struct {
	gohub.RateLimiter
	meanwhile func()
}

func (r *revoking) Session(who gohub.Identity) gohub.SessionLimiter {
	r.meanwhile()
	return r.RateLimiter.Session(who)
}

// Who was authenticated before a Revoke, and is where it looks only after it,
// does not get in.
func TestRevokeWhileConnecting(t *testing.T) {
	for name, what := range map[string]gohub.Revocation{
		"logged out": {User: "alice", Login: "l1"}, "renew": {Login: "l1", Renew: true},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				var w *world
				armed := ""
				at := func(where string) {
					if armed == where {
						armed = ""
						w.revoke(gohub.Revocation{User: "bob"}) // not the last one only counts
						w.revoke(what)
						w.revoke(gohub.Revocation{User: "carol"})
					}
				}
				w = startVirtual(t, gohub.Config{
					Authenticator: gohub.AuthenticatorFunc(func(r *http.Request) (gohub.Identity, error) {
						who, err := byQuery(r)
						at("authenticated") // and is about to say so
						return who, err
					}),
					RateLimiter: &revoking{gohub.NewRateLimiter(gohub.Rate{}), func() { at("limiter") }},
				})
				code := gohub.CloseUnauthorized
				if what.Renew {
					code = gohub.CloseTokenExpired
				}
				const alice = "user=alice&login=l1"
				for _, where := range []string{"authenticated", "limiter"} {
					armed = where
					w.dial(alice).closes(code)
				}
				ticket := "ticket=" + w.negotiate(alice)["ticket"].(string)
				armed = "limiter"
				w.dial(ticket).closes(code)

				armed = "authenticated"
				require.Equal(t, http.StatusUnauthorized, w.get(alice, nil), "negotiate")

				// Others, and the same afterwards, are let in.
				armed = "limiter"
				w.dial("user=alice&login=l2").sync()
				w.dial(alice).sync()
				require.Len(t, w.hub.Sessions("", "alice"), 2)
			})
		})
	}
}

// What one hub revokes, all on its Broker do.
func TestRevokeReachesOtherHubs(t *testing.T) {
	backends(t, func(t *testing.T, kind func(gohub.Config) gohub.Config) {
		broker := gohub.NewMemoryBroker()
		here, there := start(t, kind(gohub.Config{Broker: broker})), start(t, kind(gohub.Config{Broker: broker}))
		apart := start(t, kind(gohub.Config{}))
		var ends, stay []*user
		for _, w := range []*world{here, there} {
			ends = append(ends, w.dial("user=alice&device=phone&login=l1"))
			stay = append(stay, w.dial("user=alice&device=phone&login=l1&tenant=acme"), w.dial("user=alice&device=laptop&login=l1"))
		}
		stay = append(stay, apart.dial("user=alice&device=phone&login=l1"))
		ticket := "ticket=" + there.negotiate("user=alice&device=phone&login=l1")["ticket"].(string)
		here.revoke(gohub.Revocation{User: "alice", Device: "phone", Login: "l1", Renew: true, Reason: "because"})
		for _, u := range ends {
			u.closes(gohub.CloseTokenExpired)
			require.ErrorContains(t, u.end, "because")
		}
		there.refused(ticket, http.StatusUnauthorized, "unauthorized")
		for _, u := range stay {
			u.sync()
		}
		there.revoke(gohub.Revocation{Device: "laptop"})
		for _, u := range []*user{stay[1], stay[3]} {
			u.closes(gohub.CloseUnauthorized)
		}
	})
}

// lateBroker keeps signals until they are let go, as a network may.
type lateBroker struct {
	gohub.Broker
	mu   sync.Mutex
	kept []func()
}

func (b *lateBroker) Signal(to gohub.Target, f []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kept = append(b.kept, func() { b.Broker.Signal(to, f) })
}

func (b *lateBroker) arrive() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.kept {
		f()
	}
	b.kept = nil
}

// The hub's own order comes back to it when the user may have logged in again.
func TestRevokeIsDoneOnce(t *testing.T) {
	t.Parallel()
	broker := &lateBroker{Broker: gohub.NewMemoryBroker()}
	here, there := start(t, gohub.Config{Broker: broker}), start(t, gohub.Config{Broker: broker})
	before, far := here.as("alice"), there.as("alice")
	here.revoke(gohub.Revocation{User: "alice"})
	before.closes(gohub.CloseUnauthorized)
	again := here.as("alice")
	far.sync() // it is not known there yet
	broker.arrive()
	far.closes(gohub.CloseUnauthorized)
	again.sync()
}

// What comes from a broken or newer hub ends nothing.
func TestOrdersThatCannotBe(t *testing.T) {
	t.Parallel()
	broker := gohub.NewMemoryBroker()
	w := start(t, gohub.Config{Broker: broker})
	u := w.as("alice", "r")
	for _, f := range []string{
		``, `{`, `null`, `[]`, `"x"`, "\x81\x02{}", `{}`, `{"From":"x"}`, `{"From":"x","Revoke":null}`, `{"From":"x","Revoke":{}}`,
		`{"From":"x","Revoke":{"Reason":"all"}}`, `{"From":"x","Restart":{"User":"alice"}}`, `{"From":"x","Revoke":{"User":7}}`,
	} {
		broker.Signal(gohub.Target{}, []byte(f))
		u.sync()
	}
	broker.Signal(gohub.Target{}, []byte(`{"From":"x","Revoke":{"User":"alice"}}`)) // else the above shows nothing
	u.closes(gohub.CloseUnauthorized)
}

// A client that does not read is told when it gets to it, and no more than
// what waited for it before. Nobody waits for it.
func TestRevokeDoesNotWait(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{WriteTimeout: time.Minute, CloseTimeout: 20 * time.Second})
		slow, dead := w.bare("user=alice"), w.bare("user=alice")
		for _, b := range []*bare{slow, dead} {
			b.text(`{"type":"join","room":"r"}`)
		}
		bob := w.as("bob", "r")
		for range 50 {
			w.post(gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "bot", Body: []byte(`"` + strings.Repeat("before", 1000) + `"`)})
		}
		began := time.Now()
		w.revoke(gohub.Revocation{User: "alice"})
		require.Zero(t, time.Since(began))
		w.post(gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "bot", Body: []byte(`"after"`)})
		bob.expect("message", "body", "after")
		pass(time.Second)
		require.Equal(t, 1, w.present(gohub.RoomID{Name: "r"}, "", 0).Count, "it has left the room, though its socket is open")
		before := 0
		for {
			op, p, err := slow.read()
			require.NoError(t, err)
			if op == opClose {
				require.Equal(t, byte(gohub.CloseUnauthorized>>8), p[0])
				require.Equal(t, byte(gohub.CloseUnauthorized&0xff), p[1])
				break
			}
			require.NotContains(t, string(p), "after")
			before += strings.Count(string(p), "beforebefore") / 500
		}
		require.Equal(t, 50, before)
		pass(20 * time.Second)
		_, _, err := dead.read() // what the pipe had, at most
		for err == nil {
			_, _, err = dead.read()
		}
	})
}

// A Revoke in the midst of things neither loses what was acked, nor leaks
// what comes after it, nor lets the session say one more word.
func TestRevokeWhileMessagesFly(t *testing.T) {
	const most = 2000 // of each
	backends(t, func(t *testing.T, kind func(gohub.Config) gohub.Config) {
		for range 3 {
			w := start(t, kind(gohub.Config{}))
			alice, bob := w.as("alice", "r"), w.as("bob", "r")
			stop := make(chan struct{})
			var busy sync.WaitGroup
			busy.Go(func() { // others publish, until stop or the hub's end
				m := gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "carol", Body: []byte("1")}
				for i, stopped := 0, false; i < most && !stopped; i++ {
					if _, err := w.hub.Publish(context.Background(), m); err != nil {
						return
					}
					select {
					case <-stop:
						stopped = true
					default:
					}
				}
			})
			ids := make(chan []string, 1)
			busy.Go(func() { // she publishes until she cannot any more
				var mine []string
				for range most {
					id := gohub.NewID()
					f := fmt.Sprintf(`{"type":"publish","id":%q,"room":"r","body":"mine"}`, id)
					if alice.ws.Write(context.Background(), 1, []byte(f)) != nil {
						break
					}
					mine = append(mine, id)
				}
				ids <- mine
			})
			for range 20 {
				alice.expect("ack")
			}
			first := alice.expect("message")
			w.revoke(gohub.Revocation{User: "alice"})
			end := w.post(gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "bot", Body: []byte(`"end"`)})
			alice.closes(gohub.CloseUnauthorized)
			require.Eventually(t, func() bool { return len(w.hub.Sessions("", "alice")) == 0 }, patience, time.Millisecond)
			last := w.post(gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "bot", Body: []byte(`"last"`)})
			close(stop)
			busy.Wait()
			mine := <-ids

			kept := map[any]int64{} // her messages, as everybody else has them
			var order []int64
			final := bob.expect("message", "body", "last")
			for _, m := range append(bob.messages("r"), final) {
				seq := m.num("seq")
				order = append(order, seq)
				if m["sender"] == "alice" {
					_, twice := kept[m["id"]]
					require.False(t, twice)
					kept[m["id"]] = seq
				}
			}
			acked := alice.all("ack")
			for _, a := range acked {
				require.Equal(t, kept[a["id"]], a.num("seq"), "acked is kept")
			}
			require.Less(t, len(kept), len(mine)+1)
			got := seqsOf(append([]frame{first}, alice.messages("r")...))
			require.Equal(t, order[:len(got)], got, "what she saw has no hole")
			require.Less(t, got[len(got)-1], end, "what came after Revoke is not for her")
			for _, seq := range kept {
				require.Less(t, seq, last)
			}
		}
	})
}
