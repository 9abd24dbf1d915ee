// Package frame reads and writes RFC 6455 frames in memory, as little of it as
// the load generator and the floor server need: no extensions.
package frame

import (
	"bytes"
	"encoding/binary"
)

// Opcodes of RFC 6455.
const (
	Continuation = 0x0
	Text         = 0x1
	Binary       = 0x2
	Close        = 0x8
	Ping         = 0x9
	Pong         = 0xA
)

// Next finds the first frame in b. The payload is a part of b, unmasked in
// place if it was masked. Size is the whole frame in bytes; 0 means that b
// does not hold all of it yet, and b is untouched.
func Next(b []byte) (op byte, payload []byte, size int) {
	if len(b) < 2 {
		return 0, nil, 0
	}
	n, at := int(b[1]&0x7f), 2
	switch n {
	case 126:
		if len(b) < 4 {
			return 0, nil, 0
		}
		n, at = int(binary.BigEndian.Uint16(b[2:])), 4
	case 127:
		if len(b) < 10 {
			return 0, nil, 0
		}
		// Kept to 31 bits: a longer frame never fits the caller's buffer anyway.
		n, at = int(binary.BigEndian.Uint64(b[2:])&0x7fffffff), 10
	}
	masked := b[1]&0x80 != 0
	if masked {
		at += 4
	}
	if len(b) < at+n {
		return 0, nil, 0
	}
	payload = b[at : at+n]
	if masked {
		mask(payload, [4]byte(b[at-4:at]))
	}
	return b[0] & 0xf, payload, at + n
}

// Last reports whether the frame at the start of b ends its message.
func Last(b []byte) bool { return b[0]&0x80 != 0 }

// AppendServer appends an unmasked frame, as a server sends it.
func AppendServer(dst []byte, op byte, payload []byte) []byte {
	return append(appendHeader(dst, op, len(payload), 0), payload...)
}

// AppendClient appends a masked frame, as a client sends it. The key may be
// any; a load generator has no cache to protect from poisoning.
func AppendClient(dst []byte, op byte, payload []byte, key [4]byte) []byte {
	dst = appendHeader(dst, op, len(payload), 0x80)
	dst = append(dst, key[:]...)
	start := len(dst)
	dst = append(dst, payload...)
	mask(dst[start:], key)
	return dst
}

func appendHeader(dst []byte, op byte, n int, maskBit byte) []byte {
	dst = append(dst, 0x80|op)
	switch {
	case n < 126:
		return append(dst, maskBit|byte(n))
	case n < 1<<16:
		dst = append(dst, maskBit|126)
		return binary.BigEndian.AppendUint16(dst, uint16(n))
	default:
		dst = append(dst, maskBit|127)
		return binary.BigEndian.AppendUint64(dst, uint64(n))
	}
}

func mask(b []byte, key [4]byte) {
	k32 := uint64(binary.LittleEndian.Uint32(key[:]))
	k := k32<<32 | k32
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^k)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= key[i&3]
	}
}

// typeAt is where the value starts in a frame that begins with `{"type":"`.
const typeAt = len(`{"type":"`)

// IsMessage reports whether a payload is a gohub.v1 message whose first field
// is its type. It looks at 17 bytes.
func IsMessage(payload []byte) bool {
	return len(payload) > typeAt+8 && string(payload[typeAt:typeAt+8]) == `message"`
}

// Type returns the value of the first "type" field of a gohub.v1 payload, nil
// if there is none.
func Type(payload []byte) []byte {
	return Field(payload, `"type":"`)
}

// Field returns the string that follows the first occurrence of key, which
// includes its colon and the opening quote. It knows no escapes.
func Field(payload []byte, key string) []byte {
	i := bytes.Index(payload, []byte(key))
	if i < 0 {
		return nil
	}
	rest := payload[i+len(key):]
	before, _, ok := bytes.Cut(rest, []byte{'"'})
	if !ok {
		return nil
	}
	return before
}
