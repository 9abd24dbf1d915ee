package gohub

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// A MemoryBroker is the Broker of a hub that is given none: it orders and
// carries within one process. Several receivers (hubs) may run on one value;
// they are compared with ==, so they are pointers.
//
// The clock behind Seq is the wall time at which the broker was made plus
// monotonic time: a stepped wall clock moves no room's order. Publish delivers
// before it returns, on the caller's goroutine, under a lock of that room
// which no other method takes but the end of a Run. So a Receiver may call
// nothing of the broker in Deliver, but may hold its own locks of that room
// while it calls Subscribe, Unsubscribe, Log or Stored.
//
// An id is known as long as its message is unstored, and else for two minutes
// or until 1,024 newer messages of the room, whichever comes first.
//
// What Run's end leaves in the logs is there for the next Run. Nothing here
// outlives the process, so Orphans finds nothing, and no message is lost on
// the way, so Suspect is never called.
type MemoryBroker struct {
	// clock is µs since the Unix epoch, never going back. Tests replace it
	// before they use the broker.
	clock  func() int64
	seed   maphash.Seed
	mix    [2]uint64 // makes places of ids in hash tables unpredictable
	shards [memShards]memBrokerShard

	// receivers are those that run. A new slice for every change, made
	// under running.
	receivers atomic.Pointer[[]Receiver]
	running   sync.Mutex
	swept     atomic.Int64 // when the last sweep began, in µs of clock
	sweepNext atomic.Uint32
}

const (
	memDedupFor  = 2 * time.Minute
	memDedupRoom = 1024
	memSweep     = 10 * time.Second // one of memSweeps parts at a time
	memSweeps    = 8
)

var _ Broker = (*MemoryBroker)(nil)

// NewMemoryBroker makes a broker without rooms. It starts no goroutine.
func NewMemoryBroker() *MemoryBroker {
	start := time.Now()
	unix := start.UnixMicro()
	b := &MemoryBroker{
		clock: func() int64 { return unix + time.Since(start).Microseconds() },
		seed:  maphash.MakeSeed(),
	}
	b.mix = [2]uint64{maphash.String(b.seed, "a") | 1, maphash.String(b.seed, "b") | 1}
	for i := range b.shards {
		b.shards[i].rooms = make(map[RoomID]*memBrokerRoom)
	}
	b.receivers.Store(new([]Receiver))
	return b
}

// memBrokerShard holds the rooms of one shard.
type memBrokerShard struct {
	mu    sync.RWMutex // protects rooms; a room's mu may be taken under it
	rooms map[RoomID]*memBrokerRoom
	_     [32]byte // one cache line a shard
}

// memBrokerRoom is a room that has a subscriber, an unstored message or ids
// to remember.
type memBrokerRoom struct {
	// order is held from a message's ordering to the end of its delivery, so
	// that deliveries keep the order. mu may be taken under it.
	order sync.Mutex

	mu   sync.Mutex // protects all below; a leaf, and never held while delivering
	gone bool       // dropped: look the room up again
	subs []Receiver // a new slice for every change
	last int64      // Seq of the newest message, or 0
	base int64      // all messages up to here have been Stored
	log  memRing[memLogged]
	seen memDedup
}

// memLogged is a message of the log. It leaves with all before it.
type memLogged struct {
	Message
	stored bool
}

// Run connects r until ctx ends, and returns nil then: r gets no Deliver any
// more, though a Signal may still be under way. It fails at once when r runs
// already. The goroutine that calls it also drops what idle rooms leave
// behind.
func (b *MemoryBroker) Run(ctx context.Context, r Receiver) error {
	return b.run(ctx, r, func() {})
}

// run is Run. It calls ready once r is connected.
func (b *MemoryBroker) run(ctx context.Context, r Receiver, ready func()) error {
	if !b.attach(r) {
		return errors.New("gohub: the receiver runs on this broker already")
	}
	defer b.detach(r)
	ready()
	tick := time.NewTicker(memSweep)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			b.sweep()
		}
	}
}

// attach connects r; false: it was connected.
func (b *MemoryBroker) attach(r Receiver) bool {
	b.running.Lock()
	defer b.running.Unlock()
	old := *b.receivers.Load()
	if slices.Contains(old, r) {
		return false
	}
	now := append(slices.Clip(slices.Clone(old)), r)
	b.receivers.Store(&now)
	return true
}

// detach disconnects r and waits for deliveries to it to end.
func (b *MemoryBroker) detach(r Receiver) {
	b.running.Lock()
	defer b.running.Unlock()
	now := slices.DeleteFunc(slices.Clone(*b.receivers.Load()), func(o Receiver) bool { return o == r })
	b.receivers.Store(&now)
	// From here on Subscribe refuses r. Take it out of every room.
	var rooms []*memBrokerRoom
	for i := range b.shards {
		rooms = b.shards[i].list(rooms[:0])
		for _, room := range rooms {
			room.order.Lock() // a delivery may be under way
			room.mu.Lock()
			room.unsubscribe(r)
			room.mu.Unlock()
			room.order.Unlock()
		}
	}
}

func (b *MemoryBroker) runs(r Receiver) bool { return slices.Contains(*b.receivers.Load(), r) }

// check is what every method that can fail asks first.
func (b *MemoryBroker) check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if len(*b.receivers.Load()) == 0 {
		return ErrUnavailable
	}
	return nil
}

func (b *MemoryBroker) shard(id *RoomID) *memBrokerShard {
	return &b.shards[memShardOf(b.seed, id)]
}

// find gives the room, or nil.
func (h *memBrokerShard) find(id RoomID) *memBrokerRoom {
	h.mu.RLock()
	r := h.rooms[id]
	h.mu.RUnlock()
	return r
}

// room finds or makes the room. It may be gone by the time it is locked.
func (h *memBrokerShard) room(id RoomID) *memBrokerRoom {
	if r := h.find(id); r != nil {
		return r
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.rooms[id]
	if r == nil {
		r = &memBrokerRoom{base: math.MaxInt64}
		h.rooms[id] = r
	}
	return r
}

func (h *memBrokerShard) list(into []*memBrokerRoom) []*memBrokerRoom {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, r := range h.rooms {
		into = append(into, r)
	}
	return into
}

// Publish orders and delivers; see [Broker]. It returns after Deliver has,
// and never ErrUnknown: a ctx that has ended yields ErrUnavailable.
func (b *MemoryBroker) Publish(ctx context.Context, floor int64, msgs ...Message) []Ordered {
	if len(msgs) == 0 {
		return nil
	}
	out := make([]Ordered, len(msgs))
	if err := b.check(ctx); err != nil {
		for i := range out {
			out[i].Err = err
		}
		return out
	}
	r := b.hold(&msgs[0].Room)
	defer r.order.Unlock()
	for i := range msgs {
		m := msgs[i]
		out[i] = b.publish(r, floor, &m)
	}
	return out
}

// publish1 is Publish of one message. It sets m.Seq, and allocates nothing
// but, now and then, room in the log.
func (b *MemoryBroker) publish1(floor int64, m *Message) Ordered {
	if len(*b.receivers.Load()) == 0 {
		return Ordered{Err: ErrUnavailable}
	}
	r := b.hold(&m.Room)
	defer r.order.Unlock()
	return b.publish(r, floor, m)
}

// hold finds or makes a room and locks its order and mu.
func (b *MemoryBroker) hold(id *RoomID) *memBrokerRoom {
	shard := b.shard(id)
	for {
		r := shard.room(*id)
		r.order.Lock()
		r.mu.Lock()
		gone := r.gone
		r.mu.Unlock()
		if !gone {
			return r // and stays: only who holds order drops it
		}
		r.order.Unlock()
	}
}

// publish orders m and delivers it. The caller holds r.order.
func (b *MemoryBroker) publish(r *memBrokerRoom, floor int64, m *Message) Ordered {
	key, sender := memIDKey(b.seed, m.ID), maphash.String(b.seed, m.Sender)
	tag := key.tag(&b.mix)

	r.mu.Lock()
	now := b.clock()
	r.seen.expire(now-memDedupFor.Microseconds(), r.base, &b.mix)
	if known := r.seen.find(tag, key); known != nil {
		o := Ordered{Seq: known.seq, Duplicate: true}
		if known.sender != sender {
			o = Ordered{Err: ErrIDConflict}
		}
		r.mu.Unlock()
		m.Seq = o.Seq
		return o
	}
	prev := max(r.last, floor)
	m.Seq = max(prev+1, now)
	if r.last == 0 {
		r.base = m.Seq - 1 // whatever was before is stored, or the room would be here
	}
	r.last = m.Seq
	r.log.push(memLogged{Message: *m})
	r.seen.put(tag, memSeen{key: key, sender: sender, seq: m.Seq})
	subs := r.subs
	r.mu.Unlock()

	for _, s := range subs {
		s.Deliver(*m, prev)
	}
	return Ordered{Seq: m.Seq}
}

// Stored lets the log go of msgs; see [Broker]. They are told by room, Seq
// and id; others are ignored. It also works outside Run.
func (b *MemoryBroker) Stored(msgs ...Message) {
	var r *memBrokerRoom
	var id *RoomID
	for i := range msgs {
		m := &msgs[i]
		if id == nil || m.Room != *id {
			id = &m.Room
			r = b.shard(id).find(*id)
		}
		if r != nil {
			r.mu.Lock()
			r.stored(m)
			r.mu.Unlock()
		}
	}
}

// stored1 is Stored of one message.
func (b *MemoryBroker) stored1(m *Message) {
	if r := b.shard(&m.Room).find(m.Room); r != nil {
		r.mu.Lock()
		r.stored(m)
		r.mu.Unlock()
	}
}

func (r *memBrokerRoom) stored(m *Message) {
	i := r.after(m.Seq - 1)
	if i == r.log.len {
		return
	}
	if l := r.log.at(i); l.Seq == m.Seq && l.ID == m.ID {
		l.stored = true
	}
	for r.log.len > 0 && r.log.at(0).stored {
		r.base = r.log.at(0).Seq
		r.log.pop()
	}
}

// after is the index of the log's first message with a higher Seq.
func (r *memBrokerRoom) after(seq int64) int {
	if r.log.len == 0 || r.log.at(0).Seq > seq {
		return 0
	}
	return sort.Search(r.log.len, func(i int) bool { return r.log.at(i).Seq > seq })
}

// Subscribe makes every message of room that is published from now on reach
// r; see [Broker]. Doing it twice is as good as once.
func (b *MemoryBroker) Subscribe(ctx context.Context, r Receiver, id RoomID) error {
	if err := b.check(ctx); err != nil {
		return err
	}
	if !b.runs(r) {
		return ErrUnavailable
	}
	for {
		room := b.shard(&id).room(id)
		room.mu.Lock()
		gone, runs := room.gone, b.runs(r)
		if !gone && runs && !slices.Contains(room.subs, r) {
			room.subs = append(slices.Clip(slices.Clone(room.subs)), r)
		}
		room.mu.Unlock()
		if !runs {
			return ErrUnavailable
		}
		if !gone {
			return nil
		}
	}
}

// Unsubscribe ends what Subscribe began. A message that is being delivered
// may still come.
func (b *MemoryBroker) Unsubscribe(r Receiver, id RoomID) {
	if room := b.shard(&id).find(id); room != nil {
		room.mu.Lock()
		room.unsubscribe(r)
		room.mu.Unlock()
	}
}

func (r *memBrokerRoom) unsubscribe(s Receiver) {
	if slices.Contains(r.subs, s) {
		r.subs = slices.DeleteFunc(slices.Clone(r.subs), func(o Receiver) bool { return o == s })
	}
}

// Log reads the unstored messages; see [Broker]. Messages that are stored but
// follow an unstored one are among them. base is math.MaxInt64 while nothing
// was published in the room, or nothing that has not been forgotten: all
// there is is in the Store.
func (b *MemoryBroker) Log(ctx context.Context, id RoomID, after int64, limit int) (ms []Message, base int64, err error) {
	if err := b.check(ctx); err != nil {
		return nil, 0, err
	}
	r := b.shard(&id).find(id)
	if r == nil {
		return nil, math.MaxInt64, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return nil, math.MaxInt64, nil
	}
	from := r.after(after)
	if n := min(r.log.len-from, limit); n > 0 {
		ms = make([]Message, n)
		for i := range ms {
			ms[i] = r.log.at(from + i).Message
		}
	}
	return ms, r.base, nil
}

// Orphans finds nothing: what this process ordered dies with it.
func (b *MemoryBroker) Orphans(ctx context.Context, _ func([]Message) error) error {
	return b.check(ctx)
}

// Signal hands the frame to every receiver that runs, before it returns.
func (b *MemoryBroker) Signal(to Target, frame []byte) {
	for _, r := range *b.receivers.Load() {
		r.Signal(to, frame)
	}
}

// sweep drops rooms that nobody needs and ids that have expired, in a part of
// the shards, unless another Run has done so lately.
func (b *MemoryBroker) sweep() {
	now := b.clock()
	last := b.swept.Load()
	if now-last < memSweep.Microseconds()/2 || !b.swept.CompareAndSwap(last, now) {
		return
	}
	part := int(b.sweepNext.Add(1) % memSweeps)
	for i := part; i < memShards; i += memSweeps {
		b.sweepShard(&b.shards[i], now)
	}
}

func (b *MemoryBroker) sweepShard(h *memBrokerShard, now int64) {
	idle := false
	for _, r := range h.list(nil) {
		r.mu.Lock()
		r.seen.expire(now-memDedupFor.Microseconds(), r.base, &b.mix)
		r.seen.ring.trim()
		r.log.trim()
		idle = idle || r.idle(now)
		r.mu.Unlock()
	}
	if !idle {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, r := range h.rooms {
		if !r.order.TryLock() {
			continue // in use
		}
		r.mu.Lock()
		if r.idle(now) {
			r.gone = true
			delete(h.rooms, id)
		}
		r.mu.Unlock()
		r.order.Unlock()
	}
}

// idle reports whether the room can be forgotten. Its last Seq can: the clock
// is past it, so what comes later is higher anyway.
func (r *memBrokerRoom) idle(now int64) bool {
	return len(r.subs) == 0 && r.log.len == 0 && r.seen.ring.len == 0 && r.last < now
}
