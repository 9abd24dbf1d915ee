package frame

import (
	"bytes"
	"testing"
)

func TestNextReadsWhatAppendWrote(t *testing.T) {
	key := [4]byte{1, 2, 3, 4}
	for _, n := range []int{0, 1, 7, 8, 125, 126, 127, 1000, 65535, 65536, 70001} {
		payload := bytes.Repeat([]byte("abcdefg"), n/7+1)[:n]
		for name, b := range map[string][]byte{
			"server": AppendServer(nil, Text, payload),
			"client": AppendClient(nil, Text, payload, key),
		} {
			op, got, size := Next(bytes.Clone(b))
			if op != Text || !bytes.Equal(got, payload) || size != len(b) {
				t.Fatalf("%s %d bytes: op %d, %d bytes, size %d of %d", name, n, op, len(got), size, len(b))
			}
		}
	}
}

func TestNextWaitsForAWholeFrame(t *testing.T) {
	for _, n := range []int{5, 126, 65536} {
		b := AppendClient(nil, Binary, make([]byte, n), [4]byte{9, 8, 7, 6})
		for _, cut := range []int{0, 1, 2, 3, 5, 9, 13, len(b) - 1} {
			if cut >= len(b) {
				continue
			}
			part := bytes.Clone(b[:cut])
			if _, _, size := Next(part); size != 0 {
				t.Fatalf("%d of %d bytes taken for a frame of %d", cut, len(b), size)
			}
			if !bytes.Equal(part, b[:cut]) {
				t.Fatalf("%d of %d bytes: buffer touched", cut, len(b))
			}
		}
	}
}

func TestNextWalksAStreamCutAnywhere(t *testing.T) {
	var stream []byte
	want := 0
	for i := range 50 {
		stream = AppendServer(stream, Text, bytes.Repeat([]byte{'x'}, i*5))
		want++
	}
	for cut := range len(stream) {
		got, held := 0, []byte{}
		for _, part := range [][]byte{stream[:cut], stream[cut:]} {
			held = append(held, part...)
			for {
				_, _, size := Next(held)
				if size == 0 {
					break
				}
				held = held[size:]
				got++
			}
		}
		if got != want || len(held) != 0 {
			t.Fatalf("cut at %d: %d frames, %d bytes left", cut, got, len(held))
		}
	}
}

func TestTypes(t *testing.T) {
	for _, c := range []struct {
		payload, kind string
		message       bool
	}{
		{`{"type":"message","id":"x"}`, "message", true},
		{`{"type":"messages"}`, "messages", false},
		{`{"type":"ack","id":"x"}`, "ack", false},
		{`{"type":"members"}`, "members", false},
		{`{"id":"x","type":"error"}`, "error", false},
		{`{}`, "", false},
		{`{"type":"mess`, "", false},
	} {
		p := []byte(c.payload)
		if got := string(Type(p)); got != c.kind {
			t.Errorf("%s: type %q", c.payload, got)
		}
		if IsMessage(p) != c.message {
			t.Errorf("%s: message %v", c.payload, !c.message)
		}
	}
}
