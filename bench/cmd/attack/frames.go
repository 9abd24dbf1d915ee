package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gohub/gohub/bench/internal/frame"
)

// early sends frames before the client can know whether it is welcome.
func early(ctx context.Context, a *attackers) {
	behind := text(text(nil, `{"type":"join","ref":1,"room":"early"}`),
		`{"type":"publish","id":"%s","room":"early","body":1}`, newID())
	a.paced(ctx, a.scaled(1000), 64, func(i int) {
		switch i % 3 {
		case 0: // in time: they are the session's first commands
			s, _ := a.open(ctx, "user=early", text(behind, `{"type":"ping","ref":2}`))
			if s == nil {
				return
			}
			if !s.until("pong") && ctx.Err() == nil {
				a.add(1, surprise+"no answer to early frames")
			}
			a.add(1, "answered")
			_ = s.nc.Close()
		case 1: // refused: they are nobody's
			if s, status := a.open(ctx, "user=", behind); s != nil || status != http.StatusUnauthorized && status != http.StatusTooManyRequests && status != 0 {
				a.add(1, surprise+fmt.Sprintf("HTTP %d without credentials", status))
			}
		case 2: // no request at all
			nc, err := a.dial(ctx)
			if err != nil {
				return
			}
			_ = nc.SetDeadline(time.Now().Add(5 * time.Second))
			_, _ = nc.Write(append(behind[:len(behind):len(behind)], "\r\n\r\n"...)) // or the server waits for the rest of a line
			buf := make([]byte, 64)
			n, _ := nc.Read(buf)
			line, _, _ := bytes.Cut(buf[:n], []byte("\r\n"))
			a.add(1, "no request: "+string(line))
			_ = nc.Close()
		}
	})
}

// A wrong is bytes that no client should send, and how they may be answered:
// by a close code, or by a pong (0) where they are odd but allowed.
type wrong struct {
	name  string
	bytes []byte
	want  []int
}

// wrongs lists them. b(...) is the header, masked with zeros.
func wrongs() []wrong {
	b := func(head ...byte) []byte { return head }
	zero := []byte{0, 0, 0, 0}
	ping := []byte(`{"type":"ping"}`)
	long := func(first byte, n ...byte) []byte { return append(append([]byte{first, 0xff}, n...), zero...) }
	return []wrong{
		{"2^63 bytes", long(0x81, 0x80, 0, 0, 0, 0, 0, 0, 0), []int{1002, 1009}},
		{"2^63-1 bytes", long(0x82, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), []int{1009}},
		{"1 GiB declared", long(0x81, 0, 0, 0, 0, 0x40, 0, 0, 0), []int{1009}},
		{"65,537 bytes declared", long(0x81, 0, 0, 0, 0, 0, 1, 0, 1), []int{1009}},
		{"64 bits for 15 bytes", append(long(0x81, 0, 0, 0, 0, 0, 0, 0, 15), ping...), []int{0, 1002}},
		{"16 bits for 15 bytes", slices.Concat(b(0x81, 0xfe, 0, 15), zero, ping), []int{0, 1002}},
		{"fragments over the limit", bytes.Repeat(slices.Concat(b(0x01, 0xfe, 0x80, 0), zero, bytes.Repeat([]byte("x"), 0x8000)), 3), []int{1002, 1009}},
		{"continuations over the limit", slices.Concat(
			b(0x01, 0xfe, 0x80, 0), zero, bytes.Repeat([]byte("x"), 0x8000),
			bytes.Repeat(slices.Concat(b(0x00, 0xfe, 0x80, 0), zero, bytes.Repeat([]byte("x"), 0x8000)), 2)), []int{1009}},
		{"continuation without start", slices.Concat(b(0x80, 0x81), zero, b('x')), []int{1002}},
		{"text inside a message", slices.Concat(b(0x01, 0x81), zero, b('x'), b(0x81, 0x81), zero, b('x')), []int{1002}},
		{"ping of 126 bytes", slices.Concat(b(0x89, 0xfe, 0, 126), zero, make([]byte, 126)), []int{1002}},
		{"ping in fragments", slices.Concat(b(0x09, 0x81), zero, b('x')), []int{1002}},
		{"close of 1 byte", slices.Concat(b(0x88, 0x81), zero, b(3)), []int{1002}},
		{"close with 1005", slices.Concat(b(0x88, 0x82), zero, b(3, 0xed)), []int{1002}},
		{"unmasked", append(b(0x81, byte(len(ping))), ping...), []int{1002}},
		{"unmasked ping", b(0x89, 0), []int{1002}},
		{"reserved bit 1", slices.Concat(b(0xc1, 0x81), zero, b('x')), []int{1002}},
		{"reserved bit 2", slices.Concat(b(0xa1, 0x81), zero, b('x')), []int{1002}},
		{"reserved bit 3", slices.Concat(b(0x91, 0x81), zero, b('x')), []int{1002}},
		{"opcode 3", slices.Concat(b(0x83, 0x81), zero, b('x')), []int{1002}},
		{"opcode 15", slices.Concat(b(0x8f, 0x80), zero), []int{1002}},
		{"text not UTF-8", slices.Concat(b(0x81, 0x82), zero, b(0xc3, 0x28)), []int{1007}},
		{"UTF-8 cut off", slices.Concat(b(0x81, 0x81), zero, b(0xe2)), []int{1007}},
		{"nonsense three times", text(text(text(nil, "?"), "{"), "[]"), []int{4504}},
	}
}

// malformed sends one wrong after another, a session each.
func malformed(ctx context.Context, a *attackers) {
	all := wrongs()
	var done atomic.Int64
	a.paced(ctx, a.scaled(500), 64, func(i int) {
		w := all[i%len(all)]
		s, _ := a.open(ctx, "user=malformed", nil)
		if s == nil {
			return
		}
		_ = s.nc.SetDeadline(time.Now().Add(5 * time.Second))
		code := 0
		if s.until("welcome") && s.write(w.bytes) == nil {
			code = s.fate()
		}
		_ = s.nc.Close()
		done.Add(1)
		if slices.Contains(w.want, code) || ctx.Err() != nil {
			a.add(1, fmt.Sprintf("closed %d", code))
			return
		}
		a.add(1, surprise+fmt.Sprintf("%s: %d, not %v", w.name, code, w.want))
	})
}

// fate is the close code, 0 for a pong, -1 when the connection ends without.
func (s *session) fate() int {
	for {
		op, p, err := s.next()
		switch {
		case err != nil:
			return -1
		case op == frame.Close && len(p) >= 2:
			return int(p[0])<<8 | int(p[1])
		case op == frame.Text && string(frame.Type(p)) == "pong":
			return 0
		}
	}
}

// fuzz sends 100,000 frames: valid headers with random payloads, random bytes,
// and the protocol's frames with some bytes changed. What a session may be
// closed with for that is documented.
func fuzz(ctx context.Context, a *attackers) {
	vectors, err := readVectors(a.wire)
	if err != nil {
		fmt.Fprintln(os.Stderr, "attack:", err)
		os.Exit(1)
	}
	// Close frames made by chance are answered with their own code: only codes
	// that the server would give for another reason are a surprise.
	never := []int{1001, 1011, 1012, 4000, 4001, 4003, 4004, 4500, 4501, 4502, 4503}
	const workers = 32
	var sent atomic.Int64
	most := int64(a.scaled(100_000))
	each(workers, func(w int) {
		r := rand.New(rand.NewPCG(a.seed, uint64(w)))
		for ctx.Err() == nil && sent.Load() < most {
			s, _ := a.open(ctx, fmt.Sprintf("user=fuzz%d", w), text(nil, `{"type":"join","room":"lobby"}`))
			if s == nil {
				if !pause(ctx, 50*time.Millisecond) {
					return
				}
				continue
			}
			code := 0
			for sent.Load() < most && ctx.Err() == nil {
				n := 1 + r.IntN(4)
				var b []byte
				for range n {
					b = append(b, fuzzed(r, vectors)...)
				}
				sent.Add(int64(n))
				// The ping shows that all of it was looked at, unless it is taken
				// for the rest of a frame.
				_ = s.nc.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
				if s.write(text(b, `{"type":"ping"}`)) != nil {
					break
				}
				if code = s.fate(); code != 0 {
					break
				}
			}
			_ = s.nc.Close()
			switch {
			case code <= 0:
				a.add(1, "given up, in the middle of a frame or at the end")
			case slices.Contains(never, code):
				a.add(1, surprise+fmt.Sprintf("closed %d", code))
			default:
				a.add(1, fmt.Sprintf("closed %d", code))
			}
		}
	})
	a.add(sent.Load(), "frames sent")
}

// fuzzed makes a frame, or what might pass for one.
func fuzzed(r *rand.Rand, vectors [][]byte) []byte {
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	switch r.IntN(8) {
	case 0:
		return random(1 + r.IntN(40))
	case 1, 2:
		ops := []byte{frame.Text, frame.Binary, frame.Ping, frame.Pong}
		op := ops[r.IntN(len(ops))]
		n := r.IntN(126)
		if op < 8 && r.IntN(4) == 0 {
			n = r.IntN(2000)
		}
		return frame.AppendClient(nil, op, random(n), [4]byte(random(4)))
	}
	v := bytes.Clone(vectors[r.IntN(len(vectors))])
	for range r.IntN(4) {
		switch at := r.IntN(len(v)); r.IntN(4) {
		case 0:
			v[at] = byte(0x20 + r.IntN(0x5f)) // stays UTF-8: more gets to the decoder
		case 1:
			v = append(v[:at], v[at+1:]...)
		case 2:
			v = slices.Insert(v, at, v[:min(at, 8)]...)
		case 3:
			v[at] = byte(r.Uint32())
		}
		if len(v) == 0 {
			v = []byte("{}")
		}
	}
	op := byte(frame.Text)
	if v[0] == 1 {
		op = frame.Binary
	}
	return frame.AppendClient(nil, op, v, [4]byte(random(4)))
}

// readVectors reads the protocol's golden client frames.
func readVectors(path string) ([][]byte, error) {
	doc, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("-wire: %w", err)
	}
	var list []struct {
		Frame  string `json:"frame"`
		Base64 string `json:"frame_base64"`
	}
	if err := json.Unmarshal(doc, &list); err != nil {
		return nil, fmt.Errorf("-wire: %w", err)
	}
	var out [][]byte
	for _, v := range list {
		f := []byte(strings.Clone(v.Frame))
		if v.Base64 != "" {
			if f, err = base64.StdEncoding.DecodeString(v.Base64); err != nil {
				return nil, fmt.Errorf("-wire: %w", err)
			}
		}
		if len(f) > 0 {
			out = append(out, f)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("-wire: no frames in %s", path)
	}
	return out, nil
}
