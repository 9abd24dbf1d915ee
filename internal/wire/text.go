package wire

import (
	"strconv"
	"unicode/utf8"
)

// The pieces server frames are made of: each appends a comma, a key and a value.
// The key is given with its comma, quotes and colon, as one literal to copy.

func str(dst []byte, key, s string) []byte {
	return appendText(append(dst, key...), s)
}

// optional leaves the field out when it is empty.
func optional(dst []byte, key, s string) []byte {
	if s == "" {
		return dst
	}
	return str(dst, key, s)
}

func num(dst []byte, key string, n int64) []byte {
	return strconv.AppendInt(append(dst, key...), n, 10)
}

func truth(dst []byte, key string, b bool) []byte {
	return strconv.AppendBool(append(dst, key...), b)
}

// raw appends JSON as it is; nothing becomes null, so that the frame stays JSON.
func raw(dst []byte, key string, v []byte) []byte {
	dst = append(dst, key...)
	if len(v) == 0 {
		return append(dst, "null"...)
	}
	return append(dst, v...)
}

// appendText appends s as a JSON string. It escapes what JSON requires and no
// more (frames are not pasted into HTML), and writes \ufffd for bytes that are
// not UTF-8, since a text frame with those would cost the client its connection.
func appendText(dst []byte, s string) []byte {
	dst = append(dst, '"')
	if plain(s) {
		dst = append(dst, s...)
	} else {
		dst = appendEscaped(dst, s)
	}
	return append(dst, '"')
}

// plain tells whether s is ASCII that stands for itself in a JSON string.
func plain(s string) bool {
	for ; len(s) >= 8; s = s[8:] {
		x := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56 // one load
		if x&highs != 0 || special(x) != 0 {
			return false
		}
	}
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func appendEscaped(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(dst, `\ufffd`...)
			} else {
				dst = append(dst, s[i:i+n]...)
			}
			i += n
			continue
		}
		i++
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c >= 0x20:
			dst = append(dst, c)
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '\r':
			dst = append(dst, `\r`...)
		case c == '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, `\u00`...)
			dst = append(dst, hex[c>>4], hex[c&15])
		}
	}
	return dst
}

// textSize is at least the length appendText gives to s, its exact length when
// nothing is escaped. Six bytes is the most that one may become.
func textSize(s string) int {
	if plain(s) {
		return len(s) + 2
	}
	return 6*len(s) + 2
}
