package wsconn

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// verdict is all that a scanner tells.
type verdict struct {
	between, tooBig, closeSeen, done bool
}

func (s *scanner) verdict() verdict { return verdict{s.between(), s.tooBig, s.closeSeen, s.done()} }

// parse is the straightforward way to a scanner's verdict: over everything
// that has come, from the beginning. at is how many bytes it takes to know
// that a message is too big.
func parse(b []byte, most uint64) (v verdict, at int) {
	at = -1
	pos, open, total := 0, false, uint64(0)
	for {
		v.between = !open
		if v.done || pos == len(b) {
			return v, at
		}
		v.between = false
		rest := b[pos:]
		if len(rest) < 2 {
			return v, at
		}
		head, length := 2, uint64(rest[1]&0x7f)
		switch length {
		case 126:
			if head = 4; len(rest) >= head {
				length = uint64(binary.BigEndian.Uint16(rest[2:]))
			}
		case 127:
			if head = 10; len(rest) >= head {
				length = binary.BigEndian.Uint64(rest[2:])
			}
		}
		if len(rest) < head {
			return v, at
		}
		switch op := rest[0] & 0x0f; op {
		case opText, opBinary, opContinuation:
			if op != opContinuation {
				total = 0
			}
			sum, carry := bits.Add64(total, length, 0)
			if total = sum; carry != 0 {
				total = math.MaxUint64
			}
			if total > most && !v.tooBig {
				v.tooBig, at = true, pos+head
			}
			open = rest[0]&0x80 == 0
		case opClose:
			v.closeSeen = true
		}
		if rest[1]&0x80 != 0 {
			head += 4
		}
		if uint64(len(rest)) < uint64(head) || uint64(len(rest)-head) < length {
			return v, at
		}
		pos += head + int(length)
		v.done = v.closeSeen
	}
}

func TestScanner(t *testing.T) {
	join := func(fs ...[]byte) []byte { return slices.Concat(fs...) }
	text := func(fin bool, n int) []byte { return clientFrame(opText, fin, make([]byte, n)) }
	more := func(fin bool, n int) []byte { return clientFrame(opContinuation, fin, make([]byte, n)) }
	closing := clientFrame(opClose, true, []byte{3, 0xe8})
	cases := []struct {
		name string
		in   []byte
		want verdict
		at   int
	}{
		{"nothing", nil, verdict{between: true}, -1},
		{"a byte", []byte{0x81}, verdict{}, -1},
		{"a header", text(true, 5)[:2], verdict{}, -1},
		{"all but a byte", text(true, 5)[:10], verdict{}, -1},
		{"a frame", text(true, 5), verdict{between: true}, -1},
		{"an empty frame", text(true, 0), verdict{between: true}, -1},
		{"an empty frame without its mask", text(true, 0)[:5], verdict{}, -1},
		{"not masked", []byte{0x81, 1, 'x'}, verdict{between: true}, -1},
		{"a fragment", text(false, 5), verdict{}, -1},
		{"a ping between fragments", join(text(false, 5), clientFrame(opPing, true, nil)), verdict{}, -1},
		{"fragments", join(text(false, 5), more(false, 5), more(true, 5)), verdict{between: true}, -1},
		{"the most", text(true, 1000), verdict{between: true}, -1},
		{"one more, declared", text(true, 1001)[:4], verdict{tooBig: true}, 4},
		{"one more, whole", text(true, 1001), verdict{between: true, tooBig: true}, 4},
		{"the most in fragments", join(text(false, 999), more(true, 1)), verdict{between: true}, -1},
		{"one more in fragments", join(text(false, 999), more(false, 1), more(true, 1)[:2]), verdict{tooBig: true}, 999 + 8 + 7 + 2},
		{"a message after the most", join(text(true, 1000), text(true, 1000)), verdict{between: true}, -1},
		{"2^63-1", clientHeader(opText, true, math.MaxInt64), verdict{tooBig: true}, 10},
		{"2^63", clientHeader(opText, true, 1<<63), verdict{tooBig: true}, 10},
		{"2^64-1", clientHeader(opText, true, math.MaxUint64), verdict{tooBig: true}, 10},
		{"a long way to say 1", []byte{0x81, 127, 0, 0, 0, 0, 0, 0, 0, 1, 'x'}, verdict{between: true}, -1},
		{"a control frame is no message", clientFrame(opPong, true, make([]byte, 1001)), verdict{between: true}, -1},
		{"an endless control frame", join(clientHeader(opPing, true, 1<<63), closing), verdict{}, -1},
		{"Close", closing, verdict{between: true, closeSeen: true, done: true}, -1},
		{"Close whose code is to come", closing[:6], verdict{closeSeen: true}, -1},
		{"Close among fragments", join(text(false, 1), closing), verdict{closeSeen: true, done: true}, -1},
		{"something after Close", join(closing, text(false, 1001)), verdict{between: true, closeSeen: true, done: true}, -1},
		{"Close after what is too big", join(text(true, 1001), closing), verdict{between: true, tooBig: true, closeSeen: true, done: true}, 4},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			v, at := parse(tc.in, 1000)
			require.Equal(t, tc.want, v, "the reference")
			require.Equal(t, tc.at, at, "the reference")
			for _, size := range []int{1, 3, 7, len(tc.in) + 1} {
				s := scanner{max: 1000}
				require.Equal(t, tc.at, scan(t, &s, tc.in, func(int) int { return size }))
				require.Equal(t, tc.want, s.verdict())
			}
		})
	}
}

// scan passes b in pieces, asserts the right verdict after each, and returns
// where it became too big.
func scan(t *testing.T, s *scanner, b []byte, size func(i int) int) (at int) {
	at = -1
	for pos, i := 0, 0; pos < len(b); i++ {
		big := s.tooBig
		end := min(len(b), pos+max(1, size(i)))
		n := s.pass(b[pos:end])
		if s.tooBig && !big {
			at = pos + n
		} else {
			require.Equal(t, end-pos, n)
		}
		require.Positive(t, n)
		pos += n
		want, _ := parse(b[:pos], uint64(s.max))
		require.Equal(t, want, s.verdict(), "after %d bytes", pos)
	}
	return at
}

// FuzzScanner gives any bytes at all, in any pieces, to a scanner.
func FuzzScanner(f *testing.F) {
	f.Add(clientFrame(opText, true, make([]byte, 200)), []byte{1, 2, 3}, uint16(100))
	f.Add(clientFrame(opText, true, make([]byte, 200)), []byte{255}, uint16(200))
	f.Add(slices.Concat(clientFrame(opText, false, []byte("ab")), clientFrame(opPing, true, []byte("c")),
		clientFrame(opContinuation, true, []byte("d")), clientFrame(opClose, true, []byte{3, 0xe8})), []byte{1}, uint16(3))
	f.Add(slices.Concat(clientFrame(opText, false, []byte("ab")), clientFrame(opContinuation, true, []byte("cd"))), []byte{9, 1}, uint16(3))
	f.Add(clientHeader(opBinary, true, 1<<63), []byte{5}, uint16(9))
	f.Add(clientHeader(opPing, true, math.MaxUint64), []byte{5}, uint16(9))
	f.Fuzz(func(t *testing.T, b, pieces []byte, most uint16) {
		if len(b) > 1<<10 {
			return // the reference takes time by the square
		}
		s := scanner{max: int64(most)}
		at := scan(t, &s, b, func(i int) int {
			if len(pieces) == 0 {
				return len(b)
			}
			return int(pieces[i%len(pieces)])
		})
		_, want := parse(b, uint64(most))
		require.Equal(t, want, at)
		if op, size, mask, ok := whole(b); ok {
			v, _ := parse(b[:mask+size], math.MaxUint64)
			require.Equal(t, verdict{between: true}, v, "a message")
			v, _ = parse(b[:mask+size-1], math.MaxUint64)
			require.False(t, v.between, "and no more")
			require.Equal(t, clientFrame(op, true, make([]byte, size))[:mask-4], b[:mask-4], "as a client has it")
		}
	})
}
