package gohub_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// reads reports watermarks.
func (u *user) reads(room string, marks ...any) {
	u.t.Helper()
	f := frame{"type": "receipt", "room": room}
	for i := 0; i < len(marks); i += 2 {
		f[marks[i].(string)] = marks[i+1]
	}
	u.send(f)
}

// receipts lets those on their way arrive, and takes them out of the log as
// {delivered, seen}, with whom they are of.
func (u *user) receipts(of string) [][2]int64 {
	u.t.Helper()
	pass(time.Second)
	got := [][2]int64{}
	for _, f := range u.all("receipt") {
		require.Equal(u.t, of, f["user"])
		require.Equal(u.t, "r", f["room"])
		got = append(got, [2]int64{f.num("delivered"), f.num("seen")})
	}
	return got
}

// receiptsIn runs f in virtual time against each kind of Store and Broker.
func receiptsIn(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) { f(t, startVirtual(t, kind(gohub.Config{}))) })
		})
	}
}

func TestReceiptsReachThoseTheyConcern(t *testing.T) {
	receiptsIn(t, func(t *testing.T, w *world) {
		alice, alice2, bob := w.as("alice", "r"), w.as("alice", "r"), w.as("bob", "r")
		carol, carol2, dave := w.as("carol", "r"), w.as("carol", "r"), w.as("dave", "r")
		m1 := alice.say("r", 1).num("seq")
		m2 := bob.say("r", 2).num("seq")
		none := [][2]int64{}

		carol.reads("r", "delivered", m1)
		require.Equal(t, [][2]int64{{m1, 0}}, alice.receipts("carol"))
		require.Equal(t, [][2]int64{{m1, 0}}, alice2.receipts("carol"))
		require.Equal(t, [][2]int64{{m1, 0}}, carol2.receipts("carol"), "the reader's other session")
		require.Equal(t, none, carol.receipts("carol"), "not the one that reported")
		require.Equal(t, none, bob.receipts("carol"), "nothing of his was read")
		require.Equal(t, none, dave.receipts("carol"))

		carol.reads("r", "seen", m2) // which implies delivered
		require.Equal(t, [][2]int64{{m2, m2}}, bob.receipts("carol"))
		require.Equal(t, [][2]int64{{m2, m2}}, alice.receipts("carol"), "hers has been seen now")
		alice2.all("receipt")
		carol2.all("receipt")

		m3 := bob.say("r", 3).num("seq")
		carol2.reads("r", "delivered", m3, "seen", m3)
		require.Equal(t, [][2]int64{{m3, m3}}, bob.receipts("carol"))
		require.Equal(t, [][2]int64{{m3, m3}}, carol.receipts("carol"))
		require.Equal(t, none, carol2.receipts("carol"))
		require.Equal(t, none, alice.receipts("carol"), "nothing new of hers was read")

		bob.reads("r", "seen", m3) // his own among them
		require.Equal(t, [][2]int64{{m3, m3}}, alice.receipts("bob"))
		require.Equal(t, none, bob.receipts("bob"))
	})
}

func TestReceiptsOnlyMoveForward(t *testing.T) {
	receiptsIn(t, func(t *testing.T, w *world) {
		alice, carol, carol2 := w.as("alice", "r"), w.as("carol", "r"), w.as("carol", "r")
		m1, m2, m3 := alice.say("r", 1).num("seq"), alice.say("r", 2).num("seq"), alice.say("r", 3).num("seq")
		none := [][2]int64{}
		carol.reads("r", "seen", m2)
		require.Equal(t, [][2]int64{{m2, m2}}, alice.receipts("carol"))
		carol2.all("receipt")
		for _, old := range []int64{0, 1, m1, m2} {
			carol.reads("r", "seen", old, "delivered", old)
			carol2.reads("r", "delivered", old)
			require.Equal(t, none, alice.receipts("carol"), "%d", old)
			require.Equal(t, none, carol2.receipts("carol"), "%d", old)
		}
		carol.reads("r", "delivered", m3)
		require.Equal(t, [][2]int64{{m3, m2}}, alice.receipts("carol"))
		carol.reads("r", "delivered", m2, "seen", m3)
		require.Equal(t, [][2]int64{{m3, m3}}, alice.receipts("carol"))
		require.Equal(t, m3, roomIn(t, carol.ask(frame{"type": "rooms"}, "rooms"), "r").num("seen"))
	})
}

// What was read long ago, beyond what the room holds in memory, is still read.
func TestReceiptsDoNotForgetWhatWasSeen(t *testing.T) {
	receiptsIn(t, func(t *testing.T, w *world) {
		alice, carol := w.as("alice", "r"), w.as("carol", "r")
		m1 := alice.say("r", 1).num("seq")
		carol.reads("r", "seen", m1)
		require.Equal(t, [][2]int64{{m1, m1}}, alice.receipts("carol"))
		for i := range 300 {
			w.post(gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "bot", Body: fmt.Append(nil, i)})
		}
		m2 := alice.say("r", 2).num("seq")
		carol.reads("r", "delivered", m2)
		require.Equal(t, [][2]int64{{m2, m1}}, alice.receipts("carol"))
	})
}

// Who comes back after long and has read it all: the authors of the last 200
// messages are told, those before see it in history.
func TestReceiptsGoBackTwoHundredMessages(t *testing.T) {
	receiptsIn(t, func(t *testing.T, w *world) {
		alice, bob, carol := w.as("alice", "r"), w.as("bob", "r"), w.as("carol", "r")
		alice.say("r", 1)
		bob.say("r", 2)
		head := w.fill("r", 199)[198]
		carol.reads("r", "seen", head)
		require.Equal(t, [][2]int64{{head, head}}, bob.receipts("carol"), "the 200th back")
		require.Empty(t, alice.receipts("carol"), "the 201st")
	})
}

func TestReceiptsAreClampedToTheHead(t *testing.T) {
	receiptsIn(t, func(t *testing.T, w *world) {
		alice, bob, carol, carol2 := w.as("alice", "r"), w.as("bob", "r"), w.as("carol", "r"), w.as("carol", "r")
		m1 := alice.say("r", 1).num("seq")
		hidden := bob.say("r", "psst", "to", "alice").num("seq")
		carol.reads("r", "seen", hidden+1_000_000_000)
		require.Equal(t, [][2]int64{{m1, m1}}, alice.receipts("carol"))
		require.Equal(t, [][2]int64{{m1, m1}}, carol2.receipts("carol"), "her head, not the room's")
		require.Empty(t, bob.receipts("carol"))
		require.Equal(t, m1, roomIn(t, carol.ask(frame{"type": "rooms"}, "rooms"), "r").num("seen"))

		// So that the next message is unread.
		m3 := alice.say("r", 3).num("seq")
		require.EqualValues(t, 1, roomIn(t, carol.ask(frame{"type": "rooms"}, "rooms"), "r").num("unread"))
		carol.reads("r", "seen", m3)
		require.Equal(t, [][2]int64{{m3, m3}}, alice.receipts("carol"))

		// In a room that has nothing for her, there is nothing to read.
		erin, erin2 := w.as("erin", "q"), w.as("erin", "q")
		bob.join("q")
		bob.say("q", "psst", "to", "alice")
		erin.reads("q", "seen", 1<<60, "delivered", 1<<60)
		require.Empty(t, erin2.receipts("erin"))
		require.Empty(t, bob.receipts("erin"))
	})
}

// A reader's watermark may stand at a message that an author cannot see: the
// author is told of the newest below it that it can.
func TestReceiptsDoNotTellOfPrivateMessages(t *testing.T) {
	receiptsIn(t, func(t *testing.T, w *world) {
		alice, bob, carol := w.as("alice", "r"), w.as("bob", "r"), w.as("carol", "r")
		m1 := alice.say("r", 1).num("seq")
		m2 := alice.say("r", 2).num("seq")
		secret := bob.say("r", "psst", "to", "carol").num("seq")
		carol.reads("r", "delivered", secret, "seen", m1)
		require.Equal(t, [][2]int64{{m2, m1}}, alice.receipts("carol"))
		require.Equal(t, [][2]int64{{secret, m1}}, bob.receipts("carol"))
		carol.reads("r", "seen", secret)
		require.Equal(t, [][2]int64{{m2, m2}}, alice.receipts("carol"))
		require.Equal(t, [][2]int64{{secret, secret}}, bob.receipts("carol"))

		// A client may report any number: the gaps tell nothing either.
		m4 := alice.say("r", 4).num("seq")
		own := carol.say("r", "note", "to", "carol").num("seq")
		carol.reads("r", "seen", own-1)
		require.Equal(t, [][2]int64{{m4, m4}}, alice.receipts("carol"))
		carol.reads("r", "seen", own)
		require.Empty(t, alice.receipts("carol"), "nothing of hers")
		require.Empty(t, bob.receipts("carol"))
	})
}

func TestReceiptsAreCoalesced(t *testing.T) {
	receiptsIn(t, func(t *testing.T, w *world) {
		alice, carol, dave := w.as("alice", "r"), w.as("carol", "r"), w.as("dave", "r")
		var ms []int64
		for i := range 100 {
			ms = append(ms, alice.say("r", i).num("seq"))
		}
		for _, m := range ms { // at once
			carol.reads("r", "delivered", m)
			carol.reads("r", "seen", m)
		}
		carol.reads("r", "seen", ms[0], "delivered", ms[1])
		got := alice.receipts("carol")
		require.LessOrEqual(t, len(got), 2)
		require.Equal(t, [2]int64{ms[99], ms[99]}, got[len(got)-1])

		for i, m := range ms { // over two seconds, whatever else is asked
			dave.reads("r", "seen", m)
			if i%3 == 0 {
				carol.ask(frame{"type": "rooms"}, "rooms")
			}
			pass(20 * time.Millisecond)
		}
		got = alice.receipts("dave")
		require.LessOrEqual(t, len(got), 9, "four a second")
		require.Equal(t, [2]int64{ms[99], ms[99]}, got[len(got)-1])
	})
}

func TestReceiptsAreStored(t *testing.T) {
	virtual(t, func(t *testing.T) {
		store := gohub.NewMemoryStore(gohub.MemoryStoreOptions{})
		w := startVirtual(t, gohub.Config{Store: store})
		alice, carol := w.as("alice", "r"), w.as("carol", "r")
		m := alice.say("r", 1).num("seq")
		carol.reads("r", "seen", m)
		carol.sync()
		require.NoError(t, w.hub.Shutdown(t.Context())) // without waiting
		ws, err := store.Watermarks(t.Context(), gohub.MarkQuery{Room: gohub.RoomID{Name: "r"}, Limit: 10})
		require.NoError(t, err)
		require.Equal(t, []gohub.Watermark{{Room: gohub.RoomID{Name: "r"}, User: "carol", Delivered: m, Seen: m}}, ws)
	})
}

func TestReceiptRefusals(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	u := w.as("alice", "r")
	u.fails("bad_request", frame{"type": "receipt", "room": "r"})
	u.fails("bad_request", frame{"type": "receipt", "room": "r", "seen": -1})
	u.fails("bad_request", frame{"type": "receipt", "room": "r", "seen": "1"})
	u.fails("bad_room", frame{"type": "receipt", "seen": 1})
	u.fails("not_joined", frame{"type": "receipt", "room": "q", "seen": 1})
}

func TestRooms(t *testing.T) {
	receiptsIn(t, func(t *testing.T, w *world) {
		alice, bob := w.as("alice", "r", "q", "empty"), w.as("bob", "r")
		rooms := func(u *user) []any {
			t.Helper()
			return u.ask(frame{"type": "rooms"}, "rooms")["rooms"].([]any)
		}
		state := func(room string, head, seen int64, unread int) any {
			return map[string]any{"room": room, "head": float64(head), "seen": float64(seen), "unread": float64(unread)}
		}
		require.Equal(t, []any{state("empty", 0, 0, 0), state("q", 0, 0, 0), state("r", 0, 0, 0)}, rooms(alice))
		require.Empty(t, rooms(w.as("carol")))

		m1 := bob.say("r", 1).num("seq")
		m2 := bob.say("r", 2).num("seq")
		m3 := alice.say("r", 3).num("seq")
		require.Equal(t, state("r", m3, 0, 2), rooms(alice)[2], "her own is not unread")
		require.Equal(t, []any{state("r", m3, 0, 1)}, rooms(bob))
		alice.reads("r", "delivered", m2)
		require.Equal(t, state("r", m3, 0, 2), rooms(alice)[2], "delivered is not seen")
		alice.reads("r", "seen", m1)
		require.Equal(t, state("r", m3, m1, 1), rooms(alice)[2])

		// Listed until it is left: a cut changes nothing, and what was seen stays.
		require.NoError(t, alice.ws.CloseNow())
		pass(time.Second)
		alice = w.as("alice")
		require.Equal(t, state("r", m3, m1, 1), rooms(alice)[2])
		alice.join("r")
		alice.leave("r")
		require.Equal(t, []any{state("empty", 0, 0, 0), state("q", 0, 0, 0)}, rooms(alice))
		alice.join("r")
		require.Equal(t, state("r", m3, m1, 1), rooms(alice)[2])

		// Counting stops at a hundred.
		for range 150 {
			bob.publish("r", 1)
		}
		last := bob.say("r", 1).num("seq")
		require.Equal(t, state("r", last, m1, gohub.MaxUnread), rooms(alice)[2])
		alice.reads("r", "seen", last)
		require.Equal(t, state("r", last, last, 0), rooms(alice)[2])
		synctest.Wait()
	})
}
