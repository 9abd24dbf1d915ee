package wire_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub/internal/wire"
)

// The fuzzers follow coverage and need minutes to get deep; these tests make
// text that is nearly right from the start, the same each time, and reach in a
// second what a change is likely to break.

type generator struct{ *rand.Rand }

func (g generator) pick(ss ...string) string { return ss[g.IntN(len(ss))] }

func (g generator) space() string {
	return g.pick("", "", "", "", "", "", " ", "\t", "\r\n", "  ")
}

func (g generator) string() string {
	var s strings.Builder
	s.WriteString(`"`)
	for range g.IntN(1 + g.IntN(24)) {
		s.WriteString(g.pick("a", "b", "/", " ", "!", "#", "[", "]", "{", "}", ",", ":", "~", "é", "日", "😀", `\"`, `\\`, `\n`, `\u0041`, `\ud83d\ude00`, `\ud800`, `\u0000`))
	}
	return s.String() + `"`
}

func (g generator) value(depth int) string {
	if depth == 0 || g.IntN(3) == 0 {
		return g.pick(g.string(), g.string(), "0", "-0", "7", "-7", "123456789", "1.5", "-0.0e-1", "1E+9", "true", "false", "null", "[]", "{}")
	}
	open, end := "[", "]"
	object := g.IntN(2) == 0
	if object {
		open, end = "{", "}"
	}
	var s strings.Builder
	s.WriteString(open + g.space())
	for i := range g.IntN(4) {
		if i > 0 {
			s.WriteString("," + g.space())
		}
		if object {
			s.WriteString(g.string() + g.space() + ":" + g.space())
		}
		s.WriteString(g.value(depth-1) + g.space())
	}
	return s.String() + end
}

// spoil changes, adds or takes away one byte.
func (g generator) spoil(s string) []byte {
	p := []byte(s)
	at := g.IntN(len(p))
	c := g.pick(`"`, `\`, "{", "}", "[", "]", ",", ":", "0", "1", ".", "e", "-", " ", "t", "n", "u", "\n", "\x00", "\x1f", "\x7f", "\x80", "\xff")[0]
	switch g.IntN(3) {
	case 0:
		p[at] = c
	case 1:
		p = append(p[:at], p[at+1:]...)
	default:
		p = append(p[:at], append([]byte{c}, p[at:]...)...)
	}
	return p
}

func TestValidRandom(t *testing.T) {
	g := generator{rand.New(rand.NewPCG(1, 2))}
	wrong := 0
	for range 50_000 {
		s := g.space() + g.value(1+g.IntN(6)) + g.space()
		require.True(t, wire.Valid([]byte(s)), "%q", s)
		p := g.spoil(s)
		want := json.Valid(p)
		if got := wire.Valid(p); got != want {
			t.Fatalf("%q: %v, encoding/json says %v", p, got, want)
		}
		if !want {
			wrong++
		}
	}
	require.Greater(t, wrong, 10_000, "the spoiling must spoil")
}

// frame makes a client frame of known and unknown keys with values that may
// well be of the wrong type, given twice, or written with escapes.
func (g generator) frame() string {
	s := g.space() + "{" + g.space()
	for i := range g.IntN(8) {
		if i > 0 {
			s += "," + g.space()
		}
		key := g.pick("type", "type", "ref", "id", "room", "to", "kind", "name", "cursor", "ticket", "since", "before", "after", "limit", "delivered", "seen", "retry", "active", "body",
			"Type", "x", "", "types", "bodies")
		if len(key) > 0 && g.IntN(8) == 0 {
			key = fmt.Sprintf(`\u%04x`, key[0]) + key[1:]
		}
		s += `"` + key + `"` + g.space() + ":" + g.space()
		switch g.IntN(4) {
		case 0:
			s += g.pick("0", "-0", "1", "-1", "1.0", "1e3", "9223372036854775807", "9223372036854775808", "true", "false", "null", `""`)
		case 1:
			s += `"` + g.pick("join", "leave", "publish", "typing", "receipt", "history", "presence", "rooms", "call", "refresh", "ping", "pong", "Ping", `\u0070ing`) + `"`
		default:
			s += g.value(2)
		}
		s += g.space()
	}
	// The type first or last, mostly: without one little else is looked at.
	typ := `"type":"` + g.pick("join", "leave", "publish", "typing", "receipt", "history", "presence", "rooms", "call", "refresh", "ping") + `"`
	switch {
	case s[len(s)-1] == '{':
		s += typ
	case g.IntN(4) > 0:
		s += "," + typ
	}
	return s + "}" + g.space()
}

func TestDecodeRandom(t *testing.T) {
	g := generator{rand.New(rand.NewPCG(3, 4))}
	var c wire.Command
	codes := map[string]int{}
	for range 10_000 {
		s := g.frame()
		checkDecode(t, &c, []byte(s))
		codes[stdCode([]byte(s))]++
		if g.IntN(4) == 0 {
			checkDecode(t, &c, g.spoil(s))
		}
	}
	for _, code := range []string{"", wire.CodeBadJSON, wire.CodeUnknownType, wire.CodeBadRequest} {
		require.Greater(t, codes[code], 300, "frames that end in %q", code)
	}
}
