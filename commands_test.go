package gohub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

const shrugged = `¯\_(ツ)_/¯`

// withCommands starts a hub with commands.
func withCommands(t *testing.T, cfg gohub.Config, cmds ...gohub.Command) *world {
	t.Helper()
	w := start(t, cfg)
	w.hub.Commands(cmds...)
	return w
}

func TestCommandsRewrite(t *testing.T) {
	t.Parallel()
	echo := gohub.Command{Name: "echo", Run: func(_ context.Context, p *gohub.Publish, args string) error {
		p.SetText("[" + args + "]")
		return nil
	}}
	w := withCommands(t, gohub.Config{}, append(gohub.StandardCommands(), echo)...)
	alice, bob := w.as("alice", "r"), w.as("bob", "r")
	text := func(s string) any { return map[string]any{"text": s} }
	for _, c := range []struct {
		body any
		kind string
		want any
	}{
		{"/shrug", "chat", shrugged},
		{"/shrug  who knows ", "chat", "who knows " + shrugged},
		{"/SHRUG", "chat", shrugged},
		{"/me waves\nat all", "me", "waves\nat all"},
		{text("/me waves"), "me", text("waves")},
		{map[string]any{"text": "/me waves", "n": 1.5, "at": []any{"bob"}}, "me", map[string]any{"text": "waves", "n": 1.5, "at": []any{"bob"}}},
		{"/echo\t/me \u2003", "chat", "[/me]"},
		{"/echo", "chat", "[]"},
		{"//shrug", "chat", "/shrug"},
		{"///", "chat", "//"},
		{text("//"), "chat", text("/")},
		// What is no command is not touched.
		{"", "chat", ""},
		{" /shrug", "chat", " /shrug"},
		{"and/or", "chat", "and/or"},
		{17, "chat", 17.0},
		{nil, "chat", nil},
		{[]any{"/shrug"}, "chat", []any{"/shrug"}},
		{map[string]any{"Text": "/shrug"}, "chat", map[string]any{"Text": "/shrug"}},
	} {
		ack := alice.say("r", c.body)
		require.Equal(t, "ack", ack["type"], "%v: %v", c.body, ack)
		m := bob.expect("message", "id", ack["id"])
		require.Equal(t, c.kind, m["kind"], "%v", c.body)
		require.Equal(t, c.want, m["body"], "%v", c.body)
		require.Equal(t, c.want, alice.expect("message", "id", ack["id"])["body"], "%v", c.body)
	}
	ack := alice.say("r", "/shrug", "kind", "code")
	require.Equal(t, "/shrug", bob.expect("message", "id", ack["id"])["body"], "only chat is looked at")
	ack = alice.say("r", "/shrug", "to", "bob")
	require.Equal(t, []any{"bob", shrugged}, fields(bob.expect("message", "id", ack["id"]), "to", "body"), "what is private stays so")

	w.post(gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "bot", Body: []byte(`"/shrug"`)})
	require.Equal(t, "/shrug", bob.expect("message", "sender", "bot")["body"], "the program says what it says")
}

func fields(f frame, names ...string) []any {
	vs := make([]any, len(names))
	for i, name := range names {
		vs[i] = f[name]
	}
	return vs
}

func TestBinaryIsNoCommand(t *testing.T) {
	t.Parallel()
	w := withCommands(t, gohub.Config{}, gohub.StandardCommands()...)
	alice := w.as("alice", "r")
	b := w.bare("user=bob")
	b.text(`{"type":"join","room":"r"}`)
	header := fmt.Sprintf(`{"type":"publish","id":%q,"room":"r"}`, gohub.NewID())
	b.write(0x80|opBinary, append([]byte{1, 0, byte(len(header))}, header+`"/shrug"`...))
	require.Equal(t, `"/shrug"`, alice.expect("message", "sender", "bob")["binary"])
}

func TestWithoutCommandsASlashIsText(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	alice := w.as("alice", "r")
	for _, s := range []string{"/shrug", "//x", "/nothing"} {
		require.Equal(t, "ack", alice.say("r", s)["type"])
		require.Equal(t, s, alice.collect("r", 1)[0]["body"])
	}
}

func TestCommandsThatAreRefused(t *testing.T) {
	t.Parallel()
	failing := func(err error) func(context.Context, *gohub.Publish, string) error {
		return func(context.Context, *gohub.Publish, string) error { return err }
	}
	cmds := append(gohub.StandardCommands(),
		gohub.Command{Name: "no", Run: failing(gohub.Errorf(gohub.CodeForbidden, "not you"))},
		gohub.Command{Name: "fault", Run: failing(errors.New("password is hunter2"))},
		gohub.Command{Name: "roll", Usage: "sides", Run: failing(fmt.Errorf("how many? %w", gohub.ErrUsage))},
		gohub.Command{Name: "boom", Run: func(context.Context, *gohub.Publish, string) error { panic("password is hunter2") }},
		gohub.Command{Name: "long", Run: func(_ context.Context, p *gohub.Publish, _ string) error {
			p.SetText(strings.Repeat("x", 70_000))
			return nil
		}},
		gohub.Command{Name: "badkind", Run: func(_ context.Context, p *gohub.Publish, _ string) error {
			p.Message.Kind = "NO"
			return nil
		}},
	)
	w := withCommands(t, gohub.Config{}, cmds...)
	alice := w.as("alice", "r")
	const slash, list = "// begins a text with a slash", "/help lists the commands, "
	for _, c := range [][3]string{
		{"/shurg", "bad_request", `no command is named "/shurg"; did you mean /shrug? ` + list + slash},
		{"/Shru now", "bad_request", `no command is named "/Shru"; did you mean /shrug? ` + list + slash},
		{"/whp", "bad_request", `no command is named "/whp"; did you mean /who? ` + list + slash},
		{"/usr/bin/env", "bad_request", `no command is named "/usr/bin/env"; ` + list + slash},
		{"/", "bad_request", `no command is named "/"; ` + list + slash},
		{"/ me", "bad_request", `no command is named "/"; ` + list + slash},
		{"/" + strings.Repeat("x", 60_000), "bad_request", `no command is named "/` + strings.Repeat("x", 40) + `…"; ` + list + slash},
		{"/me", "bad_request", "usage: /me text"},
		{"/who else", "bad_request", "usage: /who"},
		{"/msg", "bad_request", "usage: /msg user text"},
		{"/msg bob", "bad_request", "usage: /msg user text"},
		{"/msg b@b.example hello", "bad_request", `user "b@b.example": 1 to 63 of A-Z a-z 0-9 . _ : -`},
		{"/help whi", "bad_request", `no command is named "/whi"; did you mean /who? ` + list + slash},
		{"/roll", "bad_request", "usage: /roll sides"},
		{"/no", "forbidden", "not you"},
		{"/fault", "internal", "something went wrong here"},
		{"/boom", "internal", "something went wrong here"},
		{"/long", "too_large", "the body has 70002 bytes; 64512 are allowed"},
		{"/badkind", "bad_request", `kind "NO": 1 to 32 of a-z 0-9 . _ -`},
	} {
		e := alice.say("r", c[0])
		require.Equal(t, []any{"error", c[1], c[2]}, fields(e, "type", "code", "message"), c[0])
	}
	require.Equal(t, "not_joined", alice.say("q", "/me waves")["code"])
	last := alice.say("r", "still here")
	require.Equal(t, []int64{last.num("seq")}, seqsOf(alice.collect("r", 1)), "nobody has seen any of it")

	few := withCommands(t, gohub.Config{}, gohub.StandardCommands("shrug")...)
	require.Equal(t, `no command is named "/help"; `+slash, few.as("alice", "r").say("r", "/help")["message"])
}

func TestAnswersAreForTheSenderAlone(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, kind func(gohub.Config) gohub.Config) {
		w := withCommands(t, kind(gohub.Config{}), gohub.StandardCommands()...)
		alice, phone, bob := w.as("alice", "r"), w.as("alice", "r"), w.as("bob", "r")
		w.dial("user=carol&name=Carol+C.").join("r")
		ack := alice.say("r", map[string]any{"text": "/who", "n": 1})
		for _, u := range []*user{alice, phone} {
			m := u.expect("message", "id", ack["id"])
			require.Equal(t, []any{"alice", "alice", "notice"}, fields(m, "sender", "to", "kind"))
			require.Equal(t, map[string]any{"text": "3 here: alice, bob, Carol C. (carol)", "n": 1.0}, m["body"])
		}
		helped := alice.say("r", "/help")
		require.Equal(t, `/shrug [text]: appends `+shrugged+`
/me text: says what you do
/msg user text: writes to one user, in the room you share with them
/who: tells you who is here
/help [command]: tells you the commands
// begins a text with a slash`, alice.expect("message", "id", helped["id"])["body"])
		one := alice.say("r", "/help /me")
		require.Equal(t, "/me text: says what you do", alice.expect("message", "id", one["id"])["body"])

		last := alice.say("r", "for all")
		require.Equal(t, []any{"for all"}, bodiesOf(bob.collect("r", 1)))
		replayed := w.as("alice")
		replayed.join("r", 0)
		require.Equal(t, []int64{ack.num("seq"), helped.num("seq"), one.num("seq"), last.num("seq")}, seqsOf(replayed.collect("r", 4)))
		late := w.as("dave")
		late.join("r", 0)
		require.Equal(t, []any{"for all"}, bodiesOf(late.collect("r", 1)))
	})
}

func TestWhoIsBounded(t *testing.T) {
	t.Parallel()
	w := withCommands(t, gohub.Config{}, gohub.StandardCommands("who")...)
	var names []string
	var last *user
	for i := range 23 {
		names = append(names, fmt.Sprintf("u%02d", i))
		last = w.as(names[i], "r")
	}
	ack := last.say("r", "/who")
	require.Equal(t, "23 here: "+strings.Join(names[:20], ", ")+" and 3 more", last.expect("message", "id", ack["id"])["body"])
}

func TestMsg(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, kind func(gohub.Config) gohub.Config) {
		mayJoin := func(_ context.Context, _ gohub.Identity, room gohub.RoomID) error {
			if room.Name == "@alice,mallory" {
				return gohub.Errorf(gohub.CodeForbidden, "blocked")
			}
			return nil
		}
		w := withCommands(t, kind(gohub.Config{MayJoin: mayJoin}), gohub.StandardCommands()...)
		alice, bob, carol := w.as("alice", "r"), w.as("bob", "r"), w.as("carol", "r")
		for i, s := range []string{"/msg bob  /shrug, as you say", "/msg @bob again"} {
			ack := alice.say("r", s)
			require.Equal(t, []any{"ack", "@alice,bob"}, fields(ack, "type", "room"), "%v", ack)
			m := alice.expect("message", "id", ack["id"])
			require.Equal(t, []any{"@alice,bob", "bob", "chat", []string{"/shrug, as you say", "again"}[i]},
				fields(m, "room", "to", "kind", "body"))
			invite := bob.expect("invite", "room", "@alice,bob")
			require.Equal(t, "alice", invite["from"])
		}
		bob.join("@alice,bob", 0)
		require.Equal(t, []any{"/shrug, as you say", "again"}, bodiesOf(bob.collect("@alice,bob", 2)))
		// From that room, too, also by the name of its user.
		ack := bob.say("", "/msg carol by the way", "to", "alice")
		require.Equal(t, "@bob,carol", ack["room"])
		require.Equal(t, "@bob,carol", carol.expect("invite")["room"])
		ack = bob.say("", "/me nods", "to", "alice")
		require.Equal(t, []any{"@alice,bob", "me", "nods"}, fields(alice.expect("message", "id", ack["id"]), "room", "kind", "body"))

		require.Equal(t, []any{"forbidden", "blocked"}, fields(alice.say("r", "/msg mallory hi"), "code", "message"))
		last := alice.say("r", "for all")
		require.Equal(t, []int64{last.num("seq")}, seqsOf(carol.collect("r", 1)))
		require.Equal(t, []int64{last.num("seq")}, seqsOf(bob.collect("r", 1)))
	})
}

// A repeat is acked with what was stored, without the command, wherever the
// command had put it; what was not stored runs.
func TestCommandsAndRetries(t *testing.T) {
	t.Parallel()
	var runs, judged atomic.Int32
	cmds := gohub.StandardCommands("msg")
	once := gohub.Command{Name: "once", Run: func(_ context.Context, p *gohub.Publish, _ string) error {
		p.SetText(fmt.Sprint("run ", runs.Add(1)))
		return nil
	}}
	judge := func(next gohub.PublishFunc) gohub.PublishFunc {
		return func(ctx context.Context, p *gohub.Publish) error {
			judged.Add(1)
			return next(ctx, p)
		}
	}
	store := gohub.NewMemoryStore(gohub.MemoryStoreOptions{})
	w := withCommands(t, gohub.Config{Store: store}, append(cmds, once)...)
	w.hub.Use(judge)
	alice := w.as("alice", "r")
	plain := alice.say("r", "/once", "retry", true)
	require.NotContains(t, plain, "duplicate")
	direct := alice.say("r", "/msg bob psst", "retry", true)
	require.NotContains(t, direct, "duplicate")
	require.EqualValues(t, 1, runs.Load())
	require.EqualValues(t, 2, judged.Load())

	later := withCommands(t, gohub.Config{Store: store}, append(cmds, once)...) // after a restart, say: the broker knows nothing
	later.hub.Use(judge)
	for _, w := range []*world{w, later} {
		alice := w.as("alice", "r")
		for _, c := range []struct {
			text  string
			first frame
		}{{"/once", plain}, {"/msg bob psst", direct}} {
			alice.send(frame{"type": "publish", "id": c.first["id"], "room": "r", "body": c.text, "retry": true})
			again := alice.expect("ack", "id", c.first["id"])
			require.Equal(t, true, again["duplicate"], c.text)
			require.Equal(t, fields(c.first, "room", "seq"), fields(again, "room", "seq"), c.text)
		}
	}
	require.EqualValues(t, 1, runs.Load())
	require.EqualValues(t, 2, judged.Load(), "what is stored is not judged again")
	bob := w.as("bob")
	bob.join("@alice,bob", 0)
	bob.sync()
	require.Equal(t, []any{"psst"}, bodiesOf(bob.messages("@alice,bob")))
}

func TestMiddlewareSeesWhatCommandsMade(t *testing.T) {
	t.Parallel()
	w := withCommands(t, gohub.Config{}, gohub.StandardCommands()...)
	w.hub.Use(func(next gohub.PublishFunc) gohub.PublishFunc {
		return func(ctx context.Context, p *gohub.Publish) error {
			s, ok := p.Text()
			switch {
			case ok && strings.Contains(s, "spam"):
				return gohub.Errorf(gohub.CodeForbidden, "no %q of kind %s in %s", s, p.Message.Kind, p.Message.Room.Name)
			case ok:
				p.SetText(s + "!")
			}
			return next(ctx, p)
		}
	})
	alice := w.as("alice", "r")
	require.Equal(t, `no "spam" of kind me in r`, alice.say("r", "/me spam")["message"])
	require.Equal(t, `no "spam" of kind chat in @alice,bob`, alice.say("r", "/msg bob spam")["message"])
	alice.say("r", "/me waves")
	alice.say("r", map[string]any{"n": 1})
	require.Equal(t, []any{"waves!", map[string]any{"n": 1.0}}, bodiesOf(alice.collect("r", 2)))
}

func TestCommandsThatCannotBe(t *testing.T) {
	t.Parallel()
	hub, err := gohub.New(gohub.Config{AllowAnonymous: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, hub.Shutdown(context.Background())) })
	run := func(context.Context, *gohub.Publish, string) error { return nil }
	for _, name := range []string{"", "/x", "X", "-x", "_x", "x y", "é", "x\n", strings.Repeat("x", 33)} {
		require.Panics(t, func() { hub.Commands(gohub.Command{Name: name, Run: run}) }, name)
	}
	hub.Commands(gohub.Command{Name: "0-_" + strings.Repeat("x", 29), Run: run})
	require.PanicsWithValue(t, "gohub: command /x has no Run", func() { hub.Commands(gohub.Command{Name: "x"}) })
	hub.Commands(gohub.Command{Name: "x", Run: run})
	require.PanicsWithValue(t, "gohub: command /x is registered already", func() { hub.Commands(gohub.Command{Name: "x", Run: run}) })
	require.PanicsWithValue(t, `gohub: no standard command is named "shrugg"`, func() { gohub.StandardCommands("shrugg") })
}

func TestPublishText(t *testing.T) {
	t.Parallel()
	m := gohub.Message{Sender: "alice", Kind: "chat", Body: []byte(`{"text":"a","n":1}`)}
	p := gohub.Publish{Message: &m}
	s, ok := p.Text()
	require.Equal(t, []any{"a", true}, []any{s, ok})
	p.Reply("b")
	require.Equal(t, gohub.Message{Sender: "alice", To: "alice", Kind: "notice", Body: []byte(`{"text":"b","n":1}`)}, m)
	m.Body, m.Binary = []byte(`"bytes"`), true
	_, ok = p.Text()
	require.False(t, ok)
	p.SetText("c")
	require.Equal(t, gohub.Message{Sender: "alice", To: "alice", Kind: "notice", Body: []byte(`"c"`)}, m)
}
