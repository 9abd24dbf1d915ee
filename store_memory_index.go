package gohub

import "hash/maphash"

// memIndex finds entries of a memory ring by the hash of their message id: a
// hash table of uint64 without pointers, so that the garbage collector has
// nothing to look at. A slot holds a tag made of the hash (never 0) above the
// entry's position in its ring. The index keeps no ids: whoever searches
// compares them in the ring. Not safe for concurrent use.
type memIndex struct {
	slots []uint64 // a power of two, or nil
	used  int
}

// memTag makes the tag of an id.
func memTag(seed maphash.Seed, id string) uint32 {
	return uint32(maphash.String(seed, id)>>32) | 1
}

func memSlot(tag, pos uint32) uint64 { return uint64(tag)<<32 | uint64(pos) }

// memPos is the position that a slot points to.
func memPos(slot uint64) uint32 {
	return uint32(slot) //nolint:gosec // its lower half
}

// home is the first slot to try for a tag. From there on, up to the first
// empty slot, lie all entries that can have it. Needs slots.
func (x *memIndex) home(tag uint32) int { return int(tag>>1) & (len(x.slots) - 1) }

func (x *memIndex) put(tag, pos uint32) {
	if 4*(x.used+1) > 3*len(x.slots) {
		x.resize(max(8, 2*len(x.slots)))
	}
	x.used++
	x.insert(memSlot(tag, pos))
}

func (x *memIndex) insert(slot uint64) {
	i := x.home(uint32(slot >> 32))
	for x.slots[i] != 0 {
		i = (i + 1) & (len(x.slots) - 1)
	}
	x.slots[i] = slot
}

// move notes that the entry at position from has gone to position to.
func (x *memIndex) move(tag, from, to uint32) {
	x.slots[x.slot(tag, from)] = memSlot(tag, to)
}

// del forgets the entry at pos, and closes the gap it leaves.
func (x *memIndex) del(tag, pos uint32) {
	mask := len(x.slots) - 1
	gap := x.slot(tag, pos)
	for i := (gap + 1) & mask; x.slots[i] != 0; i = (i + 1) & mask {
		// An entry may fill the gap unless its home lies after it.
		if home := x.home(uint32(x.slots[i] >> 32)); (i-home)&mask >= (i-gap)&mask {
			x.slots[gap] = x.slots[i]
			gap = i
		}
	}
	x.slots[gap] = 0
	x.used--
	if n := len(x.slots); n > 8 && 8*x.used < n {
		x.resize(n / 2)
	}
}

// slot is where the entry at pos is; it must exist.
func (x *memIndex) slot(tag, pos uint32) int {
	i, want := x.home(tag), memSlot(tag, pos)
	for x.slots[i] != want {
		i = (i + 1) & (len(x.slots) - 1)
	}
	return i
}

func (x *memIndex) resize(n int) {
	old := x.slots
	x.slots = make([]uint64, n)
	for _, s := range old {
		if s != 0 {
			x.insert(s)
		}
	}
}

// memRing is a double-ended queue. The position of an entry stays the same
// while others come and go at either end; positions wrap around at 2^32. Not
// safe for concurrent use.
type memRing[T any] struct {
	buf  []T // a power of two, or nil
	head uint32
	len  int
}

// at is the i-th entry from the front.
func (r *memRing[T]) at(i int) *T { return r.pos(r.posOf(i)) }

// posOf is the position of the i-th entry from the front.
func (r *memRing[T]) posOf(i int) uint32 {
	return r.head + uint32(i) //nolint:gosec // positions wrap around
}

// pos is the entry at a position.
func (r *memRing[T]) pos(p uint32) *T { return &r.buf[int(p)&(len(r.buf)-1)] }

// grow makes room for one more.
func (r *memRing[T]) grow() {
	if r.len == len(r.buf) {
		r.resize(max(2, 2*r.len))
	}
}

func (r *memRing[T]) resize(n int) {
	old := *r
	r.buf = make([]T, n)
	for i := range r.len {
		*r.at(i) = *old.at(i)
	}
}

// push appends, and returns the position.
func (r *memRing[T]) push(v T) uint32 {
	r.grow()
	p := r.posOf(r.len)
	*r.pos(p) = v
	r.len++
	return p
}

// pop drops the front entry.
func (r *memRing[T]) pop() {
	var zero T
	*r.at(0) = zero
	r.head++
	r.len--
}

// trim gives back memory after many pops.
func (r *memRing[T]) trim() {
	if r.len == 0 {
		r.buf = nil
	} else if n := len(r.buf); n > 4 && 8*r.len < n {
		r.resize(n / 4)
	}
}
