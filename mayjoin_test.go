package gohub_test

import (
	"context"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

func TestListedRooms(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		rooms []string // of the identity
		room  string
		may   bool
	}{
		{"no list", nil, "general", true},
		{"empty list", []string{}, "general", false},
		{"listed", []string{"general"}, "general", true},
		{"one of several", []string{"a", "general", "b"}, "general", true},
		{"not listed", []string{"a", "b"}, "general", false},
		{"longer", []string{"general"}, "general2", false},
		{"shorter", []string{"general"}, "genera", false},
		{"another case", []string{"General"}, "general", false},
		{"wildcard", []string{"team-*"}, "team-red", true},
		{"wildcard for nothing", []string{"team-*"}, "team-", true},
		{"wildcard, shorter", []string{"team-*"}, "team", false},
		{"wildcard, elsewhere", []string{"team-*"}, "my-team-red", false},
		{"wildcard knows no parts of names", []string{"team:*"}, "team:a:b.c", true},
		{"wildcard for all", []string{"*"}, "general", true},
		{"wildcard in front", []string{"*-red"}, "team-red", false},
		{"wildcard within", []string{"team-*-red"}, "team-x-red", false},
		{"two wildcards", []string{"team-**"}, "team-red", false},
		{"question mark", []string{"team-?"}, "team-1", false},
		{"class", []string{"team-[a-z]"}, "team-a", false},
		{"regular expression", []string{".*"}, "general", false},
		{"dot", []string{"a.c"}, "abc", false},
		{"empty entry", []string{""}, "general", false},
		{"space", []string{" general"}, "general", false},
		{"direct room", []string{}, "@alice,bob", true},
		{"direct room, as the second", []string{}, "@aaron,alice", true},
		{"direct room, others listed", []string{"general"}, "@alice,bob", true},
		{"direct room, without a list", nil, "@alice,bob", true},
		{"others' direct room", []string{"*"}, "@bob,carol", false},
		{"others' direct room, without a list", nil, "@bob,carol", false},
		{"no direct room after all", []string{"general"}, "@bob,alice", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			who := gohub.Identity{User: "alice", Tenant: "acme", Rooms: c.rooms}
			err := gohub.ListedRooms(t.Context(), who, gohub.RoomID{Tenant: "acme", Name: c.room})
			if c.may {
				require.NoError(t, err)
				err = gohub.ListedRooms(t.Context(), who, gohub.RoomID{Tenant: "umbrella", Name: c.room}) // another tenant's
			}
			require.Equal(t, gohub.CodeForbidden, codeOf(t, err))
		})
	}
}

// It is a hub's default, and a part of a program's own rule if that wants it.
func TestJoinByListedRooms(t *testing.T) {
	t.Parallel()
	banned := gohub.Config{MayJoin: func(ctx context.Context, who gohub.Identity, room gohub.RoomID) error {
		if room.Name == "team-blue" {
			return gohub.Errorf(gohub.CodeForbidden, "closed")
		}
		return gohub.ListedRooms(ctx, who, room)
	}}
	for name, cfg := range map[string]gohub.Config{"default": {}, "own": banned} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, cfg)
			all, some := w.dial("user=bob"), w.dial("user=alice&rooms=general&rooms=team-*")
			all.join("board")
			some.join("general")
			some.join("team-red")
			some.fails("forbidden", frame{"type": "join", "room": "board"})
			some.fails("bad_room", frame{"type": "join", "room": "team-*"})
			some.fails("forbidden", frame{"type": "join", "room": "@bob,carol"})
			require.Equal(t, "ack", some.say("", "hi", "to", "bob")["type"], "direct rooms are no matter of the list")
			some.join("@alice,carol")
			require.NoError(t, w.hub.Join(some.session(), "board"), "nor is what the program does")
			if name == "own" {
				some.fails("forbidden", frame{"type": "join", "room": "team-blue"})
			}
		})
	}
}

// The wildcard is all that is special: the same in regular expressions.
func FuzzListedRooms(f *testing.F) {
	for _, s := range [][2]string{
		{"general", "general"}, {"team-*", "team-red"}, {"*", "a"}, {"", "a"}, {"a**", "a*b"}, {"*a", "*a"}, {"a.*", "ab"}, {"@*", "@a,b"}, {"@*", "@b,c"}, {"(", "("},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, entry, room string) {
		id := gohub.RoomID{Name: room}
		a, b, direct := id.Direct()
		pattern := "^" + regexp.QuoteMeta(entry) + "$"
		if n := len(entry); n > 0 && entry[n-1] == '*' {
			pattern = "^" + regexp.QuoteMeta(entry[:n-1]) + "(?s:.*)$"
		}
		re, err := regexp.Compile(pattern)
		if err != nil { // not UTF-8
			t.Skip()
		}
		want := re.MatchString(room)
		if direct { // whatever is listed
			want = a == "a" || b == "a"
		}
		for _, rooms := range [][]string{{entry}, {"", entry}, {entry, ""}} { // "" lists no room that there can be
			err := gohub.ListedRooms(t.Context(), gohub.Identity{User: "a", Rooms: rooms}, id)
			if want != (err == nil) && room != "" {
				t.Fatalf("%q lists %q: %v", rooms, room, err)
			}
		}
	})
}
