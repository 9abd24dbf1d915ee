package main

import (
	"bytes"
	"encoding/json"
	"regexp"
	"testing"

	"github.com/gohub/gohub/bench/internal/frame"
)

func TestPublishFrame(t *testing.T) {
	p := newPublisher(hubDialect{}, 128)
	seen := map[string]bool{}
	for n := range int64(1000) {
		op, payload, size := frame.Next(bytes.Clone(p.frame(&conn{sender: 7, room: 12}, n, 1_234_567_890+n)))
		if op != frame.Text || size == 0 {
			t.Fatalf("frame %d does not scan", n)
		}
		var got struct {
			Type, ID, Room string
			Body           json.RawMessage
		}
		if err := json.Unmarshal(payload, &got); err != nil {
			t.Fatal(err)
		}
		if got.Type != "publish" || got.Room != "bench-10012" || len(got.Body) != 128 {
			t.Fatalf("got %s", payload)
		}
		if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(got.ID) || seen[got.ID] {
			t.Fatalf("id %q", got.ID)
		}
		seen[got.ID] = true
		if bodyTime(got.Body) != 1_234_567_890+n || bodySender(got.Body) != 7 || bodyNumber(got.Body) != n {
			t.Fatalf("body %s", got.Body)
		}
	}
}

func TestDigitsOfTooLittle(t *testing.T) {
	if got := bodyTime([]byte(`{"t":"12`)); got != -1 {
		t.Errorf("got %d", got)
	}
}
