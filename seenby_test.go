package gohub_test

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// seenBy reads whom a message has reached, as "user:status".
func (w *world) seenBy(viewer string, q gohub.MarkQuery) (got []string) {
	w.t.Helper()
	for r, err := range w.hub.SeenBy(w.t.Context(), viewer, q) {
		require.NoError(w.t, err)
		got = append(got, fmt.Sprintf("%s:%s", r.User, r.Status))
	}
	return got
}

func TestStatus(t *testing.T) {
	t.Parallel()
	w := gohub.Watermark{Delivered: 20, Seen: 10}
	for seq, want := range map[int64]gohub.Status{
		1: gohub.StatusSeen, 10: gohub.StatusSeen, 11: gohub.StatusDelivered, 20: gohub.StatusDelivered, 21: gohub.StatusSaved,
	} {
		require.Equal(t, want, w.Status(seq), "%d", seq)
	}
}

func TestSeenBy(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, kind func(gohub.Config) gohub.Config) {
		w := start(t, kind(gohub.Config{}))
		room := gohub.RoomID{Name: "r"}
		alice, bob, carol, dave := w.as("alice", "r"), w.as("bob", "r"), w.as("carol", "r"), w.as("dave", "r")
		first := alice.say("r", 1).num("seq")
		secret := alice.say("r", "psst", "to", "carol").num("seq")
		self := bob.say("r", "note", "to", "bob").num("seq")
		unread := bob.say("r", "hello?", "to", "aaron").num("seq")
		last := bob.say("r", 2).num("seq")
		bob.reads("r", "delivered", last, "seen", first)
		carol.reads("r", "seen", last)
		dave.reads("r", "delivered", first)
		alice.reads("r", "seen", last)
		for _, u := range []*user{alice, bob, carol, dave} {
			u.sync() // what it reported has been taken
		}
		for name, c := range map[string]struct {
			viewer string
			q      gohub.MarkQuery
			want   []string
		}{
			"all but its author":               {"dave", gohub.MarkQuery{Seq: first}, []string{"bob:seen", "carol:seen", "dave:delivered"}},
			"those it has not reached are not": {"dave", gohub.MarkQuery{Seq: last}, []string{"alice:seen", "carol:seen"}},
			"the program":                      {"", gohub.MarkQuery{Seq: last}, []string{"alice:seen", "carol:seen"}},
			"page by page":                     {"dave", gohub.MarkQuery{Seq: first, Limit: 1}, []string{"bob:seen", "carol:seen", "dave:delivered"}},
			"from somebody on":                 {"dave", gohub.MarkQuery{Seq: first, After: "bob"}, []string{"carol:seen", "dave:delivered"}},
			"from nobody on":                   {"dave", gohub.MarkQuery{Seq: first, After: "c"}, []string{"carol:seen", "dave:delivered"}},
			"from the last on":                 {"dave", gohub.MarkQuery{Seq: first, After: "dave"}, nil},
			"a private message, its author":    {"alice", gohub.MarkQuery{Seq: secret}, []string{"carol:seen"}},
			"a private message, its reader":    {"carol", gohub.MarkQuery{Seq: secret}, []string{"carol:seen"}},
			"a private message, the program":   {"", gohub.MarkQuery{Seq: secret}, []string{"carol:seen"}},
			"a private message, from before":   {"", gohub.MarkQuery{Seq: secret, After: "bob"}, []string{"carol:seen"}},
			"a private message, from its one":  {"", gohub.MarkQuery{Seq: secret, After: "carol"}, nil},
			"a private message, not received":  {"", gohub.MarkQuery{Seq: unread}, nil},
			"a note to oneself":                {"bob", gohub.MarkQuery{Seq: self}, nil},
		} {
			c.q.Room = room
			require.Equal(t, c.want, w.seenBy(c.viewer, c.q), name)
		}

		for name, c := range map[string]struct {
			viewer string
			q      gohub.MarkQuery
			code   gohub.Code
		}{
			"another's private message": {"dave", gohub.MarkQuery{Room: room, Seq: secret}, gohub.CodeNotFound},
			"another's note":            {"alice", gohub.MarkQuery{Room: room, Seq: self}, gohub.CodeNotFound},
			"between two messages":      {"dave", gohub.MarkQuery{Room: room, Seq: first + 1}, gohub.CodeNotFound},
			"no seq":                    {"dave", gohub.MarkQuery{Room: room}, gohub.CodeNotFound},
			"a negative one":            {"dave", gohub.MarkQuery{Room: room, Seq: math.MinInt64}, gohub.CodeNotFound},
			"a huge one":                {"dave", gohub.MarkQuery{Room: room, Seq: math.MaxInt64}, gohub.CodeNotFound},
			"another room":              {"dave", gohub.MarkQuery{Room: gohub.RoomID{Name: "q"}, Seq: first}, gohub.CodeNotFound},
			"another tenant":            {"dave", gohub.MarkQuery{Room: gohub.RoomID{Tenant: "t", Name: "r"}, Seq: first}, gohub.CodeNotFound},
			"a cursor that is none":     {"dave", gohub.MarkQuery{Room: room, Seq: first, After: "a\x00"}, gohub.CodeBadRequest},
		} {
			n := 0
			for r, err := range w.hub.SeenBy(t.Context(), c.viewer, c.q) {
				var e *gohub.Error
				require.ErrorAs(t, err, &e, name)
				require.Equal(t, c.code, e.Code, name)
				require.Zero(t, r, name)
				n++
			}
			require.Equal(t, 1, n, name)
		}
	})
}

// Of the many who have got past a private message, the Store is asked for the
// one whom it concerns, whatever the names around it.
func TestSeenByOfPrivateMessagesReadsOneUser(t *testing.T) {
	t.Parallel()
	names := []string{"-", "-a", "A", "a", "a-", "a.", "a:", "a_", "az", "b", "b-", "b0", "user-1", "user-10", "user-9", "z", "zz"}
	store := &countedMarks{Store: gohub.NewMemoryStore(gohub.MemoryStoreOptions{})}
	w := start(t, gohub.Config{Store: store})
	room := gohub.RoomID{Name: "r"}
	for _, to := range names {
		seq := w.post(gohub.Message{Room: room, Sender: "bot", To: to, Body: []byte("1")})
		var ws []gohub.Watermark
		for _, name := range names {
			ws = append(ws, gohub.Watermark{Room: room, User: name, Seen: seq})
		}
		_, err := store.Advance(t.Context(), ws)
		require.NoError(t, err)
		store.read = 0
		require.Equal(t, []string{to + ":seen"}, w.seenBy("", gohub.MarkQuery{Room: room, Seq: seq}))
		require.Equal(t, 1, store.read, "watermarks read for %s", to)
	}
}

// countedMarks counts the watermarks that are read.
type countedMarks struct {
	gohub.Store
	read int
}

func (s *countedMarks) Watermarks(ctx context.Context, q gohub.MarkQuery) ([]gohub.Watermark, error) {
	ws, err := s.Store.Watermarks(ctx, q)
	s.read += len(ws)
	return ws, err
}

// A message that is shown and not stored yet is there, and a page that cannot
// be read ends the sequence with its error.
func TestSeenByBesideTheStore(t *testing.T) {
	t.Parallel()
	slow := newSlowStore()
	w := start(t, gohub.Config{Store: slow})
	alice, bob := w.as("alice", "r"), w.as("bob", "r")
	slow.hold()
	alice.publish("r", 1)
	seq := bob.collect("r", 1)[0].num("seq")
	bob.reads("r", "seen", seq)
	bob.sync()
	require.Equal(t, []string{"bob:seen"}, w.seenBy("alice", gohub.MarkQuery{Room: gohub.RoomID{Name: "r"}, Seq: seq}))
	slow.release()

	broken := &brokenStore{Store: gohub.NewMemoryStore(gohub.MemoryStoreOptions{})}
	w = start(t, gohub.Config{Store: broken})
	room := gohub.RoomID{Name: "r"}
	seq = w.post(gohub.Message{Room: room, Sender: "bot", Body: []byte("1")})
	var ws []gohub.Watermark
	for i := range 5 {
		ws = append(ws, gohub.Watermark{Room: room, User: fmt.Sprint("user-", i), Seen: seq})
	}
	_, err := broken.Advance(t.Context(), ws)
	require.NoError(t, err)
	read := func(stop int) (users []string, err error) {
		for r, err := range w.hub.SeenBy(t.Context(), "", gohub.MarkQuery{Room: room, Seq: seq, Limit: 2}) {
			if err != nil {
				return users, err
			}
			if users = append(users, r.User); len(users) == stop {
				broken.broken("Watermarks", 1)
			}
		}
		return users, nil
	}
	users, err := read(2)
	require.ErrorIs(t, err, errSecret)
	require.Equal(t, []string{"user-0", "user-1"}, users)
	users, err = read(0)
	require.NoError(t, err)
	require.Len(t, users, 5)
	again := w.hub.SeenBy(t.Context(), "", gohub.MarkQuery{Room: room, Seq: seq, Limit: 2})
	for range 2 { // a sequence begins anew
		n := 0
		for _, err := range again {
			require.NoError(t, err)
			n++
		}
		require.Equal(t, 5, n)
	}
	broken.broken("History", 1)
	users, err = read(0)
	require.ErrorIs(t, err, errSecret)
	require.Empty(t, users)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range w.hub.SeenBy(ctx, "", gohub.MarkQuery{Room: room, Seq: seq}) {
		require.ErrorIs(t, err, context.Canceled)
	}
}
