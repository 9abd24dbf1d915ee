package gohub_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// cluster starts hubs that share all they can, in virtual time.
func startNodes(t *testing.T, dirs ...gohub.Directory) []*world {
	t.Helper()
	broker, store := gohub.NewMemoryBroker(), gohub.NewMemoryStore(gohub.MemoryStoreOptions{})
	worlds := make([]*world, len(dirs))
	for i, d := range dirs {
		worlds[i] = startVirtual(t, gohub.Config{Node: fmt.Sprint("n", i), Broker: broker, Store: store, Directory: d, PingInterval: time.Hour, DrainTime: 8 * time.Second})
	}
	return worlds
}

// directories makes the Directories of n hubs.
func directories(n int) []gohub.Directory {
	d := gohub.NewMemoryDirectory()
	out := make([]gohub.Directory, n)
	for i := range out {
		out[i] = d.Node()
	}
	return out
}

// told gives the members frames after a while in which nothing else happens.
func (u *user) told() []frame {
	pass(time.Second)
	return u.all("members")
}

func members(count int, joined, left []any) []frame {
	return []frame{{"type": "members", "room": "r", "joined": joined, "left": left, "count": float64(count)}}
}

var nobody = []any{}

func TestMembersOfAllNodes(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startNodes(t, directories(3)...)
		alice := w[0].as("alice")
		require.EqualValues(t, 1, alice.join("r")["members"])
		require.Equal(t, members(1, []any{"alice"}, nobody), alice.told())

		bob := w[1].as("bob")
		require.EqualValues(t, 2, bob.join("r")["members"])
		for _, u := range []*user{alice, bob} {
			require.Equal(t, members(2, []any{"bob"}, nobody), u.told(), u.name)
		}
		carol := w[2].as("carol")
		require.EqualValues(t, 3, carol.join("r")["members"])
		alice.told()
		bob.told()

		// A user is there once, however many nodes it is on.
		elsewhere := w[1].as("alice")
		if elsewhere.join("r")["members"] != 3.0 { // she was taken for somebody new, for the moment
			require.Equal(t, members(3, nobody, nobody), elsewhere.told())
		}
		for _, u := range []*user{alice, bob} {
			for _, f := range u.told() {
				require.Equal(t, members(3, nobody, nobody)[0], f)
			}
		}
		alice.leave("r")
		require.Empty(t, bob.told(), "alice is still there")
		elsewhere.leave("r")
		require.Equal(t, members(2, nobody, []any{"alice"}), bob.told())
		carol.told()
		alice.join("r")
		require.Equal(t, members(3, []any{"alice"}, nobody), carol.told())

		// What happens on all nodes at about the same time is one frame a hub.
		bob.told()
		d, e := w[0].as("dave", "r"), w[1].as("erin", "r")
		carol.leave("r")
		got := bob.told()
		require.LessOrEqual(t, len(got), 2)
		require.EqualValues(t, 4, got[len(got)-1]["count"])
		require.NoError(t, d.ws.CloseNow())
		require.NoError(t, e.ws.CloseNow())
		pass(time.Second)
		require.Equal(t, 2, w[2].present(gohub.RoomID{Name: "r"}, "", 0).Count)
	})
}

func TestPresenceOfAllNodes(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startNodes(t, directories(2)...)
		w[0].dial("user=alice&name=Old").join("r")
		bob := w[1].as("bob", "r")
		pass(time.Second)
		alice := w[1].dial("user=alice&name=New")
		alice.join("r")
		want := []any{
			map[string]any{"user": "alice", "name": "New", "sessions": 2.0},
			map[string]any{"user": "bob", "name": "bob", "sessions": 1.0},
		}
		// At once: what this hub has answered before is in it.
		page := alice.ask(frame{"type": "presence", "room": "r"}, "presence")
		require.Equal(t, want, page["users"])
		require.EqualValues(t, 2, page["count"])
		for i := range 120 {
			w[i%2].as(fmt.Sprintf("user-%03d", i), "r")
		}
		pass(time.Second)
		page = bob.ask(frame{"type": "presence", "room": "r"}, "presence")
		require.Len(t, page["users"], 100)
		require.EqualValues(t, 122, page["count"])
		page = bob.ask(frame{"type": "presence", "room": "r", "cursor": page["cursor"]}, "presence")
		require.Len(t, page["users"], 22)
		require.Nil(t, page["cursor"])
		here := w[0].present(gohub.RoomID{Name: "r"}, "bob", 1)
		require.Equal(t, gohub.PresencePage{Count: 122, Cursor: "user-000", Users: []gohub.PresentUser{{User: "user-000", Name: "user-000", Sessions: 1}}}, here)
	})
}

// A draining hub's users are there until they are elsewhere, or for some
// seconds after its end: whether they wait to be closed, or go at once.
func TestDrainDoesNotFlap(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startNodes(t, directories(2)...)
		watcher := w[1].as("watcher", "r")
		moves, waits, goes, left := w[0].as("moves", "r"), w[0].as("waits", "r"), w[0].as("goes", "r"), w[0].as("left", "r")
		watcher.told()
		ended := make(chan time.Time)
		go func() { // ends with the drain
			_ = w[0].hub.Shutdown(context.Background())
			ended <- time.Now()
		}()
		moves.expect("goaway")
		left.leave("r") // that is no part of the drain
		require.Equal(t, members(4, nobody, []any{"left"}), watcher.told())
		require.NoError(t, moves.ws.CloseNow())
		require.NoError(t, goes.ws.CloseNow())
		require.Empty(t, watcher.told())
		w[1].as("moves", "r")
		pass(time.Second)
		waits.closes(gohub.CloseRestart)
		end := <-ended
		pass(time.Second)
		w[1].as("waits", "r")
		pass(time.Until(end.Add(4900 * time.Millisecond)))
		for _, f := range watcher.all("members") {
			require.Empty(t, f["joined"])
			require.Empty(t, f["left"])
			require.EqualValues(t, 4, f["count"])
		}
		pass(200 * time.Millisecond)
		require.Equal(t, members(3, nobody, []any{"goes"}), watcher.told())
	})
}

// A forgetful Directory cannot be reached at times, and forgets.
type forgetful struct {
	mu    sync.Mutex // guards what follows
	inner gohub.Directory
	l     gohub.Listener
	self  gohub.Node
	down  bool
	calls int

	without string // a room for which it fails
}

func (d *forgetful) now() gohub.Directory {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls++
	if d.down {
		return nil
	}
	return d.inner
}

func (d *forgetful) asked() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls
}

func (d *forgetful) fails(down bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down = down
}

// forgets goes on with a new Directory that knows nothing.
func (d *forgetful) forgets(anew gohub.Directory) {
	d.mu.Lock()
	d.inner = anew
	d.mu.Unlock()
	anew.Serve(d.l, d.self)
	d.l.Forgotten(true)
}

func (d *forgetful) Serve(l gohub.Listener, self gohub.Node) {
	d.l, d.self = l, self
	d.inner.Serve(l, self)
}
func (d *forgetful) Leave(ctx context.Context, l gohub.Listener) { d.inner.Leave(ctx, l) }
func (d *forgetful) Nodes() []gohub.Node                         { return d.inner.Nodes() }

func (d *forgetful) Announce(ctx context.Context, room gohub.RoomID, users []gohub.PresentUser, again bool) (int, error) {
	if now := d.now(); now != nil && room.Name != d.without {
		return now.Announce(ctx, room, users, again)
	}
	return 0, gohub.ErrUnavailable
}

func (d *forgetful) Present(ctx context.Context, room gohub.RoomID, cursor string, limit int) (gohub.PresencePage, error) {
	if now := d.now(); now != nil && room.Name != d.without {
		return now.Present(ctx, room, cursor, limit)
	}
	return gohub.PresencePage{}, gohub.ErrUnavailable
}

func (d *forgetful) Claim(ctx context.Context, c gohub.Claim) (int64, error) {
	return d.inner.Claim(ctx, c)
}

func (d *forgetful) Lost(ctx context.Context, held []gohub.Claim) ([]gohub.Claim, error) {
	return d.inner.Lost(ctx, held)
}

func (d *forgetful) PutTicket(ctx context.Context, id string, ticket []byte, life time.Duration) error {
	return d.inner.PutTicket(ctx, id, ticket, life)
}

func (d *forgetful) TakeTicket(ctx context.Context, id string) ([]byte, error) {
	return d.inner.TakeTicket(ctx, id)
}

func forgetfulNodes(n int) (all []*forgetful, dirs []gohub.Directory) {
	for _, inner := range directories(n) {
		d := &forgetful{inner: inner}
		all, dirs = append(all, d), append(dirs, d)
	}
	return all, dirs
}

func TestMembersWhileTheDirectoryIsAway(t *testing.T) {
	virtual(t, func(t *testing.T) {
		d, dirs := forgetfulNodes(2)
		w := startNodes(t, dirs...)
		alice, bob := w[0].as("alice", "r"), w[1].as("bob", "r")
		alice.told()
		bob.told()
		d[0].fails(true)
		carol := w[0].as("carol")
		require.EqualValues(t, 3, carol.join("r")["members"], "as far as is known here")
		require.EqualValues(t, 1, carol.join("other")["members"])
		dave := w[0].as("dave", "r")
		dave.leave("r")
		carol.fails("unavailable", frame{"type": "presence", "room": "r"})
		_, err := w[0].hub.Presence(context.Background(), gohub.RoomID{Name: "r"}, "", 0)
		require.ErrorIs(t, err, gohub.ErrUnavailable)
		require.Empty(t, alice.told())
		pass(time.Minute)
		before := d[0].asked()
		pass(10 * time.Second)
		require.Less(t, d[0].asked()-before, 60, "it is not asked all the time")
		d[0].fails(false)
		pass(2 * time.Second)
		for _, u := range []*user{alice, bob} {
			got := u.all("members")
			require.Equal(t, members(3, []any{"carol"}, nobody), got[len(got)-1:], u.name)
			require.Len(t, got, 1, "dave has come and gone")
		}
		require.EqualValues(t, 3, carol.ask(frame{"type": "presence", "room": "r"}, "presence")["count"])
	})
}

// A Directory may fail for some rooms, as a cluster without one of its servers
// does. The others' members notice nothing.
func TestMembersWhileTheDirectoryFailsForOthers(t *testing.T) {
	virtual(t, func(t *testing.T) {
		d, dirs := forgetfulNodes(2)
		d[0].without = "bad"
		w := startNodes(t, dirs...)
		alice := w[0].as("alice", "r")
		alice.told()
		for i := range 20 {
			w[0].as(fmt.Sprint("unheard-", i), "bad")
		}
		pass(time.Minute)
		for i := range 5 {
			user := fmt.Sprint("u", i)
			w[0].as(user, "r")
			require.Equal(t, members(2+i, []any{user}, nobody), alice.told(), "within a second")
			require.Equal(t, 2+i, w[0].present(gohub.RoomID{Name: "r"}, "", 0).Count)
		}
	})
}

// When the Directory has forgotten, only what is new is told.
func TestMembersAreAnnouncedAgain(t *testing.T) {
	virtual(t, func(t *testing.T) {
		d, dirs := forgetfulNodes(2)
		w := startNodes(t, dirs...)
		alice, bob, carol := w[0].as("alice", "r"), w[1].as("bob", "r"), w[1].as("carol", "r")
		w[0].as("dave", "q")
		alice.told()
		bob.told()
		d[0].fails(true)
		d[1].fails(true)
		w[0].as("erin", "r")
		carol.leave("r")
		pass(time.Second)
		anew := directories(2)
		for i := range d {
			d[i].forgets(anew[i])
		}
		pass(time.Second)
		d[0].fails(false) // one sooner than the other
		pass(time.Second)
		d[1].fails(false)
		pass(5 * time.Second)
		for _, u := range []*user{alice, bob} {
			var joined, left []any
			got := u.all("members")
			for _, f := range got {
				joined, left = append(joined, f["joined"].([]any)...), append(left, f["left"].([]any)...)
				require.Contains(t, []float64{3, 4}, f["count"], "never less than are there")
			}
			require.Equal(t, []any{"erin"}, joined, u.name)
			require.Equal(t, []any{"carol"}, left, u.name)
			require.EqualValues(t, 3, got[len(got)-1]["count"], u.name)
		}
		for _, x := range w {
			require.Equal(t, 3, x.present(gohub.RoomID{Name: "r"}, "", 0).Count)
			require.Equal(t, 1, x.present(gohub.RoomID{Name: "q"}, "", 0).Count)
		}
		frank := w[1].as("frank")
		require.EqualValues(t, 4, frank.join("r")["members"])
	})
}
