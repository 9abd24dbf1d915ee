package hubtest_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/hubtest"
)

func TestEveryCommand(t *testing.T) {
	both(t, func(t *testing.T) {
		hub := hubtest.New(t, gohub.Config{}, func(h *gohub.Hub) {
			gohub.Handle(h, "add", func(_ context.Context, _ *gohub.Client, in struct{ A, B int }) (int, error) { return in.A + in.B, nil })
		})
		alice, bob := hub.Dial("alice", hubtest.Name("Alice")), hub.Dial("bob")
		require.Equal(t, 1, alice.Join("general").Members)
		require.Equal(t, 2, bob.Join("general").Members)

		id := alice.Publish("general", map[string]int{"n": 1}, "kind", "number")
		ack := alice.ExpectAck(id)
		m := bob.ExpectMessage("general", map[string]int{"n": 1})
		require.Equal(t, id, m.ID)
		require.Equal(t, ack.Seq, m.Seq)
		require.Equal(t, "number", m.Kind)
		alice.Expect("message", "id", id, "to", "", "binary", false) // has neither
		require.Equal(t, ack.Seq, bob.Last("general"))

		alice.Say("general", []byte{0x89, 0xff})
		m = bob.ExpectMessage("general", []byte{0x89, 0xff})
		require.True(t, m.Binary)
		require.Equal(t, json.RawMessage{0x89, 0xff}, m.Body)

		h := bob.History("general", "limit", 1)
		require.True(t, h.More)
		require.Len(t, h.Messages, 1)
		require.Equal(t, json.RawMessage{0x89, 0xff}, h.Messages[0].Body)

		alice.Typing("general", true)
		bob.Expect("typing", "user", "alice", "active", true)
		bob.Receipt("general", ack.Seq, ack.Seq)
		alice.Expect("receipt", "user", "bob", "seen", ack.Seq)

		p := bob.Presence("general")
		require.Equal(t, 2, p.Count)
		require.Equal(t, "Alice", p.Users[0].Name)

		direct := alice.Direct("bob", "psst")
		require.Equal(t, "@alice,bob", direct.Room)
		invite := bob.Expect("invite", "from", "alice")
		bob.JoinSince(invite.Room, invite.Seq)
		bob.ExpectMessage("@alice,bob", "psst")
		rooms := bob.Rooms().Rooms
		require.Len(t, rooms, 2)
		require.Equal(t, 1, rooms[0].Unread)

		require.JSONEq(t, "5", string(alice.Call("add", map[string]int{"a": 2, "b": 3}).Body))

		bob.Leave("general")
		alice.Say("general", "gone?")
		bob.ExpectNo("message", "body", "gone?")
		require.Zero(t, bob.Last("general"))

		require.Len(t, bob.Messages("general"), 2)
		alice.SendText("not JSON")
		alice.ExpectError(gohub.CodeBadJSON)
		alice.SendBytes([]byte{7})
		alice.ExpectError(gohub.CodeBadJSON)
		alice.Ping()
		alice.Close()
		alice.ExpectClose(1000)
	})
}

func TestDialSaysWho(t *testing.T) {
	both(t, func(t *testing.T) {
		hub := hubtest.New(t, gohub.Config{})
		alice := hub.Dial("alice", hubtest.Tenant("acme"), hubtest.Device("phone"), hubtest.Name("Alice Ä"))
		sessions := hub.Sessions("acme", "alice")
		require.Len(t, sessions, 1)
		require.Equal(t, gohub.Identity{User: "alice", Tenant: "acme", Device: "phone", Name: "Alice Ä"}, sessions[0].Identity())
		require.Equal(t, sessions[0].ID(), alice.Session())

		hub.Dial("alice", hubtest.Tenant("acme"), hubtest.Device("phone"))
		alice.ExpectClose(gohub.CloseSessionReplaced)
		hub.ExpectRefused("", http.StatusUnauthorized)
	})
}

func TestSetupIsDoneAgainAfterRestart(t *testing.T) {
	both(t, func(t *testing.T) {
		hub := hubtest.New(t, gohub.Config{}, func(h *gohub.Hub) {
			h.Use(func(gohub.PublishFunc) gohub.PublishFunc {
				return func(context.Context, *gohub.Publish) error { return gohub.Errorf(gohub.CodeForbidden, "read only") }
			})
		})
		alice := hub.Dial("alice")
		alice.Join("general")
		for range 2 {
			alice.Publish("general", "hello")
			alice.ExpectError(gohub.CodeForbidden)
			hub.Restart()
			alice.ExpectClose(gohub.CloseRestart)
			alice.Resume()
		}
	})
}

func TestClusterIsOneSystem(t *testing.T) {
	both(t, func(t *testing.T) {
		hubs := hubtest.NewCluster(t, 3, gohub.Config{})
		alice, bob := hubs[0].Dial("alice"), hubs[1].Dial("bob")
		require.Equal(t, 1, hubs[1].Dial("carol").Join("lobby").Members)
		alice.Join("general")
		bob.Join("general")
		alice.Say("general", "hello")
		bob.ExpectMessage("general", "hello")
		alice.Typing("general", true)
		bob.Expect("typing", "user", "alice")
		bob.Direct("alice", "psst")
		alice.Expect("invite", "from", "bob")
		phone := hubs[0].Dial("dave", hubtest.Device("phone"))
		hubs[2].Dial("dave", hubtest.Device("phone"))
		phone.ExpectClose(gohub.CloseSessionReplaced)

		bob.Cut()
		alice.Say("general", "while bob is away")
		hubs[1].Crash()
		bob.ResumeAt(hubs[2].Server)
		bob.ExpectMessage("general", "while bob is away")
		require.Equal(t, []string{"hello", "while bob is away"}, hubtest.Texts(bob.Messages("general")))
		alice.Say("general", "still here")
		bob.ExpectMessage("general", "still here")
	})
}

func TestServeTakesTheProgramsHandler(t *testing.T) {
	both(t, func(t *testing.T) {
		hub, err := gohub.New(gohub.Config{Authenticator: gohub.AuthenticatorFunc(func(r *http.Request) (gohub.Identity, error) {
			c, err := r.Cookie("user")
			if err != nil {
				return gohub.Identity{}, gohub.Errorf(gohub.CodeForbidden, "no cookie")
			}
			return gohub.Identity{User: c.Value}, nil
		})})
		require.NoError(t, err)
		mux := http.NewServeMux()
		mux.Handle("/ws", hub.Handler())
		s := hubtest.Serve(t, mux)
		t.Cleanup(func() { require.NoError(t, hub.Shutdown(context.Background())) })

		alice := s.Dial("alice", hubtest.Path("/ws"), hubtest.Header("Cookie", "user=alice"))
		alice.Join("general")
		alice.Say("general", "hello")
		s.ExpectRefused("mallory", http.StatusForbidden, hubtest.Path("/ws"))
		s.ExpectRefused("alice", http.StatusNotFound, hubtest.Path("/elsewhere"))

		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/ws", http.NoBody)
		require.NoError(t, err)
		req.Header.Set("Cookie", "user=bob")
		res, err := s.HTTP.Do(req)
		require.NoError(t, err)
		defer func() { require.NoError(t, res.Body.Close()) }()
		var n struct{ URL, Ticket string }
		require.NoError(t, json.NewDecoder(res.Body).Decode(&n))
		require.Equal(t, "ws://hub.test/ws", n.URL)
		s.Dial("bob", hubtest.Path("/ws?ticket="+n.Ticket))
	})
}

// Clients that have moved are asked where they are now.
func TestResumeAtTheNextLifeOfTheProgram(t *testing.T) {
	both(t, func(t *testing.T) {
		store := gohub.NewMemoryStore(gohub.MemoryStoreOptions{})
		serve := func() *hubtest.Server {
			hub, err := gohub.New(gohub.Config{Store: store, Authenticator: gohub.AuthenticatorFunc(hubtest.Authenticate)})
			require.NoError(t, err)
			s := hubtest.Serve(t, hub.Handler())
			t.Cleanup(func() { require.NoError(t, hub.Shutdown(context.Background())) })
			return s
		}
		first, second := serve(), serve()
		alice, bob := first.Dial("alice"), first.Dial("bob")
		alice.Join("general")
		bob.Join("general")
		alice.Say("general", "before")
		bob.ExpectMessage("general", "before")
		alice.ResumeAt(second)
		bob.ResumeAt(second)
		alice.Expect("members", "count", 2)
		nobodyTells()
		for i := range 50 {
			alice.Publish("general", i)
			require.Len(t, bob.Messages("general"), i+2)
		}
	})
}

// lateBroker is a Broker that takes its time to run.
type lateBroker struct{ gohub.Broker }

func (b lateBroker) Run(ctx context.Context, r gohub.Receiver) error {
	select {
	case <-time.After(20 * time.Millisecond):
		return b.Broker.Run(ctx, r)
	case <-ctx.Done():
		return nil
	}
}

func TestNewWaitsForTheBroker(t *testing.T) {
	both(t, func(t *testing.T) {
		hub := hubtest.New(t, gohub.Config{Broker: lateBroker{gohub.NewMemoryBroker()}})
		alice := hub.Dial("alice")
		alice.Join("general")
		hub.Restart()
		alice.Resume()
		hub.Crash()
		alice.Resume()
		alice.Say("general", "hello")
	})
}

// lost is a Store that stores nothing.
type lost struct{ gohub.Store }

func (lost) Append(context.Context, []gohub.Message) ([]gohub.Ordered, error) {
	return nil, errors.New("disk full")
}

func TestWhatIsNotStoredFailsTheTest(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := try(t, func(t testing.TB) {
			hub := hubtest.New(t, gohub.Config{Store: lost{gohub.NewMemoryStore(gohub.MemoryStoreOptions{})}})
			alice := hub.Dial("alice")
			alice.Join("general")
			alice.Publish("general", "hello")
			alice.ExpectMessage("general", "hello")
		})
		require.Empty(t, r.fatal)
		require.Len(t, r.errors, 1)
		require.Contains(t, r.errors[0], "the hub's Shutdown")
		require.Len(t, r.logs, 1)
		require.Contains(t, r.logs[0], "disk full")
	})
}

func TestTheLogIsQuietWithoutAFailure(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := try(t, func(t testing.TB) {
			store := hubtest.Faulty(nil)
			hub := hubtest.New(t, gohub.Config{Store: store})
			alice := hub.Dial("alice")
			alice.Join("general")
			store.Fail(errors.New("disk full"))
			alice.Publish("general", "hello")
			alice.ExpectMessage("general", "hello")
			time.Sleep(time.Minute) // the end of the test heals it
		})
		require.Empty(t, r.all())
	})
}

func TestAPanicOfTheHandlerIsShown(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := try(t, func(t testing.TB) {
			s := hubtest.Serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("at the disco") }))
			s.Dial("alice")
		})
		require.Contains(t, r.fatal, "alice cannot connect: no answer from /: ")
		require.Len(t, r.logs, 1)
		require.Contains(t, r.logs[0], "the HTTP server logged")
		require.Contains(t, r.logs[0], "at the disco")
	})
}
