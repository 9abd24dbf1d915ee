package gohub_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

func TestObserverIsToldOfSessions(t *testing.T) {
	virtual(t, func(t *testing.T) {
		var mu sync.Mutex
		opened, closed := map[string]int{}, map[string][]gohub.SessionEnd{}
		var hub *gohub.Hub
		w := startVirtual(t, gohub.Config{Observer: gohub.Observer{
			SessionOpened: func(c *gohub.Client) {
				mu.Lock()
				defer mu.Unlock()
				opened[c.User()]++
				if c.User() == "alice" {
					require.NoError(t, hub.Join(c.ID(), "welcome-room"))
				}
			},
			SessionClosed: func(c *gohub.Client, end gohub.SessionEnd) {
				mu.Lock()
				defer mu.Unlock()
				closed[c.User()] = append(closed[c.User()], end)
				if len(hub.Sessions("", c.User())) > 0 {
					t.Error("told while the session is still listed")
				}
				if c.User() == "alice" && hub.RoomStats(gohub.RoomID{Name: "welcome-room"}).Users > 0 {
					t.Error("told before the session has left its rooms")
				}
			},
		}})
		hub = w.hub
		alice := w.as("alice")
		alice.expect("joined", "room", "welcome-room") // without having asked
		bob, carol := w.as("bob"), w.as("carol")
		pass(30 * time.Second)
		hub.Kick("", "alice", "enough")
		require.NoError(t, bob.ws.CloseNow())
		require.NoError(t, carol.ws.Close(3000, "bye"))
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		require.Equal(t, map[string]int{"alice": 1, "bob": 1, "carol": 1}, opened)
		require.Equal(t, map[string][]gohub.SessionEnd{
			"alice": {{Code: gohub.CloseKicked, Duration: 30 * time.Second}},
			"bob":   {{Code: 0, Duration: 30 * time.Second}},
			"carol": {{Code: 3000, ByClient: true, Duration: 30 * time.Second}},
		}, closed)
		require.Equal(t, map[int]int64{gohub.CloseKicked: 1, 0: 1, gohub.ClosedByClient: 1}, hub.Totals().SessionsClosed)
	})
}

func TestObserverIsToldHowLongStoringTook(t *testing.T) {
	virtual(t, func(t *testing.T) {
		store := newSlowStore()
		type stored struct {
			id   string
			took time.Duration
		}
		seen := make(chan stored, 10)
		w := startVirtual(t, gohub.Config{Store: store, Observer: gohub.Observer{
			Stored: func(m gohub.Message, took time.Duration) { seen <- stored{m.ID, took} },
		}})
		alice := w.as("alice", "r")
		store.hold()
		id := alice.publish("r", 1)
		pass(3 * time.Second)
		require.Empty(t, seen)
		store.release()
		alice.expect("ack", "id", id)
		require.Equal(t, stored{id, 3 * time.Second}, <-seen)
	})
}

func TestObserverIsToldOfRefusals(t *testing.T) {
	var codes []gohub.Code
	w := start(t, gohub.Config{Observer: gohub.Observer{
		HandshakeRefused: func(_ *http.Request, err *gohub.Error) { codes = append(codes, err.Code) },
	}})
	_, _, err := w.handshake("")
	require.Error(t, err)
	_, _, err = w.handshake("ticket=nonsense")
	require.Error(t, err)
	require.Equal(t, []gohub.Code{gohub.CodeUnauthorized, gohub.CodeUnauthorized}, codes)
	require.EqualValues(t, 2, w.hub.Totals().HandshakesRefused[gohub.CodeUnauthorized])
}

// What an Observer does wrong is its own affair.
func TestObserverMayPanic(t *testing.T) {
	w := start(t, gohub.Config{Observer: gohub.Observer{
		SessionOpened:    func(*gohub.Client) { panic("opened") },
		SessionClosed:    func(*gohub.Client, gohub.SessionEnd) { panic("closed") },
		HandshakeRefused: func(*http.Request, *gohub.Error) { panic("refused") },
		Stored:           func(gohub.Message, time.Duration) { panic("stored") },
	}})
	_, status, err := w.handshake("")
	require.Error(t, err)
	require.Equal(t, http.StatusUnauthorized, status)
	alice := w.as("alice", "r")
	require.Equal(t, "ack", alice.say("r", 1)["type"])
	w.hub.Kick("", "alice", "")
	alice.closes(gohub.CloseKicked)
}

func TestTotals(t *testing.T) {
	backends(t, func(t *testing.T, kind func(gohub.Config) gohub.Config) {
		w := start(t, kind(gohub.Config{}))
		alice, bob := w.as("alice", "r"), w.as("bob", "r")
		alice.say("r", "for all")
		alice.say("r", "for bob", "to", "bob")
		alice.say("r", "for carol, who is not here", "to", "carol")
		bob.collect("r", 2)
		alice.fails("not_joined", frame{"type": "history", "room": "nowhere"})
		w.post(gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "bot"})
		bob.collect("r", 1)
		alice.collect("r", 4)
		alice.sync()
		bob.sync()
		const deliveries = 2 + 2 + 1 + 2 // counted once they are given to all: a member may be told sooner, as the sender of what is stored is
		require.Eventually(t, func() bool { n := w.hub.Totals(); return n.Deliveries >= deliveries && n.Stored >= 4 }, patience, time.Millisecond)
		n := w.hub.Totals()
		require.EqualValues(t, 2, n.SessionsOpened)
		require.EqualValues(t, 4, n.Published)
		require.EqualValues(t, 4, n.Stored)
		require.EqualValues(t, deliveries, n.Deliveries)
		require.Equal(t, map[gohub.Code]int64{gohub.CodeNotJoined: 1}, n.Errors)
		require.EqualValues(t, 2+3+1+2, n.FramesReceived)
	})
}

// Not a body, not a ticket, not a cookie is in any log, whatever happens.
func TestLogsKeepSecrets(t *testing.T) {
	var logs syncBuffer
	store := newSlowStore()
	w := start(t, gohub.Config{
		Store:  store,
		Logger: slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		MayJoin: func(_ context.Context, _ gohub.Identity, room gohub.RoomID) error {
			if room.Name == "broken" {
				return errors.New("no database")
			}
			return nil
		},
	})
	w.hub.Use(func(next gohub.PublishFunc) gohub.PublishFunc {
		return func(ctx context.Context, p *gohub.Publish) error {
			if p.Message.Kind == "panic" {
				panic("in the middleware")
			}
			return next(ctx, p)
		}
	})
	store.failWith(func(b []gohub.Message) error {
		if b[0].Kind == "bad" {
			return &gohub.RowError{Index: 0, Err: errors.New("cannot be")}
		}
		return nil
	})
	alice := w.as("alice", "r")
	alice.say("r", "SECRET-1")
	alice.say("r", "SECRET-2", "kind", "bad")
	alice.say("r", "SECRET-3", "kind", "panic")
	alice.say("r", "SECRET-4", "to", "bob")
	alice.fails("internal", frame{"type": "join", "room": "broken"})
	alice.text(`{"type":"publish","body":"SECRET-5"`)
	alice.expect("error", "code", "bad_json")
	_, _, err := w.handshake("user=alice&ticket=SECRET-6")
	require.Error(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/?user=", http.NoBody)
	require.NoError(t, err)
	req.Header.Set("Cookie", "session=SECRET-7")
	req.Header.Set("Authorization", "Bearer SECRET-8")
	res, err := w.http.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	w.hub.Kick("", "alice", "")
	alice.closes(gohub.CloseKicked)
	require.Eventually(t, func() bool { return strings.Contains(logs.String(), "session closed") }, patience, time.Millisecond)
	for _, sign := range []string{"session opened", "handshake refused", "message cannot be stored", "panic", "command failed"} {
		require.Contains(t, logs.String(), sign, "the log is looked at where it says something")
	}
	require.NotContains(t, logs.String(), "SECRET")
}

// Clients decide how often the program's own code fails. The log says so once a
// second, and all of it to who debugs.
func TestFaultsDoNotFillTheLog(t *testing.T) {
	virtual(t, func(t *testing.T) {
		var logs syncBuffer
		w := startVirtual(t, gohub.Config{
			Logger: slog.New(slog.NewTextHandler(&logs, nil)),
			Authenticator: gohub.AuthenticatorFunc(func(r *http.Request) (gohub.Identity, error) {
				return gohub.Identity{User: r.URL.Query().Get("user")}, nil
			}),
			MayJoin: func(_ context.Context, _ gohub.Identity, room gohub.RoomID) error {
				if room.Name == "broken" {
					return errors.New("no database")
				}
				return nil
			},
		})
		w.hub.Use(func(next gohub.PublishFunc) gohub.PublishFunc {
			return func(ctx context.Context, p *gohub.Publish) error {
				switch p.Message.Kind {
				case "late":
					_ = next(ctx, p)
				case "panic":
					panic("in the middleware")
				}
				return errors.New("no")
			}
		})
		u := w.as("alice", "r")
		for name, c := range map[string]struct {
			says string
			do   func()
		}{
			"a rule":               {"command failed", func() { u.fails("internal", frame{"type": "join", "room": "broken"}) }},
			"middleware":           {"command failed", func() { u.say("r", "x") }},
			"middleware, panics":   {"msg=panic", func() { u.say("r", "x", "kind", "panic") }},
			"middleware, too late": {"after next had taken", func() { u.say("r", "x", "kind", "late") }},
			"the Authenticator":    {"Authenticator gave", func() { w.refused("user=not%20a%20user", http.StatusInternalServerError, "internal") }},
		} {
			before := strings.Count(logs.String(), c.says)
			for range 3 {
				for range 20 {
					c.do()
				}
				pass(time.Second)
			}
			require.Equal(t, 3, strings.Count(logs.String(), c.says)-before, name)
		}
	})
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// What an Observer does with the stack is not kept for as long as the session
// is, also where the socket is one whose goroutine is not exchanged later on.
func TestObserversStackIsLetGo(t *testing.T) {
	virtual(t, func(t *testing.T) {
		opened := make(chan bool, 1)
		w := startVirtual(t, gohub.Config{Observer: gohub.Observer{SessionOpened: func(*gohub.Client) { opened <- true }}})
		w.as("alice")
		<-opened
		synctest.Wait()
		b := make([]byte, 16<<20)
		all := strings.Split(string(b[:runtime.Stack(b, true)]), "\n\n")
		_, bubble, _ := strings.Cut(strings.SplitN(all[0], "\n", 2)[0], "synctest ") // of this test: others run beside it
		read, start := 0, 0
		for _, stack := range all {
			if head, _, _ := strings.Cut(stack, "\n"); strings.HasSuffix(head, bubble) {
				read += strings.Count(stack, "gohub.(*Client).read(")
				start += strings.Count(stack, "gohub.(*Client).start(")
			}
		}
		require.Equal(t, []int{1, 0}, []int{read, start})
	})
}
