package gohub

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
)

// memDedup remembers the ids of a room's newest messages, ascending by Seq.
// It holds no pointers: some 50 bytes a message. Not safe for concurrent use.
type memDedup struct {
	ring memRing[memSeen]
	ids  memIndex
}

// memSeen is a message that was ordered.
type memSeen struct {
	key    memKey
	sender uint64 // hash of its sender's name
	seq    int64
}

func (d *memDedup) find(tag uint32, key memKey) *memSeen {
	if d.ids.used == 0 {
		return nil
	}
	for i := d.ids.home(tag); d.ids.slots[i] != 0; i = (i + 1) & (len(d.ids.slots) - 1) {
		if slot := d.ids.slots[i]; uint32(slot>>32) == tag {
			if s := d.ring.pos(memPos(slot)); s.key == key {
				return s
			}
		}
	}
	return nil
}

func (d *memDedup) put(tag uint32, s memSeen) { d.ids.put(tag, d.ring.push(s)) }

// expire forgets what is older than before, and what exceeds memDedupRoom,
// but nothing above base: those messages are unstored.
func (d *memDedup) expire(before, base int64, mix *[2]uint64) {
	for d.ring.len > 0 {
		s := d.ring.at(0)
		if s.seq > base || (s.seq >= before && d.ring.len <= memDedupRoom) {
			return
		}
		d.ids.del(s.key.tag(mix), d.ring.head)
		d.ring.pop()
	}
}

// memKey stands for a message id: the 16 bytes of a UUID in its usual form,
// or 128 bits of hash of anything else.
type memKey [2]uint64

// tag places the key in a memIndex. Clients choose ids, so mix is secret.
func (k memKey) tag(mix *[2]uint64) uint32 {
	hi, lo := bits.Mul64(k[0]^mix[0], k[1]^mix[1])
	return uint32((hi^lo)*0x9e3779b97f4a7c15>>32) | 1
}

// memIDKey makes the key of an id. Ids that differ in case differ, as they do
// for a Store.
func memIDKey(seed maphash.Seed, id string) memKey {
	if len(id) == 36 && id[8] == '-' && id[13] == '-' && id[18] == '-' && id[23] == '-' {
		var b [16]byte
		var bad byte
		for i, at := range memUUID {
			hi, lo := memHex[id[at]], memHex[id[at+1]]
			bad |= hi | lo
			b[i] = hi<<4 | lo
		}
		if bad < 16 {
			return memKey{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
		}
	}
	var h maphash.Hash
	h.SetSeed(seed)
	_, _ = h.WriteString(id)
	first := h.Sum64()
	_ = h.WriteByte(0)
	return memKey{first, h.Sum64()}
}

// memUUID is where the bytes of a UUID are in its text.
var memUUID = [16]uint8{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34}

// memHex is the value of a lower-case hexadecimal digit; 255: it is none.
var memHex = func() (t [256]byte) {
	for i := range t {
		t[i] = 255
	}
	for i := range 16 {
		t["0123456789abcdef"[i]] = byte(i)
	}
	return t
}()
