package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// Two in one room are answered each in the language of their page.
func TestCommandsAnswerInTheLanguageOfThePage(t *testing.T) {
	address, stop := serve(t, "-drain", "0")
	base, err := url.Parse(address)
	require.NoError(t, err)
	here := map[string]*session{}
	for user, lang := range map[string]string{"alice": "en", "dora": "de"} {
		_, client := chatter(t, address, user)
		client.Jar.SetCookies(base, []*http.Cookie{{Name: langCookie, Value: lang}})
		here[lang] = login(t, client, address, user)
		here[lang].send(`{"type":"join","room":"lobby"}`)
		here[lang].expect("joined")
	}
	sent := 0
	ask := func(lang, text, kind string) map[string]any {
		t.Helper()
		sent++
		body, err := json.Marshal(text)
		require.NoError(t, err)
		here[lang].send(fmt.Sprintf(`{"type":"publish","id":"0199c2f4-4f8e-7cc1-8d6c-%012d","room":"lobby","body":%s}`, sent, body))
		for {
			_, b, err := here[lang].conn.Read(t.Context())
			require.NoError(t, err)
			var f map[string]any
			require.NoError(t, json.Unmarshal(b, &f))
			if f["type"] == kind {
				return f
			}
		}
	}
	for _, tt := range []struct{ lang, text, want string }{
		{"en", "/who", "2 here: alice, dora"},
		{"de", "/who", "2 hier: alice, dora"},
		{"en", "/help /MSG", "/msg user text: writes to one user, in the room you share with them"},
		{"de", "/help msg", "/msg Name Text: schreibt einer Person, in eurem gemeinsamen Raum"},
		{"de", "/help", "/shrug [Text]: hängt ¯\\_(ツ)_/¯ an\n/me Text: sagt, was du tust\n/msg Name Text: schreibt einer Person, in eurem gemeinsamen Raum\n" +
			"/who: sagt dir, wer hier ist\n/help [Befehl]: zeigt dir die Befehle\n// beginnt einen Text mit einem Schrägstrich"},
	} {
		m := ask(tt.lang, tt.text, "message")
		assert.Equal(t, tt.want, m["body"])
		assert.Equal(t, "notice", m["kind"])
		assert.Equal(t, m["sender"], m["to"])
	}
	for _, tt := range []struct{ lang, text, want string }{
		{"en", "/me", "usage: /me text"},
		{"de", "/who bob", "so geht es: /who"},
		{"de", "/help dance", "einen Befehl /dance gibt es nicht; /help zeigt alle, // beginnt einen Text mit einem Schrägstrich"},
	} {
		e := ask(tt.lang, tt.text, "error")
		assert.Equal(t, tt.want, e["message"])
		assert.Equal(t, string(gohub.CodeBadRequest), e["code"])
	}
	assert.Equal(t, 0, stop())
}
