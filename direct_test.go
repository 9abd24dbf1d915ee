package gohub_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

func TestDirectMessage(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, kind func(gohub.Config) gohub.Config) {
		w := start(t, kind(gohub.Config{}))
		alice, alice2 := w.as("alice"), w.as("alice")
		bob, carol := w.as("bob"), w.as("carol")
		there := w.as("bob", "@alice,bob") // has the room open already

		ack := alice.say("", "hi", "to", "bob")
		require.Equal(t, "@alice,bob", ack["room"])
		own := alice.expect("message", "id", ack["id"])
		require.Equal(t, "@alice,bob", own["room"], "the sender has joined")
		require.Equal(t, "bob", own["to"])
		require.Equal(t, ack["seq"], there.expect("message", "id", ack["id"])["seq"])

		invite := bob.expect("invite", "room", "@alice,bob")
		require.Equal(t, "alice", invite["from"])
		require.Less(t, invite.num("seq"), ack.num("seq"))
		j := bob.join("@alice,bob", invite.num("seq"))
		require.Equal(t, ack["seq"], j["head"])
		require.Equal(t, ack["id"], bob.collect("@alice,bob", 1)[0]["id"])

		// The answer: everybody but alice's other session is there.
		answer := bob.say("", "hello", "to", "alice")
		require.Equal(t, "@alice,bob", answer["room"])
		require.Equal(t, answer["seq"], alice.expect("message", "id", answer["id"])["seq"])
		invite = alice2.expect("invite")
		require.Equal(t, []any{"@alice,bob", "bob"}, []any{invite["room"], invite["from"]})
		require.GreaterOrEqual(t, invite.num("seq"), ack.num("seq"))
		require.Less(t, invite.num("seq"), answer.num("seq"))

		// A member publishes with the room's name; who is not there is invited
		// again.
		third := bob.say("@alice,bob", "again")
		require.Equal(t, "ack", third["type"])
		alice.expect("message", "id", third["id"])
		require.GreaterOrEqual(t, alice2.expect("invite").num("seq"), answer.num("seq"))

		for _, u := range []*user{alice, bob, there, carol} {
			u.sync()
			require.Empty(t, u.all("invite"), u.name)
		}
	})
}

func TestDirectRoomIsForItsTwoUsers(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	alice, bob, carol := w.as("alice"), w.as("bob", "@alice,bob"), w.as("carol", "r")
	alice.say("", "between us", "to", "bob")
	for _, since := range []frame{{}, {"since": 0}} {
		since["type"], since["room"] = "join", "@alice,bob"
		carol.fails("forbidden", since)
	}
	require.Equal(t, "not_joined", carol.say("@alice,bob", "me too")["code"])
	require.Equal(t, "not_joined", carol.say("@alice,bob", "me too", "to", "alice")["code"])
	for _, typ := range []string{"history", "presence", "leave"} {
		carol.fails("not_joined", frame{"type": typ, "room": "@alice,bob"})
	}
	for _, f := range []frame{{"type": "typing", "active": true}, {"type": "receipt", "seen": 1}} {
		f["room"] = "@alice,bob"
		carol.fails("not_joined", f)
	}
	require.Empty(t, carol.ask(frame{"type": "rooms"}, "rooms").num("unread"))
	require.Nil(t, roomIn(t, carol.ask(frame{"type": "rooms"}, "rooms"), "@alice,bob"))

	// Nor can one of the two make her a reader, or the program a member.
	require.Equal(t, "forbidden", bob.say("@alice,bob", "look", "to", "carol")["code"])
	require.Error(t, w.hub.Join(carol.session(), "@alice,bob"))
	_, err := w.hub.Publish(t.Context(), gohub.Message{
		Room: gohub.DirectRoom("", "alice", "bob"), Sender: "alice", To: "carol", Body: []byte("1"),
	})
	require.Error(t, err)
	carol.sync()
	require.Empty(t, carol.all("invite"))
}

func TestDirectRoomNames(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	u := w.as("bob")
	for _, room := range []string{
		"@", "@bob", "@bob,", "@,bob", "@,", "@bob,alice", "@alice,bob,carol", "@@alice,bob", "@alice,,bob", "@alice,@bob", "@bob,bob,",
	} {
		u.fails("bad_room", frame{"type": "join", "room": room})
	}
	u.join("@alice,bob")
	u.join("@bob,bob")
	u.join("@Bob,bob") // capitals sort first, byte by byte
	u.fails("forbidden", frame{"type": "join", "room": "@Bob,alice"})

	// Whoever begins, the name is the same.
	require.Equal(t, "@Zoe,bob", u.say("", 1, "to", "Zoe")["room"])
	require.Equal(t, "@Zoe,bob", w.as("Zoe").say("", 1, "to", "bob")["room"])
}

func TestDirectRoomWithOneself(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	phone, laptop := w.as("alice"), w.as("alice")
	ack := phone.say("", "remember", "to", "alice")
	require.Equal(t, "@alice,alice", ack["room"])
	phone.expect("message", "id", ack["id"])
	invite := laptop.expect("invite")
	require.Equal(t, []any{"@alice,alice", "alice"}, []any{invite["room"], invite["from"]})
	laptop.join("@alice,alice", invite.num("seq"))
	laptop.expect("message", "id", ack["id"])
	require.Zero(t, roomIn(t, laptop.ask(frame{"type": "rooms"}, "rooms"), "@alice,alice").num("unread"))
	w.as("bob").fails("forbidden", frame{"type": "join", "room": "@alice,alice"})
}

func TestDirectRoomIsListedForBoth(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, kind func(gohub.Config) gohub.Config) {
		w := start(t, kind(gohub.Config{}))
		alice := w.as("alice")
		first := alice.say("", "are you there?", "to", "bob").num("seq")
		listed := func(u *user) frame {
			t.Helper()
			return roomIn(t, u.ask(frame{"type": "rooms"}, "rooms"), "@alice,bob")
		}
		require.Equal(t, frame{"room": "@alice,bob", "head": float64(first), "seen": 0.0, "unread": 0.0}, listed(alice))
		bob := w.as("bob") // was not connected
		require.Equal(t, frame{"room": "@alice,bob", "head": float64(first), "seen": 0.0, "unread": 1.0}, listed(bob))

		// Leaving takes it off one list, and a new message puts it back.
		bob.join("@alice,bob")
		bob.leave("@alice,bob")
		require.Nil(t, listed(bob))
		require.NotNil(t, listed(alice))
		second := alice.say("@alice,bob", "hello?").num("seq")
		require.EqualValues(t, 2, listed(bob).num("unread"))
		require.Equal(t, second, listed(bob).num("head"))

		// However soon it comes.
		for range 5 {
			bob.join("@alice,bob")
			bob.leave("@alice,bob")
			alice.say("@alice,bob", "do not go")
			require.NotNil(t, listed(bob))
		}
	})
}

// A note to oneself in a direct room is the business of one user alone.
func TestPrivateInADirectRoom(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, kind func(gohub.Config) gohub.Config) {
		w := start(t, kind(gohub.Config{}))
		alice, bob := w.as("alice", "@alice,bob"), w.as("bob")
		alice.say("@alice,bob", "draft", "to", "alice")
		require.Nil(t, roomIn(t, bob.ask(frame{"type": "rooms"}, "rooms"), "@alice,bob"))
		bob.sync()
		require.Empty(t, bob.all("invite"))
		require.Zero(t, bob.join("@alice,bob", 0).num("head"))
		public := alice.say("@alice,bob", "sent").num("seq")
		require.Equal(t, []int64{public}, seqsOf(bob.collect("@alice,bob", 1)))
	})
}

func TestHubPublishToADirectRoom(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	alice, bob := w.as("alice"), w.as("bob")
	seq := w.post(gohub.Message{Room: gohub.DirectRoom("", "bob", "alice"), Sender: "bot"})
	for _, u := range []*user{alice, bob} {
		invite := u.expect("invite", "room", "@alice,bob")
		require.Equal(t, "bot", invite["from"])
		u.join("@alice,bob", invite.num("seq"))
		require.Equal(t, []int64{seq}, seqsOf(u.collect("@alice,bob", 1)))
	}
}
