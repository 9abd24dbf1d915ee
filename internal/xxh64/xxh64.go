// Package xxh64 is XXH64 with seed 0: a 64-bit hash that spreads well, is the
// same in every process and version, and costs a few nanoseconds. It is no
// secret: who knows it can choose inputs that collide.
//
// Algorithm: Yann Collet, xxHash fast digest algorithm
// (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md).
package xxh64

import (
	"encoding/binary"
	"math/bits"
)

const (
	prime1 uint64 = 0x9E3779B185EBCA87
	prime2 uint64 = 0xC2B2AE3D27D4EB4F
	prime3 uint64 = 0x165667B19E3779F9
	prime4 uint64 = 0x85EBCA77C2B2AE63
	prime5 uint64 = 0x27D4EB2F165667C5
)

// Sum is the hash of s. It does not allocate.
func Sum(s string) uint64 {
	length, h := uint64(len(s)), prime5
	if len(s) >= 32 {
		// In the specification these begin with prime1+prime2, prime2, 0 and
		// -prime1; Go's constants do not wrap, so the sums are written out.
		a, b, c, d := uint64(0x60EA27EEADC0B5D6), prime2, uint64(0), uint64(0x61C8864E7A143579)
		for ; len(s) >= 32; s = s[32:] {
			a, b = round(a, word(s)), round(b, word(s[8:]))
			c, d = round(c, word(s[16:])), round(d, word(s[24:]))
		}
		h = bits.RotateLeft64(a, 1) + bits.RotateLeft64(b, 7) + bits.RotateLeft64(c, 12) + bits.RotateLeft64(d, 18)
		for _, lane := range [...]uint64{a, b, c, d} {
			h = (h^round(0, lane))*prime1 + prime4
		}
	}
	h += length
	for ; len(s) >= 8; s = s[8:] {
		h = bits.RotateLeft64(h^round(0, word(s)), 27)*prime1 + prime4
	}
	if len(s) >= 4 {
		h = bits.RotateLeft64(h^uint64(binary.LittleEndian.Uint32([]byte(s[:4])))*prime1, 23)*prime2 + prime3
		s = s[4:]
	}
	for i := range len(s) {
		h = bits.RotateLeft64(h^uint64(s[i])*prime5, 11) * prime1
	}
	h = (h ^ h>>33) * prime2
	h = (h ^ h>>29) * prime3
	return h ^ h>>32
}

func round(lane, word uint64) uint64 {
	return bits.RotateLeft64(lane+word*prime2, 31) * prime1
}

// word is the first eight bytes; the compiler makes a load of it, not a copy.
func word(s string) uint64 { return binary.LittleEndian.Uint64([]byte(s[:8])) }
