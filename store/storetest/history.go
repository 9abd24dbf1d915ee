package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/gohub/gohub"
)

func shuffle[T any](s []T) {
	rand.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
}

var historyCases = []testCase{
	{"UnknownRoom", nil, func(r *run) {
		for _, newest := range []bool{false, true} {
			if ms, more := r.history(gohub.Query{Room: r.room("nowhere"), Limit: 10, Newest: newest}); len(ms) != 0 || more {
				r.Errorf("History of an unknown room: %d messages, more %t; want none", len(ms), more)
			}
		}
		if ws, err := r.s.Watermarks(r.Context(), gohub.MarkQuery{Room: r.room("nowhere"), Limit: 10}); err != nil || len(ws) != 0 {
			r.Errorf("Watermarks of an unknown room: %v, %v; want none", ws, err)
		}
		if list := r.rooms("nobody"); len(list) != 0 {
			r.Errorf("Rooms of an unknown user: %+v, want none", list)
		}
	}},
	{"PagesForward", nil, func(r *run) {
		for _, n := range []int{1, 9, 10, 11, 20, 25} {
			room := r.room(fmt.Sprint("room-", n))
			want := r.msgs(room, "alice", n)
			r.fresh(want...)
			var got []gohub.Message
			q := gohub.Query{Room: room, Limit: 10}
			for pages := 0; ; pages++ {
				page, more := r.history(q)
				got = append(got, page...)
				if len(page) != min(10, n-10*pages) {
					r.Errorf("%d messages, page %d of 10: got %d", n, pages, len(page))
				}
				if left := n - len(got); more != (left > 0) {
					r.Errorf("%d messages, page %d of 10 forward: more is %t with %d left", n, pages, more, left)
				}
				if !more || len(page) == 0 || pages > n {
					break
				}
				q.After = page[len(page)-1].Seq
			}
			r.wantMessages(fmt.Sprint("pages of 10 forward through ", n), got, want)
			if page, more := r.history(gohub.Query{Room: room, After: want[n-1].Seq, Limit: 10}); len(page) != 0 || more {
				r.Errorf("after the last message: %d messages, more %t; want none", len(page), more)
			}
		}
	}},
	{"PagesBack", nil, func(r *run) {
		for _, n := range []int{1, 9, 10, 11, 20, 25} {
			room := r.room(fmt.Sprint("room-", n))
			want := r.msgs(room, "alice", n)
			r.fresh(want...)
			var got []gohub.Message
			q := gohub.Query{Room: room, Limit: 10, Newest: true}
			for pages := 0; ; pages++ {
				page, more := r.history(q)
				got = append(slices.Clone(page), got...)
				if len(page) != min(10, n-10*pages) {
					r.Errorf("%d messages, page %d of 10: got %d", n, pages, len(page))
				}
				if left := n - len(got); more != (left > 0) {
					r.Errorf("%d messages, page %d of 10 back: more is %t with %d left", n, pages, more, left)
				}
				if !more || len(page) == 0 || pages > n {
					break
				}
				q.Before = page[0].Seq
			}
			r.wantMessages(fmt.Sprint("pages of 10 back through ", n), got, want)
			if page, more := r.history(gohub.Query{Room: room, Before: want[0].Seq, Limit: 10, Newest: true}); len(page) != 0 || more {
				r.Errorf("before the first message: %d messages, more %t; want none", len(page), more)
			}
		}
	}},
	{"Privacy", nil, func(r *run) {
		room := r.room("lobby")
		first := r.msg(room, "alice", "public 1")
		ms := []gohub.Message{first}
		for i := range 150 {
			ms = append(ms, r.private(room, "alice", "bob", fmt.Sprint("secret ", i)))
		}
		self := r.private(room, "carol", "carol", "note to myself")
		last := r.msg(room, "bob", "public 2")
		ms = append(ms, self, last)
		r.fresh(ms...)
		for user, want := range map[string][]gohub.Message{
			"":      ms,
			"alice": slices.DeleteFunc(slices.Clone(ms), func(m gohub.Message) bool { return m.ID == self.ID }),
			"bob":   slices.DeleteFunc(slices.Clone(ms), func(m gohub.Message) bool { return m.ID == self.ID }),
			"carol": {first, self, last},
			"dave":  {first, last},
			"Bob":   {first, last}, // names are told apart by case
		} {
			r.wantMessages(fmt.Sprintf("what %q may see", user), r.all(room, user), want)
		}
		for _, newest := range []bool{false, true} {
			q := gohub.Query{Room: room, Viewer: "dave", Limit: 2, Newest: newest}
			page, more := r.history(q)
			r.wantMessages("the limit counts only what the viewer may see: "+show(q), page, []gohub.Message{first, last})
			if more {
				r.Errorf("%s: more is true, but only hidden messages are left", show(q))
			}
			q.Limit = 1
			if page, more = r.history(q); len(page) != 1 || !more {
				r.Errorf("%s: %d messages, more %t; want 1 and true", show(q), len(page), more)
			}
		}
		q := gohub.Query{Room: room, Viewer: "dave", After: first.Seq, Before: last.Seq, Limit: 10}
		if page, more := r.history(q); len(page) != 0 || more {
			r.Errorf("a range of hidden messages (%s): %d messages, more %t; want none", show(q), len(page), more)
		}
	}},
	{"Ranges", nil, func(r *run) {
		room := r.room("lobby")
		var ms []gohub.Message
		start := r.seq
		for i := range 12 { // at start+10, +20 … +120
			m := r.msg(room, []string{"alice", "bob", "carol"}[i%3], fmt.Sprint(i))
			if i%4 == 1 || i == 11 {
				m.To = []string{"alice", "carol"}[i%2]
			}
			ms = append(ms, m)
		}
		r.fresh(ms...)
		bad := 0
		for _, after := range []int64{0, 10, 35, 70, 120, 125} {
			for _, before := range []int64{0, 10, 11, 40, 85, 120, 121, 130} {
				for _, limit := range []int{1, 2, 3, 5, 11, 12, 13, 200} {
					for _, newest := range []bool{false, true} {
						for _, viewer := range []string{"", "alice", "bob", "dave"} {
							q := gohub.Query{Room: room, Viewer: viewer, Limit: limit, Newest: newest}
							if after > 0 {
								q.After = start + after
							}
							if before > 0 {
								q.Before = start + before
							}
							want, wantMore := model(ms, q)
							got, more := r.history(q)
							if diff := difference(got, want); diff != "" || more != wantMore {
								r.Errorf("messages at %d+10 … +120, History(%s): %s; more %t, want %t", start, show(q), diff, more, wantMore)
								if bad++; bad == 5 {
									r.FailNow()
								}
							}
						}
					}
				}
			}
		}
	}},
	{"Large", func(f Features) bool { return f.Unbounded }, func(r *run) {
		room := r.room("lobby")
		want := r.msgs(room, "alice", 12_000)
		for batch := range slices.Chunk(want, 1000) {
			r.fresh(batch...)
		}
		var got []gohub.Message
		for q := (gohub.Query{Room: room, Limit: 500}); ; q.After = got[len(got)-1].Seq {
			page, more := r.history(q)
			got = append(got, page...)
			if !more || len(page) == 0 {
				break
			}
		}
		r.wantMessages("pages through 12,000 messages", got, want)
		if o := r.append(want[0])[0]; !o.Duplicate || o.Seq != want[0].Seq {
			r.Errorf("the first of 12,000 messages again: got %+v, want Duplicate", o)
		}
	}},
}

// model is what History shall answer for a room that holds ms.
func model(ms []gohub.Message, q gohub.Query) (page []gohub.Message, more bool) {
	for _, m := range ms {
		if m.Seq > q.After && (q.Before == 0 || m.Seq < q.Before) && m.VisibleTo(q.Viewer) {
			page = append(page, m)
		}
	}
	if len(page) <= q.Limit {
		return page, false
	}
	if q.Newest {
		return page[len(page)-q.Limit:], true
	}
	return page[:q.Limit], true
}
