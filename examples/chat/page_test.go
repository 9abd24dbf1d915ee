package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/a-h/templ"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

const attack = `</bubble><script>alert(1)</script><img src=x onerror=alert(1)>"' <b>&amp;`

// A stage is a chat in which things have happened.
type stage struct {
	t     *testing.T
	app   *app
	store gohub.Store
}

func newStage(t *testing.T, store gohub.Store) *stage {
	t.Helper()
	past := historyOfTest(t)
	if store == nil {
		store = past.store
	}
	past.store = store
	a, err := newApp(config{}, past, cluster{}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, a.hub.Shutdown(context.WithoutCancel(t.Context()))) })
	return &stage{t, a, store}
}

// say publishes a message, whose text is of a JSON object.
func (s *stage) say(sender, room, text string, change ...func(*gohub.Message)) gohub.Message {
	s.t.Helper()
	body, err := json.Marshal(map[string]string{"text": text})
	require.NoError(s.t, err)
	m := gohub.Message{Room: gohub.RoomID{Name: room}, Sender: sender, Body: body}
	for _, f := range change {
		f(&m)
	}
	m, err = s.app.hub.Publish(s.t.Context(), m)
	require.NoError(s.t, err)
	return m
}

func only(user string) func(*gohub.Message)   { return func(m *gohub.Message) { m.To = user } }
func ofKind(kind string) func(*gohub.Message) { return func(m *gohub.Message) { m.Kind = kind } }

// mark advances a user in a room.
func (s *stage) mark(user, room string, delivered, seen int64) {
	s.t.Helper()
	_, err := s.store.Advance(s.t.Context(), []gohub.Watermark{{Room: gohub.RoomID{Name: room}, User: user, Delivered: delivered, Seen: seen, Listing: gohub.ListJoin}})
	require.NoError(s.t, err)
}

// A visit is a page as its reader gets it.
type visit struct {
	*node
	status int
	html   string
	boot   boot
}

// visit opens an address as a user who has logged in.
func (s *stage) visit(user, address string, header ...string) visit {
	s.t.Helper()
	r := withCookies(do(s.app.handler, loginRequest(user)), "GET", address)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return readPage(s.t, do(s.app.handler, r))
}

func readPage(t *testing.T, w *httptest.ResponseRecorder) visit {
	t.Helper()
	v := visit{status: w.Code, html: w.Body.String()}
	require.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"), v.html)
	assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	v.node = parseHTML(t, v.html)
	if data := v.all("script#boot"); len(data) == 1 {
		require.NoError(t, json.Unmarshal([]byte(data[0].children[0].text), &v.boot))
	}
	return v
}

// bubbles are what there is to read.
func (v visit) bubbles() (texts []string) {
	for _, b := range v.all("div.bubble") {
		texts = append(texts, b.words())
	}
	return texts
}

func TestFirstPaint(t *testing.T) {
	s := newStage(t, nil)
	first := s.say("alice", "general", "hello")
	s.say("bob", "general", "good\n morning")
	s.say("bob", "general", "look: https://example.org/a?b=1&c=2, or not")
	s.say("bob", "general", "only for carol", only("carol"))
	s.say("bob", "general", "only for alice", only("alice"))
	s.say("bob", "general", "waves", ofKind("me"))
	s.say("alice", "general", "2 here", ofKind("notice"), only("alice"))
	s.say("bob", "general", "not the server", ofKind("notice"))
	s.say("alice", "general", "carol has not read it", only("carol"))
	s.say("alice", "general", "dave has got it", only("dave"))
	last := s.say("alice", "general", "bye")
	s.mark("dave", "general", last.Seq, 0)
	s.mark("bob", "general", last.Seq, first.Seq)
	s.mark("alice", "general", last.Seq+1, 0) // who does not count for herself

	v := s.visit("alice", "/")
	require.Equal(t, http.StatusOK, v.status)
	assert.Equal(t, []string{
		"hello", "good morning", "look: https://example.org/a?b=1&c=2, or not", "only for alice", "* bob waves", "2 here", "not the server",
		"carol has not read it", "dave has got it", "bye",
	}, v.bubbles())
	assert.NotContains(t, v.html, "only for carol")
	assert.Contains(t, v.html, ">good\n morning<", "all space is kept")

	link := v.one(t, "div#log").one(t, "a")
	assert.Equal(t, "https://example.org/a?b=1&c=2", link.attrs["href"])
	assert.Equal(t, "noopener noreferrer nofollow ugc", link.attrs["rel"])

	items := v.all("li.message")
	var seq int64
	for _, li := range items {
		n, err := strconv.ParseInt(li.attrs["data-seq"], 10, 64)
		require.NoError(t, err)
		assert.Greater(t, n, seq, "ascending")
		seq = n
	}
	type shape struct {
		class, name, state, only string
	}
	var shapes []shape
	for _, li := range items {
		shapes = append(shapes, shape{strings.Join(strings.Fields(li.attrs["class"]), " "), li.one(t, "strong.name").words(), li.attrs["data-state"], li.one(t, "span.only").words()})
	}
	assert.Equal(t, []shape{
		{"message mine", "You", "seen", ""},
		{"message", "bob", "", ""},
		{"message follows", "bob", "", ""},
		{"message", "bob", "", "only you and bob"},
		{"message told action", "bob", "", ""},
		{"message told notice", "You", "", ""},
		{"message", "bob", "", ""},
		{"message mine", "You", "saved", "only you and carol"}, // though bob is further
		{"message mine again", "You", "delivered", "only you and dave"},
		{"message mine", "You", "delivered", ""},
	}, shapes)
	assert.Equal(t, locales[0].T("tick.seen"), items[0].one(t, "span.ticks").words())

	assert.Len(t, v.all("li.day"), 1)
	assert.Empty(t, v.all("li.divider"), "nobody knows what alice has read")
	assert.Equal(t, "#general", v.one(t, "h1").words())
	require.NotNil(t, v.boot.Since)
	assert.Equal(t, last.Seq, *v.boot.Since)
	assert.Equal(t, marks{Delivered: last.Seq, Seen: first.Seq}, v.boot.Marks)
	assert.Equal(t, map[string]marks{"bob": v.boot.Marks, "dave": {Delivered: last.Seq}}, v.boot.Others)
	assert.Equal(t, "alice", v.boot.User)
	assert.InDelta(t, time.Now().Add(5*time.Minute).UnixMilli(), v.boot.Expires, 60_000)
	assert.False(t, v.boot.More)
	assert.True(t, v.boot.Complete)
	assert.Len(t, v.boot.Commands, len(gohub.StandardCommands()))
	assert.False(t, v.one(t, "header#banner").has("on"))
}

func TestRoomsUnreadAndPreviews(t *testing.T) {
	s := newStage(t, nil)
	read := s.say("bob", "general", "read")
	s.say("bob", "general", "unread 1")
	s.say("alice", "general", "mine is not")
	s.say("carol", "general", "unread 2")
	s.say("carol", "garden", "old")
	s.mark("alice", "general", 0, read.Seq)
	s.mark("alice", "garden", 0, 0)
	s.mark("alice", "attic", 0, 0)
	long := strings.Repeat("ä ", 100)
	s.say("alice", "garden", long)
	s.say("bob", "@alice,bob", "dear alice")
	s.say("alice", "@alice,carol", "dear carol")
	s.say("bob", "@bob,carol", "none of your business")
	s.say("bob", "secret", "not joined")
	for i := range gohub.MaxUnread + 5 {
		s.say("zoe", "@alice,zoe", fmt.Sprint(i))
	}

	s.say("alice", "@alice,zoe", "1 here: alice", ofKind("notice"), only("alice")) // the answer to a command is no news

	v := s.visit("alice", "/")
	type entry struct{ name, unread, words, preview string }
	read1 := func(list string) (got []entry) {
		for _, li := range v.one(t, list).all("li.room") {
			badge := li.one(t, "span.badge")
			got = append(got, entry{li.attrs["data-room"], badge.words(), li.one(t, "span.unread").words(), li.one(t, "span.preview").words()})
			assert.Equal(t, li.one(t, "span.unread").words() == "", badge.is("hidden"))
			assert.Equal(t, "/?room="+url.QueryEscape(li.attrs["data-room"]), li.one(t, "a").attrs["href"])
		}
		return got
	}
	assert.Equal(t, []entry{
		{"general", "2", ", 2 unread", "carol: unread 2"},
		{"random", "0", "", ""},
		{"attic", "0", "", ""},
		{"garden", "1", ", 1 unread", "You: " + strings.Repeat("ä ", 40) + "…"},
	}, read1("ul#rooms"), "presets first, then by name")
	assert.Equal(t, []entry{
		{"@alice,zoe", "99+", ", 100 unread", "104"},
		{"@alice,carol", "0", "", "You: dear carol"},
		{"@alice,bob", "1", ", 1 unread", "dear alice"},
	}, read1("ul#direct"), "the last first")
	assert.Equal(t, "page", v.one(t, "ul#rooms").all("a")[0].attrs["aria-current"])
	assert.True(t, v.one(t, "p#direct-none").is("hidden"))

	// The divider stands before the first that is unread, and its message has a heading of its own.
	var order []string
	for _, li := range v.one(t, "ol#messages").all("li") {
		order = append(order, strings.TrimSpace(li.attrs["class"]))
	}
	assert.Equal(t, []string{"day", "message", "divider", "message", "message mine", "message"}, order)
	assert.Equal(t, read.Seq, v.boot.Seen)
	require.Len(t, v.boot.Rooms, 6)

	direct := s.visit("alice", "/?room=@alice,bob")
	assert.Equal(t, []string{"dear alice"}, direct.bubbles())
	assert.Equal(t, "bob", direct.one(t, "h1").words())
	assert.False(t, direct.one(t, "button#leave").is("hidden"))
	for _, page := range []visit{v, direct} {
		for _, secret := range []string{"none of your business", "not joined", "@bob,carol"} {
			assert.NotContains(t, page.html, secret)
		}
	}
}

func TestRoomsThatAreNotOpen(t *testing.T) {
	s := newStage(t, nil)
	s.say("bob", "@bob,carol", "none of your business")
	s.say("bob", "general", "for all")
	for i, room := range []string{"@bob,carol", "@carol,bob", "@alice", "@", "<script>alert(1)</script>", `" onload="x`, "a/b", strings.Repeat("x", 129), "room with spaces"} {
		v := s.visit("alice", "/?room="+url.QueryEscape(room))
		assert.Equal(t, http.StatusForbidden, v.status, room)
		assert.Equal(t, []string{"for all"}, v.bubbles(), room)
		assert.Equal(t, "general", v.boot.Room)
		assert.True(t, v.one(t, "header#banner").has("on"))
		field, notice, refusal := v.one(t, "input#join-name"), "This room is not open to you.", ""
		if i > 0 { // no room can be called that
			refusal = locales[0].T("rooms.join.invalid")
			notice = refusal
			assert.Equal(t, room, field.attrs["value"], "what was typed is there to be mended")
		}
		assert.Equal(t, notice, v.one(t, "p#banner-text").words(), room)
		assert.Equal(t, refusal, v.one(t, "p#join-name-error").words(), room)
		assert.Equal(t, refusal != "", field.is("aria-invalid"), room)
		assert.NotContains(t, v.html, "none of your business")
		assert.NotContains(t, v.html, "alert(1)</script>")
	}
	assert.Equal(t, []string{"none of your business"}, s.visit("carol", "/?room=@bob,carol").bubbles())
}

// visitAs opens an address as somebody whom a program of another kind has let in.
func (s *stage) visitAs(who gohub.Identity, address string) visit {
	s.t.Helper()
	files, err := newStatic()
	require.NoError(s.t, err)
	users := gohub.AuthenticatorFunc(func(*http.Request) (gohub.Identity, error) { return who, nil })
	mux := http.NewServeMux()
	(&pages{hub: s.app.hub, store: s.store, static: files, users: users}).route(mux)
	return readPage(s.t, do(mux, httptest.NewRequest("GET", address, nil)))
}

// Lists and previews go by the rules as well: who once was in a room and may not
// be in it any more reads nothing of it.
func TestListsShowOpenRoomsAlone(t *testing.T) {
	s := newStage(t, nil)
	s.say("bob", "general", "general secret")
	s.say("bob", "random", "for random")
	s.say("bob", "team-red", "for red")
	s.say("bob", "team-blue", "blue secret")
	s.say("bob", "@alice,bob", "dear alice")
	for _, room := range []string{"general", "team-red", "team-blue", "@alice,bob"} {
		s.mark("alice", room, 0, 0)
	}
	rooms := func(v visit) (names []string) {
		for _, li := range v.one(t, "nav#side").all("li.room") {
			names = append(names, li.attrs["data-room"])
		}
		return names
	}
	who := gohub.Identity{User: "alice", Rooms: []string{"random", "team-red"}}
	for _, tt := range []struct {
		address string
		status  int
		room    string
	}{
		{"/", http.StatusForbidden, "random"},
		{"/?room=general", http.StatusForbidden, "random"},
		{"/?room=team-blue", http.StatusForbidden, "random"},
		{"/?room=random", http.StatusOK, "random"},
		{"/?room=team-red", http.StatusOK, "team-red"},
		{"/?room=@alice,bob", http.StatusOK, "@alice,bob"},
	} {
		v := s.visitAs(who, tt.address)
		assert.Equal(t, tt.status, v.status, tt.address)
		assert.Equal(t, tt.room, v.boot.Room, tt.address)
		assert.Equal(t, []string{"random"}, v.boot.Presets)
		assert.Equal(t, []string{"random", "team-red", "@alice,bob"}, rooms(v), tt.address)
		assert.Len(t, v.boot.Rooms, 2, "those that alice has joined")
		assert.NotContains(t, v.html, "secret", tt.address)
		assert.True(t, v.boot.Complete)
	}

	who.Rooms = []string{}
	none := s.visitAs(who, "/")
	assert.Equal(t, http.StatusForbidden, none.status)
	assert.Empty(t, none.bubbles())
	assert.Equal(t, []string{"@alice,bob"}, rooms(none))
	assert.Equal(t, "gohub chat", none.one(t, "h1").words())
	assert.Equal(t, "This room is not open to you.", none.one(t, "p#banner-text").words())
	assert.NotContains(t, none.html, "secret")
	assert.Nil(t, none.boot.Since)
	assert.Equal(t, presets[:1], none.boot.Presets, "there the script is told no")
	assert.Equal(t, presets[0], none.boot.Room)
}

// Names come from elsewhere as well: a login may give any. Whatever is said or
// called is text.
func TestWhatOthersWriteIsText(t *testing.T) {
	s := newStage(t, nil)
	s.say("bob", "general", attack)
	s.say("bob", "general", attack, ofKind("me"))
	s.say("bob", "general", `https://example.org/"onmouseover="alert(1) https://example.org/<script>`)
	v := s.visit("alice", "/")
	assert.Equal(t, strings.Join(strings.Fields(attack), " "), v.bubbles()[0])
	assert.NotContains(t, v.html, "<script>")
	assert.NotContains(t, v.html, "onerror=alert(1)>")
	assert.Len(t, v.all("script"), 2, "its own: boot and app.js")
	for _, img := range v.all("img") {
		assert.NotEqual(t, "x", img.attrs["src"])
	}
	for _, a := range v.one(t, "ol#messages").all("a") {
		assert.Equal(t, "https://example.org/", a.attrs["href"])
		assert.False(t, a.is("onmouseover"))
	}

	l := locales[0]
	files, err := newStatic()
	require.NoError(t, err)
	p := (&pages{static: files}).blank(httptest.NewRequest("GET", "/", nil))
	p.Boot = boot{User: attack, Room: attack}
	p.Title, p.Notice, p.Beginning, p.Back = attack, attack, attack, attack
	p.Me = personView{User: attack, Name: attack, Hue: attack, Initial: attack}
	p.Rooms = []roomView{{Name: attack, Href: attack, Label: attack, Head: attack, Badge: attack, Preview: attack}}
	p.People = []personView{p.Me}
	p.Lines = []line{
		messageItem(l, messageView{attack, attack, attack, attack, attack, attack, attack, "mine", false, "sent", true, attack, attack, "hue1", attack, spans(attack)}),
		dayItem(dayView{attack, attack}),
	}
	for _, c := range []templ.Component{chatPage(p), loginPage(p, attack, attack)} {
		var html bytes.Buffer
		require.NoError(t, c.Render(t.Context(), &html))
		root := parseHTML(t, html.String())
		for _, n := range root.all("") {
			assert.False(t, n.is("onerror"), "%v", n)
			assert.NotEqual(t, "b", n.name)
			assert.NotEqual(t, "x", n.attrs["src"])
		}
		assert.NotContains(t, html.String(), "<script>")
	}
}

func TestLinks(t *testing.T) {
	for text, want := range map[string]string{
		"see https://a.example/x.":               "https://a.example/x",
		"(http://a.example)":                     "http://a.example",
		"https://a.example/b_(c)":                "https://a.example/b_(c)",
		"(https://a.example/b_(c))!":             "https://a.example/b_(c)",
		"https://a.example/?q=1&r='x'":           "https://a.example/?q=1&r='x",
		"mailto:a@b.example, please":             "mailto:a@b.example",
		"xhttps://a.example":                     "",
		"https:///x http:// https://.":           "",
		"javascript:alert(1) data:text/html,x":   "",
		"HTTPS://A.EXAMPLE":                      "",
		"http://[":                               "",
		"https://a.example\nhttps://b.example/ä": "https://a.example https://b.example/ä",
	} {
		var found []string
		var whole strings.Builder
		for _, s := range spans(text) {
			whole.WriteString(s.text)
			if s.href != "" {
				found = append(found, s.href)
			}
		}
		assert.Equal(t, want, strings.Join(found, " "), text)
		assert.Equal(t, text, whole.String())
	}
}

func TestLongRoom(t *testing.T) {
	s := newStage(t, nil)
	var seqs []string
	for i := range 2*pageMessages + 1 {
		seqs = append(seqs, strconv.FormatInt(s.say("bob", "random", fmt.Sprint(i)).Seq, 10))
	}
	v := s.visit("alice", "/?room=random")
	for want := 2*pageMessages + 1 - pageMessages; ; want -= pageMessages {
		items := v.all("li.message")
		more := want > 0
		assert.Equal(t, more, v.boot.More)
		assert.Equal(t, !more, v.one(t, "form#earlier").is("hidden"))
		assert.Equal(t, more, v.one(t, "p#beginning").is("hidden"))
		assert.Equal(t, seqs[max(want, 0)], items[0].attrs["data-seq"])
		if !more {
			break
		}
		require.Len(t, items, pageMessages)
		// The button works without the script.
		fields := url.Values{}
		for _, in := range v.one(t, "form#earlier").all("input") {
			fields.Set(in.attrs["name"], in.attrs["value"])
		}
		v = s.visit("alice", "/?"+fields.Encode())
	}
}

func TestEmptyRoom(t *testing.T) {
	v := newStage(t, nil).visit("alice", "/?room=new")
	require.NotNil(t, v.boot.Since)
	assert.Zero(t, *v.boot.Since)
	assert.Equal(t, []bootRoom{}, v.boot.Rooms, "none, and not null")
	assert.True(t, v.one(t, "div#log").has("empty"))
	assert.Len(t, v.one(t, "ul#rooms").all("li.room"), 3, "it is in the list while it is looked at")
}

// The days and times are the browser's where it has told its zone.
func TestZone(t *testing.T) {
	s := newStage(t, nil)
	m := s.say("bob", "general", "now")
	zone, err := time.LoadLocation("Asia/Kathmandu") // 5:45
	require.NoError(t, err)
	v := s.visit("alice", "/", "Cookie", "chat-zone=Asia%2FKathmandu")
	clock := v.one(t, "li.message").one(t, "time")
	assert.Equal(t, m.Time().In(zone).Format("15:04"), clock.words())
	assert.Equal(t, m.Time().UTC().Format("2006-01-02T15:04:05.000Z"), clock.attrs["datetime"])
	day := v.one(t, "li.day").one(t, "time")
	assert.Equal(t, m.Time().In(zone).Format(time.DateOnly), day.attrs["datetime"])
	assert.Contains(t, []string{"Today", "Yesterday"}, day.words()) // the test may cross midnight

	for _, bad := range []string{"nowhere", "Local", "../../etc/passwd", "%", ""} {
		v := s.visit("alice", "/", "Cookie", "chat-zone="+bad)
		assert.Equal(t, m.Time().UTC().Format("15:04"), v.one(t, "li.message").one(t, "time").words(), bad)
		assert.NotContains(t, []string{"Today", "Yesterday"}, v.one(t, "li.day").words(), "which day is today there?")
	}
	v = s.visit("alice", "/", "Cookie", "chat-zone=UTC") // is a zone like any other
	assert.Contains(t, []string{"Today", "Yesterday"}, v.one(t, "li.day").words())
}

// The headings are those that the script gives the same days: what Intl writes
// for { weekday, day, month }, and for { day, month, year }. That the browser
// agrees, tests/browser shows.
func TestDays(t *testing.T) {
	zone := time.FixedZone("", 3*60*60)
	now := time.Date(2026, time.March, 3, 1, 30, 0, 0, zone) // while in UTC it is the day before
	en, de := &page{locale: locales[0]}, &page{locale: locales[1]}
	for _, tt := range []struct {
		at     time.Time
		told   bool
		en, de string
	}{
		{now, true, "Today", "Heute"},
		{now.Add(-2 * time.Hour), true, "Yesterday", "Gestern"},
		{now.Add(-26 * time.Hour), true, "Sunday, March 1", "Sonntag, 1. März"},
		{now.AddDate(0, 0, -179), true, "Friday, September 5", "Freitag, 5. September"},
		{now.AddDate(0, 0, -180), true, "September 4, 2025", "4. September 2025"},
		{now.AddDate(0, 0, 1), true, "March 4, 2026", "4. März 2026"}, // of a server whose clock is ahead
		{now, false, "Tuesday, March 3", "Dienstag, 3. März"},
		{now.AddDate(0, 0, -1), false, "Monday, March 2", "Montag, 2. März"},
	} {
		assert.Equal(t, tt.en, en.dayOf(tt.at, now, tt.told))
		assert.Equal(t, tt.de, de.dayOf(tt.at, now, tt.told))
	}
}

// A store with failures.
type sickStore struct {
	gohub.Store
	fail func(ctx context.Context) error
}

func (s sickStore) Rooms(ctx context.Context, tenant, user string) ([]gohub.RoomState, error) {
	if err := s.fail(ctx); err != nil {
		return nil, err
	}
	return s.Store.Rooms(ctx, tenant, user)
}

func (s sickStore) History(ctx context.Context, q gohub.Query) ([]gohub.Message, bool, error) {
	if err := s.fail(ctx); err != nil {
		return nil, false, err
	}
	return s.Store.History(ctx, q)
}

func TestStoreIsDown(t *testing.T) {
	for name, fail := range map[string]func(ctx context.Context) error{
		"fails": func(context.Context) error { return errors.New("no database") },
		"hangs": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, sickStore{gohub.NewMemoryStore(gohub.MemoryStoreOptions{}), fail})
				began := time.Now()
				v := s.visit("alice", "/?room=random")
				assert.LessOrEqual(t, time.Since(began), patience)
				assert.Equal(t, http.StatusOK, v.status)
				assert.Nil(t, v.boot.Since)
				assert.Nil(t, v.boot.Rooms)
				assert.False(t, v.boot.Complete)
				assert.True(t, v.one(t, "header#banner").has("on"))
				assert.Contains(t, v.one(t, "p#banner-text").words(), "follows")
				assert.Equal(t, "#random", v.one(t, "h1").words())
				assert.Len(t, v.one(t, "ul#rooms").all("li.room"), 2)
				assert.True(t, v.one(t, "p#beginning").is("hidden"), "it is not known to be")
			})
		})
	}
}
