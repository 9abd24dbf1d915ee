package main

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/gohub/gohub"
)

// A line of the log: a message, a day or the divider.
type line = templ.Component

type messageView struct {
	Seq, ID, Sender, Kind, To string
	Name                      string // above it
	Only                      string // who alone sees it
	Style                     string // classes: mine, or told and what
	Follows                   bool   // under the heading of the one before
	State                     string // of one's own: saved, delivered, seen
	Again                     bool   // a later one is as far
	Time, Clock               string // for machines, for people
	Hue, Initial              string
	Words                     []span
}

// Ticks say in words how far a message has got.
func (m messageView) Ticks(l *locale) string {
	if m.State == "" {
		return ""
	}
	return l.T("tick." + m.State)
}

type dayView struct{ Date, Words string }

type roomView struct {
	Name, Href, Label, Head string
	Direct, Current, Online bool
	Unread                  int
	Badge, Preview          string
	Hue, Initial            string
}

// UnreadWords is the badge for who does not see it.
func (r roomView) UnreadWords(l *locale) string {
	if r.Unread == 0 {
		return ""
	}
	return l.N("rooms.unread", r.Unread)
}

type personView struct {
	User, Name, Href string
	You, Online      bool
	Hue, Initial     string
}

// Presence says in words what the dot says.
func (u personView) Presence(l *locale) string {
	switch {
	case u.User == "":
		return ""
	case u.Online:
		return l.T("people.online")
	}
	return l.T("people.away")
}

// ColorScheme is for what the browser paints by itself, until the style sheet is
// there too: no flash.
func (p *page) ColorScheme() string {
	if p.Theme == "light" || p.Theme == "dark" {
		return p.Theme
	}
	return "light dark"
}

// show fills the page with what is known. told: the zone is the reader's.
func (p *page) show(who gohub.Identity, room gohub.RoomID, k known, zone *time.Location, told bool) {
	me := who.User
	online := map[string]string{} // user → name
	for _, u := range slices.Concat(k.online.Users, k.here.Users) {
		online[u.User] = u.Name
	}
	p.Me = person(me, cmp.Or(who.Name, me), me, true)
	p.Preset = slices.Contains(k.presets, room.Name)
	p.Boot = p.bootOf(who, room, k)
	p.lists(me, room, k, online)
	p.messages(me, k, zone, told)
	p.people(me, room, k, online)

	if other, direct := otherOf(room, me); direct {
		p.Title = other
		p.Beginning = p.T("log.beginning.direct", "user", other)
		p.Subtitle = p.T("presence.away")
		if _, ok := online[other]; ok {
			p.Subtitle = p.T("presence.online")
		}
	} else {
		p.Title = "#" + room.Name
		p.Beginning = p.T("log.beginning", "room", p.Title)
		p.Subtitle = p.N("room.people", k.here.Count)
	}
	if len(p.Lines) == 0 {
		p.Beginning = p.T("log.empty")
	}
	if room.Name == "" {
		p.Title, p.Subtitle, p.Beginning = p.T("app.name"), "", p.T("room.closed")
	}
	p.Count = strconv.Itoa(k.here.Count)
}

func (p *page) bootOf(who gohub.Identity, room gohub.RoomID, k known) boot {
	b := boot{
		User: who.User, Now: time.Now().UnixMilli(), Lang: p.Lang, Theme: p.Theme, Room: cmp.Or(room.Name, presets[0]), More: k.more,
		Presets: k.presets, Strings: p.forScript(), Complete: p.Complete, Others: map[string]marks{},
	}
	if len(k.presets) == 0 {
		b.Presets = presets[:1]
	}
	if !who.ExpiresAt.IsZero() {
		b.Expires = who.ExpiresAt.UnixMilli()
	}
	if k.read {
		since := int64(0)
		if n := len(k.messages); n > 0 {
			since = k.messages[n-1].Seq
		}
		b.Since = &since
	}
	if k.rooms != nil {
		b.Rooms = []bootRoom{}
	}
	for _, r := range k.rooms {
		b.Rooms = append(b.Rooms, bootRoom{r.Room.Name, r.Head, r.Seen, r.Unread})
		if r.Room == room {
			b.Seen = r.Seen
		}
	}
	for _, w := range k.marks {
		if w.User != who.User {
			b.Others[w.User] = marks{w.Delivered, w.Seen}
			b.Marks.Delivered = max(b.Marks.Delivered, w.Delivered)
			b.Marks.Seen = max(b.Marks.Seen, w.Seen)
		}
	}
	for _, c := range gohub.StandardCommands() {
		key := "command." + c.Name
		b.Commands = append(b.Commands, bootCommand{c.Name, p.T(key + ".usage"), p.T(key + ".help")})
	}
	return b
}

// lists makes the list of rooms, presets first and then by name, and that of
// direct rooms, where something happened last first.
func (p *page) lists(me string, shown gohub.RoomID, k known, online map[string]string) {
	states := map[string]gohub.RoomState{}
	for _, r := range k.rooms {
		states[r.Room.Name] = r
	}
	for _, name := range append(slices.Clone(k.presets), shown.Name) {
		if _, ok := states[name]; !ok && name != "" {
			states[name] = gohub.RoomState{Room: gohub.RoomID{Tenant: shown.Tenant, Name: name}}
		}
	}
	heads := map[string]int64{}
	for name, r := range states {
		v := roomView{Name: name, Href: roomHref(name), Label: name, Unread: r.Unread, Badge: strconv.Itoa(r.Unread), Current: name == shown.Name}
		if r.Unread >= gohub.MaxUnread {
			v.Badge = strconv.Itoa(gohub.MaxUnread-1) + "+"
		}
		heads[name] = r.Head
		if m, ok := k.last[name]; ok {
			heads[name] = max(r.Head, m.Seq)
			v.Preview = p.preview(me, m)
		}
		v.Head = strconv.FormatInt(heads[name], 10)
		other, direct := otherOf(r.Room, me)
		if !direct {
			p.Rooms = append(p.Rooms, v)
			continue
		}
		v.Direct, v.Label, v.Hue, v.Initial = true, other, hue(other), initial(other)
		_, v.Online = online[other]
		p.Direct = append(p.Direct, v)
	}
	slices.SortFunc(p.Rooms, func(a, b roomView) int {
		return cmp.Or(cmp.Compare(rank(a.Name), rank(b.Name)), cmp.Compare(a.Name, b.Name))
	})
	slices.SortFunc(p.Direct, func(a, b roomView) int {
		return cmp.Or(cmp.Compare(heads[b.Name], heads[a.Name]), cmp.Compare(a.Name, b.Name))
	})
}

// rank puts presets first, in their order.
func rank(room string) int {
	if i := slices.Index(presets, room); i >= 0 {
		return i
	}
	return len(presets)
}

// preview is a message in one line.
func (p *page) preview(me string, m gohub.Message) string {
	const most = 80 // characters
	text := strings.Join(strings.Fields(p.textOf(m)), " ")
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "…"
	}
	_, _, direct := m.Room.Direct()
	switch {
	case m.Kind == "me" || m.Kind == "notice" && m.Sender == me && m.To == me:
		return text
	case m.Sender == me:
		return p.T("preview.you", "text", text)
	case direct:
		return text
	}
	return p.T("preview.other", "user", m.Sender, "text", text)
}

// messages makes the lines of the log.
func (p *page) messages(me string, k known, zone *time.Location, told bool) {
	now := time.Now().In(zone)
	divided := p.Boot.Seen == 0 // nothing says what is new
	views := make([]messageView, len(k.messages))
	later := map[string]bool{} // states
	for i, m := range slices.Backward(k.messages) {
		v := p.message(me, m, m.Time().In(zone))
		v.Again = v.State != "" && later[v.State]
		later[v.State] = true
		views[i] = v
	}
	var before *gohub.Message
	var day string
	for i := range k.messages {
		m := &k.messages[i]
		at := m.Time().In(zone)
		date := at.Format(time.DateOnly)
		if date != day {
			p.Lines = append(p.Lines, dayItem(dayView{date, p.dayOf(at, now, told)}))
			before, day = nil, date
		}
		if !divided && m.Seq > p.Boot.Seen && m.Sender != me {
			p.Lines = append(p.Lines, dividerItem(p.locale))
			before, divided = nil, true
		}
		v := views[i]
		v.Follows = before != nil && before.Sender == m.Sender && before.Kind == m.Kind && before.To == m.To && m.Time().Sub(before.Time()) < together
		p.Lines = append(p.Lines, messageItem(p.locale, v))
		before = m
	}
	if len(k.messages) > 0 {
		p.First = strconv.FormatInt(k.messages[0].Seq, 10)
	}
}

// recent is for how many days a weekday is more telling than a year.
const recent = 180

// dayOf is the heading of a day, in the words of the script (i18n.js). Which day
// is today is known only where the browser has told its zone.
func (p *page) dayOf(at, now time.Time, told bool) string {
	ago := int(midnight(now).Sub(midnight(at)) / (24 * time.Hour))
	switch {
	case told && ago == 0:
		return p.T("day.today")
	case told && ago == 1:
		return p.T("day.yesterday")
	}
	key := "date.year"
	if ago >= 0 && ago < recent {
		key = "date.weekday"
	}
	return p.T(key,
		"weekday", strings.Fields(p.T("date.weekdays"))[at.Weekday()],
		"month", strings.Fields(p.T("date.months"))[at.Month()-1],
		"day", strconv.Itoa(at.Day()),
		"year", strconv.Itoa(at.Year()))
}

// midnight is the date of a time, in a zone where all days are as long.
func midnight(t time.Time) time.Time {
	y, m, d := t.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

func (p *page) message(me string, m gohub.Message, at time.Time) messageView {
	v := messageView{
		Seq: strconv.FormatInt(m.Seq, 10), ID: m.ID, Sender: m.Sender, Kind: m.Kind, To: m.To, Name: m.Sender,
		Time: m.Time().UTC().Format("2006-01-02T15:04:05.000Z"), Clock: at.Format("15:04"),
		Hue: hue(m.Sender), Initial: initial(m.Sender), Words: spans(p.textOf(m)),
	}
	_, _, direct := m.Room.Direct()
	mine := m.Sender == me
	switch {
	case m.Kind == "me":
		v.Style = "told action"
	case m.Kind == "notice" && mine && m.To == me: // from others it would pass for the server's words
		v.Style = "told notice"
	case mine:
		v.Style = "mine"
	}
	if mine {
		v.Name = p.T("message.you")
		if v.Style != "told notice" {
			v.State = "saved"
			got := p.Boot.Marks
			if m.To != "" { // nobody else has got it, however far they have read
				got = p.Boot.Others[m.To]
			}
			switch {
			case m.Seq <= got.Seen:
				v.State = "seen"
			case m.Seq <= got.Delivered:
				v.State = "delivered"
			}
		}
	}
	if m.To != "" && !direct && v.Style != "told notice" {
		other := m.To
		if !mine {
			other = m.Sender
		}
		v.Only = p.T("message.only", "user", other)
	}
	return v
}

// textOf is what there is to read in a message.
func (p *page) textOf(m gohub.Message) string {
	text := p.T("message.binary")
	if !m.Binary {
		text = string(m.Body)
		var plain string
		var fields struct{ Text *string }
		if json.Unmarshal(m.Body, &plain) == nil {
			text = plain
		} else if json.Unmarshal(m.Body, &fields) == nil && fields.Text != nil {
			text = *fields.Text
		}
	}
	if m.Kind == "me" {
		text = "* " + m.Sender + " " + text
	}
	return text
}

// people makes the list of who is here, then of who wrote and is gone.
func (p *page) people(me string, room gohub.RoomID, k known, online map[string]string) {
	listed := map[string]bool{}
	add := func(user, name string, here bool) {
		if !listed[user] {
			listed[user] = true
			p.People = append(p.People, person(user, cmp.Or(name, user), me, here))
		}
	}
	for _, u := range k.here.Users {
		add(u.User, u.Name, true)
	}
	var gone []string
	if other, direct := otherOf(room, me); direct {
		gone = append(gone, other)
	}
	for _, m := range k.messages {
		gone = append(gone, m.Sender)
	}
	slices.Sort(gone)
	for _, user := range gone {
		name, there := online[user]
		add(user, name, there)
	}
}

func person(user, name, me string, online bool) personView {
	return personView{
		User: user, Name: name, Href: roomHref(gohub.DirectRoom("", me, user).Name),
		You: user == me, Online: online, Hue: hue(user), Initial: initial(user),
	}
}

// otherOf is who a direct room is shared with.
func otherOf(room gohub.RoomID, me string) (other string, direct bool) {
	a, b, direct := room.Direct()
	if a == me {
		return b, direct
	}
	return a, direct
}

// hue is the class of somebody's colour; the script reckons the same.
func hue(user string) string {
	var hash uint32
	for _, c := range user {
		hash = hash*31 + uint32(c) //nolint:gosec // a rune of a string is not negative
	}
	return "hue" + strconv.Itoa(int(hash%8))
}

func initial(user string) string {
	for _, c := range user {
		return string(c)
	}
	return ""
}

// A span is a piece of text, or a link.
type span struct{ text, href string }

// link is what begins like an address. The script looks for the same (text.js).
var link = regexp.MustCompile(`\bhttps?://[^\s<>"./][^\s<>"]*|\bmailto:[^\s<>"]+@[^\s<>"]+`)

// spans finds the links of a text.
func spans(text string) []span {
	var list []span
	at := 0
	for _, found := range link.FindAllStringIndex(text, -1) {
		address := trimAddress(text[found[0]:found[1]])
		if _, err := url.Parse(address); err != nil {
			continue
		}
		if found[0] > at {
			list = append(list, span{text: text[at:found[0]]})
		}
		list = append(list, span{address, address})
		at = found[0] + len(address)
	}
	if at < len(text) {
		list = append(list, span{text: text[at:]})
	}
	return list
}

// trimAddress cuts off what ends the sentence around an address, but no bracket
// that it has opened itself.
func trimAddress(s string) string {
	for s != "" {
		last := s[len(s)-1:]
		if !strings.Contains(".,;:!?'*_)]}", last) {
			break
		}
		if opens := map[string]string{")": "(", "]": "[", "}": "{"}[last]; opens != "" && strings.Count(s, opens) >= strings.Count(s, last) {
			break
		}
		s = s[:len(s)-1]
	}
	return s
}

// words writes a text without any space around it: the bubble keeps all space.
func words(list []span) templ.Component {
	return templ.ComponentFunc(func(_ context.Context, w io.Writer) error {
		for _, s := range list {
			out := templ.EscapeString(s.text)
			if s.href != "" {
				out = `<a href="` + templ.EscapeString(s.href) + `" target="_blank" rel="noopener noreferrer nofollow ugc">` + out + `</a>`
			}
			if _, err := io.WriteString(w, out); err != nil {
				return err
			}
		}
		return nil
	})
}
