package gohub

import (
	"encoding/binary"
	"slices"
	"unsafe"
)

// memLogBlock is how large a block of a busy room gets, in bytes.
const memLogBlock = 16 << 10

// memLog holds the content of one room's messages in blocks of bytes, so that
// the garbage collector has a few blocks to look at and not six pointers a
// message. What read gives points into them: a block is written once, at its
// end, and is the collector's when the last of its messages is dropped and
// nobody holds what was read. Not safe for concurrent use, but what was read is
// anybody's.
type memLog struct {
	blocks memRing[memBlock]
	size   int // bytes of all messages in it
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
	size  uint32 // there
	tag   uint32 // of its id, see memIndex
}

// A memText is what a message consists of beside its room and seq, as it lies in a
// block: five lengths of memLogLen bytes, and then the bytes. The last length is
// doubled, and odd where the body is binary.
type memText struct {
	id, sender, to, kind, body []byte
	binary                     bool
}

const (
	memLogLen  = 4
	memLogHead = 5 * memLogLen
)

// write appends m. A block follows the room in size: at most a quarter more is taken
// than is needed, and a room of one message takes a block of its size.
func (l *memLog) write(m *Message, tag uint32) memEntry {
	size := memLogHead + len(m.ID) + len(m.Sender) + len(m.To) + len(m.Kind) + len(m.Body)
	var blk *memBlock
	if l.blocks.len > 0 {
		blk = l.blocks.at(l.blocks.len - 1)
	}
	if blk == nil || cap(blk.b)-len(blk.b) < size {
		at := l.blocks.push(memBlock{b: slices.Grow([]byte(nil), max(size, min(l.size/4, memLogBlock)))})
		blk = l.blocks.pos(at)
	}
	e := memEntry{seq: m.Seq, block: l.blocks.posOf(l.blocks.len - 1), off: short(len(blk.b)), size: short(size), tag: tag}
	body := short(len(m.Body)) << 1
	if m.Binary {
		body |= 1
	}
	b := blk.b
	for _, n := range [5]uint32{short(len(m.ID)), short(len(m.Sender)), short(len(m.To)), short(len(m.Kind)), body} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	b = append(b, m.ID...)
	b = append(b, m.Sender...)
	b = append(b, m.To...)
	b = append(b, m.Kind...)
	blk.b = append(b, m.Body...)
	blk.live++
	l.size += size
	return e
}

// short is a length or an offset. Nothing of 2 GiB comes here, and behind
// something there is more only in a block of memLogBlock.
func short(n int) uint32 {
	return uint32(n) //nolint:gosec // see above
}

// text finds the parts of a message.
func (l *memLog) text(e *memEntry) (t memText) {
	b := l.blocks.pos(e.block).b[e.off:]
	head, at := b[:memLogHead], memLogHead
	part := func(i, shift int) []byte {
		from := at
		at += int(binary.LittleEndian.Uint32(head[i*memLogLen:]) >> shift)
		return b[from:at:at]
	}
	t.id, t.sender, t.to, t.kind, t.body = part(0, 0), part(1, 0), part(2, 0), part(3, 0), part(4, 1)
	t.binary = head[4*memLogLen]&1 != 0
	return t
}

// read gives a message back.
func (l *memLog) read(room RoomID, e *memEntry) Message {
	t := l.text(e)
	return Message{
		Room: room, ID: shared(t.id), Seq: e.seq, Sender: shared(t.sender), To: shared(t.to), Kind: shared(t.kind),
		Body: t.body, Binary: t.binary,
	}
}

// drop forgets a message, and the blocks that nothing is in any more.
func (l *memLog) drop(e *memEntry) {
	l.size -= int(e.size)
	if blk := l.blocks.pos(e.block); blk.live > 1 {
		blk.live--
	} else {
		*blk = memBlock{}
	}
	for l.blocks.len > 0 && l.blocks.at(0).live == 0 {
		l.blocks.pop()
		l.blocks.trim()
	}
}

// shared makes a string of bytes that never change.
func shared(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b)) //nolint:gosec // see memLog
}

// visibleTo is [Message.VisibleTo].
func (t *memText) visibleTo(user string) bool {
	return len(t.to) == 0 || user == "" || string(t.to) == user || string(t.sender) == user
}
