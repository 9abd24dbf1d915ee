package wire_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/gohub/gohub/internal/wire"
)

// jsonTexts are whole texts that are JSON or just not: seeds for the fuzzers, too.
var jsonTexts = []string{
	``, ` `, `{}`, `[]`, ` [ ] `, `{"a":1}`, "\t{ \"a\" :\n[ 1 ,2 ]\r}", `{"a":{}}`, `[[],[{}]]`, `[{"a":[]},{"b":{}}]`,
	`{`, `}`, `[`, `]`, `[}`, `{]`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `[,]`, `[1,]`, `[1 2]`, `{"a" 1}`, `{"a":1 "b":2}`, `{1:2}`, `{a:1}`,
	`[1]]`, `{}}`, `{"a":[}`, `[{"a":1]]`, `1 2`, `{} {}`, `[]x`, `"a"b`,
	`0`, `-0`, `1`, `-1`, `10`, `01`, `-01`, `1.`, `1.0`, `.1`, `-`, `-.1`, `+1`, `1e1`, `1E+1`, `1e-1`, `1e`, `1e+`, `1.e1`, `0e0`, `0x1`, `1a`, `1.5.5`,
	`true`, `false`, `null`, `tru`, `truex`, `True`, `nul`, `nulll`, `NaN`, `Infinity`, `falsefalse`, `fals`,
	`""`, `"a"`, `"`, `"a`, `'a'`, `"\n"`, `"\x"`, `"\`, `"\"`, `"\u"`, `"\u00"`, `"\u00e9"`, `"\u00EG"`, `"\u00e"`, `"\ud800"`, `"\ud83d\ude00"`, `"\/\b\f\r\t\\\""`,
	"\"\x1f\"", "\"\x7f\"", "\"\x00\"", "\"\n\"", "\"\t\"", "\"\x80\"", "\"\xff\xfe\"", "\"é\"", "\"\u2028\"", "\ufeff{}", "\x00", "\v1", "\f1", "\u00a01", "1\x00",
	// Everything that ends a string at each place of the eight-byte word.
	`"1234567"`, `"12345678"`, `"123456789"`, `"1234567\"89"`, `"123456\\"`, `"12345678\u0041"`,
	"\"1\x1f345678\"", "\"123456\x1f8\"", "\"12345678\x1f\"", "\"!!!!!!!!#####\"", "\"\x20\x21\x23\x5b\x5d\x5e\xa2\xdc\x9f\xff\"", `"!"!"`,
	`// c`, `{/**/}`, `{"a":1}//`,
}

func TestValid(t *testing.T) {
	for _, s := range jsonTexts {
		assert.Equal(t, json.Valid([]byte(s)), wire.Valid([]byte(s)), "%q", s)
	}
	for c := range 256 { // every byte at every place of a word
		for at := range 9 {
			b := []byte(`"abcdefghi"`)
			b[1+at] = byte(c)
			assert.Equal(t, json.Valid(b), wire.Valid(b), "%q", b)
		}
	}
}

// The bits of open containers are kept 64 to a word, so the words' borders are
// where closing the wrong one could pass.
func TestValidNesting(t *testing.T) {
	open := [2]string{`[`, `{"a":`}
	shut := [2]string{`]`, `}`}
	for _, depth := range []int{1, 2, 63, 64, 65, 127, 128, 129, 130, 9999, 10000, 10001} {
		for name, kind := range map[string]func(i int) int{
			"arrays":  func(int) int { return 0 },
			"objects": func(int) int { return 1 },
			"mixed":   func(i int) int { return i * 7 / 3 % 2 },
		} {
			var b strings.Builder
			for i := range depth {
				b.WriteString(open[kind(i)])
			}
			b.WriteString("1")
			ends := make([]string, 0, depth)
			for i := depth - 1; i >= 0; i-- {
				ends = append(ends, shut[kind(i)])
			}
			whole := []byte(b.String() + strings.Join(ends, ""))
			assert.Equal(t, depth <= 10000, wire.Valid(whole), "%s %d", name, depth)
			assert.Equal(t, json.Valid(whole), wire.Valid(whole), "%s %d", name, depth)
			assert.False(t, wire.Valid(whole[:len(whole)-1]), "%s %d, one not closed", name, depth)
			assert.False(t, wire.Valid(append(whole, ']')), "%s %d, one closed too many", name, depth)
			if depth > 200 {
				continue
			}
			for i := range ends {
				wrong := []byte(b.String() + strings.Join(ends, ""))
				wrong[b.Len()+i] ^= ']' ^ '}'
				assert.False(t, wire.Valid(wrong), "%s %d, wrong end %d", name, depth, i)
			}
		}
	}
}

// The frame's own braces count, so that a body is refused here exactly when
// encoding/json refuses the whole frame.
func TestDecodeNesting(t *testing.T) {
	for depth, want := range map[int]string{9999: "", 10000: wire.CodeBadJSON} {
		for _, key := range []string{"body", "unknown"} {
			p := []byte(`{"type":"publish","` + key + `":` + strings.Repeat("[", depth) + strings.Repeat("]", depth) + `}`)
			var c wire.Command
			assert.Equal(t, want, code(t, wire.Decode(&c, p)), "%s %d", key, depth)
			assert.Equal(t, want == "", json.Valid(p))
		}
	}
}

func TestValidNames(t *testing.T) {
	for _, tt := range []struct {
		s                string
		room, user, kind bool
	}{
		{"", false, false, false},
		{"a", true, true, true},
		{"A", true, true, false},
		{"az09._-", true, true, true},
		{"AZ:", true, true, false},
		{"@alice,bob", true, false, false},
		{"a,b", true, false, false},
		{"a b", false, false, false},
		{"a/b", false, false, false},
		{"a\x00", false, false, false},
		{"é", false, false, false},
		{"`", false, false, false},
		{"{", false, false, false},
		{"[", false, false, false},
		{strings.Repeat("a", 32), true, true, true},
		{strings.Repeat("a", 33), true, true, false},
		{strings.Repeat("a", 63), true, true, false},
		{strings.Repeat("a", 64), true, false, false},
		{strings.Repeat("a", 128), true, false, false},
		{strings.Repeat("a", 129), false, false, false},
	} {
		assert.Equal(t, tt.room, wire.ValidRoom(tt.s), "room %q", tt.s)
		assert.Equal(t, tt.user, wire.ValidUser([]byte(tt.s)), "user %q", tt.s)
		assert.Equal(t, tt.kind, wire.ValidKind(tt.s), "kind %q", tt.s)
	}
	// The whole alphabet, byte by byte, against the protocol's own words.
	const user = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-"
	for c := range 256 {
		b := []byte{byte(c)}
		assert.Equal(t, strings.IndexByte(user+"@,", byte(c)) >= 0, wire.ValidRoom(b), "%q", b)
		assert.Equal(t, strings.IndexByte(user, byte(c)) >= 0, wire.ValidUser(b), "%q", b)
		assert.Equal(t, strings.IndexByte(user[26:], byte(c)) >= 0 && c != ':', wire.ValidKind(b), "%q", b)
	}
}

func TestValidUUID(t *testing.T) {
	const id = "0198c5e1-7a3b-7c4d-9e2f-1A2B3C4D5E6F"
	assert.True(t, wire.ValidUUID(id))
	assert.True(t, wire.ValidUUID([]byte(id)))
	for i := range id {
		for _, c := range "g-0G @`" {
			b := []byte(id)
			dash := b[i] == '-'
			b[i] = byte(c)
			assert.Equal(t, dash && c == '-' || !dash && c == '0', wire.ValidUUID(b), "%s", b)
		}
	}
	for _, s := range []string{"", id[:35], id + "0", "{" + id[1:35] + "}", strings.ReplaceAll(id, "-", "")} {
		assert.False(t, wire.ValidUUID(s), s)
	}
}
