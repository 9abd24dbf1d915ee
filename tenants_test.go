package gohub_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// The same users in the same rooms of two tenants, and of none: whatever one
// of them does, the others see nothing of it.
func TestTenantsNeverMeet(t *testing.T) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				w := startVirtual(t, kind(gohub.Config{}))
				as := func(tenant, name string, rooms ...string) *user {
					u := w.dial("user=" + name + "&tenant=" + tenant)
					for _, r := range rooms {
						u.join(r)
					}
					return u
				}
				for _, tenant := range []string{"blue", ""} {
					neighbours(t, w, as, tenant)
				}
			})
		})
	}
}

// neighbours does things in tenant red and looks from another.
func neighbours(t *testing.T, w *world, as func(tenant, name string, rooms ...string) *user, other string) {
	t.Helper()
	alice, bob := as("red", "alice", "r"), as("red", "bob", "r")
	phone := w.dial("user=alice&device=phone&tenant=red")
	watchers := []*user{as(other, "alice", "r", "@alice,bob"), as(other, "bob", "r"), as(other, "alice")}
	quiet := func(what string) {
		t.Helper()
		pass(time.Second)
		for _, u := range watchers {
			got := u.take(func(f frame) bool { return f["type"] != "members" })
			require.Empty(t, got, "%s: %s", what, u.name)
			for _, m := range u.all("members") {
				require.LessOrEqual(t, m.num("count"), int64(2), "%s: %s", what, u.name)
			}
		}
	}
	quiet("joins")

	m := alice.say("r", "red only").num("seq")
	alice.say("", "psst", "to", "bob")
	bob.expect("invite", "room", "@alice,bob")
	quiet("messages and invites")
	bob.reads("r", "seen", m)
	alice.send(frame{"type": "typing", "room": "r", "active": true})
	quiet("receipts and typing")
	require.Equal(t, m, alice.expect("receipt", "user", "bob").num("seen"))
	as("red", "carol", "r").leave("r")
	quiet("members")

	// Replay, history, presence, rooms.
	dave := as(other, "alice")
	for _, room := range []string{"r", "@alice,bob"} {
		j := dave.join(room, 0)
		require.Zero(t, j.num("head"))
		dave.join(room)
		page := dave.history(room, "after", 0)
		require.Empty(t, messagesIn(page))
		require.Empty(t, page["watermarks"])
	}
	rooms := dave.ask(frame{"type": "rooms"}, "rooms")
	require.Len(t, rooms["rooms"], 2)
	require.Zero(t, roomIn(t, rooms, "r").num("unread"))
	require.Zero(t, roomIn(t, rooms, "@alice,bob").num("head"))
	p := dave.ask(frame{"type": "presence", "room": "r"}, "presence")
	require.EqualValues(t, 2, p["count"], "%v", p)
	stranger := as(other, "stranger")
	require.Empty(t, stranger.ask(frame{"type": "rooms"}, "rooms")["rooms"])
	dave.sync()
	require.Empty(t, dave.messages("r"))
	require.Empty(t, dave.messages("@alice,bob"))

	// A room's name cannot reach out of its tenant.
	for _, room := range []string{"red/r", "red\x00r", "/r", "red r"} {
		dave.fails("bad_room", frame{"type": "join", "room": room})
	}
	for _, room := range []string{"red:r", "red.r", "red,r", "red@r"} {
		require.Zero(t, dave.join(room, 0).num("head"))
		dave.leave(room)
	}
	// Ids are a room's own: the same one is a message of its own elsewhere.
	id := gohub.NewID()
	var head int64
	for _, u := range []*user{alice, dave} {
		u.send(frame{"type": "publish", "id": id, "room": "r", "body": u.name})
		ack := u.expect("ack", "id", id)
		require.NotContains(t, ack, "duplicate")
		head = ack.num("seq")
	}
	require.Equal(t, dave.name, dave.expect("message", "id", id)["body"])
	require.Equal(t, alice.name, alice.expect("message", "id", id)["body"])
	for _, u := range watchers[:2] {
		require.Equal(t, dave.name, u.expect("message", "id", id)["body"])
	}

	// The program: every call is about one tenant.
	red, theirs := gohub.RoomID{Tenant: "red", Name: "r"}, gohub.RoomID{Tenant: other, Name: "r"}
	w.post(gohub.Message{Room: red, Sender: "bot"})
	quiet("Hub.Publish")
	require.Equal(t, 2, w.hub.RoomStats(red).Users)
	require.Equal(t, 2, w.hub.RoomStats(theirs).Users)
	require.Equal(t, head, w.hub.RoomStats(theirs).Head)
	require.Len(t, w.present(theirs, "", 10).Users, 2)
	require.Len(t, w.hub.Sessions(other, "alice"), 3)
	require.Equal(t, 2, w.hub.CloseRoom(red))
	quiet("CloseRoom")
	twin := w.dial("user=alice&device=phone&tenant=" + other)
	phone.sync() // the same device elsewhere is another
	require.Equal(t, 2, w.hub.Kick("red", "alice", "out"))
	phone.closes(gohub.CloseKicked)
	quiet("Kick")
	twin.sync()

	for _, u := range append(watchers, dave, stranger, twin, bob) {
		u.sync()
		require.NotContains(t, strings.Join(u.types(), " "), "error", u.name)
		require.NoError(t, u.ws.CloseNow())
	}
	pass(time.Second)
}

// types lists the types of what is in the log.
func (u *user) types() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	var s []string
	for _, f := range u.log {
		s = append(s, f.str("type"))
	}
	return s
}
