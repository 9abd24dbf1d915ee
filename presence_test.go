package gohub_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

func TestMembersAreToldTogether(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{})
		alice := w.as("alice", "r")
		told := func() []frame {
			pass(time.Second)
			return alice.all("members")
		}
		members := func(count int, joined, left []any) []frame {
			return []frame{{"type": "members", "room": "r", "joined": joined, "left": left, "count": float64(count)}}
		}
		none := []any{}
		require.Equal(t, members(1, []any{"alice"}, none), told())

		bob, carol := w.as("bob", "r"), w.as("carol", "r")
		w.as("dave", "q")
		got := told()
		require.Len(t, got, 1, "one frame for both")
		require.ElementsMatch(t, []any{"bob", "carol"}, got[0]["joined"])
		require.Equal(t, none, got[0]["left"])
		require.EqualValues(t, 3, got[0]["count"])

		bob2 := w.as("bob", "r")
		require.Empty(t, told(), "a user counts once")
		bob.leave("r")
		require.Empty(t, told(), "bob is still there")
		carol.leave("r")
		carol.join("r")
		require.Empty(t, told(), "came back before anybody was told")
		erin := w.as("erin", "r")
		require.NoError(t, erin.ws.CloseNow())
		require.Empty(t, told(), "gone before anybody was told")

		require.NoError(t, bob2.ws.CloseNow()) // a cut is a departure, too
		carol.leave("r")
		w.as("frank", "r")
		got = told()
		require.Len(t, got, 1)
		require.Equal(t, []any{"frank"}, got[0]["joined"])
		require.ElementsMatch(t, []any{"bob", "carol"}, got[0]["left"])
		require.EqualValues(t, 2, got[0]["count"])
	})
}

func TestMembersAreCoalesced(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{})
		alice := w.as("alice", "r")
		here := make(map[any]bool)
		for i := range 60 { // one comes every 20 ms, and half of them go again
			u := w.as(fmt.Sprint("user-", i), "r")
			time.Sleep(20 * time.Millisecond)
			if i%2 == 0 {
				u.leave("r")
			}
		}
		pass(time.Second)
		got := alice.all("members")
		require.Len(t, got, 3, "after 200 ms, then each 800 ms")
		for _, f := range got {
			for _, u := range f["joined"].([]any) {
				require.False(t, here[u], "%v came twice", u)
				here[u] = true
			}
			for _, u := range f["left"].([]any) {
				require.True(t, here[u], "%v went without having come", u)
				delete(here, u)
			}
			require.Len(t, here, int(f.num("count")))
		}
		require.Len(t, here, 31)
	})
}

func TestPresence(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{})
		alice := w.dial("user=alice&name=Alice+%C3%84rmel")
		alice.join("r")
		w.as("bob", "r")
		w.as("bob", "r")
		w.as("carol", "q")
		require.Equal(t, frame{
			"type": "presence", "room": "r", "ref": "x", "count": 2.0,
			"users": []any{
				map[string]any{"user": "alice", "name": "Alice Ärmel", "sessions": 1.0},
				map[string]any{"user": "bob", "name": "bob", "sessions": 2.0},
			},
		}, func() frame {
			alice.send(frame{"type": "presence", "room": "r", "ref": "x"})
			return alice.expect("presence")
		}())
		alice.fails("not_joined", frame{"type": "presence", "room": "q"})
		alice.fails("bad_room", frame{"type": "presence"})
		alice.fails("bad_request", frame{"type": "presence", "room": "r", "cursor": 1})
	})
}

func TestPresenceIsPaged(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{})
		var want []string
		for i := range 230 {
			want = append(want, fmt.Sprintf("user-%03d", i))
		}
		users := make(map[string]*user)
		for _, name := range want {
			users[name] = w.as(name, "r")
		}
		asker := users[want[7]]
		pages := func(between func()) (sizes []int, got []string) {
			q := frame{"type": "presence", "room": "r"}
			for {
				page := asker.ask(q, "presence")
				list := page["users"].([]any)
				sizes = append(sizes, len(list))
				for _, u := range list {
					got = append(got, u.(map[string]any)["user"].(string))
				}
				if page["cursor"] == nil {
					return sizes, got
				}
				q["cursor"] = page["cursor"]
				between()
			}
		}
		sizes, got := pages(func() {})
		require.Equal(t, []int{100, 100, 30}, sizes)
		require.Equal(t, want, got)

		// Whoever stays is listed once, whoever goes meanwhile.
		gone := want[99:101]
		sizes, got = pages(func() {
			for _, name := range gone {
				if slices.Contains(asker.hubRooms(w, name), "r") {
					users[name].leave("r")
				}
			}
		})
		require.Equal(t, []int{100, 100, 29}, sizes)
		require.Equal(t, slices.Concat(want[:100], want[101:]), got)

		for _, name := range want[100:] {
			if name != gone[1] {
				users[name].leave("r")
			}
		}
		users[gone[0]].join("r")
		sizes, _ = pages(func() {})
		require.Equal(t, []int{100}, sizes, "a last page may be full")
	})
}

// hubRooms lists the rooms of a user's only session.
func (u *user) hubRooms(w *world, name string) []string {
	u.t.Helper()
	sessions := w.hub.Sessions("", name)
	require.Len(u.t, sessions, 1)
	return sessions[0].Rooms()
}

func TestMembersAboveAThousandAreOnlyCounted(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{PingInterval: time.Hour})
		alice := w.as("alice", "r")
		pass(time.Second)
		alice.all("members")
		var crowd []*bare
		for i := range 1000 {
			b := w.bare(fmt.Sprint("user=crowd-", i))
			f, err := b.frame()
			require.NoError(t, err)
			require.NoError(t, w.hub.Join(f.str("session"), "r"))
			crowd = append(crowd, b)
			go func() { // ends with the connection
				for {
					if _, _, err := b.read(); err != nil {
						return
					}
				}
			}()
			if i == 998 {
				pass(time.Second)
				got := alice.all("members")
				require.Len(t, got, 1)
				require.Len(t, got[0]["joined"], 999)
				require.EqualValues(t, 1000, got[0]["count"])
			}
		}
		pass(time.Second)
		require.Equal(t, []frame{
			{"type": "members", "room": "r", "joined": []any{}, "left": []any{}, "count": 1001.0},
		}, alice.all("members"))
		_ = crowd[0].nc.Close()
		pass(time.Second)
		require.Equal(t, []frame{
			{"type": "members", "room": "r", "joined": []any{}, "left": []any{"crowd-0"}, "count": 1000.0},
		}, alice.all("members"))
		for _, b := range crowd {
			_ = b.nc.Close()
		}
	})
}

func TestTyping(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{})
		alice, alice2, bob, carol := w.as("alice", "r"), w.as("alice", "r"), w.as("bob", "r"), w.as("carol", "q")
		types := func(active bool) {
			t.Helper()
			alice.send(frame{"type": "typing", "room": "r", "active": active})
			synctest.Wait()
		}
		told := func(active ...bool) {
			t.Helper()
			want := make([]frame, len(active))
			for i, a := range active {
				want[i] = frame{"type": "typing", "room": "r", "user": "alice", "active": a}
			}
			for _, u := range []*user{bob, alice2} {
				require.ElementsMatch(t, want, u.all("typing"), u.name)
			}
			require.Empty(t, alice.all("typing"), "never to its sender")
			require.Empty(t, carol.all("typing"))
		}
		types(true)
		told(true)
		pass(4900 * time.Millisecond)
		told()
		pass(200 * time.Millisecond)
		told(false) // it expired

		types(true)
		told(true)
		pass(4 * time.Second)
		types(true) // still
		told(true)
		pass(4 * time.Second)
		told()
		pass(1100 * time.Millisecond)
		told(false)

		types(true)
		told(true)
		for range 20 { // a keystroke each 100 ms is not a frame each 100 ms
			pass(100 * time.Millisecond)
			types(true)
		}
		require.LessOrEqual(t, len(bob.all("typing")), 2)
		alice2.all("typing")
		types(false)
		told(false)
		types(false)
		told()
		pass(10 * time.Second)
		told()

		types(true)
		told(true)
		alice.leave("r")
		synctest.Wait()
		told(false)
		alice.join("r")
		types(true)
		told(true)
		late := w.as("late")
		late.join("r", 0)
		require.NoError(t, alice.ws.CloseNow())
		pass(time.Millisecond)
		require.Equal(t, false, late.expect("typing")["active"])
		late.sync()
		require.Empty(t, late.all("typing"), "typing is not replayed")
		told(false)
		pass(10 * time.Second)
		told()

		bob.fails("bad_request", frame{"type": "typing", "room": "r"})
		bob.fails("bad_request", frame{"type": "typing", "room": "r", "active": 1})
		bob.fails("not_joined", frame{"type": "typing", "room": "q", "active": true})
	})
}

func TestSameDeviceReplacesTheSession(t *testing.T) {
	t.Parallel()
	const most = 2000 // less than MaxQueue, however late they are read
	w := start(t, gohub.Config{CloseTimeout: time.Minute})
	others := []*user{w.as("alice", "r"), w.dial("user=alice&device=laptop"), w.dial("user=bob&device=phone")}
	for _, u := range others {
		u.join("r")
	}
	for range 5 {
		old := w.bare("user=alice&device=phone")
		old.text(`{"type":"join","room":"r"}`)
		for joined := false; !joined; {
			f, err := old.frame()
			require.NoError(t, err)
			joined = f["type"] == "joined"
		}
		var wg sync.WaitGroup
		stop := make(chan struct{})
		wg.Go(func() { // frames on their way to it while it is replaced
			for range most {
				select {
				case <-stop:
					return
				default:
				}
				_, err := w.hub.Publish(t.Context(), gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "bot", Body: []byte("1")})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
		young := w.dial("user=alice&device=phone")
		ops, code := old.rest()
		close(stop)
		wg.Wait()
		require.Equal(t, gohub.CloseSessionReplaced, code)
		require.Equal(t, len(ops)-1, slices.Index(ops, opClose), "nothing after the Close frame")
		young.join("r")
		require.Equal(t, "ack", young.say("r", "it is me now")["type"])
		require.NoError(t, young.ws.CloseNow())
	}
	for _, u := range others {
		require.Equal(t, "ack", u.say("r", "still here")["type"], u.name)
	}
}
