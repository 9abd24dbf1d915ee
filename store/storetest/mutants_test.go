package storetest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gohub/gohub"
)

// mutants, each with the subtest that must fail.
func mutants() map[string]map[string]*mutant {
	var (
		mu    sync.Mutex
		last  = map[gohub.Watermark]gohub.Watermark{} // by room and user
		pages = map[gohub.RoomID][]gohub.Message{}
	)
	return map[string]map[string]*mutant{
		"Durable": {"lies": {durable: true}},
		"Append":  {"wrong seq": {append: answer(func(_ *gohub.Message, o *gohub.Ordered) { o.Seq++ })}},
		"EmptyBatch": {"refuses it": {append: func(s gohub.Store, ctx context.Context, b []gohub.Message) ([]gohub.Ordered, error) {
			if len(b) == 0 {
				return nil, errors.New("empty")
			}
			return s.Append(ctx, b)
		}}},
		"Duplicate": {
			"answers the new seq": {append: answer(func(m *gohub.Message, o *gohub.Ordered) { o.Seq = m.Seq })},
			"does not say so":     {append: answer(func(_ *gohub.Message, o *gohub.Ordered) { o.Duplicate = false })},
			"the newest body wins": {history: page(func(q gohub.Query, ms []gohub.Message, more bool) ([]gohub.Message, bool) {
				for i := range ms {
					if string(ms[i].Body) == `"first"` {
						ms[i].Body = []byte(`"second"`)
					}
				}
				return ms, more
			})},
		},
		"DuplicateInBatch": {"checks before the batch only": {append: func(s gohub.Store, ctx context.Context, b []gohub.Message) ([]gohub.Ordered, error) {
			out, err := s.Append(ctx, b)
			for i := range out {
				if slices.ContainsFunc(b[:i], func(m gohub.Message) bool { return m.ID == b[i].ID }) {
					out[i] = gohub.Ordered{Seq: b[i].Seq}
				}
			}
			return out, err
		}}},
		"Conflict": {
			"taken for a duplicate": {append: answer(func(m *gohub.Message, o *gohub.Ordered) {
				if o.Err != nil {
					*o = gohub.Ordered{Seq: m.Seq, Duplicate: true}
				}
			})},
			"fails the batch": {append: func(s gohub.Store, ctx context.Context, b []gohub.Message) ([]gohub.Ordered, error) {
				for _, m := range b {
					if old, found, _ := s.Lookup(ctx, m.Room, m.ID); found && old.Sender != m.Sender {
						return slices.Repeat([]gohub.Ordered{{Err: gohub.ErrIDConflict}}, len(b)), nil
					}
				}
				return s.Append(ctx, b)
			}},
		},
		"ConflictInBatch": {"both stored": {append: answer(func(m *gohub.Message, o *gohub.Ordered) { o.Err = nil })}},
		"SameIDElsewhere": {"ids are global": {append: func(s gohub.Store, ctx context.Context, b []gohub.Message) ([]gohub.Ordered, error) {
			ids := gohub.RoomID{Name: "ids"}
			if len(b) > 0 {
				for i := range b {
					m := gohub.Message{Room: ids, ID: b[i].ID, Seq: b[i].Seq, Sender: b[i].Sender}
					if out, _ := s.Append(ctx, []gohub.Message{m}); len(out) == 1 && out[0].Duplicate {
						return slices.Repeat(out, len(b)), nil
					}
				}
			}
			return s.Append(ctx, b)
		}}},
		"ManyRoomsInBatch": {"one room a batch": {append: edit(func(m *gohub.Message) {
			if strings.HasPrefix(m.Room.Name, "room-6") {
				m.Room.Name = "room-5"
			}
		})}},
		"AnyOrder": {"order of arrival": {history: page(func(q gohub.Query, ms []gohub.Message, more bool) ([]gohub.Message, bool) {
			if len(ms) == 300 {
				ms[3], ms[200] = ms[200], ms[3]
			}
			return ms, more
		})}},
		"EverythingKept": {
			"drops to":        {append: edit(func(m *gohub.Message) { m.To = "" })},
			"drops kind":      {append: edit(func(m *gohub.Message) { m.Kind = "chat" })},
			"drops binary":    {append: edit(func(m *gohub.Message) { m.Binary = false })},
			"stops at NUL":    {append: edit(func(m *gohub.Message) { m.Body, _, _ = bytes.Cut(m.Body, []byte{0}) })},
			"wants UTF-8":     {append: edit(func(m *gohub.Message) { m.Body = bytes.ToValidUTF8(m.Body, []byte("?")) })},
			"lower case":      {append: edit(func(m *gohub.Message) { m.Sender = strings.ToLower(m.Sender) })},
			"normalises JSON": {append: edit(func(m *gohub.Message) { m.Body = bytes.ReplaceAll(m.Body, []byte(" "), nil) })},
			"lookup without binary": {lookup: func(s gohub.Store, ctx context.Context, room gohub.RoomID, id string) (gohub.Message, bool, error) {
				m, found, err := s.Lookup(ctx, room, id)
				m.Binary = false
				return m, found, err
			}},
		},
		"LargeBodies": {"cut at 64 KiB": {append: edit(func(m *gohub.Message) { m.Body = m.Body[:min(len(m.Body), 64<<10)] })}},
		"Lookup": {
			"invents": {lookup: func(s gohub.Store, ctx context.Context, room gohub.RoomID, id string) (gohub.Message, bool, error) {
				m, _, err := s.Lookup(ctx, room, id)
				return m, true, err
			}},
			"an error for unknown": {lookup: func(s gohub.Store, ctx context.Context, room gohub.RoomID, id string) (gohub.Message, bool, error) {
				m, found, err := s.Lookup(ctx, room, id)
				if !found {
					err = errors.New("no rows")
				}
				return m, found, err
			}},
		},
		"CallerKeepsItsSlices": {
			"shares pages": {history: func(s gohub.Store, ctx context.Context, q gohub.Query) ([]gohub.Message, bool, error) {
				mu.Lock()
				defer mu.Unlock()
				ms, more, err := s.History(ctx, q)
				if p := pages[q.Room]; len(p) == len(ms) && q.Newest == false && q.After == 0 && q.Before == 0 && q.Viewer == "" && q.Limit > 1000 {
					return p, more, err
				}
				pages[q.Room] = ms
				return ms, more, err
			}},
			"writes into the batch": {append: func(s gohub.Store, ctx context.Context, b []gohub.Message) ([]gohub.Ordered, error) {
				out, err := s.Append(ctx, b)
				for i := range b {
					b[i].Kind = "stored"
				}
				return out, err
			}},
		},
		"CancelledContext": {
			"stores half": {append: func(s gohub.Store, ctx context.Context, b []gohub.Message) ([]gohub.Ordered, error) {
				if err := ctx.Err(); err != nil {
					_, _ = s.Append(context.WithoutCancel(ctx), b[:len(b)/2])
					return nil, err
				}
				return s.Append(ctx, b)
			}},
			"ignores it": {rooms: func(s gohub.Store, ctx context.Context, tenant, user string) ([]gohub.RoomState, error) {
				return s.Rooms(context.WithoutCancel(ctx), tenant, user)
			}},
		},
		"Reopen":                    {"forgets": {forgetful: true}},
		"ReopenAfterLoad":           {"forgets": {forgetful: true}},
		"DuplicateRaceOfProcesses":  {"two stores": {forgetful: true}},
		"WatermarksRaceOfProcesses": {"two stores": {forgetful: true}},
		"SecondReads":               {"two stores": {forgetful: true}},
		"Large": {"keeps 10,000": {history: query(func(q *gohub.Query) {
			if q.Limit == 500 && q.After == 0 {
				q.Newest = true
			}
		})}},
		"UnknownRoom": {"an error": {history: func(s gohub.Store, ctx context.Context, q gohub.Query) ([]gohub.Message, bool, error) {
			ms, more, err := s.History(ctx, q)
			if ms == nil && err == nil {
				err = errors.New("no such room")
			}
			return ms, more, err
		}}},
		"PagesForward": {
			"never more": {history: page(func(_ gohub.Query, ms []gohub.Message, _ bool) ([]gohub.Message, bool) { return ms, false })},
			"more when full": {history: page(func(q gohub.Query, ms []gohub.Message, _ bool) ([]gohub.Message, bool) {
				return ms, len(ms) == q.Limit
			})},
			"after inclusive": {history: query(func(q *gohub.Query) {
				if q.After > 0 {
					q.After--
				}
			})},
			"no limit": {history: query(func(q *gohub.Query) { q.Limit = 10_000 })},
		},
		"PagesBack": {
			"before inclusive": {history: query(func(q *gohub.Query) {
				if q.Before > 0 {
					q.Before++
				}
			})},
			"newest forgotten": {history: query(func(q *gohub.Query) { q.Newest = false })},
			"more looks forward": {history: func(s gohub.Store, ctx context.Context, q gohub.Query) ([]gohub.Message, bool, error) {
				ms, more, err := s.History(ctx, q)
				if q.Newest && len(ms) > 0 {
					after, _, _ := s.History(ctx, gohub.Query{Room: q.Room, After: ms[len(ms)-1].Seq, Limit: 1})
					more = len(after) > 0
				}
				return ms, more, err
			}},
			"descending": {history: page(func(q gohub.Query, ms []gohub.Message, more bool) ([]gohub.Message, bool) {
				if q.Newest {
					slices.Reverse(ms)
				}
				return ms, more
			})},
		},
		"Privacy": {
			"forgets the viewer": {history: query(func(q *gohub.Query) { q.Viewer = "" })},
			"limits first": {history: func(s gohub.Store, ctx context.Context, q gohub.Query) ([]gohub.Message, bool, error) {
				viewer := q.Viewer
				q.Viewer = ""
				ms, more, err := s.History(ctx, q)
				return slices.DeleteFunc(ms, func(m gohub.Message) bool { return !m.VisibleTo(viewer) }), more, err
			}},
			"only to, not from": {history: page(func(q gohub.Query, ms []gohub.Message, more bool) ([]gohub.Message, bool) {
				return slices.DeleteFunc(ms, func(m gohub.Message) bool {
					return m.To != "" && q.Viewer != "" && m.To != q.Viewer
				}), more
			})},
			"more counts hidden ones": {history: func(s gohub.Store, ctx context.Context, q gohub.Query) ([]gohub.Message, bool, error) {
				ms, more, err := s.History(ctx, q)
				viewer, limit := q.Viewer, q.Limit
				q.Viewer, q.Limit = "", len(ms)+1
				if all, _, _ := s.History(ctx, q); viewer != "" && len(all) > len(ms) && len(ms) <= limit {
					more = true
				}
				return ms, more, err
			}},
		},
		"Ranges": {
			"either bound": {history: query(func(q *gohub.Query) {
				if q.After > 0 && !q.Newest {
					q.Before = 0
				}
			})},
			"newest ignores after": {history: query(func(q *gohub.Query) {
				if q.Newest {
					q.After = 0
				}
			})},
		},
		"WatermarksOnlyForward": {
			"back": {
				advance: func(s gohub.Store, ctx context.Context, ws []gohub.Watermark) ([]gohub.Watermark, error) {
					mu.Lock()
					defer mu.Unlock()
					for _, w := range ws {
						w.Listing = gohub.ListKeep
						last[gohub.Watermark{Room: w.Room, User: w.User}] = w
					}
					return s.Advance(ctx, ws)
				},
				watermarks: func(s gohub.Store, ctx context.Context, q gohub.MarkQuery) ([]gohub.Watermark, error) {
					mu.Lock()
					defer mu.Unlock()
					ws, err := s.Watermarks(ctx, q)
					for i := range ws {
						if w, ok := last[gohub.Watermark{Room: q.Room, User: ws[i].User}]; ok {
							ws[i] = w
						}
					}
					return ws, err
				},
			},
			"seen without delivered": {watermarks: func(s gohub.Store, ctx context.Context, q gohub.MarkQuery) ([]gohub.Watermark, error) {
				ws, err := s.Watermarks(ctx, q)
				for i := range ws {
					if ws[i].Delivered == ws[i].Seen {
						ws[i].Delivered = 20
					}
				}
				return ws, err
			}},
			"all are moves": {advance: func(s gohub.Store, ctx context.Context, ws []gohub.Watermark) ([]gohub.Watermark, error) {
				_, err := s.Advance(ctx, ws)
				return ws, err
			}},
			"no moves": {advance: func(s gohub.Store, ctx context.Context, ws []gohub.Watermark) ([]gohub.Watermark, error) {
				_, err := s.Advance(ctx, ws)
				return nil, err
			}},
		},
		"WatermarksShuffled": {"only the first of a batch moves": {advance: func(s gohub.Store, ctx context.Context, ws []gohub.Watermark) ([]gohub.Watermark, error) {
			return s.Advance(ctx, ws[:min(1, len(ws))])
		}}},
		"WatermarksTwiceInBatch": {"the last one wins": {advance: func(s gohub.Store, ctx context.Context, ws []gohub.Watermark) ([]gohub.Watermark, error) {
			if len(ws) == 3 {
				ws = ws[2:]
			}
			return s.Advance(ctx, ws)
		}}},
		"WatermarksRace": {"checks, then acts": {advance: func(s gohub.Store, ctx context.Context, ws []gohub.Watermark) (moved []gohub.Watermark, err error) {
			for _, w := range ws {
				old, _ := s.Watermarks(ctx, gohub.MarkQuery{Room: w.Room, Limit: 1})
				pause()
				if _, err := s.Advance(ctx, []gohub.Watermark{w}); err != nil {
					return nil, err
				}
				now, _ := s.Watermarks(ctx, gohub.MarkQuery{Room: w.Room, Limit: 1})
				if !slices.Equal(old, now) {
					moved = append(moved, now...)
				}
			}
			return moved, nil
		}}},
		"WatermarksOrder": {"by user": {watermarks: func(s gohub.Store, ctx context.Context, q gohub.MarkQuery) ([]gohub.Watermark, error) {
			limit := q.Limit
			q.Limit = 1000
			ws, err := s.Watermarks(ctx, q)
			slices.SortFunc(ws, func(a, b gohub.Watermark) int { return strings.Compare(a.User, b.User) })
			return ws[:min(limit, len(ws))], err
		}}},
		"WatermarksByUser": {
			"all, however far":   {watermarks: byUser(func(q gohub.MarkQuery, _ gohub.Watermark) bool { return true })},
			"only who has read":  {watermarks: byUser(func(q gohub.MarkQuery, w gohub.Watermark) bool { return w.Seen >= q.Seq })},
			"beyond the message": {watermarks: byUser(func(q gohub.MarkQuery, w gohub.Watermark) bool { return w.Delivered > q.Seq })},
			"after inclusive": {watermarks: func(s gohub.Store, ctx context.Context, q gohub.MarkQuery) ([]gohub.Watermark, error) {
				if q.After == "zoe" {
					q.After = "zod"
				}
				return s.Watermarks(ctx, q)
			}},
			"from the first again": {watermarks: func(s gohub.Store, ctx context.Context, q gohub.MarkQuery) ([]gohub.Watermark, error) {
				q.After = ""
				return s.Watermarks(ctx, q)
			}},
			"no limit": {watermarks: func(s gohub.Store, ctx context.Context, q gohub.MarkQuery) ([]gohub.Watermark, error) {
				if q.Seq > 0 {
					q.Limit = 1000
				}
				return s.Watermarks(ctx, q)
			}},
			"furthest first": {watermarks: func(s gohub.Store, ctx context.Context, q gohub.MarkQuery) ([]gohub.Watermark, error) {
				ws, err := s.Watermarks(ctx, q)
				slices.SortFunc(ws, func(a, b gohub.Watermark) int { return cmp.Compare(b.Seen, a.Seen) })
				return ws, err
			}},
			"ignores case": {watermarks: func(s gohub.Store, ctx context.Context, q gohub.MarkQuery) ([]gohub.Watermark, error) {
				ws, err := s.Watermarks(ctx, q)
				slices.SortStableFunc(ws, func(a, b gohub.Watermark) int {
					return strings.Compare(strings.ToLower(a.User), strings.ToLower(b.User))
				})
				return ws, err
			}},
			// Pages that go on where a user stood, who is elsewhere by now.
			"goes on by how far users are": {watermarks: func(s gohub.Store, ctx context.Context, q gohub.MarkQuery) ([]gohub.Watermark, error) {
				limit := q.Limit
				if q.Seq != 10 || limit != 2 || q.After == "" {
					return s.Watermarks(ctx, q)
				}
				last, _ := s.Watermarks(ctx, gohub.MarkQuery{Room: q.Room, Seq: 1, After: q.After[:len(q.After)-1], Limit: 1})
				q.Limit = 1000
				ws, err := s.Watermarks(ctx, q)
				ws = slices.DeleteFunc(ws, func(w gohub.Watermark) bool { return len(last) > 0 && w.Seen >= last[0].Seen })
				return ws[:min(limit, len(ws))], err
			}},
		},
		"LeaveKeepsWatermarks": {"leave is ignored": {advance: marks(func(w *gohub.Watermark) {
			if w.Listing == gohub.ListLeave {
				w.Listing = gohub.ListKeep
			}
		})}},
		"RoomsListing": {
			"a receipt lists": {advance: marks(func(w *gohub.Watermark) {
				if w.Listing == gohub.ListKeep && w.Seen > 0 {
					w.Listing = gohub.ListJoin
				}
			})},
			"keep leaves": {advance: marks(func(w *gohub.Watermark) {
				if w.Listing == gohub.ListKeep {
					w.Listing = gohub.ListLeave
				}
			})},
			"unsorted": {rooms: func(s gohub.Store, ctx context.Context, tenant, user string) ([]gohub.RoomState, error) {
				ls, err := s.Rooms(ctx, tenant, user)
				slices.Reverse(ls)
				return ls, err
			}},
		},
		"Unread": {
			"own count": {rooms: list(func(s gohub.Store, user string, l *gohub.RoomState) {
				l.Unread = count(s, l, user, func(gohub.Message) bool { return true })
			})},
			"others' private ones count": {rooms: list(func(s gohub.Store, user string, l *gohub.RoomState) {
				l.Unread = count(s, l, "", func(m gohub.Message) bool { return m.Sender != user })
			})},
			"private ones do not count": {rooms: list(func(s gohub.Store, user string, l *gohub.RoomState) {
				l.Unread = count(s, l, user, func(m gohub.Message) bool { return m.Sender != user && m.To == "" })
			})},
			"head tells of hidden ones": {rooms: list(func(s gohub.Store, _ string, l *gohub.RoomState) {
				if ms, _, _ := s.History(context.Background(), gohub.Query{Room: l.Room, Limit: 1, Newest: true}); len(ms) > 0 {
					l.Head = ms[0].Seq
				}
			})},
			"seen is off by one": {rooms: list(func(s gohub.Store, user string, l *gohub.RoomState) {
				l.Seen--
				l.Unread = count(s, l, user, func(m gohub.Message) bool { return m.Sender != user })
				l.Seen++
			})},
		},
		"UnreadBesideOwn": {
			"looks at the newest 200": {rooms: list(func(s gohub.Store, user string, l *gohub.RoomState) {
				ms, _, _ := s.History(context.Background(), gohub.Query{Room: l.Room, Viewer: user, After: l.Seen, Limit: 2 * gohub.MaxUnread, Newest: true})
				l.Unread = len(slices.DeleteFunc(ms, func(m gohub.Message) bool { return m.Sender == user }))
			})},
			"looks at the oldest 1000": {rooms: list(func(s gohub.Store, user string, l *gohub.RoomState) {
				ms, _, _ := s.History(context.Background(), gohub.Query{Room: l.Room, Viewer: user, After: l.Seen, Limit: 10 * gohub.MaxUnread})
				l.Unread = len(slices.DeleteFunc(ms, func(m gohub.Message) bool { return m.Sender == user }))
			})},
		},
		"UnreadCapped": {"no cap": {rooms: list(func(s gohub.Store, user string, l *gohub.RoomState) {
			l.Unread = count(s, l, user, func(m gohub.Message) bool { return m.Sender != user })
		})}},
		"DirectRooms": {
			"one side only": {append: func(s gohub.Store, ctx context.Context, b []gohub.Message) ([]gohub.Ordered, error) {
				out, err := s.Append(ctx, b)
				for _, m := range b {
					if x, _, ok := m.Room.Direct(); ok && x != m.Sender {
						_, _ = s.Advance(ctx, []gohub.Watermark{{Room: m.Room, User: x, Listing: gohub.ListLeave}})
					}
				}
				return out, err
			}},
			"only the first message lists": {append: func(s gohub.Store, ctx context.Context, b []gohub.Message) ([]gohub.Ordered, error) {
				var leave []gohub.Watermark
				for _, m := range b {
					x, y, ok := m.Room.Direct()
					if ms, _, _ := s.History(ctx, gohub.Query{Room: m.Room, Limit: 1}); !ok || len(ms) == 0 {
						continue
					}
					for _, user := range []string{x, y} {
						ls, _ := s.Rooms(ctx, m.Room.Tenant, user)
						if !slices.ContainsFunc(ls, func(l gohub.RoomState) bool { return l.Room == m.Room }) {
							leave = append(leave, gohub.Watermark{Room: m.Room, User: user, Listing: gohub.ListLeave})
						}
					}
				}
				out, err := s.Append(ctx, b)
				_, _ = s.Advance(ctx, leave)
				return out, err
			}},
			"every room lists": {append: func(s gohub.Store, ctx context.Context, b []gohub.Message) ([]gohub.Ordered, error) {
				out, err := s.Append(ctx, b)
				for _, m := range b {
					_, _ = s.Advance(ctx, []gohub.Watermark{{Room: m.Room, User: m.Sender, Listing: gohub.ListJoin}})
				}
				return out, err
			}},
		},
		"DirectRoomsPrivate": {"lists for both": {append: func(s gohub.Store, ctx context.Context, b []gohub.Message) ([]gohub.Ordered, error) {
			out, err := s.Append(ctx, b)
			for _, m := range b {
				if x, y, ok := m.Room.Direct(); ok {
					_, _ = s.Advance(ctx, []gohub.Watermark{{Room: m.Room, User: x, Listing: gohub.ListJoin}, {Room: m.Room, User: y, Listing: gohub.ListJoin}})
				}
			}
			return out, err
		}}},
		"Tenants": {
			"drops the tenant":      rekeyed(tenantless),
			"glues tenant and room": rekeyed(glued),
			"ignores case":          rekeyed(folded),
			"lists all tenants' rooms": {
				advance: func(s gohub.Store, ctx context.Context, ws []gohub.Watermark) ([]gohub.Watermark, error) {
					ws = slices.Clone(ws)
					for i := range ws {
						ws[i].Room = tenantless(ws[i].Room)
					}
					return s.Advance(ctx, ws)
				},
				rooms: func(s gohub.Store, ctx context.Context, _, user string) ([]gohub.RoomState, error) {
					return s.Rooms(ctx, "", user)
				},
			},
		},
		"DuplicateRace": {"looks, then appends": {append: func(s gohub.Store, ctx context.Context, b []gohub.Message) ([]gohub.Ordered, error) {
			known := make([]bool, len(b))
			for i, m := range b {
				_, known[i], _ = s.Lookup(ctx, m.Room, m.ID)
			}
			pause()
			out, err := s.Append(ctx, b)
			for i := range out {
				if !known[i] && !slices.ContainsFunc(b[:i], func(m gohub.Message) bool { return m.ID == b[i].ID }) && out[i].Err == nil {
					out[i] = gohub.Ordered{Seq: b[i].Seq}
				}
			}
			return out, err
		}}},
		"ConflictRace": {"all have won": {append: answer(func(m *gohub.Message, o *gohub.Ordered) {
			if strings.HasPrefix(m.Sender, "user-") && o.Err != nil {
				*o = gohub.Ordered{Seq: m.Seq}
			}
		})}},
		"CancelRace": {"a message at a time": {append: func(s gohub.Store, ctx context.Context, b []gohub.Message) (out []gohub.Ordered, err error) {
			for i := range b {
				time.Sleep(50 * time.Microsecond)
				o, err := s.Append(ctx, b[i:i+1])
				if err != nil {
					return nil, err
				}
				out = append(out, o...)
			}
			return out, nil
		}}},
		"CancelRaceOfWatermarks": {"a watermark at a time": {advance: func(s gohub.Store, ctx context.Context, ws []gohub.Watermark) (moved []gohub.Watermark, err error) {
			for i := range ws {
				time.Sleep(50 * time.Microsecond)
				m, err := s.Advance(ctx, ws[i:i+1])
				if err != nil {
					return nil, err
				}
				moved = append(moved, m...)
			}
			return moved, nil
		}}},
		"Concurrent": {"a lost write": {append: edit(func(m *gohub.Message) {
			if m.Seq%7 == 0 && len(m.Body) == 2 {
				m.Room.Name = "elsewhere"
			}
		})}},
	}
}
