package gohub_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// While receipts cannot be stored the Store is asked ever less often, as for
// messages, and nothing is forgotten meanwhile.
func TestReceiptsWaitForTheStore(t *testing.T) {
	virtual(t, func(t *testing.T) {
		var logged syncBuffer
		store := &brokenStore{Store: gohub.NewMemoryStore(gohub.MemoryStoreOptions{})}
		w := startVirtual(t, gohub.Config{Store: store, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
		attempts := func() int { return strings.Count(logged.String(), "receipts cannot be stored yet") }
		alice, carol, carol2 := w.as("alice", "r"), w.as("carol", "r"), w.as("carol", "r")
		m1 := alice.say("r", 1).num("seq")
		pass(time.Second) // the joins are stored

		store.broken("Advance", -1)
		carol.reads("r", "seen", m1)
		pass(time.Second)
		require.GreaterOrEqual(t, attempts(), 2, "a short failure is soon over")
		pass(9 * time.Second)
		require.LessOrEqual(t, attempts(), 10)
		before := attempts()
		for range 60 {
			m2 := alice.say("r", 2).num("seq")
			carol.reads("r", "seen", m2) // new ones are no reason to hurry
			carol.ask(frame{"type": "rooms"}, "rooms")
			pass(time.Second)
		}
		require.LessOrEqual(t, attempts()-before, 26, "once in 2.5 to 5 s")
		require.GreaterOrEqual(t, attempts()-before, 11)
		require.Empty(t, alice.all("receipt"), "nothing is told that is not stored")

		m3 := alice.say("r", 3).num("seq")
		carol.reads("r", "seen", m3)
		dave := w.as("dave", "r", "q")
		store.broken("Advance", 0)
		require.Equal(t, m3, roomIn(t, carol.ask(frame{"type": "rooms"}, "rooms"), "r").num("seen"), "at once for who asks")
		require.Len(t, dave.ask(frame{"type": "rooms"}, "rooms")["rooms"], 2)
		pass(5 * time.Second)
		require.Equal(t, [][2]int64{{m3, m3}}, alice.receipts("carol"), "the newest, once")
		require.Equal(t, [][2]int64{{m3, m3}}, carol2.receipts("carol"))

		// And from now on as fast as ever.
		m4 := alice.say("r", 4).num("seq")
		carol.reads("r", "seen", m4)
		pass(250 * time.Millisecond)
		require.Len(t, alice.all("receipt"), 1)
	})
}

// Shutdown does not wait for the next attempt, and forgets nothing either.
func TestShutdownStoresReceiptsThatHaveWaited(t *testing.T) {
	virtual(t, func(t *testing.T) {
		store := &brokenStore{Store: gohub.NewMemoryStore(gohub.MemoryStoreOptions{})}
		w := startVirtual(t, gohub.Config{Store: store, DrainTime: -1})
		alice, carol := w.as("alice", "r"), w.as("carol", "r")
		m := alice.say("r", 1).num("seq")
		store.broken("Advance", -1)
		carol.reads("r", "seen", m)
		pass(time.Minute)
		store.broken("Advance", 0)
		begun := time.Now()
		require.NoError(t, w.hub.Shutdown(t.Context()))
		require.Less(t, time.Since(begun), time.Second)
		ws, err := store.Watermarks(t.Context(), gohub.MarkQuery{Room: gohub.RoomID{Name: "r"}, Limit: 10})
		require.NoError(t, err)
		require.Equal(t, []gohub.Watermark{{Room: gohub.RoomID{Name: "r"}, User: "carol", Delivered: m, Seen: m}}, ws)
	})
}
