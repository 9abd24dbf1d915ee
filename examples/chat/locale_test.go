package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"maps"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

var placeholder = regexp.MustCompile(`\{\w+\}`)

func placeholders(s string) []string {
	return slices.Compact(slices.Sorted(slices.Values(placeholder.FindAllString(s, -1))))
}

func TestLocalesSayTheSame(t *testing.T) {
	en := locales[0]
	require.Equal(t, "en", en.Lang)
	for _, l := range locales {
		assert.Equal(t, slices.Sorted(maps.Keys(en.text)), slices.Sorted(maps.Keys(l.text)), l.Lang)
		for key, p := range l.text {
			assert.Equal(t, placeholders(en.text[key].Other), placeholders(p.Other), "%s: %s", l.Lang, key)
			assert.Equal(t, en.text[key].One == "", p.One == "", "%s: %s has another number of forms", l.Lang, key)
			if p.One != "" {
				assert.Subset(t, placeholders(p.Other), placeholders(p.One), "%s: %s", l.Lang, key)
			}
			if p.Other == "" {
				assert.Regexp(t, `\.usage$`, key, l.Lang)
			}
		}
	}
	for _, l := range locales {
		assert.Len(t, strings.Fields(l.T("date.weekdays")), 7, l.Lang)
		assert.Len(t, strings.Fields(l.T("date.months")), 12, l.Lang)
	}
	for _, c := range gohub.StandardCommands() {
		assert.Equal(t, c.Help, en.T("command."+c.Name+".help"), "as /help says")
		assert.Equal(t, c.Usage, en.T("command."+c.Name+".usage"))
	}
}

// Of a key that is there twice JSON takes the last one, and nobody notices.
func TestKeysAreThereOnce(t *testing.T) {
	for _, l := range locales {
		b, err := localeFiles.ReadFile("locales/" + l.Lang + ".json")
		require.NoError(t, err)
		keys := map[string]int{}
		dec := json.NewDecoder(bytes.NewReader(b))
		_, err = dec.Token() // {
		require.NoError(t, err)
		for dec.More() {
			key, err := dec.Token()
			require.NoError(t, err)
			keys[key.(string)]++
			var value json.RawMessage
			require.NoError(t, dec.Decode(&value))
		}
		assert.Len(t, keys, len(l.text))
		for key, n := range keys {
			assert.Equal(t, 1, n, "%s: %s", l.Lang, key)
		}
	}
}

func TestPlaceholdersAndPlurals(t *testing.T) {
	l := &locale{text: map[string]phrase{"a": {Other: "{x} and {y}"}, "n": {One: "{n} word", Other: "{n} words of {x}"}, "same": {Other: "{n}"}}}
	assert.Equal(t, "{y} and 2", l.T("a", "x", "{y}", "y", "2"), "what is put in is not looked at again")
	assert.Equal(t, "1 word", l.N("n", 1))
	assert.Equal(t, "0 words of 5", l.N("n", 0, "x", "5"))
	assert.Equal(t, "1", l.N("same", 1))
}

func TestLocaleOfARequest(t *testing.T) {
	for _, tt := range []struct{ cookie, accept, want string }{
		{"", "", "en"},
		{"", "de", "de"},
		{"", "de-CH, fr;q=0.9", "de"},
		{"", "fr, it;q=0.5", "en"},
		{"", "en;q=0.1, de;q=0.2", "de"},
		{"", "*", "en"},
		{"", "de;q=0", "en"},
		{"", "\x00;;q=", "en"},
		{"", strings.Repeat("de-", 2000), "en"},
		{"en", "de", "en"},
		{"de", "", "de"},
		{"tlh", "de", "de"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Accept-Language", tt.accept)
		if tt.cookie != "" {
			r.Header.Set("Cookie", langCookie+"="+tt.cookie)
		}
		assert.Equal(t, tt.want, localeOf(r).Lang, "%+v", tt)
	}
}

// sources are the files that have keys in them: Go, templates, scripts. Those of
// the cluster's page, which is in English, are none.
func sources(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, pattern := range []string{"*.go", "*.templ", "web/*.js"} {
		names, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, "_templ.go") || path.Base(name) == "cluster.js" {
				continue
			}
			b, err := os.ReadFile(name)
			require.NoError(t, err)
			found[name] = string(b)
		}
	}
	return found
}

// A key stands in quotes, whole or up to what is added to it: 'tick.' + state, `tick.${state}`.
var keyLike = regexp.MustCompile("['\"`]([a-z]+(?:\\.[a-z_]+)*\\.?)(['\"`]|\\$\\{)")

func TestKeysAreThereAndUsed(t *testing.T) {
	keys := locales[0].text
	groups, used := map[string]bool{}, map[string]bool{}
	for key := range keys {
		group, _, dotted := strings.Cut(key, ".")
		groups[group] = dotted
	}
	sent := locales[0].forScript()
	for name, text := range sources(t) {
		script := path.Ext(name) == ".js"
		for _, m := range keyLike.FindAllStringSubmatch(text, -1) {
			ref, open := m[1], strings.HasSuffix(m[1], ".")
			group, _, dotted := strings.Cut(ref, ".")
			matches := 0
			for key := range keys {
				if key == ref || open && strings.HasPrefix(key, ref) {
					matches++
					used[key] = true
					if _, ok := sent[key]; script && !ok {
						t.Errorf("%s has %s, which the script does not get", name, key)
					}
				}
			}
			if dotted && groups[group] && matches == 0 && !strings.HasSuffix(ref, ".js") {
				t.Errorf("%s: no locale has %s", name, ref)
			}
		}
	}
	for key := range keys {
		if !strings.HasPrefix(key, "command.") { // of the hub's commands
			assert.True(t, used[key], "nobody uses %s", key)
		}
	}
}

// In a language of nothing but brackets, what is outside of them has not been
// translated. Names and rooms have no letters here.
func TestNoWordsInTemplates(t *testing.T) {
	files, err := newStatic()
	require.NoError(t, err)
	brackets := &locale{Lang: "x", text: map[string]phrase{}}
	for key := range locales[0].text {
		brackets.text[key] = phrase{"[" + key + "]", "[" + key + "]"}
	}
	for _, names := range []string{"date.weekdays", "date.months"} {
		brackets.text[names] = phrase{"", strings.TrimSpace(strings.Repeat("["+names+"] ", 12))}
	}
	p := (&pages{static: files}).blank(httptest.NewRequest("GET", "/", nil))
	p.locale, p.Theme, p.Complete = brackets, themes[0], false
	room := gohub.RoomID{Name: "1"}
	k := known{
		messages: []gohub.Message{
			{Room: room, Seq: 1, Sender: "2", Kind: "chat", Body: []byte(`{"text":"3"}`)},
			{Room: room, Seq: 2, Sender: "4", To: "2", Kind: "chat", Binary: true},
			{Room: room, Seq: 3, Sender: "4", Kind: "me", Body: []byte(`"5"`)},
		},
		rooms: []gohub.RoomState{{Room: room, Unread: 2}, {Room: gohub.RoomID{Name: "@2,4"}, Unread: 200}},
		here:  gohub.PresencePage{Count: 1, Users: []gohub.PresentUser{{User: "2", Name: "2"}}},
	}
	p.show(gohub.Identity{User: "2"}, room, k, time.UTC, false)
	p.Frame = true
	p.Notice = p.T("room.closed")

	var html bytes.Buffer
	require.NoError(t, chatPage(p).Render(t.Context(), &html))
	require.NoError(t, loginPage(p, "", p.T("login.invalid")).Render(t.Context(), &html))
	found := 0
	check := func(n *node, what, s string) {
		rest := regexp.MustCompile(`\[[a-z_.]+\]`).ReplaceAllStringFunc(s, func(string) string { found++; return "" })
		for _, name := range append([]string{"English", "Deutsch"}, presets...) { // in their own language
			rest = strings.ReplaceAll(rest, name, "")
		}
		assert.False(t, strings.ContainsFunc(rest, unicode.IsLetter), "<%s> %s: %s", n.name, what, s)
	}
	var walk func(*node)
	walk = func(n *node) {
		if n.name == "script" {
			return
		}
		for _, attr := range []string{"aria-label", "title", "placeholder", "alt", "label"} {
			check(n, attr, n.attrs[attr])
		}
		for _, c := range n.children {
			if c.name == "" {
				check(n, "text", c.text)
			}
			walk(c)
		}
	}
	walk(parseHTML(t, html.String()))
	assert.Greater(t, found, 100)
}

// What a script shows comes from t('key'). A sentence in quotes, or letters that
// go where they are seen or heard, have been forgotten.
func TestNoWordsInScripts(t *testing.T) {
	value := regexp.MustCompile(`\$\{[^{}]*\}`)
	comment := regexp.MustCompile(`(?m)(^|\s)//.*$`)
	sentence := regexp.MustCompile("['\"`]([A-Z][a-z]+(?: [A-Za-z]+)*[.…!?]?|[A-Za-z]+(?: [a-z]+){3,}[.…!?]?)['\"`]")
	shown := regexp.MustCompile("(?:textContent|innerText|title|placeholder|ariaLabel|alt|value)\\s*[=:]\\s*['\"`][^'\"`]*[A-Za-z]|['\"]aria-(?:label|description|roledescription)['\"],\\s*['\"`]|(?:announce|setText|notice)\\([^()]*['\"`][A-Za-z]+ ")
	allowed := []string{ // keys and names of the browser
		"Enter", "Escape", "Tab", "Home", "End", "Content-Type", "Delete", "Backspace", "Date", "Notification",
		"noopener noreferrer nofollow ugc",
	}
	for name, text := range sources(t) {
		if path.Ext(name) != ".js" {
			continue
		}
		text = comment.ReplaceAllString(text, "")
		for value.MatchString(text) { // one may be in another
			text = value.ReplaceAllString(text, "")
		}
		for _, m := range sentence.FindAllStringSubmatch(text, -1) {
			assert.True(t, slices.Contains(allowed, m[1]) || strings.HasPrefix(m[1], "Arrow") || strings.HasPrefix(m[1], "Page"), "%s: %q", name, m[1])
		}
		assert.Empty(t, shown.FindAllString(text, -1), name)
	}
	_, err := fs.Stat(webFiles, "web/app.js")
	require.NoError(t, err)
}
