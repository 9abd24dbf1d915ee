package gohub

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// commanding is as much of a hub as commands need.
func commanding() *Hub {
	h := &Hub{log: slog.New(slog.DiscardHandler)}
	h.Commands(StandardCommands("shrug", "me", "help")...)
	h.Commands(Command{Name: "echo", Run: func(_ context.Context, p *Publish, args string) error {
		p.SetText(args)
		return nil
	}})
	return h
}

// What comes out of any text is a message with a text, or a refusal.
func FuzzCommand(f *testing.F) {
	h := commanding()
	c := &Client{hub: h}
	for _, s := range []string{"", "x", "/", "//", "///x", "/me", "/me waves", "/ME\u00a0waves", "/shurg", "/help me", "/echo \"a\\\x00\"\n", "/\u0130", "/\xff x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			t.Skip("refused by the transport")
		}
		body, err := json.Marshal(map[string]any{"n": 1, "text": text})
		require.NoError(t, err)
		m := Message{Sender: "alice", Kind: "chat", Body: body}
		require.Equal(t, strings.HasPrefix(text, "/"), h.isCommand(&m))
		if !h.isCommand(&m) {
			return
		}
		p := &Publish{Client: c, Message: &m}
		if err := h.command(t.Context(), p); err != nil {
			var e *Error
			require.ErrorAs(t, err, &e, "a panic, or a fault: %q", text)
			require.Equal(t, CodeBadRequest, e.Code)
			require.Less(t, len(e.Message), 1000)
			return
		}
		require.True(t, json.Valid(m.Body), "%q", m.Body)
		got, ok := p.Text()
		require.True(t, ok)
		if rest, ok := strings.CutPrefix(text, "//"); ok {
			require.Equal(t, "/"+rest, got)
		}
		if name, args := splitCommand(text); name == "echo" {
			require.Equal(t, args, got)
			require.True(t, strings.HasSuffix(strings.TrimSpace(text), args), "%q", text)
		}
	})
}

func TestOrdinaryMessagesCostNothing(t *testing.T) {
	h := commanding()
	for _, body := range []string{`"hello"`, `"\"/me\""`, `{"lang":"en","text":"hello","\u0061":[1,{"b":2}]}`, `17`} {
		m := Message{Kind: "chat", Body: []byte(body)}
		require.Zero(t, testing.AllocsPerRun(1000, func() {
			if h.isCommand(&m) {
				t.Error("no command")
			}
		}), body)
	}
}

func TestSlips(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "ab", 2},
		{"who", "who", 0},
		{"whp", "who", 1},
		{"wh", "who", 1},
		{"whoo", "who", 1},
		{"hlep", "help", 1},
		{"shurgg", "shrug", 2},
		{"abcd", "wxyz", 4},
	} {
		require.Equal(t, c.want, slips(c.a, c.b), c)
		require.Equal(t, c.want, slips(c.b, c.a), c)
	}
}
