package gohub_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// codeOf is the code of an error meant for clients.
func codeOf(t *testing.T, err error) gohub.Code {
	t.Helper()
	var e *gohub.Error
	require.ErrorAs(t, err, &e)
	return e.Code
}

func TestKick(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	a, b, bob := w.as("alice", "r"), w.dial("user=alice&device=phone"), w.as("bob", "r")
	require.Zero(t, w.hub.Kick("", "carol", "nobody"))
	require.Zero(t, w.hub.Kick("other", "alice", "wrong tenant"))
	require.Equal(t, 2, w.hub.Kick("", "alice", "spam"))
	for _, u := range []*user{a, b} {
		u.closes(gohub.CloseKicked)
		require.ErrorContains(t, u.end, "spam")
	}
	require.Equal(t, "ack", bob.say("r", "still here")["type"])
	// It ends sessions; who may come back is the Authenticator's to say.
	w.as("alice", "r")
}

func TestServerSideJoinAndLeave(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, kind func(gohub.Config) gohub.Config) {
		w := start(t, kind(gohub.Config{MaxRooms: 2}))
		s := w.fill("r", 30)
		u := w.as("alice")
		require.NoError(t, w.hub.Join(u.session(), "r"))
		j := u.expect("joined")
		require.Equal(t, frame{"type": "joined", "room": "r", "head": float64(s[29]), "truncated": false, "members": 1.0}, j)
		require.Equal(t, s[10:], seqsOf(u.collect("r", 20)))
		require.Equal(t, "ack", u.say("r", 1)["type"], "a member like any other")
		u.collect("r", 1)

		require.NoError(t, w.hub.Join(u.session(), "r"), "already there: nothing happens")
		u.sync()
		require.Empty(t, u.all("joined"))
		require.Empty(t, u.messages("r"))

		require.ErrorIs(t, w.hub.Join("no such", "r"), gohub.ErrNoSession)
		require.ErrorIs(t, w.hub.Leave("no such", "r"), gohub.ErrNoSession)
		require.Equal(t, gohub.CodeBadRoom, codeOf(t, w.hub.Join(u.session(), "a b")))
		require.Equal(t, gohub.CodeForbidden, codeOf(t, w.hub.Join(u.session(), "@bob,carol")))
		require.Equal(t, gohub.CodeNotJoined, codeOf(t, w.hub.Leave(u.session(), "q")))
		require.NoError(t, w.hub.Join(u.session(), "q"))
		require.Equal(t, gohub.CodeForbidden, codeOf(t, w.hub.Join(u.session(), "third")))

		require.NoError(t, w.hub.Leave(u.session(), "r"))
		require.Equal(t, frame{"type": "left", "room": "r"}, u.expect("left"))
		w.fill("r", 1)
		require.Equal(t, "not_joined", u.say("r", 1)["code"])
		require.Empty(t, u.messages("r"))
		require.Nil(t, roomIn(t, u.ask(frame{"type": "rooms"}, "rooms"), "r"))
		require.NoError(t, u.ws.CloseNow())
		require.Eventually(t, func() bool { return w.hub.Join(u.session(), "r") != nil }, patience, time.Millisecond)
	})
}

// A session that the program makes a member in the middle of a stream gets
// all of it from there on, once and in order.
func TestServerSideJoinMissesNothing(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, kind func(gohub.Config) gohub.Config) {
		w := start(t, kind(gohub.Config{}))
		const n = 400
		var want []int64
		var wg sync.WaitGroup
		begun, users := make(chan struct{}), []*user{}
		for i := range 5 {
			users = append(users, w.as(fmt.Sprint("user-", i)))
		}
		wg.Go(func() {
			for i := range n {
				m, err := w.hub.Publish(t.Context(), gohub.Message{
					Room: gohub.RoomID{Name: "r"}, Sender: "bot", Body: fmt.Append(nil, i),
				})
				if err != nil {
					t.Error(err)
				}
				want = append(want, m.Seq)
				if i == n/4 {
					close(begun)
				}
			}
		})
		<-begun
		for _, u := range users {
			require.NoError(t, w.hub.Join(u.session(), "r"))
		}
		wg.Wait()
		for _, u := range users {
			var got []int64
			for len(got) == 0 || got[len(got)-1] != want[n-1] {
				got = append(got, seqsOf(u.collect("r", 1))...)
			}
			require.Equal(t, want[n-len(got):], got)
		}
	})
}

func TestCloseRoom(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	s := w.fill("r", 3)
	users := []*user{w.as("alice", "r", "q"), w.as("alice", "r"), w.as("bob", "r")}
	require.Zero(t, w.hub.CloseRoom(gohub.RoomID{Name: "nobody is here"}))
	require.Zero(t, w.hub.CloseRoom(gohub.RoomID{Tenant: "other", Name: "r"}))
	require.Equal(t, 3, w.hub.CloseRoom(gohub.RoomID{Name: "r"}))
	for _, u := range users {
		require.Equal(t, frame{"type": "left", "room": "r"}, u.expect("left"))
		require.Equal(t, "not_joined", u.say("r", 1)["code"])
	}
	require.Equal(t, "ack", users[0].say("q", 1)["type"], "other rooms stay")
	// Who was writing "members" just then forgets the room afterwards.
	require.Eventually(t, func() bool { return w.hub.RoomStats(gohub.RoomID{Name: "r"}) == gohub.RoomStats{} }, patience, time.Millisecond)
	users[1].all("message")
	require.Equal(t, s[2], users[1].join("r", s[0]).num("head"), "its history stays")
	require.Equal(t, s[1:], seqsOf(users[1].collect("r", 2)))
}

func TestClientMethods(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	u := w.dial("user=alice&device=phone&name=Alice&tenant=acme")
	u.join("r")
	u.join("q")
	require.Empty(t, w.hub.Sessions("", "alice"))
	sessions := w.hub.Sessions("acme", "alice")
	require.Len(t, sessions, 1)
	c := sessions[0]
	require.Equal(t, u.session(), c.ID())
	require.Equal(t, "alice", c.User())
	require.Equal(t, gohub.Identity{User: "alice", Device: "phone", Name: "Alice", Tenant: "acme"}, c.Identity())
	require.ElementsMatch(t, []string{"r", "q"}, c.Rooms())
	c.Close(gohub.CloseForbidden, "banned")
	c.Close(gohub.CloseKicked, "too late")
	u.closes(gohub.CloseForbidden)
}

func TestStatsAndPresence(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{})
		room := gohub.RoomID{Name: "r"}
		require.Zero(t, w.hub.Stats())
		require.Zero(t, w.hub.RoomStats(room))
		require.Zero(t, w.present(room, "", 10))

		alice, alice2, bob := w.dial("user=alice&name=Alice"), w.as("alice", "r"), w.as("bob", "r", "q")
		alice.join("r")
		s := w.fill("r", 3)
		require.Equal(t, gohub.Stats{Sessions: 3, Rooms: 2}, w.hub.Stats())
		require.Equal(t, gohub.RoomStats{Sessions: 3, Users: 2, Head: s[2]}, w.hub.RoomStats(room))
		require.Len(t, w.hub.Sessions("", "alice"), 2)

		page := w.present(room, "", 1)
		require.Equal(t, 2, page.Count)
		require.Len(t, page.Users, 1)
		require.Equal(t, "alice", page.Users[0].User)
		require.Equal(t, 2, page.Users[0].Sessions)
		page = w.present(room, page.Cursor, 1)
		require.Equal(t, gohub.PresencePage{Count: 2, Users: []gohub.PresentUser{{User: "bob", Name: "bob", Sessions: 1}}}, page)

		// All is let go with the last who leaves, in whatever way.
		alice.leave("r")
		require.NoError(t, alice2.ws.CloseNow())
		require.NoError(t, bob.ws.CloseNow())
		pass(5 * time.Second)
		require.Equal(t, gohub.Stats{Sessions: 1}, w.hub.Stats())
		require.Zero(t, w.hub.RoomStats(room))
		require.Empty(t, w.hub.Sessions("", "bob"))
	})
}

// Rooms do not pile up when sessions and events come and go together.
func TestEmptyRoomsAreForgotten(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, kind func(gohub.Config) gohub.Config) {
		w := start(t, kind(gohub.Config{}))
		var wg sync.WaitGroup
		for i := range 4 {
			u := w.as(fmt.Sprint("user-", i))
			wg.Go(func() {
				for n := range 40 {
					room := fmt.Sprint("room-", n%5)
					u.send(frame{"type": "join", "room": room, "since": 0})
					u.publish(room, n)
					u.send(frame{"type": "typing", "room": room, "active": true})
					u.send(frame{"type": "receipt", "room": room, "seen": int64(1) << 60})
					u.send(frame{"type": "leave", "room": room})
				}
				u.sync()
			})
		}
		wg.Wait()
		require.Eventually(t, func() bool { return w.hub.Stats().Rooms == 0 && w.hub.Stats().Uncommitted == 0 },
			patience, 10*time.Millisecond)
	})
}

// A session that ends while the program makes it a member leaves nothing
// behind.
func TestServerSideJoinOfASessionThatEnds(t *testing.T) {
	t.Parallel()
	store := newPausingStore(gohub.NewMemoryStore(gohub.MemoryStoreOptions{}), func(gohub.Query) bool { return true })
	w := start(t, gohub.Config{Store: store})
	u := w.as("alice")
	joined := make(chan error, 1)
	go func() { joined <- w.hub.Join(u.session(), "r") }()
	store.await(t)
	require.NoError(t, u.ws.CloseNow())
	require.Eventually(t, func() bool { return len(w.hub.Sessions("", "alice")) == 0 }, patience, time.Millisecond)
	close(store.resume)
	t.Log(<-joined) // either answer is right
	require.Eventually(t, func() bool { return w.hub.Stats() == gohub.Stats{} }, patience, time.Millisecond)
}

func TestShutdown(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{})
		users := []*user{w.as("alice", "r"), w.as("bob", "r"), w.as("carol")}
		session := w.hub.Sessions("", "carol")[0].ID()
		require.NoError(t, w.hub.Shutdown(t.Context()))
		for _, u := range users {
			u.closes(gohub.CloseRestart)
			require.Len(t, u.all("goaway"), 1)
		}
		require.Zero(t, w.hub.Stats())
		_, status, err := w.handshake("user=dave")
		require.Error(t, err)
		require.Equal(t, http.StatusServiceUnavailable, status)

		// What is called afterwards fails, or does nothing, and does not hang.
		_, err = w.hub.Publish(t.Context(), gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "bot", Body: []byte("1")})
		require.Error(t, err)
		require.ErrorIs(t, w.hub.Join(session, "r"), gohub.ErrNoSession)
		require.Zero(t, w.hub.Kick("", "alice", ""))
		require.Zero(t, w.hub.CloseRoom(gohub.RoomID{Name: "r"}))
		require.NoError(t, w.hub.Shutdown(t.Context()), "again")
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		require.NoError(t, w.hub.Shutdown(canceled), "it is done, whatever the context")
	})
}

func TestShutdownRefusesWhatIsNew(t *testing.T) {
	virtual(t, func(t *testing.T) {
		store := newSlowStore()
		w := startVirtual(t, gohub.Config{Store: store})
		alice, bob := w.as("alice", "r"), w.as("bob")
		store.hold()
		id := alice.publish("r", "under way")
		alice.expect("message", "id", id)
		down := make(chan error, 2)
		for range 2 {
			go func() { down <- w.hub.Shutdown(t.Context()) }()
		}
		synctest.Wait()
		alice.expect("goaway")
		e := alice.say("r", "too late")
		require.Equal(t, "draining", e["code"])
		require.Positive(t, e.num("retry_ms"))
		require.Equal(t, "draining", bob.fails("draining", frame{"type": "join", "room": "r"})["code"])
		_, err := w.hub.Publish(t.Context(), gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "bot", Body: []byte("1")})
		require.Equal(t, gohub.CodeDraining, codeOf(t, err))
		pass(time.Minute)
		require.Empty(t, down, "both wait for what is under way")
		alice.sync() // connected all the while

		store.release()
		require.NoError(t, <-down)
		require.NoError(t, <-down)
		alice.expect("ack", "id", id)
		alice.closes(gohub.CloseRestart)
		bob.closes(gohub.CloseRestart)
	})
}

// A handler that does not heed its context cannot hold up Shutdown beyond
// the caller's.
func TestShutdownIsBounded(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{})
		release := make(chan struct{})
		defer close(release)
		gohub.Handle(w.hub, "stubborn", func(context.Context, *gohub.Client, any) (int, error) {
			<-release
			return 0, nil
		})
		u := w.as("alice")
		u.send(frame{"type": "call", "name": "stubborn"})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		down := make(chan error, 1)
		go func() { down <- w.hub.Shutdown(ctx) }()
		pass(5 * time.Second)
		require.Len(t, down, 1, "it has returned")
		require.ErrorIs(t, <-down, context.DeadlineExceeded)
		u.closes(gohub.CloseRestart)
	})
}
