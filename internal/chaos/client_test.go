//go:build unix

package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

const (
	underWay  = 4                      // publishes of a client
	dialFor   = 3 * time.Second        // until a node is given up
	silentFor = 3 * time.Second        // until a client asks whether anybody is there
	pongFor   = 6 * time.Second        // until it goes elsewhere
	backoff   = 100 * time.Millisecond // doubled each time, at most backoffMost
	// backoffMost is lower than docs/protocol.md has it: the run is short.
	backoffMost = 2 * time.Second
)

// A message is a publish, as everybody knows it; there is one of each.
type message struct{ room, id, sender, to string }

// A sighting is a message where a client was shown it.
type sighting struct {
	seq int64
	m   *message
	how byte // 'l': in the stream of frames; 'h': by history, after "truncated"
}

// A place is what a client knows of a room.
type place struct {
	name   string
	peer   string // a direct room's other user; empty: it is an ordinary room
	joined bool   // on the connection there is
	again  time.Time
	last   int64
	seen   []sighting
	outbox []*publish
	retry  time.Time // not before; zero: nothing is to be sent again
	gaps   []gap
	gapEnd bool      // the next message ends the last of gaps
	reask  time.Time // for gaps; zero: that is under way, or there are none

	// A direct room's; see direct_test.go.
	dormant bool // this client has not heard of it yet
	opening bool // by a publish that is under way
	hole    bool // what lies before the next message is not here
	from    int64
	since   atomic.Int64 // when it was joined, ns since 1970; negative: when that ended
}

// A gap is what "truncated" left out: more than after, less than before.
type gap struct{ after, before int64 }

type publish struct {
	Type  string `json:"type"`
	ID    string `json:"id"`
	Room  string `json:"room,omitempty"`
	To    string `json:"to,omitempty"`
	Body  string `json:"body"`
	Retry bool   `json:"retry,omitempty"`

	at time.Time // when it was sent, the last time
}

type ack struct {
	m   *message
	seq int64
	at  time.Time
	to  string // as it was sent

	again time.Time // when it was sent again, the last time
}

// frame is what a hub sends, as far as it matters here.
type frame struct {
	Type, ID, Room, Sender, Code, Node string
	To, From                           string
	Rooms                              []frame
	Seq                                int64
	Ref                                int64
	RetryMS                            int64 `json:"retry_ms"`
	ReconnectMS                        int64 `json:"reconnect_ms"`
	Truncated, More                    bool
	Messages                           []frame
	closed                             error
}

// A client publishes to its rooms and reads them, on one node or another, as
// docs/protocol.md asks for. Its fields are run's until that has ended.
type client struct {
	w            *world
	user, device string
	places       []*place
	rng          *rand.Rand

	conn      *websocket.Conn // nil: there is none
	node      *node
	welcomed  bool
	frames    chan frame // of conn
	heard     time.Time
	asked     time.Time // a ping; zero: none is under way
	pause     time.Duration
	move      time.Time // to another node
	next      time.Time // publish
	number    int
	told      bool      // to move
	gaveUp    time.Time // waiting for a node's answer; zero: it never has
	goaways   []goaway
	problems  []string
	acked     []ack
	firstSeqs map[string]int64

	askRooms   time.Time // not before; zero: there is no need to
	finalAsked bool      // at the end
	finalGot   bool      // the answer to that

	last    []atomic.Int64 // the last message in each place
	gaps    atomic.Int64   // what is asked for, since "truncated" has left it out
	joined  atomic.Int64   // places; those that are to be joined
	wanted  atomic.Int64
	waits   atomic.Int64 // unacked
	closes  atomic.Int64 // connections that ended without the client's doing
	replies [4]atomic.Int64
}

// goaway is when a node said in how long to come back.
type goaway struct {
	at time.Time
	in time.Duration
}

// what client.replies counts.
const (
	replyUnavailable = iota
	replyBusy
	replyDraining
	replyReplaced
)

func newClient(w *world, n int) *client {
	c := &client{
		w: w, user: fmt.Sprintf("user%03d", n/2), device: fmt.Sprint("device", n%2),
		rng: rand.New(rand.NewPCG(w.seed, uint64(n))), firstSeqs: map[string]int64{},
	}
	for i := range w.o.roomsEach {
		c.places = append(c.places, &place{name: roomName((n + i*(1+w.o.rooms/w.o.roomsEach)) % w.o.rooms)})
	}
	if d := newDirect(n, w.o.clients); d != nil {
		c.places = append(c.places, d)
	}
	for _, p := range c.places {
		p.since.Store(-1)
	}
	c.last = make([]atomic.Int64, len(c.places))
	return c
}

func roomName(n int) string { return fmt.Sprintf("room%02d", n) }

func (c *client) name() string { return c.user + "/" + c.device }

func (c *client) problem(format string, args ...any) {
	if len(c.problems) < 20 {
		c.problems = append(c.problems, time.Now().Format("15:04:05.000 ")+c.name()+": "+fmt.Sprintf(format, args...))
	}
}

func (c *client) place(room string) *place {
	for _, p := range c.places {
		if p.name == room {
			return p
		}
	}
	return nil
}

func (c *client) spread(d time.Duration) time.Duration {
	return time.Duration(c.rng.Int64N(int64(d)) + 1)
}

// patient is how long a client waits for a node: where none is frozen, as long as a
// busy machine may take.
func (c *client) patient(d time.Duration) time.Duration {
	if c.w.o.stay == atHome {
		return patience / 2
	}
	return d
}

// run goes on until ctx ends.
func (c *client) run(ctx context.Context) {
	defer c.leave()
	for ctx.Err() == nil {
		if c.conn == nil && !c.connect(ctx) {
			continue
		}
		c.act(ctx)
		if c.conn == nil {
			continue
		}
		select {
		case <-ctx.Done():
		case f := <-c.frames:
			c.take(ctx, &f)
		case <-time.After(20 * time.Millisecond):
		}
		gaps := 0
		for i, p := range c.places {
			c.last[i].Store(p.last)
			gaps += len(p.gaps)
		}
		c.gaps.Store(int64(gaps))
	}
}

// connect tries one node.
func (c *client) connect(ctx context.Context) bool {
	if c.pause > 0 {
		if !sleep(ctx, c.spread(c.pause)) {
			return false
		}
	}
	c.pause = min(max(2*c.pause, backoff), backoffMost)
	x := c.elsewhere()
	ok := c.dial(ctx, x, false)
	c.node = x // next time another
	return ok
}

// elsewhere is any node but this one.
func (c *client) elsewhere() *node {
	x := c.w.nodes[c.rng.IntN(len(c.w.nodes))]
	for x == c.node {
		x = c.w.nodes[c.rng.IntN(len(c.w.nodes))]
	}
	return x
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// dial makes a connection to x the one there is. What was there is left, or
// with twin stays open until the hubs end it, which is their business.
func (c *client) dial(ctx context.Context, x *node, twin bool) bool {
	short, cancel := context.WithTimeout(ctx, c.patient(dialFor))
	defer cancel()
	url := fmt.Sprintf("ws://%s/ws?user=%s&device=%s", *x.addr.Load(), c.user, c.device)
	ws, _, err := websocket.Dial(short, url, &websocket.DialOptions{Subprotocols: []string{"gohub.v1"}, HTTPClient: c.w.http})
	if err != nil {
		if short.Err() != nil {
			c.gaveUp = time.Now()
		}
		return false
	}
	c.w.came.Add(1)
	ws.SetReadLimit(-1)
	if twin && c.conn != nil {
		c.w.twin(c, c.conn, c.frames)
		c.conn = nil
	}
	c.leave()
	c.conn, c.node, c.welcomed = ws, x, false
	c.heard, c.asked = time.Now(), time.Time{}
	c.move = time.Now().Add(c.w.o.stay/2 + c.spread(c.w.o.stay))
	c.pause, c.told = 0, false
	c.frames = make(chan frame, 64)
	for _, p := range c.places {
		p.again = time.Time{}
		p.gapEnd = false
		p.wake(p.opening || len(p.outbox) > 0)
		for _, o := range p.outbox {
			o.Retry = true
		}
	}
	c.askRooms, c.finalAsked = time.Time{}, c.finalGot
	if slices.ContainsFunc(c.places, func(p *place) bool { return p.dormant }) {
		c.askRooms = time.Now()
	}
	c.w.readers.Go(func() { read(ctx, ws, c.frames) })
	return true
}

// in notes whether a client is in a place.
func (c *client) in(p *place, joined bool) {
	if p.joined = joined; joined != (p.since.Load() > 0) {
		now := time.Now().UnixNano()
		if !joined {
			now = -now
		}
		p.since.Store(now)
	}
	c.count()
}

// count says how many places it is in, and in how many it will be.
func (c *client) count() {
	in, wanted := int64(0), int64(0)
	for _, p := range c.places {
		if p.joined {
			in++
		}
		if p.joined || !p.dormant || !c.finalGot {
			wanted++
		}
	}
	c.joined.Store(in)
	c.wanted.Store(wanted)
}

// leave gives conn up for a successor.
func (c *client) leave() {
	for _, p := range c.places {
		c.in(p, false)
	}
	if c.conn != nil {
		_ = c.conn.CloseNow()
		c.conn = nil
		go func(fs chan frame) { // ends with the reader
			for range fs {
			}
		}(c.frames)
	}
}

// read passes on what comes, and at last that nothing more will.
func read(ctx context.Context, ws *websocket.Conn, to chan<- frame) {
	defer close(to)
	for {
		var f frame
		_, b, err := ws.Read(ctx)
		if err == nil {
			err = json.Unmarshal(b, &f)
		}
		if err != nil {
			f = frame{closed: err}
		}
		to <- f
		if f.closed != nil {
			return
		}
	}
}

func (c *client) send(ctx context.Context, v any) bool {
	b, err := json.Marshal(v)
	if err == nil {
		short, cancel := context.WithTimeout(ctx, c.patient(pongFor))
		err = c.conn.Write(short, websocket.MessageText, b)
		cancel()
	}
	if err != nil {
		c.lost(ctx, err)
	}
	return err == nil
}

// lost is what a client does about a connection that has ended.
func (c *client) lost(ctx context.Context, err error) {
	if c.conn == nil {
		return
	}
	if ctx.Err() == nil {
		c.closes.Add(1)
		if c.w.o.stay == atHome {
			c.w.t.Logf("%s on %s: %v", c.name(), c.node.name, err)
		}
		switch code := websocket.CloseStatus(err); {
		case code == 4500 && time.Since(c.gaveUp) < recovery:
			// The node had looked whether this client still is there just before it gave up,
			// which can be so once for each time.
			c.gaveUp = time.Time{}
			c.w.abandoned.Add(1)
		case code == 4500: // and it has no newer one
			c.replies[replyReplaced].Add(1)
			c.problem("closed with 4500 on %s, though it is the newest: %v", c.node.name, err)
		case code >= 4500, code == 1007, code == 1009, code == 1008:
			c.problem("closed with %d: %v", code, err)
		}
	}
	c.leave()
	c.pause = max(c.pause, backoff)
	switch {
	case c.w.mourns.Load() && c.rng.IntN(4) > 0:
		c.rest(ctx, presenceFor+10*time.Second)
	case c.rng.IntN(4) == 0:
		c.rest(ctx, c.awhile())
	}
}

func (c *client) awhile() time.Duration { return 3*time.Second + c.spread(20*time.Second) }

// rest keeps away for a while, as people do, where the world has such.
func (c *client) rest(ctx context.Context, d time.Duration) {
	for end := time.Now().Add(d); c.w.o.rests && !c.w.stays.Load() && time.Now().Before(end); {
		if c.w.over.Load() || !sleep(ctx, 100*time.Millisecond) {
			return
		}
	}
}

// act does what is due.
func (c *client) act(ctx context.Context) {
	now := time.Now()
	switch {
	case !c.welcomed && now.Sub(c.heard) > c.patient(pongFor):
		c.lost(ctx, errors.New("no welcome"))
		return
	case !c.welcomed:
		return
	case !c.asked.IsZero() && now.Sub(c.asked) > c.patient(pongFor):
		c.lost(ctx, errors.New("no pong"))
		return
	case c.asked.IsZero() && now.Sub(c.heard) > silentFor:
		c.asked = now
		if !c.send(ctx, map[string]any{"type": "ping"}) {
			return
		}
	case now.After(c.move) && (c.told || !c.w.stays.Load()):
		// The node has said so, or as people do who walk around. The new
		// connection comes first, or somebody goes away for a while.
		c.move = now.Add(time.Second)
		if !c.told && c.w.o.rests && c.rng.IntN(4) == 0 {
			c.leave()
			c.rest(ctx, c.awhile())
			return
		}
		c.dial(ctx, c.elsewhere(), !c.told && c.rng.IntN(2) == 0)
		return
	case c.w.over.Load() && !c.finalAsked: // for invites that were lost
		c.finalAsked, c.askRooms = true, now
	case !c.askRooms.IsZero() && now.After(c.askRooms):
		c.askRooms = time.Time{}
		if !c.send(ctx, map[string]any{"type": "rooms", "ref": refRooms}) || !c.eavesdrop(ctx) {
			return
		}
	}
	for i, p := range c.places {
		if !p.joined && !p.dormant && !p.opening && now.After(p.again) {
			p.again = now.Add(time.Hour) // or as the answer says
			p.gapEnd, p.hole = false, false
			if !c.send(ctx, map[string]any{"type": "join", "room": p.name, "since": p.last, "ref": i}) {
				return
			}
		}
		if p.joined && !p.reask.IsZero() && now.After(p.reask) && !c.fillGaps(ctx, p) {
			return
		}
		if p.joined && !p.retry.IsZero() && now.After(p.retry) {
			p.retry = time.Time{}
			if !c.resend(ctx, p) {
				return
			}
		}
	}
	if !c.w.over.Load() && now.After(c.next) {
		c.next = now.Add(c.w.o.every/2 + c.spread(c.w.o.every))
		p := c.places[c.rng.IntN(len(c.places))]
		if (p.joined || p.dormant && c.askRooms.IsZero()) && p.retry.IsZero() && c.waits.Load() < underWay {
			o := c.newPublish(p)
			p.outbox = append(p.outbox, o)
			c.waits.Add(1)
			o.at = now
			c.send(ctx, o)
		}
	}
}

func (c *client) resend(ctx context.Context, p *place) bool {
	for _, o := range p.outbox {
		o.Retry, o.at = true, time.Now()
		c.w.repeats.Add(1)
		if !c.send(ctx, o) {
			return false
		}
	}
	return true
}

// body is what a message says: mostly little.
func (c *client) body() string {
	c.number++
	text := fmt.Sprint(c.name(), " ", c.number)
	if c.w.large.Load() {
		text += strings.Repeat(".", 20<<10)
	}
	return text
}

func newHTTP() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
}
