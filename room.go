package gohub

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gohub/gohub/internal/pace"
	"github.com/gohub/gohub/internal/wire"
	"github.com/gohub/gohub/internal/wsconn"
)

const (
	ringKeep    = 32      // messages a room holds for joins; the ring grows to twice that between trims
	ringJoining = 1024    // while a join is under way
	ringMost    = 1 << 20 // bytes of them
	inlineRuns  = 2       // batches a publisher writes out itself before a goroutine takes over
	batchBytes  = 128 << 10
	chunkMost   = 4 << 10              // bytes of frames that share an allocation
	clockEvery  = 32                   // members that are sent to before a fan-out looks at the clock
	stepAfter   = 4 * time.Millisecond // it has run for so long when it looks for others' frames, which costs the CPU of 20 writes
)

// A room is what this hub knows of a room that has members here, or a join or
// publish under way. It is made by Hub.acquire and forgotten with the last
// member; the Broker and the Store hold what lasts.
//
// A message's way through it: deliver appends its frame, encoded once, to
// ring and pending. flush takes all of pending, joins it into one buffer, and
// gives that buffer to every member. There is one flush at a time; messages
// that arrive while it runs make the next buffer. So a quiet room writes each
// message at once, in the publisher's goroutine, and a busy one writes many
// messages with each write.
type room struct {
	hub *Hub
	id  RoomID

	// publishing counts callers that will flush after what they are doing
	// now: deliver then leaves the flush to them.
	publishing atomic.Int32
	// uncommitted counts messages reserved and not yet stored; the persister's.
	uncommitted atomic.Int64

	mu        sync.Mutex // guards what follows; never held during I/O or a write
	opened    chan struct{}
	openErr   error // readable once opened is closed
	gone      bool  // being forgotten: acquire again once left is closed
	left      chan struct{}
	refs      int // joins and publishes under way
	joining   int // the joins among them
	members   []*member
	shared    bool // flush is reading members: change a copy
	users     map[string]*occupant
	last      int64 // seq of the newest message delivered here, or the Store's head
	sure      int64 // nothing up to here is missing; above last where nothing is
	ring      []frame
	ringBytes int
	chunk     []byte // that frames are encoded in, one behind another; what is written stays
	base      int64  // every message after base is in ring
	pending   []frame
	spare     []frame // pending's other half
	flushing  bool
	repairing bool
	missed    bool   // more was lost while repairing
	held      []held // came while repairing
	events    roomEvents
	roster    *roster // nil: this hub is the whole cluster
}

const heldMost = 256

type held struct {
	m    Message
	prev int64
}

// A member is one session's place in a room.
type member struct {
	client *Client
	conn   *wsconn.Conn // the client's, which a fan-out need not look at
	room   *room
	gate   wsconn.Gate // shut when the session leaves
	placed atomic.Bool // by the program: MayJoin has no say
	from   int64       // messages up to here were replayed; set before it is in members
	place  int         // in members; -1 while it replays
}

// An occupant is a user with at least one session in the room.
type occupant struct {
	name     string
	sessions int
	shown    [2]int64 // delivered and seen, as authors have been told
}

// A frame is one encoded frame and who shall get it.
type frame struct {
	seq    int64 // 0: an event
	bytes  []byte
	sender string // of a message
	to     string // when set: only this user and sender
	except string // when set: not this session
}

func (f *frame) restricted() bool { return f.to != "" || f.except != "" }

func (f *frame) visible(user string) bool {
	return f.to == "" || f.to == user || f.sender == user
}

func (f *frame) reaches(m *member) bool {
	return (f.seq == 0 || f.seq > m.from) && f.visible(m.client.who.User) &&
		(f.except == "" || f.except != m.client.id)
}

// deliver takes a message in the room's order.
func (r *room) deliver(m *Message, prev int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !r.isOpen():
		r.missed = true
		return
	case m.Seq <= r.last: // known already
		return
	case r.repairing:
		if len(r.held) < heldMost {
			r.held = append(r.held, held{*m, prev})
		} else {
			r.missed = true
		}
		return
	case prev > max(r.last, r.sure):
		r.suspect()
		return
	}
	r.add(r.encode(m))
}

func (r *room) isOpen() bool {
	select {
	case <-r.opened:
		return true
	default:
		return false
	}
}

// add appends a message's frame to ring and pending.
func (r *room) add(f frame) {
	r.last = f.seq
	if len(r.members) > 0 {
		r.pending = append(r.pending, f)
	}
	r.keep(f)
}

// keep appends a message's frame to the ring and trims that to its bounds; mu
// is held.
func (r *room) keep(f frame) {
	r.ring = append(r.ring, f)
	r.ringBytes += len(f.bytes)
	keep := ringKeep
	if r.joining > 0 {
		keep = ringJoining
	}
	cut := 0
	if len(r.ring) >= 2*keep {
		cut = len(r.ring) - keep
	}
	if r.ringBytes > ringMost {
		for size := r.ringBytes; size > ringMost/2 && cut < len(r.ring)-1; cut++ {
			size -= len(r.ring[cut].bytes)
		}
	}
	if cut > 0 {
		for i := range r.ring[:cut] {
			r.ringBytes -= len(r.ring[i].bytes)
		}
		r.base = r.ring[cut-1].seq
		n := copy(r.ring, r.ring[cut:])
		clear(r.ring[n:])
		r.ring = r.ring[:n]
	}
}

// encode makes the frame of a message; mu is held. Frames of a busy room share chunks,
// which spares the collector most of them. A chunk is as much as an eighth of the ring.
// What only some members get is not in one, so a queue that holds some frames of a chunk
// holds its neighbours, too, or has sent them; nor is what would fill half of it.
func (r *room) encode(m *Message) frame {
	w := wireMessage(m)
	f := frame{seq: m.Seq, sender: m.Sender, to: m.To}
	size := wire.FrameSize(&w)
	shared := min(r.ringBytes/8, chunkMost)
	if m.To != "" || size > shared/2 {
		f.bytes = slices.Clip(wire.AppendMessage(make([]byte, 0, size), &w))
		return f
	}
	if cap(r.chunk)-len(r.chunk) < size {
		r.chunk = make([]byte, 0, shared)
	}
	start := len(r.chunk)
	r.chunk = wire.AppendMessage(r.chunk, &w)
	f.bytes = r.chunk[start:len(r.chunk):len(r.chunk)]
	return f
}

// encodeRead is encode for a message from a Store, whose other parts are not to stay in
// memory because of a name.
func (r *room) encodeRead(m *Message) frame {
	f := r.encode(m)
	f.sender, f.to = strings.Clone(f.sender), strings.Clone(f.to)
	return f
}

func wireMessage(m *Message) wire.Message {
	return wire.Message{
		ID: m.ID, Room: m.Room.Name, Sender: m.Sender, To: m.To, Kind: m.Kind,
		Seq: m.Seq, Body: m.Body, Binary: m.Binary,
	}
}

// event sends a frame that is not a message: never stored, never replayed,
// dropped first for a client that is behind.
func (r *room) event(f frame) {
	r.mu.Lock()
	if len(r.members) > 0 {
		r.pending = append(r.pending, f)
	}
	r.mu.Unlock()
}

// flush writes pending to the members, unless somebody is at it already.
func (r *room) flush() {
	r.mu.Lock()
	if r.flushing || len(r.pending) == 0 {
		r.mu.Unlock()
		return
	}
	r.flushing = true
	done := r.runs(inlineRuns)
	empty := len(r.users) == 0
	r.mu.Unlock()
	switch {
	case !done:
		r.hub.run(r.flushRest)
	case empty: // the last member left meanwhile
		r.hub.drop(r)
	}
}

// flushRest goes on where flush stopped; it ends when nothing is pending.
func (r *room) flushRest() {
	r.mu.Lock()
	for !r.runs(1 << 10) {
	}
	r.mu.Unlock()
	r.hub.drop(r)
}

// flushSoon is flush for callers that must not write themselves.
func (r *room) flushSoon() {
	r.mu.Lock()
	start := !r.flushing && len(r.pending) > 0
	if start {
		r.flushing = true
	}
	r.mu.Unlock()
	if start {
		r.hub.run(r.flushRest)
	}
}

// runs writes at most n batches; true when nothing was left and flushing has
// ended. Called with mu held, which it lets go meanwhile.
func (r *room) runs(n int) bool {
	out := fanOut{after: r.hub.stepAfter}
	for ; len(r.pending) > 0; n-- {
		if n == 0 {
			return false
		}
		batch, members := r.pending, r.members
		r.pending, r.spare = r.spare, nil
		r.shared = true
		r.mu.Unlock()
		for rest := batch; len(rest) > 0; {
			n, deliveries := write(rest, members, &out)
			r.hub.count.deliveries.Add(deliveries)
			rest = rest[n:]
		}
		clear(batch)
		r.mu.Lock()
		if cap(batch) <= 1024 {
			r.spare = batch[:0]
		}
	}
	r.flushing, r.shared = false, false
	return true
}

// A fanOut is one goroutine's writing to members, be it one batch to many or many
// to few, which does not hold up others.
type fanOut struct {
	after time.Duration // it has run for so long when it makes room
	since time.Time
	sends int
}

// step comes before each member.
func (f *fanOut) step() {
	if f.sends++; f.sends%clockEvery != 0 {
		return
	}
	switch now := time.Now(); {
	case f.since.IsZero():
		f.since = now
	case now.Sub(f.since) > f.after:
		pace.Step()
		f.since = time.Now()
	}
}

// write sends the first frames of batch, as many as fit in one write, to the
// members. It tells how many they were, and how many messages the members were
// given.
func write(batch []frame, members []*member, out *fanOut) (n int, deliveries int64) {
	size, messages := 0, int64(0)
	restricted, volatile := false, true
	var first, last int64 // message seqs in the batch
	for n < len(batch) && (n == 0 || size+len(batch[n].bytes) <= batchBytes) {
		f := &batch[n]
		size += len(f.bytes)
		restricted = restricted || f.restricted()
		if f.seq != 0 {
			messages++
			volatile = false
			if first == 0 {
				first = f.seq
			}
			last = f.seq
		}
		n++
	}
	batch = batch[:n]
	all := join(batch, size, nil)
	var public []byte // what everybody may see, made when first needed
	for _, m := range members {
		out.step()
		if !restricted && (last == 0 || m.from < first) {
			deliveries += messages
			m.conn.Send(all, volatile, &m.gate)
			continue
		}
		hidden, special := false, false
		for i := range batch {
			f := &batch[i]
			if !f.reaches(m) {
				hidden = true
				special = special || !f.restricted()
				continue
			}
			special = special || f.restricted()
			if f.seq != 0 {
				deliveries++
			}
		}
		switch {
		case !hidden:
			m.conn.Send(all, volatile, &m.gate)
		case !special: // hidden is all that is restricted, and nothing else
			if public == nil {
				public = join(batch, size, func(f *frame) bool { return !f.restricted() })
			}
			if len(public) > 0 {
				m.conn.Send(public, volatile, &m.gate)
			}
		default:
			if own := join(batch, size, func(f *frame) bool { return f.reaches(m) }); len(own) > 0 {
				m.conn.Send(own, volatile, &m.gate)
			}
		}
	}
	return n, deliveries
}

// join puts the frames that pass keep (nil: all) into one buffer. A single
// frame is used as it is.
func join(batch []frame, size int, keep func(*frame) bool) []byte {
	if keep == nil && len(batch) == 1 {
		return batch[0].bytes
	}
	b := make([]byte, 0, size)
	for i := range batch {
		if keep == nil || keep(&batch[i]) {
			b = append(b, batch[i].bytes...)
		}
	}
	return b
}

// enter counts a session's user in; leave counts it out.
func (r *room) enter(c *Client) {
	o := r.users[c.who.User]
	if o == nil {
		o = &occupant{name: c.identity().Name}
		if r.users == nil {
			r.users = make(map[string]*occupant)
		}
		r.users[c.who.User] = o
	}
	o.sessions++
	r.changed(c.who.User, o.sessions-1, o.sessions)
}

// settle makes m a member that gets everything after from, its replay's end.
func (r *room) settle(m *member, from int64) {
	m.from = from
	m.place = len(r.members)
	r.members = append(r.members, m)
}

// leave removes m. When it returns nothing more of the room is sent to the
// session.
func (r *room) leave(m *member) {
	m.conn.Shut(&m.gate)
	r.mu.Lock()
	if m.place >= 0 {
		if r.shared {
			r.members = append([]*member(nil), r.members...)
			r.shared = false
		}
		end := len(r.members) - 1
		moved := r.members[end]
		r.members[m.place], moved.place = moved, m.place
		r.members[end] = nil
		r.members = r.members[:end]
		m.place = -1
	}
	user := m.client.who.User
	if o := r.users[user]; o != nil {
		if o.sessions--; o.sessions == 0 {
			delete(r.users, user)
		}
		// Whom the end of this hub ends comes back on another one: until then
		// the Directory has it here.
		switch {
		case r.roster == nil || !r.hub.draining.Load() || !m.client.ended.Load():
			r.changed(user, o.sessions+1, o.sessions)
		case o.sessions == 0:
			delete(r.roster.waiting, user)
		}
	}
	typed := r.stopTyping(m.client)
	r.mu.Unlock()
	if typed {
		r.tellTyping(m.client, false)
	}
}

// inline runs f, which may deliver to the room, and flushes once afterwards,
// in this goroutine.
func (r *room) inline(f func()) {
	r.publishing.Add(1)
	f()
	r.publishing.Add(-1)
	r.flush()
}

// head is the seq of the newest message that user may see, if the ring knows;
// mu is held.
func (r *room) head(user string) (seq int64, known bool) {
	for i := len(r.ring) - 1; i >= 0; i-- {
		if r.ring[i].visible(user) {
			return r.ring[i].seq, true
		}
	}
	return 0, r.base == 0
}

// suspect reads what was lost from the log and the Store; mu is held.
func (r *room) suspect() {
	if r.repairing {
		r.missed = true
		return
	}
	r.repairing, r.missed = true, false
	r.hub.count.repairs.Add(1)
	r.refs++
	started := r.hub.spawn(func() { // ends when nothing is missing, or with the hub
		r.repair(r.hub.ctx)
		r.hub.release(r)
	})
	if !started { // nobody is here any more
		r.refs--
	}
}

func (r *room) repair(ctx context.Context) {
	pause := newBackoff()
	for {
		r.mu.Lock()
		after := r.last
		r.missed = false
		r.mu.Unlock()
		ms, more, base, err := r.hub.readUpTo(ctx, Query{Room: r.id, After: after, Limit: r.hub.cfg.ReplayLimit})
		if err != nil {
			r.hub.log.Warn("room cannot be repaired yet", "room", r.id, "err", err)
			if !pause.wait(ctx) {
				return
			}
			continue
		}
		r.mu.Lock()
		for i := range ms {
			if ms[i].Seq > r.last {
				r.add(r.encodeRead(&ms[i]))
			}
		}
		if !more {
			r.sure = max(r.sure, base)
		}
		for i := range r.held {
			switch x := &r.held[i]; {
			case x.prev > max(r.last, r.sure):
				r.missed = true
			case x.m.Seq > r.last:
				r.add(r.encode(&x.m))
			}
		}
		clear(r.held)
		r.held = r.held[:0]
		// What is held says nothing about what follows it: it may have been too
		// much, or its last frames lost. A full page is followed by another.
		done := !more && !r.missed
		if done {
			r.repairing, r.held = false, nil
		}
		r.mu.Unlock()
		r.flush()
		if done {
			return
		}
	}
}
