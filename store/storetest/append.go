package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gohub/gohub"
)

var appendCases = []testCase{
	{"Durable", nil, func(r *run) {
		if got := r.s.Durable(); got != r.f.Durable {
			r.Errorf("Durable() is %t, want %t", got, r.f.Durable)
		}
	}},
	{"Append", nil, func(r *run) {
		room := r.room("lobby")
		ms := r.msgs(room, "alice", 5)
		r.fresh(ms[0])
		r.fresh(ms[1:]...)
		r.wantMessages("History after two Appends", r.all(room, ""), ms)
	}},
	{"EmptyBatch", nil, func(r *run) {
		if out, err := r.s.Append(r.Context(), nil); err != nil || len(out) != 0 {
			r.Errorf("Append of nothing: %v, %v; want no results and no error", out, err)
		}
		if out, err := r.s.Advance(r.Context(), nil); err != nil || len(out) != 0 {
			r.Errorf("Advance of nothing: %v, %v; want no moves and no error", out, err)
		}
	}},
	{"Duplicate", nil, func(r *run) {
		room := r.room("lobby")
		first := r.msg(room, "alice", "first")
		r.fresh(first)
		again := first
		again.Seq, again.Body = first.Seq+1000, []byte(`"second"`)
		for range 2 {
			if o := r.append(again)[0]; o != (gohub.Ordered{Seq: first.Seq, Duplicate: true}) {
				r.Errorf("Append of a known id with another Seq: got %+v, want the first Seq %d and Duplicate", o, first.Seq)
			}
		}
		r.wantMessages("History after the duplicate", r.all(room, ""), []gohub.Message{first})
	}},
	{"DuplicateInBatch", nil, func(r *run) {
		room := r.room("lobby")
		a, b := r.msg(room, "alice", "a"), r.msg(room, "alice", "b")
		again := a
		again.Seq, again.Body = r.seq+1000, []byte(`"again"`)
		got := r.append(a, b, again)
		want := []gohub.Ordered{{Seq: a.Seq}, {Seq: b.Seq}, {Seq: a.Seq, Duplicate: true}}
		if !slices.Equal(got, want) {
			r.Errorf("Append of a, b, a again: got %+v, want %+v", got, want)
		}
		r.wantMessages("History", r.all(room, ""), []gohub.Message{a, b})
	}},
	{"Conflict", nil, func(r *run) {
		room := r.room("lobby")
		first := r.msg(room, "alice", "alice's")
		r.fresh(first)
		before, stolen, after := r.msg(room, "mallory", "before"), r.msg(room, "mallory", "stolen"), r.msg(room, "mallory", "after")
		stolen.ID = first.ID
		got := r.append(before, stolen, after)
		if o := got[1]; !errors.Is(o.Err, gohub.ErrIDConflict) || o.Duplicate {
			r.Errorf("Append of an id that another sender has used: got %+v, want ErrIDConflict", o)
		}
		for _, i := range []int{0, 2} {
			if got[i].Err != nil || got[i].Duplicate {
				r.Errorf("message %d beside the conflict: got %+v, want it stored", i, got[i])
			}
		}
		r.wantMessages("History: the first message as it was, and the rest of the batch", r.all(room, ""), []gohub.Message{first, before, after})
	}},
	{"ConflictInBatch", nil, func(r *run) {
		room := r.room("lobby")
		first, second := r.msg(room, "alice", "alice's"), r.msg(room, "mallory", "mallory's")
		second.ID = first.ID
		got := r.append(first, second)
		if got[0] != (gohub.Ordered{Seq: first.Seq}) || !errors.Is(got[1].Err, gohub.ErrIDConflict) {
			r.Errorf("Append of one id from two senders: got %+v, want the first stored and ErrIDConflict", got)
		}
		r.wantMessages("History", r.all(room, ""), []gohub.Message{first})
	}},
	{"SameIDElsewhere", nil, func(r *run) {
		here := r.msg(r.room("here"), "alice", "here")
		there, abroad := here, here
		there.Room = r.room("there")
		abroad.Room = gohub.RoomID{Tenant: r.unique + "x", Name: "here"}
		abroad.Sender = "bob"
		r.fresh(here)
		r.fresh(there, abroad)
		for _, m := range []gohub.Message{here, there, abroad} {
			r.wantMessages("History of "+m.Room.String(), r.all(m.Room, ""), []gohub.Message{m})
		}
	}},
	{"ManyRoomsInBatch", nil, func(r *run) {
		var batch []gohub.Message
		want := map[gohub.RoomID][]gohub.Message{}
		for i := range 60 {
			room := r.room(fmt.Sprint("room-", i%7))
			if i%3 == 0 {
				room.Tenant += "x"
			}
			m := r.msg(room, fmt.Sprint("user-", i%4), fmt.Sprint(i))
			batch, want[room] = append(batch, m), append(want[room], m)
		}
		r.fresh(batch...)
		for room, ms := range want {
			r.wantMessages("History of "+room.String(), r.all(room, ""), ms)
		}
	}},
	{"AnyOrder", nil, func(r *run) {
		room := r.room("lobby")
		want := r.msgs(room, "alice", 300)
		for _, name := range []string{"shuffled", "descending"} {
			room.Name = name
			ms := slices.Clone(want)
			for i := range ms {
				ms[i].Room = room
			}
			sorted := slices.Clone(ms)
			if name == "shuffled" {
				shuffle(ms)
			} else {
				slices.Reverse(ms)
			}
			for n := 1; len(ms) > 0; n++ {
				n := min(n, len(ms))
				r.fresh(ms[:n]...)
				ms = ms[n:]
			}
			r.wantMessages("History after "+name+" arrival", r.all(room, ""), sorted)
			for _, m := range []gohub.Message{sorted[0], sorted[150], sorted[299]} {
				if o := r.append(m)[0]; o != (gohub.Ordered{Seq: m.Seq, Duplicate: true}) {
					r.Errorf("%s: duplicate of Seq %d: got %+v", name, m.Seq, o)
				}
			}
		}
	}},
	{"EverythingKept", nil, func(r *run) {
		room := r.room("Room.with_all:of@A-Z,09")
		plain := r.msg(room, "Sender.with_all:of-A9", "plain")
		to := r.private(room, "alice", "bob", "private")
		kind := r.msg(room, "alice", "kind")
		kind.Kind = "x.y_z-0123456789abcdefghijklmno"
		unicode := r.msg(room, "alice", "")
		unicode.Body = []byte(`{"text":"\u0000 \ud800 ` + "ÄÖ 😀 \u202e \u2028 \uffff" + `","a" :  1.0,"a":1e400}`)
		binary := r.msg(room, "alice", "")
		binary.Binary, binary.Body = true, []byte("\x00\xff\xfe\x80 raw \x00\r\n\x1a'\"\\")
		empty := r.msg(room, "alice", "")
		empty.Binary, empty.Body = true, []byte{}
		ms := []gohub.Message{plain, to, kind, unicode, binary, empty}
		r.fresh(ms...)
		r.wantMessages("History", r.all(room, ""), ms)
		for _, m := range ms {
			got, found, err := r.s.Lookup(r.Context(), room, m.ID)
			if err != nil || !found {
				r.Fatalf("Lookup(%s): found %t, %v", m.ID, found, err)
			}
			r.wantMessages("Lookup", []gohub.Message{got}, []gohub.Message{m})
		}
	}},
	{"LargeBodies", nil, func(r *run) {
		room := r.room("lobby")
		ms := r.msgs(room, "alice", 3)
		ms[0].Body = []byte(`"` + strings.Repeat("ä😀", 1<<20/6) + `"`)
		ms[1].Body, ms[1].Binary = make([]byte, 1<<20), true
		for i := range ms[1].Body {
			ms[1].Body[i] = byte(i * 31 >> 3)
		}
		r.fresh(ms...)
		r.wantMessages("History with bodies of 1 MiB", r.all(room, ""), ms)
	}},
	{"Lookup", nil, func(r *run) {
		m := r.private(r.room("lobby"), "alice", "bob", "hi")
		r.fresh(m)
		for _, c := range []struct {
			what string
			room gohub.RoomID
			id   string
			want bool
		}{
			{"the message", m.Room, m.ID, true},
			{"an unknown id", m.Room, newID(), false},
			{"an unknown room", r.room("nowhere"), m.ID, false},
			{"another tenant", gohub.RoomID{Tenant: r.unique + "x", Name: m.Room.Name}, m.ID, false},
		} {
			got, found, err := r.s.Lookup(r.Context(), c.room, c.id)
			if err != nil || found != c.want {
				r.Errorf("Lookup of %s: found %t, error %v; want found %t", c.what, found, err, c.want)
			}
			if found && c.want {
				r.wantMessages("Lookup", []gohub.Message{got}, []gohub.Message{m})
			}
		}
	}},
	{"CallerKeepsItsSlices", nil, func(r *run) {
		room := r.room("lobby")
		want := r.msgs(room, "alice", 4)
		batch := slices.Clone(want)
		r.fresh(batch...)
		if diff := difference(batch, want); diff != "" {
			r.Errorf("Append changed its batch: %s", diff)
		}
		for i := range batch {
			batch[i] = gohub.Message{Sender: "overwritten"}
		}
		got := r.all(room, "")
		r.wantMessages("History after the batch was reused", got, want)
		for i := range got {
			got[i] = gohub.Message{Sender: "overwritten"}
		}
		_ = append(got[:0], gohub.Message{Sender: "appended"})
		r.wantMessages("History after an earlier page was overwritten", r.all(room, ""), want)

		r.advance(gohub.Watermark{Room: room, User: "bob", Seen: want[1].Seq, Listing: gohub.ListJoin})
		state := gohub.RoomState{Room: room, Head: want[3].Seq, Seen: want[1].Seq, Unread: 2}
		r.wantRooms("at first", "bob", state)
		r.rooms("bob")[0] = gohub.RoomState{}
		ws, err := r.s.Watermarks(r.Context(), gohub.MarkQuery{Room: room, Limit: 10})
		if err != nil || len(ws) != 1 {
			r.Fatalf("Watermarks: %+v, %v; want one", ws, err)
		}
		ws[0] = gohub.Watermark{}
		r.wantRooms("after an earlier list was overwritten", "bob", state)
		if _, seen := r.mark(room, "bob"); seen != want[1].Seq {
			r.Errorf("Seen is %d after an earlier result was overwritten, want %d", seen, want[1].Seq)
		}
	}},
	{"CancelledContext", nil, func(r *run) {
		ctx, cancel := context.WithCancel(r.Context())
		cancel()
		room := r.room("lobby")
		ms := r.msgs(room, "alice", 20)
		_, err := r.s.Append(ctx, ms)
		if err == nil {
			r.Error("Append with a cancelled context returned no error")
		}
		if n := len(r.all(room, "")); n != 0 && n != len(ms) {
			r.Errorf("Append with a cancelled context stored %d of %d messages, want all or nothing", n, len(ms))
		}
		errs := map[string]error{}
		_, errs["Advance"] = r.s.Advance(ctx, []gohub.Watermark{{Room: room, User: "bob", Seen: 5, Listing: gohub.ListJoin}})
		_, _, errs["Lookup"] = r.s.Lookup(ctx, room, ms[0].ID)
		_, _, errs["History"] = r.s.History(ctx, gohub.Query{Room: room, Limit: 1})
		_, errs["Watermarks"] = r.s.Watermarks(ctx, gohub.MarkQuery{Room: room, Limit: 1})
		_, errs["Rooms"] = r.s.Rooms(ctx, r.unique, "bob")
		for method, err := range errs {
			if err == nil {
				r.Errorf("%s with a cancelled context returned no error", method)
			}
		}
		r.append(ms...) // and the store lives on
		r.wantMessages("History", r.all(room, ""), ms)
	}},
	{"Reopen", func(f Features) bool { return f.Reopen != nil }, func(r *run) {
		room := r.room("lobby")
		ms := append(r.msgs(room, "alice", 30), r.private(room, "alice", "bob", "secret"))
		r.fresh(ms...)
		r.advance(gohub.Watermark{Room: room, User: "carol", Delivered: ms[9].Seq, Seen: ms[4].Seq, Listing: gohub.ListJoin})
		direct := r.msg(gohub.DirectRoom(r.unique, "carol", "bob"), "bob", "hi")
		r.fresh(direct)
		list := []gohub.RoomState{
			{Room: direct.Room, Head: direct.Seq, Unread: 1},
			{Room: room, Head: ms[29].Seq, Seen: ms[4].Seq, Unread: 25},
		}
		r.wantRooms("before", "carol", list...)
		r.s = r.f.Reopen(r.T, r.s)
		r.wantMessages("History after reopening", r.all(room, ""), ms)
		r.wantRooms("after reopening", "carol", list...)
		if d, s := r.mark(room, "carol"); d != ms[9].Seq || s != ms[4].Seq {
			r.Errorf("watermark after reopening: delivered %d, seen %d; want %d, %d", d, s, ms[9].Seq, ms[4].Seq)
		}
		if o := r.append(ms[3])[0]; o != (gohub.Ordered{Seq: ms[3].Seq, Duplicate: true}) {
			r.Errorf("duplicate after reopening: got %+v", o)
		}
	}},
}
