package wire_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub/internal/wire"
)

func TestText(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`""`:                    "",
		`"hi"`:                  "hi",
		` "a\u00e9\n\/" `:       "aé\n/",
		`"\ud83d\ude00 \ud800"`: "😀 \ufffd",
		`{"text":"x"}`:          "x",
		`{ "a" : [{"text":"no"}] , "text" : "x" }`: "x",
		`{"\u0074e\u0078t":"x"}`:                   "x",
		`{"text":"first","text":"last"}`:           "last",
		`{"text":1,"text":"last"}`:                 "last",
	} {
		got, ok := wire.Text([]byte(body))
		require.True(t, ok, body)
		require.Equal(t, want, got, body)
	}
	for _, body := range []string{
		``, ` `, `1`, `null`, `["text"]`, `{}`, `{ }`, `{"text":1}`, `{"Text":"x"}`, `{"texts":"x"}`, `{"a":{"text":"x"}}`,
		`{"text":"first","text":null}`,
		`"open`, `"a" "b"`, `{"text":"x"`, `{"text":"x"} 1`, `{"text":"x",}`, `{"text" "x"}`, `{"text":"x" "a":1}`,
	} {
		_, ok := wire.Text([]byte(body))
		require.False(t, ok, body)
	}
}

func TestTextSlash(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]bool{
		`"/x"`: true, `"/"`: true, `"\/x"`: true, `"\u002fx"`: true, `"\u002Fx"`: true, ` "/x"`: true,
		`{"text":"/x"}`: true, `{"n":1,"text":"\/x"}`: true, `{"text":"x","text":"/x"}`: true,
		`""`: false, `"x"`: false, `" /x"`: false, `"\\/x"`: false, `"\n/x"`: false, `"\u0020/"`: false,
		`{"text":"x/"}`: false, `{"text":"/x","text":"x"}`: false, `{"text":""}`: false, `{"t":"/x"}`: false,
		`"`: false, `"/`: false, `"\`: false, `1`: false, ``: false,
	} {
		require.Equal(t, want, wire.TextSlash([]byte(body)), body)
	}
}

func TestWithText(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{
		{`"old"`, "a \"b\"\n\x00", `"a \"b\"\n\u0000"`},
		{`{"n": 1.0, "text" :"old", "m":[1e5]}`, "new", `{"n": 1.0, "text" :"new", "m":[1e5]}`},
		{`{"text":"a","text":"b"}`, "c", `{"text":"a","text":"c"}`},
		{`{"n":1}`, "new", `"new"`},
		{`17`, "new", `"new"`},
		{`not JSON`, "new", `"new"`},
		{`"old"`, "half \xc3", `"half \ufffd"`},
	} {
		body := []byte(c[0])
		require.Equal(t, c[2], string(wire.WithText(body, c[1])))
		require.Equal(t, c[0], string(body), "the body belongs to others too")
	}
}

// What a client sends is arbitrary: the text is what encoding/json finds, and
// another one put in its place is found again, with everything else as it was.
func FuzzText(f *testing.F) {
	for _, s := range jsonTexts {
		f.Add([]byte(s), "/shrug")
	}
	f.Add([]byte(`{"text":"\u002fme \ud800","text":"//x","n":1e400}`), "a\"\\\x00\xff\u2028")
	f.Add([]byte(`{"\u0074ext":"/who"} `), "")
	f.Fuzz(func(t *testing.T, body []byte, s string) {
		kept := bytes.Clone(body)
		text, ok := wire.Text(body)
		require.Equal(t, strings.HasPrefix(text, "/"), wire.TextSlash(body), "%q", body)
		if valid := json.Valid(body); !valid {
			require.False(t, ok, "%q", body)
		} else if utf8.Valid(body) {
			std, stdOK := stdText(body)
			require.Equal(t, stdOK, ok, "%q", body)
			require.Equal(t, std, text, "%q", body)
		}

		out := wire.WithText(body, s)
		require.Equal(t, kept, body, "the body was written to")
		require.True(t, json.Valid(out), "%q", out)
		back, found := wire.Text(out)
		require.True(t, found, "%q", out)
		require.Equal(t, string([]rune(s)), back)
		if ok {
			require.Equal(t, string([]rune(text)), must(wire.Text(wire.WithText(out, text))))
			require.Equal(t, rest(body), rest(out))
		}
	})
}

func must(s string, _ bool) string { return s }

// stdText finds the text by way of encoding/json.
func stdText(body []byte) (text string, ok bool) {
	raw := json.RawMessage(body)
	var m map[string]json.RawMessage
	if json.Unmarshal(body, &m) == nil && m != nil {
		raw = m["text"]
	}
	var s *string
	if json.Unmarshal(raw, &s) != nil || s == nil {
		return "", false
	}
	return *s, true
}

// rest is an object without its text.
func rest(body []byte) map[string]string {
	var m map[string]json.RawMessage
	if json.Unmarshal(body, &m) != nil {
		return nil
	}
	delete(m, "text")
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[k] = string(v)
	}
	return out
}

func BenchmarkTextSlash(b *testing.B) {
	for name, body := range map[string]string{
		"string": `"` + strings.Repeat("x", 126) + `"`,
		"object": string(chat.Body),
	} {
		b.Run(name, func(b *testing.B) {
			p := []byte(body)
			b.ReportAllocs()
			for b.Loop() {
				if wire.TextSlash(p) {
					b.Fatal("no slash there")
				}
			}
		})
	}
}
