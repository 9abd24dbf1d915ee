package gohub

import (
	"encoding/binary"
	"unsafe"
)

const (
	memLogBlock = 16 << 10 // bytes of a block that messages share, at most
	memLogCopy  = 4 << 10  // bytes of a copy that messages share, at most
	memLogLen   = 4        // bytes of a length in front of a message
	memLogHead  = 4*memLogLen + 1
)

// memLog holds the content of one room's messages in blocks of bytes, so that
// the garbage collector has a few blocks to look at and not six pointers a
// message. A block is written once, at its end, and goes with the last of its
// messages. Not safe for concurrent use.
//
// After a message was dropped it takes at most half as much again as what is in it, and
// 1 KiB: a large message has a block of its own, and sparse says when much of it is holes.
// What is written then may add another quarter.
type memLog struct {
	blocks memRing[memBlock]
	open   uint32 // position of the block that takes more; valid if there is one with cap > len
	size   int    // bytes of all messages in it
	taken  int    // bytes of all blocks
}

type memBlock struct {
	b    []byte // nil: all its messages are dropped
	live int    // messages
}

// memEntry is where a message is. It holds no pointers.
type memEntry struct {
	seq   int64
	block uint32 // position in blocks
	off   uint32
	size  uint32 // there; a message has less than 4 GiB
	tag   uint32 // of its id, see memIndex
}

// A memText is what a message consists of beside its room and seq, as it lies in
// its block: four lengths, a byte that says whether the body is binary, and then the
// bytes.
type memText struct {
	id, sender, to, kind, body []byte
	binary                     bool
}

// write appends m.
func (l *memLog) write(m *Message, tag uint32) memEntry {
	size := memLogHead + len(m.ID) + len(m.Sender) + len(m.To) + len(m.Kind) + len(m.Body)
	blk, e := l.space(size, min(l.size/4, memLogBlock))
	b := blk.b
	for _, n := range [4]int{len(m.ID), len(m.Sender), len(m.To), len(m.Kind)} {
		b = binary.LittleEndian.AppendUint32(b, uint32(n)) //nolint:gosec // see memEntry
	}
	b = append(b, flag(m.Binary))
	b = append(b, m.ID...)
	b = append(b, m.Sender...)
	b = append(b, m.To...)
	b = append(b, m.Kind...)
	blk.b = append(b, m.Body...)
	e.seq, e.tag = m.Seq, tag
	return e
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// space gives the block for size bytes more, and where they will be: a block of their own where
// few of them would fit into a shared one, which is wanted to have shared bytes.
func (l *memLog) space(size, shared int) (*memBlock, memEntry) {
	at := l.open
	if l.blocks.len == 0 || !l.has(at, size) {
		if size > min(shared/4, memLogBlock/8) {
			at = l.blocks.push(memBlock{b: make([]byte, 0, size)})
		} else {
			at = l.blocks.push(memBlock{b: make([]byte, 0, shared)})
			l.open = at
		}
		l.taken += cap(l.blocks.pos(at).b)
	}
	blk := l.blocks.pos(at)
	blk.live++
	l.size += size
	return blk, memEntry{block: at, off: uint32(len(blk.b)), size: uint32(size)} //nolint:gosec // see memEntry
}

// has reports whether the block at a position is still there and has space.
func (l *memLog) has(at uint32, size int) bool {
	if at-l.blocks.head >= uint32(l.blocks.len) { //nolint:gosec // as many as blocks fit in memory
		return false
	}
	b := l.blocks.pos(at).b
	return cap(b)-len(b) >= size
}

// text finds the parts of a message.
func (l *memLog) text(e *memEntry) (t memText) {
	b := l.blocks.pos(e.block).b[e.off : e.off+e.size]
	head, at := b[:memLogHead], memLogHead
	part := func(i int) []byte {
		from := at
		at += int(binary.LittleEndian.Uint32(head[i*memLogLen:]))
		return b[from:at]
	}
	t.id, t.sender, t.to, t.kind = part(0), part(1), part(2), part(3)
	t.body, t.binary = b[at:], head[memLogHead-1] != 0
	return t
}

// drop forgets a message, and the blocks that nothing is in any more.
func (l *memLog) drop(e *memEntry) {
	l.size -= int(e.size)
	if blk := l.blocks.pos(e.block); blk.live > 1 {
		blk.live--
	} else {
		l.taken -= cap(blk.b)
		*blk = memBlock{}
	}
	for l.blocks.len > 0 && l.blocks.at(0).live == 0 {
		l.blocks.pop()
		l.blocks.trim()
	}
}

// sparse reports whether so much of it is holes that it is to be compacted. It happens
// to rooms that shrink, or whose messages become shorter, and then to none of more than some dozens
// of KiB, since messages are dropped in the order in which they came, or nearly.
func (l *memLog) sparse(messages int) bool {
	return l.taken > l.size+l.size/2+1<<10 || l.blocks.len > 2*messages+8
}

// compact gives a log without holes of what all these entries say, and changes them to it. Its
// blocks are as large as those of a room that was always of this size, so that they
// become free one after another; each is as large as what is in it.
func (l *memLog) compact(msgs *memRing[memEntry]) (dense memLog) {
	most := min(l.size/4, memLogBlock)
	for i := 0; i < msgs.len; {
		end, size := i+1, int(msgs.at(i).size)
		for ; end < msgs.len && size+int(msgs.at(end).size) <= most; end++ {
			size += int(msgs.at(end).size)
		}
		at := dense.blocks.push(memBlock{b: make([]byte, 0, size), live: end - i})
		blk := dense.blocks.pos(at)
		for ; i < end; i++ {
			e := msgs.at(i)
			was := l.blocks.pos(e.block).b[e.off : e.off+e.size]
			e.block, e.off = at, uint32(len(blk.b)) //nolint:gosec // see memEntry
			blk.b = append(blk.b, was...)
		}
		dense.size += size
		dense.taken += size
	}
	return dense
}

// visibleTo is [Message.VisibleTo].
func (t *memText) visibleTo(user string) bool {
	return len(t.to) == 0 || user == "" || string(t.to) == user || string(t.sender) == user
}

// memCopies gives messages to readers: copies, so that who holds one keeps no block from being
// freed. Those of a page share allocations, of memLogCopy at most.
type memCopies struct{ b []byte }

// message copies t; more is how many of about its size will follow.
func (c *memCopies) message(room RoomID, seq int64, t *memText, more int) Message {
	size := len(t.id) + len(t.sender) + len(t.to) + len(t.kind) + len(t.body)
	if size > memLogCopy/4 {
		c = &memCopies{make([]byte, 0, size)} // of its own
	} else if cap(c.b)-len(c.b) < size {
		c.b = make([]byte, 0, min(size*(more+1), memLogCopy))
	}
	return Message{
		Room: room, ID: c.text(t.id), Seq: seq, Sender: c.text(t.sender), To: c.text(t.to), Kind: c.text(t.kind),
		Body: c.bytes(t.body), Binary: t.binary,
	}
}

func (c *memCopies) bytes(b []byte) []byte {
	from := len(c.b)
	c.b = append(c.b, b...)
	return c.b[from:len(c.b):len(c.b)]
}

func (c *memCopies) text(b []byte) string {
	b = c.bytes(b)
	return unsafe.String(unsafe.SliceData(b), len(b)) //nolint:gosec // nobody writes there again
}
