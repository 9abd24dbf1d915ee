package gohub_test

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

func TestJoinReplays(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		since     func(seqs []int64, limit int) int64
		want      int // of the newest; -1: the limit
		truncated bool
	}{
		"without since, the last 20":        {nil, 20, false},
		"since the head":                    {func(s []int64, _ int) int64 { return s[len(s)-1] }, 0, false},
		"since the last but one":            {func(s []int64, _ int) int64 { return s[len(s)-2] }, 1, false},
		"since longer ago than the last 20": {func(s []int64, _ int) int64 { return s[len(s)-22] }, 21, false},
		"since between two messages":        {func(s []int64, _ int) int64 { return s[len(s)-6] - 1 }, 6, false},
		"since exactly the limit":           {func(s []int64, n int) int64 { return s[len(s)-n-1] }, -1, false},
		"since one more than the limit":     {func(s []int64, n int) int64 { return s[len(s)-n-2] }, -1, true},
		"since 0":                           {func([]int64, int) int64 { return 0 }, -1, true},
		"since before the first":            {func([]int64, int) int64 { return 1 }, -1, true},
		"since an hour ahead":               {func(s []int64, _ int) int64 { return s[len(s)-1] + 3_600_000_000 }, 0, false},
		"since the largest number there is": {func([]int64, int) int64 { return math.MaxInt64 }, 0, false},
	}
	backends(t, func(t *testing.T, kind func(gohub.Config) gohub.Config) {
		i := 0
		for _, c := range []struct{ messages, limit int }{
			{30, 25},  // the room holds all of them in memory
			{150, 25}, // it holds as many as are replayed
			{150, 70}, // it does not
		} {
			w := start(t, kind(gohub.Config{ReplayLimit: c.limit}))
			n, limit := c.messages, c.limit
			for _, open := range []bool{false, true} {
				for name, c := range cases {
					if c.want < 0 {
						c.want = limit
					}
					i++
					room := fmt.Sprint("room-", i)
					t.Run(fmt.Sprintf("%d of %d, open %t, %s", limit, n, open, name), func(t *testing.T) {
						if open {
							w.as("watcher", room)
						}
						seqs := w.fill(room, n)
						u := w.as("alice")
						join := frame{"type": "join", "room": room}
						if c.since != nil {
							join["since"] = c.since(seqs, limit)
						}
						j := u.ask(join, "joined")
						require.Equal(t, seqs[n-1], j.num("head"))
						require.Equal(t, c.truncated, j["truncated"])
						u.sync()
						require.Equal(t, seqs[n-c.want:], seqsOf(u.messages(room)))

						// From then on it is live, whatever since said.
						live := w.fill(room, 1)
						require.Equal(t, live, seqsOf(u.collect(room, 1)))
						require.Greater(t, live[0], seqs[n-1])
					})
				}
			}
		}
	})
}

func TestJoinEmptyRoom(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	for i, since := range []any{nil, 0, 5} {
		u := w.as("alice")
		join := frame{"type": "join", "room": fmt.Sprint("empty-", i)}
		if since != nil {
			join["since"] = since
		}
		j := u.ask(join, "joined")
		require.Zero(t, j.num("head"))
		require.Equal(t, false, j["truncated"])
		require.EqualValues(t, 1, j["members"])
		u.sync()
		require.Empty(t, u.messages("empty"))
	}
}

func TestJoinReplayCanBeTurnedOff(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{JoinReplay: -1})
	seqs := w.fill("r", 100)
	u := w.as("alice")
	require.Equal(t, seqs[99], u.join("r").num("head"))
	u.sync()
	require.Empty(t, u.messages("r"))
	u.join("r", seqs[97])
	require.Equal(t, seqs[98:], seqsOf(u.collect("r", 2)))
}

func TestJoinAgainReplaysAgain(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, kind func(gohub.Config) gohub.Config) {
		w := start(t, kind(gohub.Config{}))
		seqs := w.fill("r", 10)
		u := w.as("alice", "r")
		require.Equal(t, seqs, seqsOf(u.collect("r", 10)))
		require.EqualValues(t, 1, u.join("r", seqs[6])["members"], "the session counts once")
		require.Equal(t, seqs[7:], seqsOf(u.collect("r", 3)))
		u.join("r")
		require.Equal(t, seqs, seqsOf(u.collect("r", 10)))

		// It gets the next message once, not once for each join.
		next := w.fill("r", 2)
		require.Equal(t, next, seqsOf(u.collect("r", 2)))
		u.sync()
		require.Empty(t, u.messages("r"))
		require.Equal(t, 1, w.hub.RoomStats(gohub.RoomID{Name: "r"}).Sessions)
	})
}

func TestJoinHeadIsTheNewestVisible(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, kind func(gohub.Config) gohub.Config) {
		w := start(t, kind(gohub.Config{}))
		secret := func(room string, n int) (last int64) {
			for range n {
				last = w.post(gohub.Message{Room: gohub.RoomID{Name: room}, Sender: "alice", To: "bob"})
			}
			return last
		}
		for _, n := range []int{1, 40, 100} { // in the ring, and more than it holds
			room := fmt.Sprint("r", n)
			public := w.fill(room, 3)
			last := secret(room, n)
			for name, want := range map[string]int64{"carol": public[2], "bob": last, "alice": last} {
				for _, since := range [][]int64{nil, {0}, {last}, {public[2]}} {
					j := w.as(name).join(room, since...)
					require.Equal(t, want, j.num("head"), "%s in %s since %v", name, room, since)
					require.Equal(t, false, j["truncated"], "%s in %s since %v", name, room, since)
				}
			}
			u := w.as("carol", room)
			require.Equal(t, public, seqsOf(u.collect(room, 3)), "the last 20 are 20 visible ones")
			early := w.as("carol") // who asks for messages of the future
			early.join(room, last+3_600_000_000)
			live := w.fill(room, 1)
			require.Equal(t, live, seqsOf(u.collect(room, 1)))
			require.Equal(t, live, seqsOf(early.collect(room, 1)))
		}
		last := secret("only-secrets", 100)
		require.Zero(t, w.as("carol").join("only-secrets", 0).num("head"))
		require.Zero(t, w.as("carol").join("only-secrets").num("head"))
		require.Equal(t, last, w.as("bob").join("only-secrets", 0).num("head"))
	})
}

func TestJoinTruncatedCountsOnlyVisible(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{ReplayLimit: 5})
	room := gohub.RoomID{Name: "r"}
	for range 50 {
		w.post(gohub.Message{Room: room, Sender: "alice", To: "bob"})
	}
	public := w.fill("r", 5)
	carol := w.as("carol")
	require.Equal(t, false, carol.join("r", 0)["truncated"], "no hint at the 50 before")
	require.Equal(t, public, seqsOf(carol.collect("r", 5)))
	require.Equal(t, true, w.as("bob").join("r", 0)["truncated"])
}

func TestJoinedMembersAreDistinctUsers(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	for i, c := range []struct {
		user string
		want int
	}{{"alice", 1}, {"bob", 2}, {"alice", 2}, {"bob", 2}, {"carol", 3}} {
		require.EqualValues(t, c.want, w.as(c.user).join("r")["members"], "join %d, by %s", i, c.user)
	}
}

func TestJoinRefusals(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	u := w.as("alice")
	for name, c := range map[string]struct {
		join frame
		code string
	}{
		"no room":              {frame{}, "bad_room"},
		"empty room":           {frame{"room": ""}, "bad_room"},
		"space":                {frame{"room": "a b"}, "bad_room"},
		"slash":                {frame{"room": "a/b"}, "bad_room"},
		"not ASCII":            {frame{"room": "zürich"}, "bad_room"},
		"129 characters":       {frame{"room": strings.Repeat("a", 129)}, "bad_room"},
		"room is a number":     {frame{"room": 7}, "bad_request"},
		"since is a string":    {frame{"room": "r", "since": "7"}, "bad_request"},
		"since is negative":    {frame{"room": "r", "since": -1}, "bad_request"},
		"since is no integer":  {frame{"room": "r", "since": 1.5}, "bad_request"},
		"another's directroom": {frame{"room": "@bob,carol"}, "forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			c.join["type"] = "join"
			require.Equal(t, c.code, u.ask(c.join, "joined")["code"])
		})
	}
	u.join(strings.Repeat("a", 128))
	u.join("Az09._:@,-")
	require.Equal(t, 2, w.hub.Stats().Rooms, "refused joins leave no room behind")
}

func TestMaxRooms(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{MaxRooms: 2})
	u := w.as("alice", "a", "b")
	u.fails("forbidden", frame{"type": "join", "room": "c"})
	u.join("a") // which is no further room
	require.Equal(t, "forbidden", u.say("", 1, "to", "bob")["code"], "a direct room counts, too")
	u.leave("b")
	u.join("c")
	require.ElementsMatch(t, []string{"a", "c"}, w.hub.Sessions("", "alice")[0].Rooms())

	free := start(t, gohub.Config{MaxRooms: -1})
	u = free.as("alice")
	for i := range 150 {
		u.join(fmt.Sprint("room-", i))
	}
}

func TestNothingOfTheRoomAfterLeft(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, kind func(gohub.Config) gohub.Config) {
		w := start(t, kind(gohub.Config{}))
		bob := w.as("bob", "r")
		for round := range 20 {
			alice := w.as("alice", "r")
			var wg sync.WaitGroup
			wg.Go(func() { // a message, events and receipts on their way while she leaves
				for i := range 50 {
					_, err := w.hub.Publish(t.Context(), gohub.Message{
						Room: gohub.RoomID{Name: "r"}, Sender: "bob", Body: fmt.Append(nil, i),
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
			bob.send(frame{"type": "typing", "room": "r", "active": round%2 == 0})
			alice.leave("r")
			before := len(alice.messages("r"))
			wg.Wait()
			bob.sync()
			require.Equal(t, "not_joined", alice.say("r", "still there?")["code"])
			require.Empty(t, alice.messages("r"), "%d came before", before)
			alice.fails("not_joined", frame{"type": "leave", "room": "r"})
			alice.fails("not_joined", frame{"type": "history", "room": "r"})
			alice.fails("not_joined", frame{"type": "presence", "room": "r"})
			require.NoError(t, alice.ws.CloseNow())
		}
	})
}

// A client that reads slowly gets a replay many times its queue's limit, at
// its own pace, and what is said meanwhile.
func TestSlowJoinerGetsEverything(t *testing.T) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				cfg := kind(gohub.Config{MaxQueue: 32 << 10, ReplayLimit: 400})
				w := startVirtual(t, cfg)
				room := gohub.RoomID{Name: "r"}
				body := []byte(`"` + strings.Repeat("x", 4000) + `"`)
				var want []int64
				for range 400 {
					want = append(want, w.post(gohub.Message{Room: room, Sender: "writer", Body: body}))
				}
				slow := w.bare("user=slow")
				slow.text(`{"type":"join","room":"r","since":0}`)
				go func() { // ends with its work; the test waits for what it posts
					for range 200 {
						time.Sleep(10 * time.Millisecond)
						if _, err := w.hub.Publish(t.Context(), gohub.Message{Room: room, Sender: "writer", Body: body}); err != nil {
							t.Error(err)
						}
					}
				}()
				var got []int64
				for len(got) < 600 {
					time.Sleep(5 * time.Millisecond)
					f, err := slow.frame()
					require.NoError(t, err, "after %d messages", len(got))
					if f["type"] == "joined" {
						require.Equal(t, false, f["truncated"])
					}
					if f["type"] == "message" {
						got = append(got, f.num("seq"))
					}
				}
				require.Equal(t, want, got[:400])
				require.IsIncreasing(t, got)
				pass(time.Second)
				require.Equal(t, w.hub.RoomStats(room).Head, got[599])
			})
		})
	}
}

// While a join finds nothing for its user between what it has sent and what
// the room holds in memory, more comes than the room holds.
func TestJoinIsOvertakenByManyMessages(t *testing.T) {
	t.Parallel()
	memory := gohub.NewMemoryStore(gohub.MemoryStoreOptions{})
	store := newPausingStore(memory, func(q gohub.Query) bool { return q.Viewer == "carol" && q.After > 0 })
	w := start(t, gohub.Config{Store: store})
	room := gohub.RoomID{Name: "r"}
	want := w.fill("r", 1)
	for range 100 {
		w.post(gohub.Message{Room: room, Sender: "alice", To: "bob"})
	}
	carol := w.as("carol")
	carol.send(frame{"type": "join", "room": "r", "ref": 1})
	store.await(t)
	want = append(want, w.fill("r", 3000)...)
	close(store.resume)
	carol.expect("joined")
	require.Equal(t, want, seqsOf(carol.collect("r", len(want))))
}

// While a room is being opened, more comes from another node than it holds.
func TestRoomOpensWhileManyMessagesCome(t *testing.T) {
	t.Parallel()
	memory := gohub.NewMemoryStore(gohub.MemoryStoreOptions{})
	broker := gohub.NewMemoryBroker()
	there := start(t, gohub.Config{Store: memory, Broker: broker})
	store := newPausingStore(memory, func(q gohub.Query) bool { return q.Newest })
	here := start(t, gohub.Config{Store: store, Broker: broker, ReplayLimit: 5000})
	want := there.fill("r", 100)
	u := here.as("alice")
	u.send(frame{"type": "join", "room": "r", "ref": 1, "since": want[79]})
	store.await(t)
	want = append(want, there.fill("r", 3000)...)
	close(store.resume)
	require.Equal(t, false, u.expect("joined")["truncated"])
	require.Equal(t, want[80:], seqsOf(u.collect("r", len(want)-80)))
	want = there.fill("r", 1)
	require.Equal(t, want, seqsOf(u.collect("r", 1)))
}
