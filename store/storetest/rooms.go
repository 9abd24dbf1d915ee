package storetest

import (
	"fmt"

	"github.com/gohub/gohub"
)

var roomCases = []testCase{
	{"RoomsListing", nil, func(r *run) {
		join := func(name string, l gohub.Listing) {
			r.advance(gohub.Watermark{Room: r.room(name), User: "bob", Listing: l})
		}
		state := func(names ...string) (list []gohub.RoomState) {
			for _, n := range names {
				list = append(list, gohub.RoomState{Room: r.room(n)})
			}
			return list
		}
		r.wantRooms("at first", "bob")
		for _, name := range []string{"c", "a", "d", "b"} {
			join(name, gohub.ListJoin)
		}
		r.wantRooms("after joining c, a, d, b: by name", "bob", state("a", "b", "c", "d")...)
		join("b", gohub.ListJoin)
		join("c", gohub.ListKeep)
		join("e", gohub.ListKeep)
		join("f", gohub.ListLeave)
		r.wantRooms("after Join of a listed one, Keep and Leave of unlisted ones", "bob", state("a", "b", "c", "d")...)
		join("b", gohub.ListLeave)
		join("b", gohub.ListKeep)
		r.wantRooms("after leaving b", "bob", state("a", "c", "d")...)
		r.advance(gohub.Watermark{Room: r.room("g"), User: "bob", Delivered: 9, Seen: 7, Listing: gohub.ListKeep})
		r.wantRooms("a receipt lists nothing", "bob", state("a", "c", "d")...)
		r.advance(gohub.Watermark{Room: r.room("a"), User: "bob", Listing: gohub.ListLeave}, gohub.Watermark{Room: r.room("b"), User: "bob", Listing: gohub.ListJoin})
		r.wantRooms("after leaving a and joining b at once", "bob", state("b", "c", "d")...)
		r.wantRooms("another user", "carol")
	}},
	{"Unread", nil, func(r *run) {
		room := r.room("lobby")
		ms := []gohub.Message{
			r.msg(room, "alice", "0"),
			r.msg(room, "bob", "1"),
			r.msg(room, "carol", "2"),
			r.private(room, "alice", "bob", "3"),
			r.private(room, "alice", "carol", "4"),
			r.msg(room, "alice", "5"),
			r.private(room, "carol", "alice", "6"),
		}
		for _, user := range []string{"alice", "bob", "carol", "dave"} {
			r.advance(gohub.Watermark{Room: room, User: user, Listing: gohub.ListJoin})
		}
		r.wantRooms("empty room", "bob", gohub.RoomState{Room: room})
		r.fresh(ms...)
		state := func(head, seen int64, unread int) gohub.RoomState {
			return gohub.RoomState{Room: room, Head: head, Seen: seen, Unread: unread}
		}
		// Own messages and those of others in private do not count; the head
		// is the newest that the user may see.
		r.wantRooms("nothing seen", "alice", state(ms[6].Seq, 0, 3))
		r.wantRooms("nothing seen", "bob", state(ms[5].Seq, 0, 4))
		r.wantRooms("nothing seen", "carol", state(ms[6].Seq, 0, 4))
		r.wantRooms("nothing seen", "dave", state(ms[5].Seq, 0, 4))
		r.advance(gohub.Watermark{Room: room, User: "bob", Delivered: ms[5].Seq, Seen: ms[2].Seq})
		r.wantRooms("seen the third", "bob", state(ms[5].Seq, ms[2].Seq, 2))
		r.advance(gohub.Watermark{Room: room, User: "bob", Seen: ms[3].Seq - 1})
		r.wantRooms("seen up to just before the fourth", "bob", state(ms[5].Seq, ms[3].Seq-1, 2))
		r.advance(gohub.Watermark{Room: room, User: "bob", Seen: ms[6].Seq})
		r.wantRooms("seen all", "bob", state(ms[5].Seq, ms[6].Seq, 0))
		r.fresh(r.msg(room, "bob", "own"))
		r.wantRooms("own message", "bob", state(r.seq, ms[6].Seq, 0))
		r.fresh(r.private(room, "alice", "carol", "not bob's"))
		r.wantRooms("another's private message", "bob", state(r.seq-10, ms[6].Seq, 0))
	}},
	{"UnreadBesideOwn", nil, func(r *run) {
		// Who writes a lot and reads nothing: others' messages are found among
		// the newest thousand.
		room := r.room("lobby")
		r.advance(gohub.Watermark{Room: room, User: "bob", Listing: gohub.ListJoin})
		r.fresh(r.msgs(room, "alice", 3)...)
		r.fresh(r.private(room, "alice", "bob", "psst"), r.private(room, "bob", "bob", "note"))
		r.fresh(r.msgs(room, "bob", 10*gohub.MaxUnread-5)...)
		r.wantRooms("four messages of others, then many own ones", "bob", gohub.RoomState{Room: room, Head: r.seq, Unread: 4})
		r.fresh(r.msgs(room, "alice", 2)...)
		r.wantRooms("and two more of others", "bob", gohub.RoomState{Room: room, Head: r.seq, Unread: 6})
	}},
	{"UnreadCapped", nil, func(r *run) {
		room := r.room("lobby")
		r.advance(gohub.Watermark{Room: room, User: "bob", Listing: gohub.ListJoin})
		ms := r.msgs(room, "alice", gohub.MaxUnread+30)
		r.fresh(ms...)
		last := ms[len(ms)-1].Seq
		for _, c := range []struct{ seen, unread int }{{-1, 100}, {28, 100}, {29, 100}, {30, 99}, {128, 1}, {129, 0}} {
			var seen int64
			if c.seen >= 0 {
				seen = ms[c.seen].Seq
			}
			r.advance(gohub.Watermark{Room: room, User: "bob", Seen: seen})
			r.wantRooms(fmt.Sprintf("%d messages, seen %d of them", len(ms), c.seen+1), "bob", gohub.RoomState{Room: room, Head: last, Seen: seen, Unread: c.unread})
		}
	}},
	{"DirectRooms", nil, func(r *run) {
		room := gohub.DirectRoom(r.unique, "bob", "alice")
		m := r.msg(room, "bob", "hi")
		r.fresh(m)
		r.wantRooms("bob wrote to alice", "alice", gohub.RoomState{Room: room, Head: m.Seq, Unread: 1})
		r.wantRooms("bob wrote to alice", "bob", gohub.RoomState{Room: room, Head: m.Seq})
		r.wantRooms("bob wrote to alice", "carol")

		r.advance(gohub.Watermark{Room: room, User: "alice", Seen: m.Seq, Listing: gohub.ListLeave})
		r.wantRooms("alice left", "alice")
		r.wantRooms("alice left", "bob", gohub.RoomState{Room: room, Head: m.Seq})
		again := r.msg(room, "bob", "are you there?")
		other := r.msg(r.room("lobby"), "bob", "no direct room")
		r.fresh(other, again)
		r.wantRooms("bob wrote again", "alice", gohub.RoomState{Room: room, Head: again.Seq, Seen: m.Seq, Unread: 1})
		r.wantRooms("no direct room lists itself", "bob", gohub.RoomState{Room: room, Head: again.Seq})

		self := gohub.DirectRoom(r.unique, "dave", "dave")
		note := r.msg(self, "dave", "note")
		r.fresh(note)
		r.wantRooms("a room with oneself", "dave", gohub.RoomState{Room: self, Head: note.Seq})
	}},
	{"DirectRoomsPrivate", nil, func(r *run) {
		// Who may not see a message does not learn of its room.
		room := gohub.DirectRoom(r.unique, "alice", "bob")
		self := r.private(room, "alice", "alice", "note to myself")
		r.fresh(self)
		r.wantRooms("alice wrote to herself", "alice", gohub.RoomState{Room: room, Head: self.Seq})
		r.wantRooms("alice wrote to herself", "bob")
		// The program may write in anybody's name, also to one of the two.
		single := r.private(gohub.DirectRoom(r.unique, "carol", "dave"), "system", "dave", "for dave alone")
		r.fresh(single)
		r.wantRooms("a message for dave alone", "carol")
		r.wantRooms("a message for dave alone", "dave", gohub.RoomState{Room: single.Room, Head: single.Seq, Unread: 1})
		both := r.msg(room, "alice", "hi")
		r.fresh(both)
		r.wantRooms("alice wrote to both", "bob", gohub.RoomState{Room: room, Head: both.Seq, Unread: 1})
	}},
	{"Tenants", nil, func(r *run) {
		// The same names in other tenants, also such that run together alike,
		// and the empty tenant.
		room := "lobby." + r.unique
		user := "bob." + r.unique
		ids := []gohub.RoomID{
			{Tenant: r.unique, Name: room},
			{Tenant: r.unique + "x", Name: room},
			{Tenant: "", Name: room},
			{Tenant: r.unique, Name: "y:" + room},
			{Tenant: r.unique + ":y", Name: room},
			{Tenant: r.unique, Name: "Y:" + room},
		}
		first := r.msg(ids[0], "alice", "")
		var ms []gohub.Message
		for i, id := range ids {
			m := first // the same id and Seq everywhere
			m.Room, m.Body, m.Sender = id, fmt.Append(nil, i), fmt.Sprint("alice", i)
			ms = append(ms, m)
			r.fresh(m)
			r.advance(gohub.Watermark{Room: id, User: user, Seen: int64(i), Delivered: int64(10 + i), Listing: gohub.ListJoin})
		}
		for i, id := range ids {
			r.wantMessages("History of "+id.String(), r.all(id, ""), ms[i:i+1])
			got, found, err := r.s.Lookup(r.Context(), id, first.ID)
			if err != nil || !found {
				r.Fatalf("Lookup in %v: found %t, %v", id, found, err)
			}
			r.wantMessages("Lookup in "+id.String(), []gohub.Message{got}, ms[i:i+1])
			if d, s := r.mark(id, user); d != int64(10+i) || s != int64(i) {
				r.Errorf("watermark in %v: delivered %d, seen %d; want %d, %d", id, d, s, 10+i, i)
			}
		}
		for tenant, want := range map[string][]int{r.unique: {5, 0, 3}, r.unique + "x": {1}, "": {2}, r.unique + ":y": {4}, r.unique + "z": nil} {
			list, err := r.s.Rooms(r.Context(), tenant, user)
			if err != nil {
				r.Fatalf("Rooms: %v", err)
			}
			got := map[gohub.RoomState]bool{}
			for _, s := range list {
				got[s] = true
			}
			ok := len(list) == len(want)
			for _, i := range want {
				ok = ok && got[gohub.RoomState{Room: ids[i], Head: first.Seq, Seen: int64(i), Unread: 1}]
			}
			if !ok {
				r.Errorf("Rooms of tenant %q: got %+v, want those of rooms %v", tenant, list, want)
			}
		}
		r.advance(gohub.Watermark{Room: ids[1], User: user, Listing: gohub.ListLeave})
		if list := r.rooms(user); len(list) != 3 {
			r.Errorf("leaving a room of another tenant: %d rooms left of 3", len(list))
		}
	}},
}
