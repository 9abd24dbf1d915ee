package hubtest_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/hubtest"
)

// These are the tests of docs/testing.md. TestThePageIsCompiled sees to it
// that they are the same there.

func TestGreeting(t *testing.T) {
	hub := hubtest.New(t, gohub.Config{})
	alice, bob := hub.Dial("alice"), hub.Dial("bob")
	alice.Join("general")
	bob.Join("general")

	ack := alice.Say("general", "hello") // published, and acked: it is stored

	m := bob.ExpectMessage("general", "hello")
	if m.Sender != "alice" || m.Seq != ack.Seq {
		t.Errorf("bob got %v", m)
	}
}

func TestOnlyTheBoardMayJoin(t *testing.T) {
	hub := hubtest.New(t, gohub.Config{
		MayJoin: func(_ context.Context, who gohub.Identity, room gohub.RoomID) error {
			if room.Name == "board" && who.User != "alice" {
				return gohub.Errorf(gohub.CodeForbidden, "for the board only")
			}
			return nil
		},
	})
	hub.Dial("alice").Join("board")

	mallory := hub.Dial("mallory")
	mallory.Send("join", "room", "board")
	mallory.ExpectError(gohub.CodeForbidden)
}

func TestAdd(t *testing.T) {
	type sum struct{ A, B int }
	hub := hubtest.New(t, gohub.Config{}, func(h *gohub.Hub) {
		gohub.Handle(h, "add", func(_ context.Context, _ *gohub.Client, in sum) (int, error) {
			return in.A + in.B, nil
		})
	})
	if got := hub.Dial("alice").Call("add", sum{1, 2}).Body; string(got) != "3" {
		t.Errorf("1 and 2 are %s", got)
	}
}

func TestTheDeskAnswers(t *testing.T) {
	hub := hubtest.New(t, gohub.Config{}, func(h *gohub.Hub) {
		h.Use(func(next gohub.PublishFunc) gohub.PublishFunc {
			return func(ctx context.Context, p *gohub.Publish) error {
				err := next(ctx, p)
				if room := p.Message.Room; err == nil && room.Name == "desk" {
					go func() { // the customer's next message does not wait for it
						_, _ = h.Publish(ctx, gohub.Message{Room: room, Sender: "desk", Body: json.RawMessage(`"one moment"`)})
					}()
				}
				return err
			}
		})
	})
	alice := hub.Dial("alice")
	alice.Join("desk")
	alice.Say("desk", "help")
	alice.ExpectMessages("desk", "help", "one moment")
}

// newShop is the service: its mux, its login, its hub at /ws. main calls it with
// what its flags say, a test with what suits the test.
func newShop(cfg gohub.Config) (http.Handler, *gohub.Hub, error) {
	cfg.Authenticator = gohub.AuthenticatorFunc(func(r *http.Request) (gohub.Identity, error) {
		cookie, err := r.Cookie("user")
		if err != nil {
			return gohub.Identity{}, gohub.Errorf(gohub.CodeUnauthorized, "log in first")
		}
		return gohub.Identity{User: cookie.Value}, nil
	})
	hub, err := gohub.New(cfg)
	if err != nil {
		return nil, nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/ws", hub.Handler())
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "user", Value: r.FormValue("user")})
	})
	mux.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) {
		_, err := hub.Publish(r.Context(), gohub.Message{
			Room:   gohub.RoomID{Name: "orders"},
			Sender: "shop",
			Kind:   "order",
			Body:   json.RawMessage(`{"item":"tea"}`),
		})
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	return mux, hub, nil
}

// openShop serves a shop until the test ends.
func openShop(t *testing.T, cfg gohub.Config) (*hubtest.Server, *gohub.Hub) {
	t.Helper()
	handler, hub, err := newShop(hubtest.Config(t, cfg))
	if err != nil {
		t.Fatal(err)
	}
	shop := hubtest.Serve(t, handler)
	shop.HTTP.Jar, _ = cookiejar.New(nil) // it keeps cookies, and Dial sends them
	t.Cleanup(func() {
		if err := hub.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return shop, hub
}

// logIn logs a user in and connects it.
func logIn(t *testing.T, shop *hubtest.Server, user string) *hubtest.Client {
	t.Helper()
	post(t, shop, "/login", url.Values{"user": {user}})
	return shop.Dial(user, hubtest.Path("/ws"))
}

func post(t *testing.T, s *hubtest.Server, path string, form url.Values) {
	t.Helper()
	res, err := s.HTTP.PostForm(s.URL+path, form)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", path, res.Status)
	}
}

func TestShop(t *testing.T) {
	shop, _ := openShop(t, gohub.Config{})
	shop.ExpectRefused("nobody", http.StatusUnauthorized, hubtest.Path("/ws"))

	alice := logIn(t, shop, "alice")
	bob := logIn(t, shop, "bob") // from here on shop.HTTP is bob
	alice.Join("orders")
	bob.Join("orders")

	alice.Cut()
	post(t, shop, "/orders", nil)
	bob.Expect("message", "room", "orders", "sender", "shop", "kind", "order")
	alice.Resume() // with the cookie that she came with
	alice.Expect("message", "room", "orders", "sender", "shop", "kind", "order")
}

func TestShopRestarts(t *testing.T) {
	store := gohub.NewMemoryStore(gohub.MemoryStoreOptions{})
	shop, hub := openShop(t, gohub.Config{Store: store})
	alice := logIn(t, shop, "alice")
	alice.Join("orders")

	if err := hub.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	alice.ExpectClose(gohub.CloseRestart)
	next, _ := openShop(t, gohub.Config{Store: store})
	post(t, next, "/orders", nil)
	alice.ResumeAt(next)
	alice.Expect("message", "room", "orders", "kind", "order")
}

func TestTwoShops(t *testing.T) {
	cfg := gohub.Config{
		Store:  gohub.NewMemoryStore(gohub.MemoryStoreOptions{}),
		Broker: gohub.NewMemoryBroker(),
	}
	north, _ := openShop(t, cfg)
	south, _ := openShop(t, cfg)
	alice := logIn(t, north, "alice")
	alice.Join("orders")

	post(t, south, "/orders", nil)
	alice.Expect("message", "room", "orders", "kind", "order")
	alice.ResumeAt(south)
}

func TestTypingEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := hubtest.New(t, gohub.Config{})
		alice, bob := hub.Dial("alice"), hub.Dial("bob")
		alice.Join("general")
		bob.Join("general")

		alice.Typing("general", true)
		bob.Expect("typing", "user", "alice", "active", true)
		time.Sleep(4 * time.Second) // takes no time
		bob.ExpectNo("typing")
		time.Sleep(2 * time.Second)
		bob.Expect("typing", "user", "alice", "active", false)
	})
}

func TestARestartLosesNothing(t *testing.T) {
	hub := hubtest.New(t, gohub.Config{})
	alice, bob := hub.Dial("alice"), hub.Dial("bob")
	alice.Join("general")
	bob.Join("general")

	bob.Cut()
	alice.Say("general", "before")
	hub.Restart()
	alice.ExpectClose(gohub.CloseRestart)
	alice.Resume()
	bob.Resume()
	alice.Say("general", "after")
	bob.ExpectMessages("general", "before", "after")
}

func TestASuspendedLaptopComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := hubtest.New(t, gohub.Config{})
		alice, bob := hub.Dial("alice"), hub.Dial("bob")
		alice.Join("general")
		bob.Join("general")

		bob.Freeze() // reads nothing, answers no ping
		time.Sleep(time.Minute)
		alice.Say("general", "are you there?")
		bob.Thaw()
		bob.ExpectClose(gohub.CloseHeartbeatTimeout)
		bob.ExpectNo("message")

		bob.Resume()
		bob.ExpectMessage("general", "are you there?")
	})
}

func TestAckedIsStored(t *testing.T) {
	store := hubtest.Faulty(nil) // or your Store in place of nil
	hub := hubtest.New(t, gohub.Config{Store: store})
	alice, bob := hub.Dial("alice"), hub.Dial("bob")
	alice.Join("general")
	bob.Join("general")

	store.Hold()
	id := alice.Publish("general", "hello")
	bob.ExpectMessage("general", "hello") // everybody sees it
	alice.ExpectNo("ack")                 // but it is not stored

	hub.Crash() // so it is lost
	store.Release()

	alice.Resume() // and sent again
	alice.ExpectAck(id)
	bob.Resume()
	bob.ExpectMessage("general", "hello") // once more, under a higher seq
}

func TestTwoHubs(t *testing.T) {
	hubs := hubtest.NewCluster(t, 2, gohub.Config{})
	alice, bob := hubs[0].Dial("alice"), hubs[1].Dial("bob")
	alice.Join("general")
	bob.Join("general")

	bob.Cut()
	alice.Say("general", "hello")
	bob.ResumeAt(hubs[0].Server)
	bob.ExpectMessage("general", "hello")
}

func TestThePageIsCompiled(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/testing.md")
	require.NoError(t, err)
	code, err := os.ReadFile("page_test.go")
	require.NoError(t, err)
	blocks := strings.Split(string(page), "```go\n")[1:]
	require.NotEmpty(t, blocks)
	for _, b := range blocks {
		b, _, _ = strings.Cut(b, "```")
		require.Contains(t, string(code), b)
	}
}
