package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// A message gets its tick whichever of ack and message comes first, and users'
// text stays text.
func TestView(t *testing.T) {
	t.Parallel()
	message := frame{Type: "message", ID: "x", Seq: 7, Sender: "alice", Body: json.RawMessage(`{"text":"<b>"}`)}
	ack := frame{Type: "ack", ID: "x", Seq: 7}
	for name, frames := range map[string][]frame{"message first": {message, ack}, "ack first": {ack, message}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := view{acked: map[string]bool{}}
			var all, last string
			for _, f := range frames {
				if u, ok := v.update(t.Context(), f); ok {
					last = u.Content
					all += u.Content
				}
			}
			if !strings.Contains(last, `id="t-x" data-status="saved">✓<`) {
				t.Errorf("no tick at the end of %s", all)
			}
			if !strings.Contains(all, "&lt;b&gt;") || strings.Contains(all, "<b><") {
				t.Errorf("text is not escaped: %s", all)
			}
			if len(v.acked) != 0 {
				t.Errorf("%v is kept", v.acked)
			}
		})
	}
}

func TestTypingLine(t *testing.T) {
	t.Parallel()
	v := view{acked: map[string]bool{}}
	for _, step := range []struct {
		f    frame
		want string
	}{
		{frame{Type: "typing", User: "alice", Active: true}, "alice …"},
		{frame{Type: "typing", User: "alice", Active: true}, "alice …"},
		{frame{Type: "typing", User: "bob", Active: true}, "alice, bob …"},
		{frame{Type: "typing", User: "alice"}, "bob …"},
		{frame{Type: "typing", User: "bob"}, ""},
	} {
		if u, _ := v.update(t.Context(), step.f); u.Content != step.want {
			t.Errorf("%q, want %q", u.Content, step.want)
		}
	}
}
