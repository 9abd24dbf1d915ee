package gohub

import (
	"context"
	"hash/maphash"
	"math"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
)

// MemoryStoreOptions bound what a [MemoryStore] keeps. The zero value is
// ready to use, and what is below 0 counts as -1.
type MemoryStoreOptions struct {
	// PerRoom is how many messages a room keeps. Defaults to 10,000; -1: no
	// limit but Bytes.
	PerRoom int
	// Bytes is what all messages together may take, counted as their content
	// plus 160 bytes each, and 500 bytes a room that has any. As much is taken as a
	// rule; where messages differ much in length it may be half as much again,
	// and where rooms have shrunk twice. Defaults to 64 MiB; -1: no limit.
	Bytes int64
	// Rows is how many rows, one for each user and room, keep watermarks and
	// room lists, of 200 to 500 bytes each. Defaults to 250,000; -1: no limit.
	Rows int
}

// A MemoryStore is the Store of a hub that is given none. It keeps the newest
// messages of each room within the bounds of its options and promises nothing
// beyond its process: Durable is false.
//
// When a room is full its oldest message, the one with the lowest Seq, goes;
// when Bytes are full, the oldest of all rooms. With a message its id is
// forgotten: a resend of it is then stored as a new message. When Rows are
// full, the row that was advanced longest ago goes: that user's watermarks in
// the room, and the room from the user's list. A room without messages takes
// no memory.
//
// Messages are copied when they are stored, and when they are read; one that was
// read with others, and is held on to, keeps up to 4 KiB of them.
//
// A cancelled context is noticed when a method is entered. No method blocks
// for longer than a lock is held. Append returns no error of its own.
type MemoryStore struct {
	perRoom  int64
	limit    int64
	seed     maphash.Seed
	size     atomic.Int64 // of all messages and their rooms, in bytes
	evicting sync.Mutex   // held by the one that brings size down
	shards   [memShards]memStoreShard
	// oldest holds each shard's heap[0].key, or MaxInt64, written under the
	// shard's mu: in one place, for shrink to compare.
	oldest [memShards]atomic.Int64
	rows   memRows
}

const memShards = 32

// memRoomSize is what a room takes beside its messages, about.
const memRoomSize = 500

var _ Store = (*MemoryStore)(nil)

// NewMemoryStore makes an empty store.
func NewMemoryStore(o MemoryStoreOptions) *MemoryStore {
	s := &MemoryStore{
		perRoom: memLimit(int64(o.PerRoom), 10_000),
		limit:   memLimit(o.Bytes, 64<<20),
		seed:    maphash.MakeSeed(),
	}
	s.rows.init(memLimit(int64(o.Rows), 250_000))
	for i := range s.shards {
		s.shards[i].rooms = make(map[RoomID]*memStoreRoom)
		s.shards[i].oldest = &s.oldest[i]
		s.shards[i].note()
	}
	return s
}

func memLimit(n, otherwise int64) int64 {
	switch {
	case n < 0:
		return math.MaxInt64
	case n == 0:
		return otherwise
	}
	return n
}

// memShardOf spreads rooms over shards.
func memShardOf(seed maphash.Seed, id *RoomID) int {
	h := maphash.String(seed, id.Name)
	if id.Tenant != "" {
		h += 3 * maphash.String(seed, id.Tenant)
	}
	return int(h % memShards)
}

// memStoreShard holds the rooms of one shard.
type memStoreShard struct {
	mu     sync.Mutex // protects all below and the rooms; memRows.mu may be taken under it
	rooms  map[RoomID]*memStoreRoom
	heap   []*memStoreRoom // min-heap by key: who has the oldest message
	oldest *atomic.Int64
	_      [16]byte // one cache line a shard
}

// memStoreRoom is a room that has messages, ascending by Seq.
type memStoreRoom struct {
	id   RoomID
	msgs memRing[memEntry]
	log  memLog // what they say
	ids  memIndex
	key  int64 // at most the Seq of the oldest message
	at   int   // in the shard's heap
	// a and b are the users of a direct room. Both have it listed if nobody
	// has been taken off a direct room's list since listed was noted.
	a, b   string
	direct bool
	listed uint64
}

// Durable is false: the messages go with the process.
func (s *MemoryStore) Durable() bool { return false }

// Append stores batch; see [Store]. It fails only when ctx has ended.
func (s *MemoryStore) Append(ctx context.Context, batch []Message) ([]Ordered, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out := make([]Ordered, len(batch))
	var shard *memStoreShard
	added := 0
	for i := range batch {
		if next := &s.shards[memShardOf(s.seed, &batch[i].Room)]; next != shard {
			if shard != nil {
				shard.mu.Unlock()
			}
			shard = next
			shard.mu.Lock()
		}
		var size int
		out[i], size = s.put(shard, &batch[i])
		added += size
	}
	if shard != nil {
		shard.mu.Unlock()
	}
	s.grown(added)
	return out, nil
}

// append1 is Append of one message, without an allocation for the answer.
func (s *MemoryStore) append1(m *Message) Ordered {
	shard := &s.shards[memShardOf(s.seed, &m.Room)]
	shard.mu.Lock()
	out, added := s.put(shard, m)
	shard.mu.Unlock()
	s.grown(added)
	return out
}

// put stores m in its shard, whose lock is held, and tells by how much the
// store has grown.
func (s *MemoryStore) put(shard *memStoreShard, m *Message) (out Ordered, added int) {
	room, added := shard.room(m.Room)
	tag := memTag(s.seed, m.ID)
	if known := room.find(tag, m.ID); known != nil {
		if string(room.log.text(known).sender) != m.Sender {
			return Ordered{Err: ErrIDConflict}, added
		}
		return Ordered{Seq: known.seq, Duplicate: true}, added
	}
	room.insert(tag, m)
	added += m.size()
	if room.direct {
		s.list(room, m)
	}
	if first := room.msgs.at(0).seq; first < room.key {
		room.key = first
		shard.fix(room)
	}
	if int64(room.msgs.len) > s.perRoom {
		added -= shard.evict(room)
	}
	return Ordered{Seq: m.Seq}, added
}

func (s *MemoryStore) grown(added int) {
	if s.size.Add(int64(added)) > s.limit {
		s.shrink()
	}
}

// list lists a direct room for those of its users who may see m. The lock of
// the room's shard is held.
func (s *MemoryStore) list(room *memStoreRoom, m *Message) {
	for _, u := range [2]string{room.a, room.b} {
		if !m.VisibleTo(u) { // it is then for the other one, if anyone
			other := room.a
			if u == room.a {
				other = room.b
			}
			if m.VisibleTo(other) {
				s.rows.listDirect(room.id, other)
			}
			return
		}
	}
	if room.listed != s.rows.unlisted.Load() {
		room.listed = s.rows.listDirect(room.id, room.a, room.b)
	}
}

// shrink evicts the oldest messages of all rooms until size is within limit.
func (s *MemoryStore) shrink() {
	s.evicting.Lock()
	defer s.evicting.Unlock()
	for s.size.Load() > s.limit {
		// The shard with the oldest message, and how old the others' are.
		var from *memStoreShard
		first, second := int64(math.MaxInt64), int64(math.MaxInt64)
		for i := range s.oldest {
			if k := s.oldest[i].Load(); k < first {
				from, first, second = &s.shards[i], k, first
			} else if k < second {
				second = k
			}
		}
		if from == nil {
			return // those who added the rest have evicted it themselves
		}
		from.mu.Lock()
		for len(from.heap) > 0 && s.size.Load() > s.limit {
			room := from.heap[0]
			if seq := room.msgs.at(0).seq; seq > room.key {
				room.key = seq
				from.fix(room)
			} else if seq > second {
				break
			} else {
				s.size.Add(-int64(from.evict(room)))
			}
		}
		from.mu.Unlock()
	}
}

// room finds or makes a room, and tells its size if it is new. It must get a
// message before mu is released.
func (h *memStoreShard) room(id RoomID) (r *memStoreRoom, size int) {
	r = h.rooms[id]
	if r == nil {
		size = memRoomSize
		r = &memStoreRoom{id: id, key: math.MaxInt64, at: len(h.heap), listed: math.MaxUint64}
		r.a, r.b, r.direct = id.Direct()
		h.rooms[id] = r
		h.heap = append(h.heap, r)
	}
	return r, size
}

// evict drops a room's oldest message, and the room with its last one. It
// returns the size of what went.
func (h *memStoreShard) evict(r *memStoreRoom) int {
	e := r.msgs.at(0)
	size := int(e.size) - memLogHead + len(r.id.Name) + messageOverhead
	r.ids.del(e.tag, r.msgs.head)
	r.log.drop(e)
	r.msgs.pop()
	r.msgs.trim()
	if r.log.sparse(r.msgs.len) {
		r.log = r.log.compact(&r.msgs)
	}
	if r.msgs.len == 0 {
		size += memRoomSize
		delete(h.rooms, r.id)
		at, last := r.at, len(h.heap)-1
		h.swap(at, last)
		h.heap[last] = nil
		h.heap = h.heap[:last]
		if at < last {
			h.fix(h.heap[at])
		}
		h.note()
	}
	return size
}

// fix restores the heap after r's key has changed.
func (h *memStoreShard) fix(r *memStoreRoom) {
	for r.at > 0 && h.heap[(r.at-1)/2].key > r.key {
		h.swap(r.at, (r.at-1)/2)
	}
	for {
		least := r.at
		for c := 2*r.at + 1; c <= 2*r.at+2 && c < len(h.heap); c++ {
			if h.heap[c].key < h.heap[least].key {
				least = c
			}
		}
		if least == r.at {
			break
		}
		h.swap(r.at, least)
	}
	h.note()
}

func (h *memStoreShard) swap(i, j int) {
	h.heap[i], h.heap[j] = h.heap[j], h.heap[i]
	h.heap[i].at, h.heap[j].at = i, j
}

// note tells shrink how old the oldest message is.
func (h *memStoreShard) note() {
	k := int64(math.MaxInt64)
	if len(h.heap) > 0 {
		k = h.heap[0].key
	}
	if h.oldest.Load() != k {
		h.oldest.Store(k)
	}
}

// find gives the message with that id, or nil.
func (r *memStoreRoom) find(tag uint32, id string) *memEntry {
	if r.ids.used == 0 {
		return nil
	}
	for i := r.ids.home(tag); r.ids.slots[i] != 0; i = (i + 1) & (len(r.ids.slots) - 1) {
		if slot := r.ids.slots[i]; uint32(slot>>32) == tag {
			if e := r.msgs.pos(memPos(slot)); string(r.log.text(e).id) == id {
				return e
			}
		}
	}
	return nil
}

// insert puts m in its place, which usually is the end. Elsewhere the shorter
// side moves over by one.
func (r *memStoreRoom) insert(tag uint32, m *Message) {
	e := r.log.write(m, tag)
	if r.msgs.len == 0 || r.msgs.at(r.msgs.len-1).seq <= m.Seq {
		r.ids.put(tag, r.msgs.push(e))
		return
	}
	r.msgs.grow()
	i := r.after(m.Seq)
	move := func(from, to uint32) {
		moved := r.msgs.pos(from)
		r.ids.move(moved.tag, from, to)
		*r.msgs.pos(to) = *moved
	}
	if at := r.msgs.posOf(i); i > r.msgs.len/2 {
		for p := r.msgs.posOf(r.msgs.len); p != at; p-- {
			move(p-1, p)
		}
	} else {
		for p := r.msgs.head; p != at; p++ {
			move(p, p-1)
		}
		r.msgs.head--
	}
	r.msgs.len++
	*r.msgs.at(i) = e
	r.ids.put(tag, r.msgs.posOf(i))
}

// after is the index of the first message with a higher Seq.
func (r *memStoreRoom) after(seq int64) int {
	return sort.Search(r.msgs.len, func(i int) bool { return r.msgs.at(i).seq > seq })
}

// Lookup finds a message by its id; see [Store].
func (s *MemoryStore) Lookup(ctx context.Context, room RoomID, id string) (m Message, found bool, err error) {
	if err := ctx.Err(); err != nil {
		return Message{}, false, err
	}
	h := &s.shards[memShardOf(s.seed, &room)]
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.rooms[room]; r != nil {
		if known := r.find(memTag(s.seed, id), id); known != nil {
			t := r.log.text(known)
			return new(memCopies).message(room, known.seq, &t, 0), true, nil
		}
	}
	return Message{}, false, nil
}

// History reads a page; see [Store]. A Limit below 1 counts as 1.
func (s *MemoryStore) History(ctx context.Context, q Query) (ms []Message, more bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	h := &s.shards[memShardOf(s.seed, &q.Room)]
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.rooms[q.Room]
	if r == nil {
		return nil, false, nil
	}
	from, to, step := r.after(q.After), r.msgs.len, 1
	if q.Before > 0 {
		to = r.after(q.Before - 1)
	}
	if from >= to {
		return nil, false, nil
	}
	limit := max(q.Limit, 1)
	ms = make([]Message, 0, min(limit, to-from))
	if q.Newest {
		from, to, step = to-1, from-1, -1
	}
	var copies memCopies
	for i := from; i != to; i += step {
		e := r.msgs.at(i)
		if t := r.log.text(e); t.visibleTo(q.Viewer) {
			if len(ms) == limit {
				more = true
				break
			}
			ms = append(ms, copies.message(r.id, e.seq, &t, cap(ms)-len(ms)-1))
		}
	}
	if q.Newest {
		slices.Reverse(ms)
	}
	return ms, more, nil
}

// state computes a line of a user's list of rooms.
func (s *MemoryStore) state(id RoomID, user string, seen int64) RoomState {
	st := RoomState{Room: id, Seen: seen}
	h := &s.shards[memShardOf(s.seed, &id)]
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.rooms[id]
	if r == nil {
		return st
	}
	for i := r.msgs.len - 1; i >= 0; i-- {
		e := r.msgs.at(i)
		m := r.log.text(e)
		if !m.visibleTo(user) {
			continue
		}
		st.Head = max(st.Head, e.seq)
		if e.seq <= seen || st.Unread == MaxUnread {
			break
		}
		if string(m.sender) != user {
			st.Unread++
		}
	}
	return st
}
