package main

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gohub/gohub"
)

const (
	pageMessages = 50                      // on the first paint
	pagePreviews = 30                      // of rooms; the script fetches the others
	patience     = 1500 * time.Millisecond // for all that the page asks for
	together     = 5 * time.Minute         // between messages of one sender under one heading
)

// presets are rooms that everybody is in to whom they are open; the first is
// shown unless another is asked for.
var presets = []string{"general", "random"}

// A page is what the templates show.
type page struct {
	*locale
	*static
	Theme string
	Back  string // this page's address

	Me            personView
	Title         string
	Subtitle      string
	Beginning     string
	Count         string
	First         string // seq of the first message
	Preset        bool   // the room cannot be left
	Complete      bool   // everything was there
	Closed        bool   // the room asked for is not open to this user; another one is shown, or none
	Refused       string // it cannot be open to anybody: no room has such a name
	Frame         bool   // nothing is shown before the login is renewed
	Notice        string // at the top
	Rooms, Direct []roomView
	People        []personView
	Lines         []line
	Boot          boot
}

// boot is what the script begins with; docs of the fields are what it may rely on.
type boot struct {
	User     string            `json:"user"`
	Expires  int64             `json:"expires"` // Unix ms at which the access cookie ends; 0: renew it first
	Now      int64             `json:"now"`     // of this server, Unix ms
	Lang     string            `json:"lang"`
	Theme    string            `json:"theme"`
	Room     string            `json:"room"`       // on screen, or to be asked for
	Since    *int64            `json:"since"`      // join with this; null: nothing is known
	More     bool              `json:"more"`       // there is something before the first message
	Seen     int64             `json:"seen"`       // how far this user has read
	Marks    marks             `json:"marks"`      // how far anybody else has got
	Others   map[string]marks  `json:"watermarks"` // of each of them, the furthest 200
	Rooms    []bootRoom        `json:"rooms"`      // the user's list; null: not known
	Presets  []string          `json:"presets"`    // those that are open; never none: the script is told no
	Commands []bootCommand     `json:"commands"`
	Strings  map[string]phrase `json:"strings"`
	Complete bool              `json:"complete"`
}

type marks struct {
	Delivered int64 `json:"delivered"`
	Seen      int64 `json:"seen"`
}

type bootRoom struct {
	Room   string `json:"room"`
	Head   int64  `json:"head"`
	Seen   int64  `json:"seen"`
	Unread int    `json:"unread"`
}

type bootCommand struct {
	Name  string `json:"name"`
	Usage string `json:"usage"`
	Help  string `json:"help"`
}

// blank is a page without a user's data.
func (s *pages) blank(r *http.Request) *page {
	return &page{locale: localeOf(r), static: s.static, Theme: themeOf(r), Back: r.URL.RequestURI(), Complete: true}
}

// known is what was found out for a page, each part by itself.
type known struct {
	presets  []string // that are open
	rooms    []gohub.RoomState
	messages []gohub.Message // ascending
	more     bool
	read     bool // messages and more are right
	marks    []gohub.Watermark
	here     gohub.PresencePage // in the room
	online   gohub.PresencePage // in the first of the presets
	last     map[string]gohub.Message
}

// build makes the page of who. It takes as long as patience at most: what cannot
// be had until then is left out, and the script catches up.
func (s *pages) build(r *http.Request, who gohub.Identity) *page {
	p := s.blank(r)
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	open := openPresets(ctx, who)
	room := p.choose(ctx, who, open, r.FormValue("room"))
	before, _ := strconv.ParseInt(r.FormValue("before"), 10, 64)
	k, complete := s.ask(ctx, who, room, open, max(before, 0))
	p.Complete = complete
	if p.Notice == "" && !complete {
		p.Notice = p.T("connection.incomplete")
	}
	zone, told := zoneOf(r)
	p.show(who, room, k, zone, told)
	return p
}

// frame makes the page of who with nothing in it. The script takes it for one for
// which nothing could be had: it renews the login and fetches all.
func (s *pages) frame(r *http.Request, who gohub.Identity) *page {
	p := s.blank(r)
	p.Frame, p.Complete = true, false
	open := openPresets(r.Context(), who)
	room := p.choose(r.Context(), who, open, r.FormValue("room"))
	p.show(who, room, known{presets: open}, time.UTC, false)
	p.Subtitle, p.Count = "…", ""
	return p
}

// choose gives the room of that name if it is open to who. Else the page says
// that it is not, and shows the first of the presets that are, or no room.
func (p *page) choose(ctx context.Context, who gohub.Identity, open []string, name string) gohub.RoomID {
	room := gohub.RoomID{Tenant: who.Tenant, Name: cmp.Or(name, presets[0])}
	if isOpen(ctx, who, room) {
		return room
	}
	p.Closed, p.Notice = true, p.T("room.closed")
	if !roomName(room) {
		p.Refused, p.Notice = room.Name, p.T("rooms.join.invalid")
	}
	if len(open) == 0 {
		return gohub.RoomID{}
	}
	room.Name = open[0]
	return room
}

// isOpen says whether who may join a room: the rules of the hub, which has no
// MayJoin of its own.
func isOpen(ctx context.Context, who gohub.Identity, room gohub.RoomID) bool {
	if !roomName(room) {
		return false
	}
	return gohub.ListedRooms(ctx, who, room) == nil
}

func openPresets(ctx context.Context, who gohub.Identity) []string {
	return slices.DeleteFunc(slices.Clone(presets), func(name string) bool {
		return !isOpen(ctx, who, gohub.RoomID{Tenant: who.Tenant, Name: name})
	})
}

// roomName reports whether a room may be called that; those with @ are direct.
func roomName(room gohub.RoomID) bool {
	_, _, direct := room.Direct()
	return validRoom(room.Name) && strings.HasPrefix(room.Name, "@") == direct
}

// validRoom holds names to what the protocol allows for rooms.
func validRoom(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	return !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._:@,-", c)
	})
}

// ask asks for everything at once, of rooms that are open to who. Whatever fails
// is missing, and complete is false.
func (s *pages) ask(ctx context.Context, who gohub.Identity, room gohub.RoomID, open []string, before int64) (k known, complete bool) {
	var wg sync.WaitGroup
	var errs [5]error
	k.presets, k.last = open, map[string]gohub.Message{}
	wg.Go(func() {
		k.rooms, errs[0] = s.store.Rooms(ctx, who.Tenant, who.User)
		if errs[0] == nil {
			k.rooms = append([]gohub.RoomState{}, k.rooms...) // none is not the same as not known
			k.rooms = slices.DeleteFunc(k.rooms, func(r gohub.RoomState) bool { return !isOpen(ctx, who, r.Room) })
			errs[1] = s.previews(ctx, who, room, &k)
		}
	})
	if room.Name != "" {
		wg.Go(func() {
			k.messages, k.more, errs[2] = s.newest(ctx, who, room, before, pageMessages)
			k.read = errs[2] == nil
		})
		wg.Go(func() { k.marks, errs[3] = s.store.Watermarks(ctx, gohub.MarkQuery{Room: room, Limit: 200}) })
		wg.Go(func() {
			k.here, errs[4] = s.hub.Presence(ctx, room, "", 200)
			if k.online = k.here; len(open) > 0 && room.Name != open[0] && errs[4] == nil {
				k.online, errs[4] = s.hub.Presence(ctx, gohub.RoomID{Tenant: who.Tenant, Name: open[0]}, "", 200)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return k, false
		}
	}
	return k, true
}

// newest reads a room's newest messages before a seq (0: all), as who sees it.
func (s *pages) newest(ctx context.Context, who gohub.Identity, room gohub.RoomID, before int64, limit int) (ms []gohub.Message, more bool, err error) {
	q := gohub.Query{Room: room, Viewer: who.User, Before: before, Limit: limit + 1, Newest: true}
	for m, err := range s.hub.History(ctx, q) {
		if err != nil {
			return nil, false, err
		}
		if len(ms) == limit {
			more = true
			break
		}
		ms = append(ms, m)
	}
	slices.Reverse(ms)
	return ms, more, nil
}

// previews reads the last message of the rooms that are listed: of those where
// something happened last. What a command has answered does not count.
func (s *pages) previews(ctx context.Context, who gohub.Identity, shown gohub.RoomID, k *known) error {
	var names []string
	recent := slices.Clone(k.rooms)
	slices.SortStableFunc(recent, func(a, b gohub.RoomState) int { return cmp.Compare(b.Head, a.Head) })
	for _, r := range recent[:min(len(recent), pagePreviews)] {
		names = append(names, r.Room.Name)
	}
	for _, name := range append(slices.Clone(k.presets), shown.Name) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	var mu sync.Mutex // of k.last and first
	var first error
	var wg sync.WaitGroup
	turns := make(chan struct{}, 8) // at once, so that one page does not fill the store's pool
	for _, name := range names {
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			ms, _, err := s.newest(ctx, who, gohub.RoomID{Tenant: who.Tenant, Name: name}, 0, 4)
			ms = slices.DeleteFunc(ms, func(m gohub.Message) bool { return m.Kind == "notice" && m.Sender == who.User && m.To == m.Sender })
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				first = err
			} else if len(ms) > 0 {
				k.last[name] = ms[len(ms)-1]
			}
		})
	}
	wg.Wait()
	return first
}

// roomHref is the address of a page that shows a room.
func roomHref(name string) string { return "/?room=" + url.QueryEscape(name) }

// zoneOf is the browser's time zone if its script has told: else UTC, and the
// script puts the times right.
func zoneOf(r *http.Request) (zone *time.Location, told bool) {
	if c, err := r.Cookie(zoneCookie); err == nil && len(c.Value) < 64 {
		name, _ := url.QueryUnescape(c.Value)
		if zone, err := time.LoadLocation(name); err == nil && name != "" && name != "Local" { // "" is UTC for Go
			return zone, true
		}
	}
	return time.UTC, false
}
