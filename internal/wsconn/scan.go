package wsconn

import (
	"encoding/binary"
	"math"
)

const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
)

// maxControl is how many bytes a control frame's payload has at most.
const maxControl = 125

// A scanner follows the frames in a client's bytes without unmasking them. It
// tells three things coder does not: that a frame is too big as soon as its
// length is declared (coder reads up to the limit first), that the stream
// stands between two messages, and that a Close frame has come.
type scanner struct {
	max   int64 // bytes a message may have
	left  int64 // bytes of the frame at hand, mask included, still to come
	total int64 // declared bytes of the message at hand
	head  [10]byte
	n     uint8 // bytes in head
	open  bool  // inside a fragmented message
	extra int   // headers of pings, pongs and continuations, since it was last set to 0

	tooBig    bool
	closeSeen bool // the header of a Close frame
}

// between reports whether the next byte begins a message, or a control frame
// between two.
func (s *scanner) between() bool { return s.n == 0 && s.left == 0 && !s.open }

// done reports whether a Close frame has come whole.
func (s *scanner) done() bool { return s.closeSeen && s.left == 0 }

// pass follows p and returns how far: up to the length that makes a message
// too big, otherwise to the end. Nothing counts after a Close frame.
func (s *scanner) pass(p []byte) int {
	big := s.tooBig
	for i := 0; i < len(p) && !s.done(); {
		if s.left > 0 {
			k := min(s.left, int64(len(p)-i))
			s.left -= k
			i += int(k)
			continue
		}
		s.head[s.n] = p[i]
		s.n++
		i++
		if s.n >= 2 {
			s.header()
		}
		if s.tooBig != big {
			return i
		}
	}
	return len(p)
}

// header is called with two bytes or more in head.
func (s *scanner) header() {
	var length int64
	switch l := s.head[1] & 0x7f; {
	case l < 126:
		length = int64(l)
	case l == 126 && s.n == 4:
		length = int64(s.head[2])<<8 | int64(s.head[3])
	case l == 127 && s.n == 10:
		for _, b := range s.head[2:10] {
			length = length<<8 | int64(b)
		}
	default:
		return // more of it to come
	}
	s.n = 0
	if length < 0 { // 2^63 and more
		length = math.MaxInt64 >> 1
	}
	fin, op := s.head[0]&0x80 != 0, s.head[0]&0x0f
	switch {
	case op == opClose:
		s.closeSeen = true
	case op > opBinary:
		s.extra++
	default:
		if op != opContinuation {
			s.total = 0
		} else {
			s.extra++
		}
		s.tooBig = s.tooBig || length > s.max-s.total
		s.total += min(length, s.max)
		s.open = !fin
	}
	s.left = length
	if s.head[1]&0x80 != 0 {
		s.left += 4
	}
}

// whole looks whether b begins with a whole message in one frame, a ping or a pong: masked, of
// less than 64 KiB, and with its length as short as it can be said. mask is where
// its payload, of size bytes, begins; the key is before that.
func whole(b []byte) (op byte, size, mask int, ok bool) {
	if len(b) < 6 || b[0]&0xf0 != 0x80 || b[1]&0x80 == 0 {
		return 0, 0, 0, false
	}
	op, size, mask = b[0]&0x0f, int(b[1]&0x7f), 6
	switch {
	case op != opText && op != opBinary && op != opPing && op != opPong, size == 127:
		return 0, 0, 0, false
	case size > maxControl && op >= opClose:
		return 0, 0, 0, false
	case size == 126:
		if size, mask = int(b[2])<<8|int(b[3]), 8; size < 126 {
			return 0, 0, 0, false
		}
	}
	return op, size, mask, len(b) >= mask+size
}

// unmask undoes a client's mask (RFC 6455, 5.3), eight bytes at a time.
func unmask(p []byte, key [4]byte) {
	k := binary.LittleEndian.Uint32(key[:])
	k8 := uint64(k)<<32 | uint64(k)
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^k8)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= key[i%4]
	}
}
