package gohub

import (
	"fmt"
	"unsafe"
)

// MemoryStoreSize counts what s holds, and checks that its books agree.
func MemoryStoreSize(s *MemoryStore) (messages, rooms, rows int, bytes int64, err error) {
	for i := range s.shards {
		h := &s.shards[i]
		h.mu.Lock()
		defer h.mu.Unlock()
		if len(h.heap) != len(h.rooms) {
			err = fmt.Errorf("shard %d: %d rooms, %d in the heap", i, len(h.rooms), len(h.heap))
		}
		for at, r := range h.heap {
			rooms++
			bytes += memRoomSize
			messages += r.msgs.len
			switch {
			case r.at != at || h.rooms[r.id] != r:
				err = fmt.Errorf("room %v is not where it says", r.id)
			case at > 0 && h.heap[(at-1)/2].key > r.key:
				err = fmt.Errorf("shard %d: no heap at %d", i, at)
			case r.msgs.len == 0:
				err = fmt.Errorf("room %v is empty", r.id)
			case r.ids.used != r.msgs.len:
				err = fmt.Errorf("room %v: %d messages, %d ids", r.id, r.msgs.len, r.ids.used)
			case r.key > r.msgs.at(0).seq:
				err = fmt.Errorf("room %v: key %d above its first message", r.id, r.key)
			}
			live, size := map[uint32]int{}, 0
			for j := range r.msgs.len {
				e := r.msgs.at(j)
				text := r.log.text(e)
				m := new(memCopies).message(r.id, e.seq, &text, 0)
				bytes += int64(m.size())
				live[e.block]++
				size += int(e.size)
				if j > 0 && r.msgs.at(j-1).seq > m.Seq {
					err = fmt.Errorf("room %v is not sorted", r.id)
				}
				if r.find(memTag(s.seed, m.ID), m.ID) != e {
					err = fmt.Errorf("room %v: id %s is not found", r.id, m.ID)
				}
			}
			taken := 0
			for j := range r.log.blocks.len {
				taken += cap(r.log.blocks.at(j).b)
			}
			if r.log.size != size || r.log.taken != taken {
				err = fmt.Errorf("room %v: %d bytes in blocks of %d, counted %d and %d", r.id, size, taken, r.log.size, r.log.taken)
			}
			for j := range r.log.blocks.len {
				if n := live[r.log.blocks.posOf(j)]; r.log.blocks.at(j).live != n || (n == 0) != (r.log.blocks.at(j).b == nil) {
					err = fmt.Errorf("room %v: a block of %d messages counts %d", r.id, n, r.log.blocks.at(j).live)
				}
			}
		}
		if len(h.heap) > 0 && h.oldest.Load() != h.heap[0].key {
			err = fmt.Errorf("shard %d: oldest is wrong", i)
		}
	}
	if bytes != s.size.Load() {
		err = fmt.Errorf("messages of %d bytes, counted %d", bytes, s.size.Load())
	}
	t := &s.rows
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, users := range t.rooms {
		rows += len(users)
	}
	chain := 0
	for r := t.lru.next; r != &t.lru; r = r.next {
		chain++
	}
	if int64(rows) != t.count || chain != rows {
		err = fmt.Errorf("%d rows, counted %d, %d in the chain", rows, t.count, chain)
	}
	return messages, rooms, rows, bytes, err
}

// MessageSize is what m counts for in MemoryStoreOptions.Bytes, beside its
// room.
func MessageSize(m Message) int64 { return int64(m.size()) }

// MemoryRoomSize is what a room with messages counts for.
const MemoryRoomSize = memRoomSize

// MemoryBrokerRooms counts the rooms that b holds.
func MemoryBrokerRooms(b *MemoryBroker) (n int) {
	for i := range b.shards {
		n += len(b.shards[i].list(nil))
	}
	return n
}

// RunsOn reports whether h runs on b.
func RunsOn(b *MemoryBroker, h *Hub) bool { return b.runs(receiver{h}) }

// SetClock replaces the clock of b, in µs since the Unix epoch.
func SetClock(b *MemoryBroker, clock func() int64) { b.clock = clock }

// Publish1 is the hub's way to publish one message.
func Publish1(b *MemoryBroker, floor int64, m *Message) Ordered { return b.publish1(floor, m) }

// MemoryStoreTaken is what s has allocated for messages and their rooms, in
// bytes, maps aside.
func MemoryStoreTaken(s *MemoryStore) (n int64) {
	for i := range s.shards {
		h := &s.shards[i]
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, r := range h.heap {
			n += int64(unsafe.Sizeof(*r)) + int64(len(r.id.Name))
			n += int64(cap(r.msgs.buf)) * int64(unsafe.Sizeof(memEntry{}))
			n += int64(cap(r.ids.slots)) * 8
			n += int64(cap(r.log.blocks.buf)) * int64(unsafe.Sizeof(memBlock{}))
			for _, b := range r.log.blocks.buf {
				n += int64(cap(b.b))
			}
		}
	}
	return n
}

// MemoryStoreBlock is the position of the next block of the only room of s. It falls only when
// the room is copied together.
func MemoryStoreBlock(s *MemoryStore) uint32 {
	for i := range s.shards {
		for _, r := range s.shards[i].heap {
			return r.log.blocks.posOf(r.log.blocks.len)
		}
	}
	return 0
}
