package wire

import (
	"encoding/binary"
	"strings"
)

// Opcodes of RFC 6455, with the FIN bit: the server never fragments.
const (
	finText   = 0x81
	finBinary = 0x82
	finClose  = 0x88
	finPing   = 0x89
)

// reserved is the room left for a frame's header while its payload is written:
// that of a payload of 126 to 65,535 bytes, the most common by far.
const reserved = 4

// seal writes the header of the frame whose payload starts reserved bytes after
// start and ends with dst, and moves the payload where it needs another length.
func seal(dst []byte, start int, op byte) []byte {
	n := len(dst) - start - reserved
	switch {
	case n < 126:
		copy(dst[start+2:], dst[start+reserved:])
		dst = dst[:len(dst)-2]
		dst[start+1] = byte(n & 0x7f)
	case n < 1<<16:
		dst[start+1] = 126
		binary.BigEndian.PutUint16(dst[start+2:], uint16(n&0xffff))
	default:
		dst = append(dst, 0, 0, 0, 0, 0, 0)
		copy(dst[start+10:], dst[start+reserved:len(dst)-6])
		dst[start+1] = 127
		binary.BigEndian.PutUint64(dst[start+2:], uint64(n))
	}
	dst[start] = op
	return dst
}

// AppendClose appends a close frame. The reason is made valid UTF-8 and cut to
// the 123 bytes that a control frame has for it.
func AppendClose(dst []byte, code int, reason string) []byte {
	reason = cut(strings.ToValidUTF8(reason, "\ufffd"), 123)
	dst = append(dst, finClose, byte((2+len(reason))&0x7f), byte(code>>8&0xff), byte(code&0xff))
	return append(dst, reason...)
}

// AppendPing appends a WebSocket ping without a payload.
func AppendPing(dst []byte) []byte { return append(dst, finPing, 0) }
