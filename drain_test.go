package gohub_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// shutdown begins a shutdown in the background.
func (w *world) shutdown(ctx context.Context) chan error {
	down := make(chan error, 1)
	go func() { down <- w.hub.Shutdown(ctx) }() // ends with ctx at the latest
	return down
}

func (u *user) isClosed() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.end != nil
}

// Each session is told another time, works until half of DrainTime after it,
// and is closed then.
func TestDrainIsPaced(t *testing.T) {
	virtual(t, func(t *testing.T) {
		const n = 200
		w := startVirtual(t, gohub.Config{DrainTime: 2 * time.Second})
		users := make([]*user, n)
		for i := range users {
			users[i] = w.as(fmt.Sprint("user", i), "r")
			users[i].say("r", "before")
		}
		start := time.Now()
		down := w.shutdown(t.Context())
		synctest.Wait()
		slots := map[int64]*user{}
		for _, u := range users {
			g := u.expect("goaway")
			require.Equal(t, g.num("reconnect_ms")+1000, g.num("deadline_ms"))
			require.NotContains(t, slots, g.num("reconnect_ms"), "two are to come back together")
			slots[g.num("reconnect_ms")] = u
		}
		for at, u := range slots {
			require.Less(t, at, int64(1000), "the slots fit into half of the time")
			_ = u
		}
		_, status, err := w.handshake("user=dave")
		require.Error(t, err)
		require.Equal(t, http.StatusServiceUnavailable, status)
		require.ErrorIs(t, w.hub.Ready(), gohub.ErrClosed)
		require.NoError(t, w.hub.Health())

		// Half way through its closes, half are closed, and the others work.
		pass(1500*time.Millisecond - time.Since(start))
		closed := 0
		for at, u := range slots {
			if u.isClosed() {
				closed++
				u.closes(gohub.CloseRestart)
				require.LessOrEqual(t, at, int64(500))
				continue
			}
			require.GreaterOrEqual(t, at, int64(480))
			require.Equal(t, "ack", u.say("r", at)["type"], "it works until its time has come")
		}
		require.InDelta(t, n/2, closed, n/20)
		require.NoError(t, <-down)
		require.Less(t, time.Since(start), 2*time.Second+100*time.Millisecond)
		for _, u := range users {
			u.closes(gohub.CloseRestart)
		}
		synctest.Wait() // "members" are due in this moment, and whoever tells them forgets the room
		require.Zero(t, w.hub.Stats())
	})
}

// Clients that do as they are told make a shutdown short.
func TestDrainEndsWhenAllHaveLeft(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{DrainTime: time.Hour})
		users := []*user{w.as("alice", "r"), w.as("bob", "r")}
		start := time.Now()
		down := w.shutdown(t.Context())
		for _, u := range users {
			g := u.expect("goaway")
			require.Less(t, g.num("reconnect_ms"), int64(20), "10 ms apart, if there is time")
			require.NoError(t, u.ws.Close(1000, "elsewhere by now"))
		}
		require.NoError(t, <-down)
		require.Less(t, time.Since(start), time.Second)
	})
}

// Without a drain all are closed at once, and come back one by one all the same.
func TestNoDrainSpreadsClients(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{DrainTime: -1})
		users := []*user{w.as("alice"), w.as("bob"), w.as("carol")}
		start := time.Now()
		require.NoError(t, w.hub.Shutdown(t.Context()))
		require.Zero(t, time.Since(start))
		slots := map[int64]bool{}
		for _, u := range users {
			g := u.expect("goaway", "deadline_ms", 0)
			slots[g.num("reconnect_ms")] = true
			u.closes(gohub.CloseRestart)
		}
		require.Equal(t, map[int64]bool{0: true, 10: true, 20: true}, slots)
	})
}

// A session is not closed before all it has published is acked; meanwhile it
// publishes no more.
func TestDrainAcksBeforeItCloses(t *testing.T) {
	virtual(t, func(t *testing.T) {
		store := newSlowStore()
		w := startVirtual(t, gohub.Config{Store: store, DrainTime: 10 * time.Second})
		alice, bob := w.as("alice", "r"), w.as("bob", "r")
		store.hold()
		id := alice.publish("r", "under way")
		alice.expect("message", "id", id)
		down := w.shutdown(t.Context())
		pass(6 * time.Second) // both times have come
		bob.closes(gohub.CloseRestart)
		require.False(t, alice.isClosed())
		require.Equal(t, "draining", alice.say("r", "too late")["code"])
		_, err := w.hub.Publish(t.Context(), gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "bot", Body: []byte("1"), ID: id})
		require.ErrorIs(t, err, gohub.ErrIDConflict, "the program still publishes")
		store.release()
		pass(50 * time.Millisecond)
		require.Equal(t, id, alice.expect("ack").str("id"))
		alice.closes(gohub.CloseRestart)
		require.NoError(t, <-down)
	})
}

// The slots and the closes fit into half of what the context allows, the
// store and the goodbyes have the rest.
func TestDrainIsBoundedByItsContext(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{DrainTime: time.Hour})
		for range 50 {
			w.as("alice", "r")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		start := time.Now()
		require.NoError(t, w.hub.Shutdown(ctx))
		require.GreaterOrEqual(t, time.Since(start), time.Second, "the first goes after half of the drain")
		require.LessOrEqual(t, time.Since(start), 2100*time.Millisecond)
	})
}

// A handshake that a shutdown overtakes is answered like every session: the
// process may end as soon as Shutdown returns.
func TestDrainWaitsForHandshakes(t *testing.T) {
	virtual(t, func(t *testing.T) {
		reached, pass1 := make(chan struct{}), make(chan struct{})
		w := startVirtual(t, gohub.Config{RateLimiter: limiterFunc(func(gohub.Identity) gohub.SessionLimiter {
			close(reached) // after the Authenticator, before the 101
			<-pass1
			return gohub.NewRateLimiter(gohub.Rate{}).Session(gohub.Identity{})
		})})
		answered := make(chan int, 1)
		go func() { // ends with the connection
			_, code := w.bare("user=alice").rest()
			answered <- code
		}()
		<-reached
		down := w.shutdown(t.Context())
		pass(time.Minute)
		require.Empty(t, down)
		close(pass1)
		require.NoError(t, <-down)
		require.Equal(t, gohub.CloseRestart, <-answered)
	})
}

type limiterFunc func(gohub.Identity) gohub.SessionLimiter

func (f limiterFunc) Session(id gohub.Identity) gohub.SessionLimiter { return f(id) }

// Peers that are gone without a word cost the others nothing, and no more time
// than is left. Here nothing of what they are sent leaves the process.
func TestDrainOfDeadPeers(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{DrainTime: 2 * time.Second, CloseTimeout: time.Minute})
		for range 20 {
			w.bare("user=dead")
		}
		alice := w.as("alice", "r")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		down := w.shutdown(ctx)
		pass(2 * time.Second)
		alice.closes(gohub.CloseRestart)
		err := <-down
		require.Less(t, time.Since(start), 9*time.Second)
		var lost *gohub.DrainError
		require.ErrorAs(t, err, &lost)
		require.Equal(t, gohub.DrainError{Cut: 20, Err: lost.Err}, *lost)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// Over TCP the kernel takes what dead peers are sent: nothing is lost.
func TestDrainOfDeadPeersOverTCP(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{DrainTime: 20 * time.Millisecond, CloseTimeout: time.Minute})
	for range 20 {
		w.bare("user=dead")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	start := time.Now()
	require.NoError(t, w.hub.Shutdown(ctx))
	require.Less(t, time.Since(start), 25*time.Second, "of half a minute for goodbyes")
}

func TestShutdownSaysWhatWasLost(t *testing.T) {
	virtual(t, func(t *testing.T) {
		store := newSlowStore()
		w := startVirtual(t, gohub.Config{Store: store})
		alice := w.as("alice", "r")
		store.hold()
		defer store.release()
		for range 3 {
			alice.publish("r", 1)
		}
		alice.sync()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := w.hub.Shutdown(ctx)
		var lost *gohub.DrainError
		require.ErrorAs(t, err, &lost)
		require.EqualValues(t, 3, lost.Unstored)
		require.False(t, lost.Stuck)
		require.ErrorContains(t, err, "3 messages and 0 receipts were not stored")
	})
}

// A stubbornStore takes its time, and no context ends what it has begun.
type stubbornStore struct{ gohub.Store }

func (s stubbornStore) Append(ctx context.Context, batch []gohub.Message) ([]gohub.Ordered, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	time.Sleep(1100 * time.Millisecond)
	return s.Store.Append(context.WithoutCancel(ctx), batch)
}

// What the Store takes while it is given up is not counted as lost.
func TestShutdownCountsWhatIsNotStored(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{Store: stubbornStore{gohub.NewMemoryStore(gohub.MemoryStoreOptions{})}})
		alice := w.as("alice", "r")
		alice.publish("r", "first, alone in its batch")
		synctest.Wait()
		for range 3 {
			alice.publish("r", "behind it")
		}
		alice.sync()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var lost *gohub.DrainError
		require.ErrorAs(t, w.hub.Shutdown(ctx), &lost)
		require.EqualValues(t, 3, lost.Unstored)
		require.False(t, lost.Stuck)
	})
}

func TestReadyAndHealth(t *testing.T) {
	virtual(t, func(t *testing.T) {
		store := newSlowStore()
		w := startVirtual(t, gohub.Config{Store: store, MaxPending: 4})
		require.NoError(t, w.hub.Ready())
		require.NoError(t, w.hub.Health())

		alice := w.as("alice", "r", "s")
		store.failWith(func([]gohub.Message) error { return errors.New("disk on fire") })
		id := alice.publish("r", 1)
		pass(time.Second)
		require.ErrorIs(t, w.hub.Ready(), gohub.ErrUnavailable)
		require.ErrorContains(t, w.hub.Ready(), "disk on fire")
		require.NoError(t, w.hub.Health(), "it passes by itself")
		store.failWith(nil)
		pass(10 * time.Second)
		alice.expect("ack", "id", id)
		require.NoError(t, w.hub.Ready())

		store.hold()
		for _, room := range []string{"r", "r", "s", "s"} {
			alice.publish(room, 1)
		}
		alice.sync()
		require.ErrorContains(t, w.hub.Ready(), "queue to the Store is full")
		store.release()
		pass(time.Second)
		require.NoError(t, w.hub.Ready())
	})
}

// endingBroker is a Broker that gives up.
type endingBroker struct{ plainBroker }

func (endingBroker) Run(context.Context, gohub.Receiver) error { return errors.New("license expired") }

func TestHealthOfABrokerThatHasEnded(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{Broker: endingBroker{plainBroker{gohub.NewMemoryBroker()}}})
		synctest.Wait()
		require.ErrorContains(t, w.hub.Health(), "license expired")
		require.ErrorIs(t, w.hub.Ready(), gohub.ErrUnavailable)
	})
}
