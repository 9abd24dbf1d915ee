package main

import (
	"embed"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/text/language"

	"github.com/gohub/gohub"
)

// Everything that a person reads on the page is in locales, by key: what the
// server writes and what the script writes, which gets them with the page.

//go:embed locales
var localeFiles embed.FS

// A locale is the page's strings in a language.
type locale struct {
	Lang string
	text map[string]phrase
}

// A phrase is a string with {placeholders}, or one for each plural form: in the
// languages here there are two, and 1 alone is "one".
type phrase struct{ One, Other string }

// UnmarshalJSON reads "…", or {"one": "…", "other": "…"}.
func (p *phrase) UnmarshalJSON(b []byte) error {
	if b[0] == '"' {
		return json.Unmarshal(b, &p.Other)
	}
	type forms phrase
	return json.Unmarshal(b, (*forms)(p))
}

// MarshalJSON is its opposite.
func (p phrase) MarshalJSON() ([]byte, error) {
	if p.One == "" {
		return json.Marshal(p.Other)
	}
	return json.Marshal(map[string]string{"one": p.One, "other": p.Other})
}

// locales are those there are; the first is for whoever wants none of them.
var locales = []*locale{mustLocale("en"), mustLocale("de")}

var languages = func() language.Matcher {
	var tags []language.Tag
	for _, l := range locales {
		tags = append(tags, language.Make(l.Lang))
	}
	return language.NewMatcher(tags)
}()

func mustLocale(lang string) *locale {
	l := &locale{Lang: lang}
	b, err := localeFiles.ReadFile("locales/" + lang + ".json")
	if err == nil {
		err = json.Unmarshal(b, &l.text)
	}
	if err != nil {
		panic(fmt.Sprintf("locale %s: %v", lang, err)) // it is compiled in: a test sees it first
	}
	return l
}

const (
	langCookie  = "chat-lang"
	themeCookie = "chat-theme"
	zoneCookie  = "chat-zone" // set by the script
)

// localeOf chooses by cookie, else by what the browser asks for.
func localeOf(r *http.Request) *locale {
	if c, err := r.Cookie(langCookie); err == nil {
		for _, l := range locales {
			if l.Lang == c.Value {
				return l
			}
		}
	}
	wanted, _, _ := language.ParseAcceptLanguage(r.Header.Get("Accept-Language")) // nothing, if that cannot be read
	_, i, _ := languages.Match(wanted...)
	return locales[i]
}

const langClaim = "lang"

// localeFor is that of the page which a session is of.
func localeFor(who gohub.Identity) *locale {
	i := slices.IndexFunc(locales, func(l *locale) bool { return l.Lang == who.Claims[langClaim] })
	return locales[max(0, i)]
}

// T gives the string of key, with pairs of placeholder and value.
func (l *locale) T(key string, pairs ...string) string {
	return fill(l.text[key].Other, pairs)
}

// N gives the plural form for n, which is also the placeholder n.
func (l *locale) N(key string, n int, pairs ...string) string {
	p := l.text[key]
	s := p.Other
	if n == 1 && p.One != "" {
		s = p.One
	}
	return fill(s, append(pairs, "n", fmt.Sprint(n)))
}

func fill(s string, pairs []string) string {
	if len(pairs) == 0 {
		return s
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		pairs[i] = "{" + pairs[i] + "}"
	}
	return strings.NewReplacer(pairs...).Replace(s)
}

// forScript are the strings that the script may need.
func (l *locale) forScript() map[string]phrase {
	some := map[string]phrase{}
	for key, p := range l.text {
		switch group, _, _ := strings.Cut(key, "."); group {
		case "login", "emoji", "theme", "command", "settings", "date":
		default:
			some[key] = p
		}
	}
	return some
}

// themes are the page's colours; the first is for whoever has chosen none.
var themes = []string{"system", "light", "dark", "contrast"}

func themeOf(r *http.Request) string {
	if c, err := r.Cookie(themeCookie); err == nil {
		for _, t := range themes {
			if t == c.Value {
				return t
			}
		}
	}
	return themes[0]
}
