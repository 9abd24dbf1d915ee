package gohub_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// Whoever waits for a message to be stored hears of it when the hub gives up.
func TestPublishEndsWithTheHub(t *testing.T) {
	virtual(t, func(t *testing.T) {
		store := newSlowStore()
		w := startVirtual(t, gohub.Config{Store: store})
		store.hold()
		out := make(chan error, 1)
		go func() { // ends with the hub
			_, err := w.hub.Publish(context.Background(), gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "x", Body: []byte("1")})
			out <- err
		}()
		<-store.called
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		first := w.hub.Shutdown(ctx)
		require.Error(t, first)
		require.ErrorIs(t, <-out, gohub.ErrUnknown)
		require.Equal(t, first, w.hub.Shutdown(t.Context()), "asked again, it says the same")
		store.release()
	})
}

// What a memory store has taken is acked before the session is closed, though
// nothing is on its way to the store any more.
func TestShutdownSendsGatheredAcks(t *testing.T) {
	var w *world
	down := make(chan error, 1)
	var once sync.Once
	w = start(t, gohub.Config{Observer: gohub.Observer{Stored: func(gohub.Message, time.Duration) {
		once.Do(func() { // between the commit and the ack
			go func() { down <- w.hub.Shutdown(context.Background()) }()
			time.Sleep(50 * time.Millisecond) // long enough for a Shutdown that does not wait to close
		})
	}}})
	u := w.as("alice", "r")
	id := u.publish("r", "x")
	require.NoError(t, <-down)
	u.expect("ack", "id", id)
	u.closes(gohub.CloseRestart)
}

// evil is a type whose JSON code panics.
type evil struct{}

func (*evil) UnmarshalJSON(b []byte) error { _ = b[1000]; return nil }
func (evil) MarshalJSON() ([]byte, error)  { panic("unmarshalable") }

func TestPanicsInJSONAreContained(t *testing.T) {
	w := start(t, gohub.Config{})
	gohub.Handle(w.hub, "in", func(context.Context, *gohub.Client, evil) (int, error) { return 1, nil })
	gohub.Handle(w.hub, "out", func(context.Context, *gohub.Client, any) (evil, error) { return evil{}, nil })
	alice := w.as("alice")
	alice.fails("internal", frame{"type": "call", "name": "in", "body": "x"})
	alice.fails("internal", frame{"type": "call", "name": "out"})
}

// A nil *Error in an error is a mistake that is easily made. It lets nobody in
// and ends nothing.
func TestNilErrors(t *testing.T) {
	none := func() error { var e *gohub.Error; return e }
	w := start(t, gohub.Config{MayJoin: func(context.Context, gohub.Identity, gohub.RoomID) error { return none() }})
	gohub.Handle(w.hub, "call", func(context.Context, *gohub.Client, any) (int, error) { return 1, none() })
	alice := w.as("alice")
	alice.fails("internal", frame{"type": "join", "room": "r"})
	alice.fails("internal", frame{"type": "call", "name": "call"})

	w = start(t, gohub.Config{Authenticator: gohub.AuthenticatorFunc(func(*http.Request) (gohub.Identity, error) {
		return gohub.Identity{User: "not a valid, user", ExpiresAt: time.Unix(1, 0)}, none()
	})})
	_, status, err := w.handshake("")
	require.Error(t, err)
	require.Equal(t, http.StatusUnauthorized, status)
}

type spendFunc func() time.Duration

func (f spendFunc) Spend(time.Time, int) time.Duration { return f() }

// What a RateLimiter does wrong costs one session, not the process.
func TestRateLimitersThatFail(t *testing.T) {
	w := start(t, gohub.Config{RateLimiter: limiterFunc(func(gohub.Identity) gohub.SessionLimiter { return nil })})
	_, status, err := w.handshake("user=alice")
	require.Error(t, err)
	require.Equal(t, http.StatusInternalServerError, status)

	w = start(t, gohub.Config{RateLimiter: limiterFunc(func(id gohub.Identity) gohub.SessionLimiter {
		return spendFunc(func() time.Duration {
			if id.User == "alice" {
				panic("no budget")
			}
			return 0
		})
	})})
	alice, bob := w.dial("user=alice"), w.as("bob", "r")
	alice.send(frame{"type": "ping"})
	alice.closes(gohub.CloseUnavailable)
	bob.sync()
	require.Eventually(t, func() bool { return w.hub.Stats().Sessions == 1 }, patience, time.Millisecond)
}

// Code of the program's that ends its goroutine, as FailNow does in tests,
// ends the session and leaves nothing behind.
func TestGoexitEndsTheSession(t *testing.T) {
	w := start(t, gohub.Config{MaxConns: 2, Observer: gohub.Observer{
		SessionOpened: func(c *gohub.Client) {
			if c.User() == "opener" {
				runtime.Goexit()
			}
		},
		SessionClosed: func(*gohub.Client, gohub.SessionEnd) { runtime.Goexit() },
	}})
	w.hub.Use(func(gohub.PublishFunc) gohub.PublishFunc {
		return func(context.Context, *gohub.Publish) error { runtime.Goexit(); return nil }
	})
	w.as("opener").sync() // one that has opened all the same
	alice := w.as("alice", "r")
	alice.publish("r", 1)
	alice.closes(gohub.CloseUnavailable)
	require.Eventually(t, func() bool { return w.hub.Stats() == gohub.Stats{Sessions: 1} }, patience, time.Millisecond)
	require.Eventually(t, func() bool {
		ws, _, err := w.handshake("user=bob")
		if err == nil {
			_ = ws.CloseNow()
		}
		return err == nil
	}, patience, 10*time.Millisecond, "its place is free again")
}

// lateMarks is a Store that cannot advance watermarks.
type lateMarks struct {
	gohub.Store
	fails, closed atomic.Bool
	after         atomic.Int32 // calls when it was closed
}

func (s *lateMarks) Advance(ctx context.Context, ws []gohub.Watermark) ([]gohub.Watermark, error) {
	if s.closed.Load() {
		s.after.Add(1)
	}
	if s.fails.Load() {
		return nil, gohub.ErrUnavailable
	}
	return s.Store.Advance(ctx, ws)
}

// Receipts that cannot be stored are owned up to, and the Store is not used
// after Shutdown has returned.
func TestShutdownSaysWhichReceiptsAreLost(t *testing.T) {
	virtual(t, func(t *testing.T) {
		s := &lateMarks{Store: gohub.NewMemoryStore(gohub.MemoryStoreOptions{})}
		w := startVirtual(t, gohub.Config{Store: s})
		u := w.as("alice")
		s.fails.Store(true)
		u.join("r")
		var lost *gohub.DrainError
		require.ErrorAs(t, w.hub.Shutdown(t.Context()), &lost)
		require.Equal(t, gohub.DrainError{Receipts: 1, Err: lost.Err}, *lost)
		s.closed.Store(true)
		pass(time.Minute)
		require.Zero(t, s.after.Load())
	})
}

// bodyStore gives every reader bodies of its own, as a database does, and
// counts those that are still held.
type bodyStore struct {
	gohub.Store
	held atomic.Int64
}

func (s *bodyStore) History(ctx context.Context, q gohub.Query) ([]gohub.Message, bool, error) {
	ms, more, err := s.Store.History(ctx, q)
	for i := range ms {
		b := append([]byte(nil), ms[i].Body...)
		n := int64(len(b))
		s.held.Add(n)
		runtime.AddCleanup(&b[0], func(n int64) { s.held.Add(-n) }, n)
		ms[i].Body = b
	}
	return ms, more, err
}

// A replay to a client that does not read holds a part of it, not all.
func TestSlowReplaysHoldLittle(t *testing.T) {
	const clients = 4
	s := &bodyStore{Store: gohub.NewMemoryStore(gohub.MemoryStoreOptions{})}
	w := start(t, gohub.Config{Store: s, WriteTimeout: time.Hour}) // who is cut off holds nothing
	body := []byte(`"` + strings.Repeat("x", 60_000) + `"`)
	for range 200 {
		w.post(gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "bot", Body: body})
	}
	for range clients {
		b := w.bare("user=mallory")
		b.text(`{"type":"join","room":"r","since":0}`)
	}
	require.Eventually(t, func() bool { return w.hub.RoomStats(gohub.RoomID{Name: "r"}).Users == 1 }, patience, time.Millisecond)
	require.Eventually(t, func() bool {
		runtime.GC()
		held := s.held.Load()
		return held > 0 && held < clients*3<<20 // of 12 MB each
	}, patience, 50*time.Millisecond, "%d bytes", s.held.Load())

	// And one that reads gets all of it, in order.
	u := w.dial("user=alice")
	u.join("r", 0)
	ms := u.collect("r", 200)
	for i := 1; i < len(ms); i++ {
		require.Greater(t, ms[i].num("seq"), ms[i-1].num("seq"))
	}
}

// slowReads is a Store that takes its time to read.
type slowReads struct {
	gohub.Store
	reads atomic.Int64
}

func (s *slowReads) History(ctx context.Context, q gohub.Query) ([]gohub.Message, bool, error) {
	s.reads.Add(1)
	time.Sleep(2 * time.Millisecond)
	return s.Store.History(ctx, q)
}

// Telling many authors of a receipt costs a few reads, and holds nobody up.
func TestReceiptsToManyAuthors(t *testing.T) {
	virtual(t, func(t *testing.T) {
		s := &slowReads{Store: gohub.NewMemoryStore(gohub.MemoryStoreOptions{})}
		w := startVirtual(t, gohub.Config{Store: s})
		const rooms, authors = 5, 200
		mallory, bob := w.as("mallory"), w.as("bob")
		for r := range rooms {
			for a := range authors {
				w.post(gohub.Message{Room: gohub.RoomID{Name: fmt.Sprint("r", r)}, Sender: fmt.Sprint("author", a)})
			}
			mallory.join(fmt.Sprint("r", r))
		}
		pass(time.Second)
		before := s.reads.Load()
		for r := range rooms {
			mallory.send(frame{"type": "receipt", "room": fmt.Sprint("r", r), "delivered": int64(1) << 52, "seen": 1})
		}
		mallory.sync()
		time.Sleep(300 * time.Millisecond)
		began := time.Now()
		bob.ask(frame{"type": "rooms"}, "rooms")
		require.Less(t, time.Since(began), 100*time.Millisecond)
		pass(time.Second)
		require.LessOrEqual(t, s.reads.Load()-before, int64(4*rooms))
	})
}

// Who was joined by the program may listen for ever, also where the room is
// closed meanwhile.
func TestFirstFrameTimeoutIsForNewSessions(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{FirstFrameTimeout: time.Minute})
		u := w.as("listener")
		require.NoError(t, w.hub.Join(u.session(), "a"))
		pass(time.Hour)
		require.NoError(t, w.hub.Leave(u.session(), "a"))
		pass(time.Hour)
		u.sync()
	})
}

// A client whose pongs are not read because the program takes its time is not
// silent.
func TestSlowProgramIsNoSilence(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{PingInterval: time.Second, MayJoin: func(context.Context, gohub.Identity, gohub.RoomID) error {
			time.Sleep(time.Minute)
			return nil
		}})
		alice := w.as("alice")
		alice.send(frame{"type": "join", "room": "r", "ref": 1})
		pass(2 * time.Minute)
		alice.expect("joined", "room", "r")
		alice.sync()
	})
}

type quietBroker struct{ plainBroker }

func (quietBroker) Run(context.Context, gohub.Receiver) error { return nil }

func TestHealthOfABrokerThatEndsQuietly(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{Broker: quietBroker{plainBroker{gohub.NewMemoryBroker()}}})
		pass(time.Second)
		require.Error(t, w.hub.Health())
	})
}

// One user cannot take all tickets: one more takes the place of their oldest.
func TestTicketsOfAUser(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{})
		first := w.negotiate("user=alice")["ticket"].(string)
		others := w.negotiate("user=bob")["ticket"].(string)
		var last string
		for range 100 {
			last = w.negotiate("user=alice")["ticket"].(string)
		}
		_, status, err := w.handshake("ticket=" + first)
		require.Error(t, err)
		require.Equal(t, http.StatusUnauthorized, status)
		for _, ticket := range []string{last, others} {
			require.NotEmpty(t, w.dial("ticket="+ticket).welcome)
		}
	})
}

// Beginning and ending to type all the time is no louder than going on.
func TestTypingOnAndOff(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{})
		alice, bob := w.as("alice", "r"), w.as("bob", "r")
		for range 100 { // ten seconds
			alice.send(frame{"type": "typing", "room": "r", "active": true})
			alice.send(frame{"type": "typing", "room": "r", "active": false})
			pass(100 * time.Millisecond)
		}
		alice.sync()
		seen := bob.all("typing")
		require.LessOrEqual(t, len(seen), 22)
		require.GreaterOrEqual(t, len(seen), 18)
		for i, f := range seen {
			require.Equal(t, i%2 == 0, f["active"], "on and off in turn")
		}
	})
}

// Who types again within a second of having sent something is seen typing a
// second after the first time, without a repetition.
func TestTypingAgainSoon(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{})
		alice, bob := w.as("alice", "r"), w.as("bob", "r")
		began := time.Now()
		alice.send(frame{"type": "typing", "room": "r", "active": true})
		bob.expect("typing", "active", true)
		pass(200 * time.Millisecond)
		alice.send(frame{"type": "typing", "room": "r", "active": false})
		bob.expect("typing", "active", false)
		alice.send(frame{"type": "typing", "room": "r", "active": true})
		alice.sync()
		bob.expect("typing", "active", true)
		require.Equal(t, time.Second, time.Since(began))
		bob.expect("typing", "active", false)
		require.Equal(t, 5200*time.Millisecond, time.Since(began), "it ends as ever")
	})
}

// What clients close with is theirs to choose, and no key of the hub's counts.
func TestCloseCodesOfClients(t *testing.T) {
	ends := make(chan gohub.SessionEnd, 10)
	w := start(t, gohub.Config{Observer: gohub.Observer{SessionClosed: func(_ *gohub.Client, end gohub.SessionEnd) {
		end.Duration = 0
		ends <- end
	}}})
	for _, code := range []int{1000, 3001, 4503} {
		require.NoError(t, w.as("alice").ws.Close(websocket.StatusCode(code), ""))
		require.Equal(t, gohub.SessionEnd{Code: code, ByClient: true}, <-ends)
	}
	b := w.bare("user=alice")
	b.write(0x80|opClose, nil)
	require.Equal(t, gohub.SessionEnd{Code: 1005, ByClient: true}, <-ends)
	b = w.bare("user=alice")
	b.write(0x80|0x3, nil) // no such opcode
	require.Equal(t, gohub.SessionEnd{Code: 1002}, <-ends)
	require.Equal(t, map[int]int64{gohub.ClosedByClient: 4, 1002: 1}, w.hub.Totals().SessionsClosed)
}

// A flood of pings is no flood of dropped events.
func TestPongsAreNoEvents(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{MaxQueue: 1024, WriteTimeout: time.Hour})
		b := w.bare("user=mallory")
		go b.flood(2000, clientFrame(0x80|opPing, []byte("x"))) // ends with the connection
		pass(time.Second)
		require.Zero(t, w.hub.Totals().EventsDropped)
	})
}

func TestClientAddr(t *testing.T) {
	w := start(t, gohub.Config{TrustedProxies: []string{"127.0.0.1"}})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	require.NoError(t, err)
	r.RemoteAddr = "127.0.0.1:1234"
	require.Equal(t, "127.0.0.1", w.hub.ClientAddr(r).String())
	r.Header.Set("X-Forwarded-For", "192.0.2.7")
	require.Equal(t, "192.0.2.7", w.hub.ClientAddr(r).String())
}

var _ json.Marshaler = evil{}
