package gohub_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// history asks for a page, with fields given as key, value pairs.
func (u *user) history(room string, fields ...any) frame {
	u.t.Helper()
	q := frame{"type": "history", "room": room}
	for i := 0; i < len(fields); i += 2 {
		q[fields[i].(string)] = fields[i+1]
	}
	return u.ask(q, "history")
}

func TestHistoryPages(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, kind func(gohub.Config) gohub.Config) {
		w := start(t, kind(gohub.Config{}))
		const n = 300
		s := w.fill("r", n)
		u := w.as("alice", "r")
		for name, c := range map[string]struct {
			ask  []any
			want []int64
			more bool
		}{
			"neither bound: the newest":       {nil, s[n-50:], true},
			"a limit":                         {[]any{"limit", 7}, s[n-7:], true},
			"the highest limit":               {[]any{"limit", 200}, s[n-200:], true},
			"before is exclusive":             {[]any{"before", s[100], "limit", 10}, s[90:100], true},
			"before, at a seq of none":        {[]any{"before", s[100] - 1, "limit", 10}, s[90:100], true},
			"before, up to the first":         {[]any{"before", s[10], "limit", 10}, s[:10], false},
			"before, fewer than the limit":    {[]any{"before", s[5], "limit", 10}, s[:5], false},
			"before the first":                {[]any{"before", s[0]}, s[:0], false},
			"before 0":                        {[]any{"before", 0}, s[:0], false},
			"before the future":               {[]any{"before", s[n-1] + 1e12, "limit", 5}, s[n-5:], true},
			"after is exclusive":              {[]any{"after", s[100], "limit", 10}, s[101:111], true},
			"after, at a seq of none":         {[]any{"after", s[100] - 1, "limit", 10}, s[100:110], true},
			"after 0: from the start":         {[]any{"after", 0, "limit", 10}, s[:10], true},
			"after, up to the last":           {[]any{"after", s[n-11], "limit", 10}, s[n-10:], false},
			"after, fewer than the limit":     {[]any{"after", s[n-4], "limit", 10}, s[n-3:], false},
			"after the last":                  {[]any{"after", s[n-1]}, s[:0], false},
			"after the future":                {[]any{"after", s[n-1] + 1e12}, s[:0], false},
			"null bounds are no bounds":       {[]any{"after", nil, "before", nil, "limit", nil}, s[n-50:], true},
			"the whole by the highest limits": {[]any{"after", s[99], "limit", 200}, s[100:], false},
		} {
			t.Run(name, func(t *testing.T) {
				page := u.history("r", c.ask...)
				require.Equal(t, "history", page["type"], "%v", page)
				require.Equal(t, "r", page["room"])
				require.Equal(t, c.want, seqsOf(messagesIn(page)))
				require.Equal(t, c.more, page["more"])
			})
		}
		m := messagesIn(u.history("r", "limit", 1))[0]
		require.Len(t, m["id"], 36)
		delete(m, "id")
		require.Equal(t, frame{"room": "r", "seq": float64(s[n-1]), "sender": "writer", "kind": "chat", "body": n - 1.0}, m)
	})
}

func TestHistoryWalksBothWays(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, kind func(gohub.Config) gohub.Config) {
		w := start(t, kind(gohub.Config{}))
		var want []int64 // what alice may see
		for i := range 120 {
			m := gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "bot", Body: fmt.Append(nil, i)}
			if i%3 == 1 {
				m.To = []string{"alice", "bob", "carol"}[i/3%3]
			}
			if seq := w.post(m); m.To == "" || m.To == "alice" {
				want = append(want, seq)
			}
		}
		u := w.as("alice", "r")
		var back, forth []int64
		for page := u.history("r", "limit", 7); ; page = u.history("r", "limit", 7, "before", back[0]) {
			back = append(seqsOf(messagesIn(page)), back...)
			if page["more"] != true {
				break
			}
		}
		require.Equal(t, want, back)
		for page := u.history("r", "limit", 7, "after", 0); ; page = u.history("r", "limit", 7, "after", forth[len(forth)-1]) {
			forth = append(forth, seqsOf(messagesIn(page))...)
			if page["more"] != true {
				break
			}
		}
		require.Equal(t, want, forth)
	})
}

// What is ordered and not stored yet is in the pages like the rest.
func TestHistoryOfWhatIsNotStored(t *testing.T) {
	t.Parallel()
	store := newSlowStore()
	w := start(t, gohub.Config{Store: store})
	want := w.fill("r", 10)
	alice, bob := w.as("alice", "r"), w.as("bob")
	alice.collect("r", 10)
	store.hold()
	for i := range 20 {
		alice.publish("r", i)
	}
	want = append(want, seqsOf(alice.collect("r", 20))...)
	bob.join("r")
	for name, c := range map[string]struct {
		ask  []any
		want []int64
		more bool
	}{
		"the newest":               {[]any{"limit", 5}, want[25:], true},
		"newest, of both":          {[]any{"limit", 25}, want[5:], true},
		"newest, all":              {[]any{"limit", 30}, want, false},
		"the oldest":               {[]any{"after", 0, "limit", 5}, want[:5], true},
		"oldest, all stored":       {[]any{"after", 0, "limit", 10}, want[:10], true},
		"oldest, of both":          {[]any{"after", 0, "limit", 15}, want[:15], true},
		"oldest, all":              {[]any{"after", 0, "limit", 30}, want, false},
		"after, none stored":       {[]any{"after", want[14], "limit", 5}, want[15:20], true},
		"after, up to the last":    {[]any{"after", want[14], "limit", 15}, want[15:], false},
		"before, of both":          {[]any{"before", want[15], "limit", 10}, want[5:15], true},
		"before, down to the last": {[]any{"before", want[15], "limit", 15}, want[:15], false},
	} {
		page := bob.history("r", c.ask...)
		require.Equal(t, c.want, seqsOf(messagesIn(page)), name)
		require.Equal(t, c.more, page["more"], name)
	}
	store.release()
}

func TestHistoryRefusals(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	u := w.as("alice", "r")
	for name, c := range map[string]struct {
		room string
		ask  []any
		code string
	}{
		"limit 0":          {"r", []any{"limit", 0}, "bad_request"},
		"limit 201":        {"r", []any{"limit", 201}, "bad_request"},
		"limit negative":   {"r", []any{"limit", -1}, "bad_request"},
		"limit a string":   {"r", []any{"limit", "5"}, "bad_request"},
		"before and after": {"r", []any{"before", 5, "after", 1}, "bad_request"},
		"before negative":  {"r", []any{"before", -5}, "bad_request"},
		"after a string":   {"r", []any{"after", "0"}, "bad_request"},
		"not joined":       {"q", nil, "not_joined"},
		"bad room":         {"a b", nil, "bad_room"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.code, u.history(c.room, c.ask...)["code"])
		})
	}
}

func TestHistoryPageStopsAtAMebibyte(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]gohub.Message{
		"json":   {Body: []byte(`"` + strings.Repeat("x", 60_000) + `"`)},
		"binary": {Body: bytes.Repeat([]byte{0xff}, 60_000), Binary: true}, // 80,000 in base64
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, gohub.Config{})
			m.Room, m.Sender = gohub.RoomID{Name: "r"}, "bot"
			var want []int64
			for range 40 {
				want = append(want, w.post(m))
			}
			u := w.bare("user=alice")
			u.text(`{"type":"join","room":"r","since":%d}`, want[39])
			page := func(bound string) []int64 {
				t.Helper()
				u.text(`{"type":"history","room":"r","limit":200%s}`, bound)
				for {
					op, p, err := u.read()
					require.NoError(t, err)
					if op != opText || !bytes.HasPrefix(p, []byte(`{"type":"history"`)) {
						continue
					}
					require.LessOrEqual(t, len(p), 1<<20)
					require.Greater(t, len(p), 1<<20-100_000, "nor much sooner")
					require.Contains(t, string(p[len(p)-60:]), `"more":true`)
					return seqsOf(messagesIn(decoded(t, p)))
				}
			}
			newest := page("")
			require.Equal(t, want[40-len(newest):], newest)
			older := page(fmt.Sprintf(`,"before":%d`, newest[0]))
			require.Equal(t, want[40-len(newest)-len(older):40-len(newest)], older)
			first := page(`,"after":0`)
			require.Equal(t, want[:len(first)], first)
			second := page(fmt.Sprintf(`,"after":%d`, first[len(first)-1]))
			require.Equal(t, want[len(first):len(first)+len(second)], second)
		})
	}
}

// A message larger than a page is a page of its own.
func TestHistoryOfMessagesLargerThanAPage(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{MaxFrame: 2 << 20, MaxQueue: 64 << 20})
	var want []int64
	for range 3 {
		want = append(want, w.post(gohub.Message{
			Room: gohub.RoomID{Name: "r"}, Sender: "bot", Body: []byte(`"` + strings.Repeat("x", 1<<20) + `"`),
		}))
	}
	u := w.as("alice", "r")
	page := u.history("r")
	require.Equal(t, want[2:], seqsOf(messagesIn(page)))
	require.Equal(t, true, page["more"])
	page = u.history("r", "before", want[1])
	require.Equal(t, want[:1], seqsOf(messagesIn(page)))
	require.Equal(t, false, page["more"])
}

func TestHistoryHasBinaryAsBase64(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	u := w.as("alice", "r")
	body := []byte("\x00\xff\xfe>>>???")
	for _, b := range [][]byte{body, {}} {
		id := gohub.NewID()
		u.sendBinary(frame{"type": "publish", "id": id, "room": "r", "to": "bob", "kind": "image"}, b)
		ack := u.expect("ack", "id", id)
		require.Equal(t, frame{
			"id": id, "room": "r", "seq": ack["seq"], "sender": "alice", "to": "bob", "kind": "image",
			"binary": true, "body": base64.StdEncoding.EncodeToString(b),
		}, messagesIn(u.history("r", "limit", 1))[0])
	}
	u.say("r", "text")
	require.NotContains(t, messagesIn(u.history("r", "limit", 1))[0], "binary")
}

func TestHistoryWatermarks(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, kind func(gohub.Config) gohub.Config) {
		w := start(t, kind(gohub.Config{}))
		alice, bob, carol, dave := w.as("alice", "r"), w.as("bob", "r"), w.as("carol", "r"), w.as("dave", "r")
		m1 := alice.say("r", 1).num("seq")
		m2 := alice.say("r", 2).num("seq")
		secret := alice.say("r", "psst", "to", "bob").num("seq")
		m3 := alice.say("r", 3).num("seq")
		last := alice.say("r", "psst", "to", "carol").num("seq")
		bob.reads("r", "delivered", m3, "seen", secret)
		carol.reads("r", "delivered", last, "seen", last)
		dave.reads("r", "seen", m1)
		marks := func(u *user, fields ...any) map[string]any {
			t.Helper()
			u.ask(frame{"type": "rooms"}, "rooms") // stores what waits
			got, ok := u.history("r", fields...)["watermarks"].(map[string]any)
			require.True(t, ok)
			return got
		}
		mark := func(delivered, seen int64) any {
			return map[string]any{"delivered": float64(delivered), "seen": float64(seen)}
		}
		for _, u := range []*user{alice, bob, carol, dave} {
			u.sync() // what it reported has been taken
		}
		require.Equal(t, map[string]any{"bob": mark(m3, secret), "carol": mark(last, last), "dave": mark(m1, m1)}, marks(alice))
		require.Equal(t, map[string]any{"bob": mark(m3, m2), "carol": mark(m3, m3), "dave": mark(m1, m1)}, marks(dave),
			"rounded down to what dave can see")
		require.Equal(t, map[string]any{"bob": mark(m3, secret), "carol": mark(m3, m3), "dave": mark(m1, m1)}, marks(bob))

		// And to what the page has.
		require.Equal(t, map[string]any{"bob": mark(m2, m2), "carol": mark(m2, m2)}, marks(dave, "after", m1, "limit", 1))
		require.Equal(t, map[string]any{"bob": mark(m1, m1), "carol": mark(m1, m1), "dave": mark(m1, m1)}, marks(dave, "before", m2))
		require.Equal(t, map[string]any{"bob": mark(m3, 0), "carol": mark(m3, m3)}, marks(dave, "limit", 1))
		require.Empty(t, marks(dave, "after", m3))
	})
}

// A page tells of 200 users, those who have got furthest.
func TestHistoryHasTheFurthestWatermarks(t *testing.T) {
	t.Parallel()
	store := gohub.NewMemoryStore(gohub.MemoryStoreOptions{})
	w := start(t, gohub.Config{Store: store})
	room := gohub.RoomID{Name: "r"}
	seqs := w.fill("r", 3)
	var ws []gohub.Watermark
	for i := range 250 {
		seen := seqs[0]
		if i >= 100 {
			seen = seqs[2]
		}
		ws = append(ws, gohub.Watermark{Room: room, User: fmt.Sprintf("u%03d", i), Seen: seen, Delivered: seen})
	}
	_, err := store.Advance(t.Context(), ws)
	require.NoError(t, err)
	marks := w.as("alice", "r").history("r")["watermarks"].(map[string]any)
	require.Len(t, marks, 200)
	for i := 100; i < 250; i++ {
		require.Contains(t, marks, fmt.Sprintf("u%03d", i))
	}
}
