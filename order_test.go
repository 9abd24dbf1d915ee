package gohub_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

func TestKickReachesAllHubs(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *cluster) {
		alices := []*user{c.hubs[0].dial("user=alice"), c.hubs[1].dial("user=alice"), c.hubs[1].dial(phone), c.hubs[2].dial("user=alice")}
		others := []*user{c.hubs[0].dial("user=bob"), c.hubs[1].dial("user=alice&tenant=acme"), c.hubs[2].dial("user=alicia")}
		require.Equal(t, 2, c.hubs[1].hub.Kick("", "alice", "spam"), "those of this hub")
		for _, u := range alices {
			u.closes(gohub.CloseKicked)
			require.ErrorContains(t, u.end, "spam")
		}
		for _, u := range others {
			u.sync()
		}
		synctest.Wait()
		require.Zero(t, c.hubs[0].hub.Kick("", "alice", "again"))
		again := c.hubs[2].dial("user=alice") // it keeps nobody out
		require.Zero(t, c.hubs[1].hub.Kick("", "alice", strings.Repeat("long\xff", 100)))
		again.closes(gohub.CloseKicked)
	})
}

func TestCloseRoomReachesAllHubs(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *cluster) {
		alice, bob, carol := c.hubs[0].as("alice", "r", "q"), c.hubs[1].as("bob", "r", "q"), c.hubs[2].as("carol", "r", "q")
		acme := c.hubs[0].dial("user=dave&tenant=acme")
		acme.join("r")
		require.Equal(t, 1, c.hubs[1].hub.CloseRoom(gohub.RoomID{Name: "r"}), "those of this hub")
		for _, u := range []*user{alice, bob, carol} {
			u.expect("left", "room", "r")
			u.fails("not_joined", frame{"type": "publish", "room": "r", "id": gohub.NewID(), "body": 1})
		}
		require.Equal(t, "ack", acme.say("r", 1)["type"])
		require.Equal(t, "ack", alice.say("q", 1)["type"])
		require.Zero(t, c.hubs[1].hub.CloseRoom(gohub.RoomID{Name: "r"}))
		alice.join("r")
		require.Equal(t, "ack", alice.say("r", 1)["type"])
		require.Zero(t, c.hubs[2].hub.CloseRoom(gohub.RoomID{Name: "r"}), "nobody is in it here")
		alice.expect("left", "room", "r")
	})
}

// Join, Leave and Sessions know the sessions of their own hub.
func TestSessionsAreOfOneHub(t *testing.T) {
	inCluster(t, 2, func(t *testing.T, c *cluster) {
		alice := c.hubs[0].as("alice", "r")
		require.Empty(t, c.hubs[1].hub.Sessions("", "alice"))
		require.ErrorIs(t, c.hubs[1].hub.Join(alice.session(), "q"), gohub.ErrNoSession)
		require.ErrorIs(t, c.hubs[1].hub.Leave(alice.session(), "r"), gohub.ErrNoSession)
		require.Len(t, c.hubs[0].hub.Sessions("", "alice"), 1)
	})
}

func TestReceiptsReachAllHubs(t *testing.T) {
	inCluster(t, 2, func(t *testing.T, c *cluster) {
		alice, alice2 := c.hubs[0].as("alice", "r"), c.hubs[1].as("alice", "r")
		bob, elsewhere := c.hubs[1].as("bob", "r"), c.hubs[1].as("alice", "q")
		carol, carol2 := c.hubs[0].as("carol", "r"), c.hubs[1].as("carol", "r")
		acme := c.hubs[1].dial("user=alice&tenant=acme")
		acme.join("r")
		m1 := alice.say("r", 1).num("seq")
		m2 := alice2.say("r", 2).num("seq")
		none := [][2]int64{}

		carol.reads("r", "delivered", m2)
		require.Equal(t, [][2]int64{{m2, 0}}, alice.receipts("carol"))
		require.Equal(t, [][2]int64{{m2, 0}}, alice2.receipts("carol"), "on the other hub")
		require.Equal(t, [][2]int64{{m2, 0}}, carol2.receipts("carol"), "the reader's other session")
		require.Equal(t, none, carol.receipts("carol"), "not the one that reported")

		carol2.reads("r", "seen", m1)
		require.Equal(t, [][2]int64{{m2, m1}}, alice.receipts("carol"))
		require.Equal(t, [][2]int64{{m2, m1}}, alice2.receipts("carol"))
		require.Equal(t, [][2]int64{{m2, m1}}, carol.receipts("carol"))
		require.Equal(t, none, carol2.receipts("carol"))

		secret := bob.say("r", "psst", "to", "carol").num("seq")
		carol.reads("r", "seen", secret)
		require.Equal(t, [][2]int64{{secret, secret}}, bob.receipts("carol"))
		require.Equal(t, [][2]int64{{m2, m2}}, alice2.receipts("carol"), "no further than what she could see")
		require.Empty(t, elsewhere.receipts("carol"))
		require.Empty(t, acme.receipts("carol"))
	})
}

// However often a reader reports, others are told four times a second, also
// on other hubs.
func TestReceiptsOfAllHubsAreCoalesced(t *testing.T) {
	inCluster(t, 2, func(t *testing.T, c *cluster) {
		alice, carol := c.hubs[0].as("alice", "r"), c.hubs[1].as("carol", "r")
		var last int64
		for i := range 100 { // over two seconds
			last = alice.say("r", i).num("seq")
			carol.reads("r", "seen", last)
			pass(20 * time.Millisecond)
		}
		got := alice.receipts("carol")
		require.LessOrEqual(t, len(got), 9)
		require.GreaterOrEqual(t, len(got), 7)
		require.Equal(t, [2]int64{last, last}, got[len(got)-1])
	})
}
