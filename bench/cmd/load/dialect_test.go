package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// Lines that real servers have sent.
func TestDialectsKnowWhatComes(t *testing.T) {
	for name, c := range map[string]struct {
		of       dialect
		payload  string
		want     kind
		position string
	}{
		"hub: message":          {hubDialect{}, `{"type":"message","id":"x","room":"r","seq":1790000000000001,"sender":"u0","kind":"chat","body":{}}`, message, "1790000000000001"},
		"hub: ack":              {hubDialect{}, `{"type":"ack","id":"x","room":"r","seq":3}`, ack, ""},
		"hub: error":            {hubDialect{}, `{"type":"error","code":"busy"}`, failure, ""},
		"hub: departure":        {hubDialect{}, `{"type":"members","room":"r","left":["u1"],"count":3}`, departure, ""},
		"hub: arrival":          {hubDialect{}, `{"type":"members","room":"r","joined":["u1"],"count":3}`, other, ""},
		"centrifuge: message":   {centrifugeDialect{}, `{"push":{"channel":"r","pub":{"data":{"t":"0"},"info":{"user":"u0","client":"c"},"offset":12}}}`, message, "12"},
		"centrifuge: arrival":   {centrifugeDialect{}, `{"push":{"channel":"r","join":{"info":{"user":"u1","client":"c"}}}}`, other, ""},
		"centrifuge: departure": {centrifugeDialect{}, `{"push":{"channel":"r","leave":{"info":{"user":"u1","client":"c"}}}}`, departure, ""},
		"centrifuge: ack":       {centrifugeDialect{}, `{"id":3,"publish":{}}`, ack, ""},
		"centrifuge: error":     {centrifugeDialect{}, `{"id":3,"error":{"code":103,"message":"permission denied"}}`, failure, ""},
		"centrifuge: ping":      {centrifugeDialect{}, `{}`, ping, ""},
		"socket.io: message":    {socketDialect{}, `42["message",{"t":"0"}]`, message, ""},
		"socket.io: recovered":  {socketDialect{}, `42["message",{"t":"0"},"zT5C2oD"]`, message, "zT5C2oD"},
		"socket.io: ack":        {socketDialect{}, `4312[]`, ack, ""},
		"socket.io: ping":       {socketDialect{}, `2`, ping, ""},
	} {
		if got := c.of.kind([]byte(c.payload)); got != c.want {
			t.Errorf("%s: kind %d, want %d", name, got, c.want)
		}
		if c.want == message {
			if got := c.of.position([]byte(c.payload)); got != c.position {
				t.Errorf("%s: position %q, want %q", name, got, c.position)
			}
		}
	}
}

func TestDialectsJoinAndResume(t *testing.T) {
	for name, c := range map[string]struct {
		of     dialect
		server []string // what it says, in turn
		fresh  []string // what a client says to that
		resume []string // and one that resumes
	}{
		"hub": {
			hubDialect{},
			[]string{`{"type":"welcome"}`, `{"type":"joined","room":"bench-10007"}`},
			[]string{`{"type":"join","ref":1,"room":"bench-10007"}`, ""},
			[]string{`{"type":"join","ref":1,"room":"bench-10007","since":9}`, ""},
		},
		"centrifuge": {
			centrifugeDialect{},
			[]string{`{"id":1,"connect":{"client":"c"}}`, `{"id":2,"subscribe":{"epoch":"s"}}`},
			[]string{`{"id":2,"subscribe":{"channel":"bench-10007"}}`, ""},
			[]string{`{"id":2,"subscribe":{"channel":"bench-10007","recover":true,"epoch":"s","offset":9}}`, ""},
		},
		"socket.io": {
			socketDialect{},
			[]string{`0{"sid":"a"}`, `40{"sid":"b","pid":"s"}`, `430[]`},
			[]string{"40", `420["join","bench-10007"]`, ""},
			[]string{`40{"pid":"s","offset":"9"}`, ""},
		},
	} {
		for since, want := range map[string][]string{"": c.fresh, "9": c.resume} {
			client := &conn{room: 7, since: since, session: "s"}
			for i, said := range c.server[:len(want)] {
				say, in, err := c.of.greet(client, []byte(said))
				if err != nil || say != want[i] || in != (i == len(want)-1) {
					t.Errorf("%s since %q: to %s it says %q, joined %t, %v; want %q", name, since, said, say, in, err, want[i])
				}
			}
		}
	}
}

func TestWhatWasMissedIsCounted(t *testing.T) {
	c := &conn{since: "1", session: "s"}
	answer := `{"id":2,"subscribe":{"recovered":true,"publications":[{"data":{"t":"0"},"offset":2},{"data":{"t":"0"},"offset":3}]}}`
	if _, in, err := (centrifugeDialect{}).greet(c, []byte(answer)); !in || err != nil || c.got != 2 {
		t.Errorf("centrifuge: joined %t, %v, %d messages; want 2", in, err, c.got)
	}
	c = &conn{since: "x", session: "s"}
	for _, said := range []string{`42["message",{},"y"]`, `42["message",{},"z"]`} {
		_, _, _ = socketDialect{}.greet(c, []byte(said))
	}
	if c.got != 2 {
		t.Errorf("socket.io: %d messages before it has joined, want 2", c.got)
	}
	if _, _, err := (socketDialect{}).greet(c, []byte(`40{"sid":"b","pid":"another"}`)); err == nil {
		t.Error("socket.io: another session is not the old one")
	}
}

func TestPublishesOfEveryDialectAreJSON(t *testing.T) {
	for name, d := range dialects {
		p := newPublisher(d, 128)
		payload := string(d.publish(nil, &conn{room: 3}, p, 41))
		if name == "socketio" {
			payload = strings.TrimPrefix(payload, "4242")
		}
		if !json.Valid([]byte(payload)) || !strings.Contains(payload, "bench-10003") || !strings.Contains(payload, string(p.body)) {
			t.Errorf("%s: %s", name, payload)
		}
	}
}
