package wire

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// The functions here check JSON syntax and find where a value ends. They take
// the text and an index, and return the index after what they read; a negative
// result is ^index of the byte that is wrong, so that no error value has to be
// carried along and the refusal can still say where.

// maxDepth bounds nesting. It is encoding/json's number: what this package
// accepts as a body, the embedding program can unmarshal.
const maxDepth = 10000

// Valid reports whether p is one JSON value, as encoding/json.Valid does.
func Valid(p []byte) bool {
	i := value(p, space(p, 0), 0)
	return i >= 0 && space(p, i) == len(p)
}

// value reads the value that starts at p[i], inside of depth open containers.
//
// It loops instead of recursing, since the depth is the sender's choice. Of the
// open containers only one bit each is kept (1 for an object): 64 of them in a
// register, older ones in deep, which no honest message ever needs.
func value(p []byte, i, depth int) int {
	var (
		outer = depth
		kinds uint64
		deep  []uint64
	)
	for {
		if i >= len(p) {
			return ^i
		}
		switch open := p[i]; open {
		case '"':
			if i, _ = text(p, i+1); i < 0 {
				return i
			}
		case '{', '[':
			if depth == maxDepth {
				return ^i
			}
			i = space(p, i+1)
			if i < len(p) && p[i] == open+2 { // '}' and ']' follow theirs by two
				i++
				break
			}
			if n := depth - outer; n > 0 && n%64 == 0 {
				deep = append(deep, kinds)
			}
			depth++
			kinds = kinds<<1 | uint64(open>>5&1) // the bit in which '{' and '[' differ
			if open == '{' {
				if i = key(p, i); i < 0 {
					return i
				}
			}
			continue
		case 't':
			if i = literal(p, i, "true"); i < 0 {
				return i
			}
		case 'f':
			if i = literal(p, i, "false"); i < 0 {
				return i
			}
		case 'n':
			if i = literal(p, i, "null"); i < 0 {
				return i
			}
		default:
			if i = number(p, i); i < 0 {
				return i
			}
		}

		// A value has ended: close what ends with it, up to the next member.
		for {
			if depth == outer {
				return i
			}
			i = space(p, i)
			if i >= len(p) {
				return ^i
			}
			if p[i] == ',' {
				i = space(p, i+1)
				if kinds&1 != 0 {
					if i = key(p, i); i < 0 {
						return i
					}
				}
				break
			}
			if p[i] != ']'+byte(kinds&1)<<5 {
				return ^i
			}
			i++
			depth--
			kinds >>= 1
			if n := depth - outer; n > 0 && n%64 == 0 {
				kinds, deep = deep[len(deep)-1], deep[:len(deep)-1]
			}
		}
	}
}

// key reads an object's key and colon and returns where its value starts.
func key(p []byte, i int) int {
	if i >= len(p) || p[i] != '"' {
		return ^i
	}
	if i, _ = text(p, i+1); i < 0 {
		return i
	}
	i = space(p, i)
	if i >= len(p) || p[i] != ':' {
		return ^i
	}
	return space(p, i+1)
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special marks, in the high bit of each byte of x, the quotes, backslashes and
// control characters. Only the lowest mark is certain: a borrow may set false
// ones above it. Flipping bit 1 puts the quote right above the control
// characters and nothing else below it, so that one comparison finds both.
func special(x uint64) uint64 {
	low, slash := (x^ones*0x02)-ones*0x21, (x^ones*'\\')-ones
	return (low | slash) &^ x & highs
}

// text reads a string from the byte after its opening quote to the one after
// its closing quote, and tells whether it has escapes. Most bytes of a frame
// are inside of strings, hence eight at a time.
func text(p []byte, i int) (end int, escaped bool) {
	for {
		if i <= len(p)-8 {
			m := special(binary.LittleEndian.Uint64(p[i:]))
			if m == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(m) / 8
		} else if i >= len(p) {
			return ^i, escaped
		} else if c := p[i]; c != '"' && c != '\\' && c >= 0x20 {
			i++
			continue
		}
		if p[i] == '"' {
			return i + 1, escaped
		}
		if i = escape(p, i); i < 0 {
			return i, escaped
		}
		escaped = true
	}
}

// escape reads one escape sequence.
func escape(p []byte, i int) int {
	if p[i] != '\\' { // a control character, where text stops too
		return ^i
	}
	if i++; i >= len(p) {
		return ^i
	}
	switch p[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		if _, ok := hex4(p, i+1); ok {
			return i + 5
		}
	}
	return ^i
}

func number(p []byte, i int) int {
	if i < len(p) && p[i] == '-' {
		i++
	}
	switch {
	case i >= len(p) || p[i] < '0' || p[i] > '9':
		return ^i
	case p[i] == '0': // no digit may follow
		i++
	default:
		i = digits(p, i)
	}
	if i < len(p) && p[i] == '.' {
		j := digits(p, i+1)
		if j == i+1 {
			return ^j
		}
		i = j
	}
	if i < len(p) && (p[i] == 'e' || p[i] == 'E') {
		i++
		if i < len(p) && (p[i] == '+' || p[i] == '-') {
			i++
		}
		j := digits(p, i)
		if j == i {
			return ^j
		}
		i = j
	}
	return i
}

func digits(p []byte, i int) int {
	for i < len(p) && p[i]-'0' <= 9 {
		i++
	}
	return i
}

func literal(p []byte, i int, want string) int {
	if len(p)-i < len(want) || string(p[i:i+len(want)]) != want {
		return ^i
	}
	return i + len(want)
}

// space skips white space: most often there is none.
func space(p []byte, i int) int {
	const set = 1<<' ' | 1<<'\t' | 1<<'\n' | 1<<'\r'
	for i < len(p) && p[i] <= ' ' && uint64(set)>>p[i]&1 != 0 {
		i++
	}
	return i
}

// hex4 reads the four digits of a \u escape.
func hex4(p []byte, i int) (r rune, ok bool) {
	if len(p)-i < 4 {
		return 0, false
	}
	for _, c := range p[i : i+4] {
		switch {
		case c-'0' <= 9:
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// unescape appends the text of s, the inside of a string that text accepted.
// Half a surrogate pair becomes U+FFFD, as in encoding/json.
func unescape(dst, s []byte) []byte {
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			dst = append(dst, s[i])
			i++
			continue
		}
		c := s[i+1]
		i += 2
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r, _ := hex4(s, i)
			i += 4
			if utf16.IsSurrogate(r) {
				var low rune
				if i+1 < len(s) && s[i] == '\\' && s[i+1] == 'u' {
					low, _ = hex4(s, i+2)
				}
				// U+FFFD, too, when low is not the other half: then it is
				// left to be read as a character of its own.
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = append(dst, c)
	}
	return dst
}
