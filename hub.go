package gohub

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gohub/gohub/internal/seldom"
	"github.com/gohub/gohub/internal/wsconn"
)

// A Hub holds the sessions and rooms of one process. Make one with [New],
// mount its [Hub.Handler], and end it with [Hub.Shutdown]. All methods are
// safe for concurrent use.
type Hub struct {
	cfg    Config
	log    *slog.Logger
	store  Store
	broker Broker
	dir    Directory // nil: this hub is the whole cluster
	// local is the broker when it is a MemoryBroker. Its Publish delivers
	// before it returns, so that a publisher can write to the members itself.
	local   *MemoryBroker
	persist *persister
	// announcer is of use with a Directory only.
	announcer *announcer
	count     counters
	marks     *marks
	devices   *devices
	tickets   ticketBox
	lending   lending
	revoked   revocations
	routing   routing
	repeats   repeats
	self      string // tells this hub's orders and node from others'
	// perimeter is asked before the Authenticator is.
	perimeter *perimeter
	conns     wsconn.Options
	seed      maphash.Seed
	shards    []hubShard
	stepAfter time.Duration // see fanOut

	mu       sync.RWMutex // guards sessions, parting, handlers, middle, chain, commands, closed
	sessions map[string]*Client
	parting  map[*Client]struct{} // those that have ended and are saying goodbye
	handlers map[string]callHandler
	middle   []func(next PublishFunc) PublishFunc
	chain    PublishFunc // middle around accept; set before serving, like used
	used     bool
	commands []Command // set before serving, too
	closed   bool      // run starts nothing more

	draining atomic.Bool           // Shutdown has begun: no new session
	closing  atomic.Bool           // the drain is over: no publish either
	sick     atomic.Pointer[error] // what Health says
	warned   seldom.Line           // that the Store or the Broker cannot do something
	failed   seldom.Line           // that the program's own code has failed: clients can make it do so at will
	panicked seldom.Line           // that it has panicked
	lost     error                 // what Shutdown returned; once finished is closed
	finished chan struct{}         // closed when Shutdown is through
	ctx      context.Context       //nolint:containedctx // the hub's life: what its goroutines work under
	cancel   context.CancelFunc
	readers  sync.WaitGroup // the sessions' goroutines
	wg       sync.WaitGroup // every other goroutine of the hub but the sweeper's
}

// A hubShard holds the rooms and the users whose names hash to it.
type hubShard struct {
	mu    sync.RWMutex
	rooms map[RoomID]*room
	users map[userID][]*Client // slices are never changed in place
	// claiming are those under way; see devices.
	claiming map[deviceID]*claiming
}

type userID struct{ tenant, user string }

// New makes a hub and starts its background work. An error names the field of
// cfg that cannot be.
func New(cfg Config) (*Hub, error) {
	cfg, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	perimeter, err := newPerimeter(&cfg)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	h := &Hub{
		cfg:       cfg,
		log:       cfg.Logger,
		store:     cfg.Store,
		broker:    cfg.Broker,
		dir:       cfg.Directory,
		perimeter: perimeter,
		seed:      maphash.MakeSeed(),
		stepAfter: stepAfter,
		shards:    make([]hubShard, 4*runtime.GOMAXPROCS(0)),
		sessions:  make(map[string]*Client),
		parting:   make(map[*Client]struct{}),
		handlers:  make(map[string]callHandler),
		finished:  make(chan struct{}),
		revoked:   revocations{keep: cfg.Directory != nil, newest: new(revoked)},
		self:      rand.Text(),
		ctx:       ctx,
		cancel:    cancel,
	}
	for i := range h.shards {
		h.shards[i].rooms = make(map[RoomID]*room)
		h.shards[i].users = make(map[userID][]*Client)
		h.shards[i].claiming = make(map[deviceID]*claiming)
	}
	h.chain = h.accept
	h.count.init()
	h.persist = newPersister(h)
	h.marks = newMarks(h)
	h.devices = newDevices(h)
	h.announcer = &announcer{hub: h}
	h.conns = wsconn.Options{
		Subprotocols: []string{"gohub.v1"},
		MaxMessage:   cfg.MaxFrame,
		MaxQueue:     cfg.MaxQueue,
		WriteTimeout: cfg.WriteTimeout,
		CloseTimeout: cfg.CloseTimeout,
		SlowCode:     CloseSlowConsumer,
		SilentCode:   CloseHeartbeatTimeout,
		Dropped:      &h.count.dropped,
		Sweeper:      wsconn.NewSweeper(cfg.PingInterval, sweep),
	}
	rcv := receiver{h}
	run, ready := h.broker.Run, make(chan struct{})
	if h.local, _ = h.broker.(*MemoryBroker); h.local != nil {
		run = func(ctx context.Context, r Receiver) error {
			return h.local.run(ctx, r, func() { close(ready) })
		}
	} else {
		close(ready)
	}
	h.run(func() { // ends with ctx
		if err := run(ctx, rcv); ctx.Err() == nil {
			h.log.Error("broker ended", "err", err)
			h.fails(fmt.Errorf("gohub: the broker has ended: %w", err))
		}
	})
	<-ready // at once: publishes work from now on
	if h.local == nil {
		h.run(func() { h.adopt(ctx) }) // ends with ctx
	}
	if h.dir != nil {
		h.serveAs(false, true)
		h.run(func() { h.attend(ctx) })      // ends with ctx
		h.run(func() { h.devices.run(ctx) }) // the same
	}
	return h, nil
}

// run starts a goroutine that Shutdown waits for. Once the hub is closed it
// does the work right here.
func (h *Hub) run(f func()) {
	if !h.spawn(f) {
		f()
	}
}

// spawn starts a goroutine that Shutdown waits for, unless the hub is closed.
func (h *Hub) spawn(f func()) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.closed {
		return false
	}
	h.wg.Go(f)
	return true
}

func (h *Hub) shard(tenant, name string) *hubShard {
	x := maphash.String(h.seed, name) ^ maphash.String(h.seed, tenant)<<1
	return &h.shards[x%uint64(len(h.shards))]
}

// find gives the room if it has members or is in use here.
func (h *Hub) find(id RoomID) *room {
	s := h.shard(id.Tenant, id.Name)
	s.mu.RLock()
	r := s.rooms[id]
	s.mu.RUnlock()
	return r
}

// acquire gives the room, opened: subscribed to, with its newest messages in
// the ring. It stays until release.
func (h *Hub) acquire(ctx context.Context, id RoomID) (*room, error) {
	s := h.shard(id.Tenant, id.Name)
	for {
		s.mu.RLock()
		r := s.rooms[id]
		s.mu.RUnlock()
		if r == nil {
			s.mu.Lock()
			if r = s.rooms[id]; r == nil {
				r = &room{hub: h, id: id, refs: 1, opened: make(chan struct{}), left: make(chan struct{})}
				if h.dir != nil {
					r.roster = new(roster)
				}
				s.rooms[id] = r
				s.mu.Unlock()
				h.open(h.ctx, r) //nolint:contextcheck // others wait for it too, whose contexts go on
				if r.openErr != nil {
					h.release(r)
					return nil, r.openErr
				}
				return r, nil
			}
			s.mu.Unlock()
		}
		r.mu.Lock()
		if r.gone {
			r.mu.Unlock()
			<-r.left // soon: drop has nothing else to wait for
			continue
		}
		r.refs++
		r.mu.Unlock()
		select {
		case <-r.opened:
		case <-ctx.Done():
			h.release(r)
			return nil, ctx.Err()
		}
		if r.openErr != nil {
			h.release(r)
			return nil, r.openErr
		}
		return r, nil
	}
}

// open subscribes to the room and reads its newest messages. What arrives
// meanwhile is read again afterwards: whether something was lost before it
// cannot be told yet.
func (h *Hub) open(ctx context.Context, r *room) {
	err := h.broker.Subscribe(ctx, receiver{h}, r.id)
	var ms []Message
	var more bool
	var base int64
	if err == nil {
		ms, more, base, err = h.readUpTo(ctx, Query{Room: r.id, Newest: true, Limit: ringKeep})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	defer close(r.opened)
	if r.openErr = err; err != nil {
		return
	}
	if more {
		r.base = ms[0].Seq - 1
	}
	for i := range ms {
		f := r.encodeRead(&ms[i])
		r.keep(f)
		r.last = f.seq
	}
	r.sure = base
	if r.missed {
		r.suspect()
	}
}

// release ends an acquire.
func (h *Hub) release(r *room) {
	r.mu.Lock()
	r.refs--
	r.mu.Unlock()
	h.drop(r)
}

// drop forgets the room if nobody needs it. It stays on the map until it is
// unsubscribed, so that a new room of that name subscribes after that.
func (h *Hub) drop(r *room) {
	r.mu.Lock()
	unused := !r.gone && r.refs == 0 && len(r.users) == 0 && !r.flushing && len(r.pending) == 0
	r.gone = r.gone || unused
	r.mu.Unlock()
	if !unused {
		return
	}
	h.broker.Unsubscribe(receiver{h}, r.id)
	s := h.shard(r.id.Tenant, r.id.Name)
	s.mu.Lock()
	delete(s.rooms, r.id)
	s.mu.Unlock()
	close(r.left)
}

// read reads a page of a room: the log first, then the Store, so that what is
// ordered and not yet stored is there, and what moves from one to the other
// meanwhile is seen at least once.
func (h *Hub) read(ctx context.Context, q Query) (ms []Message, more bool, err error) {
	ms, more, _, err = h.readUpTo(ctx, q)
	return ms, more, err
}

// readUpTo is read, and says up to where all was in the Store when the log was
// read; 0: that is not known.
func (h *Hub) readUpTo(ctx context.Context, q Query) (ms []Message, more bool, base int64, err error) {
	logged, top, err := h.logged(ctx, q.Room, q.After)
	unlogged := err != nil
	if unlogged && !(errors.Is(err, ErrUnavailable) && q.Newest && q.Before > 0) {
		return nil, false, 0, err
	}
	if !unlogged && top < math.MaxInt64 {
		base = top
	}
	// What is ordered after the log was read may be stored with holes in it: it
	// belongs to a later page.
	if n := len(logged); n > 0 && top < math.MaxInt64 {
		top = max(top, logged[n-1].Seq)
	}
	if !unlogged && top < math.MaxInt64 && (q.Before == 0 || q.Before > top+1) {
		q.Before = top + 1
	}
	ms, more, err = h.store.History(ctx, q)
	if err != nil {
		return nil, false, 0, err
	}
	visible := logged[:0]
	for _, m := range logged {
		if m.Seq > q.After && (q.Before == 0 || m.Seq < q.Before) && m.VisibleTo(q.Viewer) {
			visible = append(visible, m)
		}
	}
	if len(visible) == 0 {
		return ms, more, base, nil
	}
	if !q.Newest && more {
		// The page is full with older ones; what is logged beyond its end
		// belongs to a later page.
		end := ms[len(ms)-1].Seq
		for len(visible) > 0 && visible[len(visible)-1].Seq > end {
			visible = visible[:len(visible)-1]
		}
	}
	ms = merge(ms, visible)
	if over := len(ms) - q.Limit; over > 0 {
		more = true
		if q.Newest {
			ms = ms[over:]
		} else {
			ms = ms[:q.Limit]
		}
	}
	return ms, more, base, nil
}

// logged reads all of a room's log after a Seq, page by page. base is the last
// page's: what was let go of in between is below it.
func (h *Hub) logged(ctx context.Context, id RoomID, after int64) (ms []Message, base int64, err error) {
	for {
		page, base, err := h.broker.Log(ctx, id, after, h.cfg.MaxPending)
		if err != nil {
			return nil, 0, err
		}
		if ms = append(ms, page...); len(page) < h.cfg.MaxPending {
			return ms, base, nil
		}
		after = page[len(page)-1].Seq
	}
}

// merge joins two ascending lists, keeping one of two with the same seq.
func merge(a, b []Message) []Message {
	out := make([]Message, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0].Seq < b[0].Seq:
			out, a = append(out, a[0]), a[1:]
		case a[0].Seq > b[0].Seq:
			out, b = append(out, b[0]), b[1:]
		default:
			out, a, b = append(out, a[0]), a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// receiver is the hub as brokers see it.
type receiver struct{ h *Hub }

func (rc receiver) Deliver(m Message, prev int64) {
	if r := rc.h.find(m.Room); r != nil {
		r.deliver(&m, prev)
		rc.flush(r)
	}
}

// flush leaves the writing to a publisher of this hub that is about to do it,
// and to a goroutine otherwise.
func (rc receiver) flush(r *room) {
	if rc.h.local == nil || r.publishing.Load() == 0 {
		r.flushSoon()
	}
}

func (rc receiver) Signal(to Target, f []byte) {
	switch {
	case to.Room == "" && to.User == "":
		rc.h.obey(f)
	case to.Room != "" && !to.Outside: // behind the room's messages that have come before
		if r := rc.h.find(RoomID{to.Tenant, to.Room}); r != nil {
			r.event(frame{bytes: f, sender: to.User, to: to.User, except: to.Except})
			rc.flush(r)
		}
	default:
		for _, c := range rc.h.sessionsOf(to.Tenant, to.User) {
			if c.id != to.Except && (to.Room == "" || c.member(to.Room) == nil) {
				c.conn.Send(f, true, nil)
			}
		}
	}
}

func (rc receiver) Suspect(rooms ...RoomID) {
	rc.h.devices.doubt() // orders came the same way
	look := func(r *room) {
		if r == nil {
			return
		}
		r.mu.Lock()
		switch {
		case r.gone:
		case r.isOpen():
			r.suspect()
			r.doubt(false)
		default:
			r.missed = true
		}
		r.mu.Unlock()
	}
	for _, id := range rooms {
		look(rc.h.find(id))
	}
	if len(rooms) == 0 {
		for _, r := range rc.h.allRooms() {
			look(r)
		}
	}
}

func (h *Hub) allRooms() []*room {
	var all []*room
	for i := range h.shards {
		s := &h.shards[i]
		s.mu.RLock()
		for _, r := range s.rooms {
			all = append(all, r)
		}
		s.mu.RUnlock()
	}
	return all
}

// arrive begins a handshake, which Shutdown waits for from here on; false:
// the hub takes none any more.
func (h *Hub) arrive() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.draining.Load() {
		return false
	}
	h.readers.Add(1)
	return true
}

// register adds a session that has arrived, unless a shutdown has begun since;
// one of the same user and device is replaced. If a newer one of those has come
// to another hub meanwhile, it is the session that is replaced.
func (h *Hub) register(c *Client) error {
	h.mu.Lock()
	if h.closed || h.draining.Load() {
		h.parting[c] = struct{}{}
		h.mu.Unlock()
		return errDraining
	}
	h.sessions[c.id] = c
	h.mu.Unlock()

	key := userID{c.who.Tenant, c.who.User}
	s := h.shard(key.tenant, key.user)
	s.mu.Lock()
	old := s.users[key]
	list := make([]*Client, len(old), len(old)+1)
	copy(list, old)
	s.users[key] = append(list, c)
	for _, o := range old {
		if c.gen <= 0 && c.who.Device != "" && o.who.Device == c.who.Device {
			c.gen = min(c.gen, o.gen, -o.gen)
		}
	}
	claim, late := c.claim(), s.overtaken(c)
	s.mu.Unlock()
	if late {
		c.close(CloseSessionReplaced, replacedReason)
		return nil
	}
	replaced(old, c, h.cfg.MaxSessionsPerUser)
	h.devices.registered(claim)
	return nil
}

// replaced closes those of a user's sessions, the oldest first, that have no
// place beside c: of its device, and more than most. They leave their rooms
// after c has begun, so that the user is not seen to go and come.
func replaced(old []*Client, c *Client, most int) {
	others := make([]*Client, 0, len(old))
	for _, o := range old {
		switch {
		case o.ended.Load():
		case c.who.Device != "" && o.who.Device == c.who.Device:
			o.close(CloseSessionReplaced, replacedReason)
		default:
			others = append(others, o)
		}
	}
	for most > 0 && len(others) >= most {
		others[0].close(CloseSessionReplaced, "this user has too many sessions")
		others = others[1:]
	}
}

func (h *Hub) unregister(c *Client) {
	key := userID{c.who.Tenant, c.who.User}
	s := h.shard(key.tenant, key.user)
	s.mu.Lock()
	old := s.users[key]
	list := make([]*Client, 0, len(old))
	for _, o := range old {
		if o != c {
			list = append(list, o)
		}
	}
	if len(list) == 0 {
		delete(s.users, key)
	} else {
		s.users[key] = list
	}
	s.mu.Unlock()
	h.mu.Lock()
	delete(h.sessions, c.id)
	h.parting[c] = struct{}{}
	h.mu.Unlock()
}

// gone forgets a session whose connection is closed.
func (h *Hub) gone(c *Client) {
	h.mu.Lock()
	delete(h.parting, c)
	h.mu.Unlock()
}

// abort cuts off whoever is still connected, or of them only those to whom
// everything has been written. It tells how many of the others there were.
func (h *Hub) abort(written bool) (cut int) {
	all := h.allSessions()
	h.mu.RLock()
	for c := range h.parting {
		all = append(all, c)
	}
	h.mu.RUnlock()
	for _, c := range all {
		if c.conn.Waiting() > 0 {
			if written {
				continue
			}
			cut++
		}
		c.conn.Abort()
	}
	return cut
}

func (h *Hub) sessionsOf(tenant, user string) []*Client {
	s := h.shard(tenant, user)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.users[userID{tenant, user}]
}

func (h *Hub) session(id string) *Client {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.sessions[id]
}

func (h *Hub) allSessions() []*Client {
	h.mu.RLock()
	defer h.mu.RUnlock()
	all := make([]*Client, 0, len(h.sessions))
	for _, c := range h.sessions {
		all = append(all, c)
	}
	return all
}
