package gohub_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// undisturbed checks that two members of a room still hear each other, and
// that the hub has nobody else.
func undisturbed(t *testing.T, w *world, room string, alice, bob *user) {
	t.Helper()
	id := alice.publish(room, "still here")
	alice.expect("ack", "id", id)
	alice.expect("message", "id", id)
	bob.expect("message", "id", id)
	require.Eventually(t, func() bool { return w.hub.Stats().Sessions == 2 }, patience, time.Millisecond)
	stats := w.hub.RoomStats(gohub.RoomID{Name: room})
	require.Equal(t, 2, stats.Sessions)
	require.Zero(t, stats.Uncommitted)
}

// What is no WebSocket ends its session with the documented code, and nobody
// else's.
func TestBrokenFrames(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	alice, bob := w.as("alice", "r"), w.as("bob", "r")

	// header is masked with zeros.
	header := func(b ...byte) []byte { return append(b, 0, 0, 0, 0) }
	with := func(h []byte, payload string) []byte { return append(h, payload...) }
	half := strings.Repeat("x", 32<<10)
	const ping = `{"type":"ping"}`
	cases := map[string]struct {
		bytes []byte
		code  int // 0: odd, but answered with a pong
	}{
		"2^63 bytes declared":    {header(0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0), gohub.CloseTooBig},
		"2^64-1 bytes declared":  {header(0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), gohub.CloseTooBig},
		"2^63-1 bytes declared":  {header(0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), gohub.CloseTooBig},
		"1 GiB declared":         {header(0x81, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0), gohub.CloseTooBig},
		"1 GiB of continuation":  {slices.Concat(with(header(0x01, 0x81), "x"), header(0x00, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0)), gohub.CloseTooBig},
		"a message without end":  {slices.Concat(with(header(0x01, 0xfe, 0x80, 0), half), with(header(0x00, 0xfe, 0x80, 0), half), with(header(0x00, 0x81), "x")), gohub.CloseTooBig},
		"64 bits for 15 bytes":   {with(header(0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 15), ping), 0},
		"16 bits for 15 bytes":   {with(header(0x81, 0xfe, 0, 15), ping), 0},
		"empty continuations":    {slices.Concat(with(header(0x01, 0x8f), ping), header(0x00, 0x80), header(0x00, 0x80), header(0x80, 0x80)), 0},
		"continuation of none":   {with(header(0x80, 0x81), "x"), 1002},
		"text within a message":  {slices.Concat(with(header(0x01, 0x81), "x"), with(header(0x81, 0x81), "x")), 1002},
		"ping of 126 bytes":      {with(header(0x89, 0xfe, 0, 126), strings.Repeat("x", 126)), 1002},
		"pong of 2^63-1 bytes":   {header(0x8a, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), 1002},
		"ping in fragments":      {with(header(0x09, 0x81), "x"), 1002},
		"close of one byte":      {with(header(0x88, 0x81), "\x03"), 1002},
		"close with 1005":        {with(header(0x88, 0x82), "\x03\xed"), 1002},
		"unmasked text":          {[]byte("\x81\x0f" + ping), 1002},
		"unmasked ping":          {[]byte("\x89\x00"), 1002},
		"reserved bit 1":         {with(header(0xc1, 0x81), "x"), 1002},
		"reserved bit 2":         {with(header(0xa1, 0x81), "x"), 1002},
		"reserved bit 3":         {with(header(0x91, 0x81), "x"), 1002},
		"reserved bit of a ping": {header(0xc9, 0x80), 1002},
		"opcode 3":               {with(header(0x83, 0x81), "x"), 1002},
		"opcode 11":              {header(0x8b, 0x80), 1002},
		"not UTF-8":              {with(header(0x81, 0x82), "\xc3\x28"), gohub.CloseInvalidUTF8},
		"UTF-8 cut off":          {with(header(0x81, 0x81), "\xe2"), gohub.CloseInvalidUTF8},
		"UTF-8 cut, fragments":   {slices.Concat(with(header(0x01, 0x81), "\xe2"), header(0x80, 0x80)), gohub.CloseInvalidUTF8},
	}
	t.Run("each", func(t *testing.T) { // is through when all of them are
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				b := w.bare("user=mallory")
				b.text(`{"type":"join","room":"r"}`)
				_, err := b.nc.Write(c.bytes)
				require.NoError(t, err)
				if c.code != 0 {
					_, code := b.rest()
					require.Equal(t, c.code, code)
					return
				}
				for f := (frame{}); f["type"] != "pong"; {
					f, err = b.frame()
					require.NoError(t, err)
				}
				require.NoError(t, b.nc.Close())
			})
		}
	})
	undisturbed(t, w, "r", alice, bob)
}

// Frames may come right behind the request. Accepted, they are the session's
// first commands, after "welcome"; refused, they are nobody's.
func TestFramesBehindTheRequest(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	alice, bob := w.as("alice", "r"), w.as("bob", "r")
	behind := func(id string) (frames []byte) {
		for _, p := range []string{
			`{"type":"join","ref":1,"room":"r"}`,
			fmt.Sprintf(`{"type":"publish","id":%q,"room":"r","body":"early"}`, id),
			`{"type":"ping","ref":2}`,
		} {
			frames = append(append(frames, 0x81, 0x80|byte(len(p)), 0, 0, 0, 0), p...)
		}
		return frames
	}
	request := func(query string, more []byte) *bare {
		nc, err := w.raw(t.Context(), "tcp", strings.TrimPrefix(w.url, "http://"))
		require.NoError(t, err)
		t.Cleanup(func() { _ = nc.Close() })
		require.NoError(t, nc.SetDeadline(time.Now().Add(patience)))
		_, err = nc.Write(append(fmt.Appendf(nil, "GET /?%s HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", query), more...))
		require.NoError(t, err)
		return newBare(t, nc)
	}

	id := gohub.NewID()
	b := request("user=carol", behind(id))
	require.Equal(t, http.StatusSwitchingProtocols, b.answer())
	var came []any
	for len(came) < 5 {
		f, err := b.frame()
		require.NoError(t, err)
		if f["type"] != "members" {
			came = append(came, f["type"])
		}
	}
	require.Equal(t, []any{"welcome", "joined"}, came[:2])
	require.ElementsMatch(t, []any{"message", "ack", "pong"}, came[2:]) // who is writing "members" writes the message, too
	bob.expect("message", "id", id)
	require.NoError(t, b.nc.Close())

	id = gohub.NewID()
	b = request("user=", behind(id))
	require.Equal(t, http.StatusUnauthorized, b.answer())
	rest, err := io.ReadAll(b.br)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the connection stays")
	require.NotContains(t, string(rest), "joined")
	require.NotContains(t, string(rest), "101 ")

	undisturbed(t, w, "r", alice, bob)
	require.Empty(t, bob.take(func(f frame) bool { return f["id"] == id }))
}

// Random frames, random bytes, and the protocol's frames with some bytes
// changed: sessions end as documented or go on, and others do not notice.
func TestRandomFrames(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("testdata/wire/client.json")
	require.NoError(t, err)
	var vectors []struct {
		Frame  string `json:"frame"`
		Base64 []byte `json:"frame_base64"`
	}
	require.NoError(t, json.Unmarshal(doc, &vectors))

	w := start(t, gohub.Config{})
	alice, bob := w.as("alice", "lobby"), w.as("bob", "lobby")
	r := seeded(t)
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			if b[i] = byte(r.Uint32()); b[i] == 0x80|opClose {
				b[i] = 0x80 | opPing // the hub gives back the code that a Close frame has, whichever that is
			}
		}
		return b
	}
	masked := func(first byte, p []byte) []byte {
		head := []byte{first, 0x80 | 126, byte(len(p) >> 8), byte(len(p)), 0, 0, 0, 0}
		if len(p) < 126 {
			head = []byte{first, 0x80 | byte(len(p)), 0, 0, 0, 0}
		}
		return append(head, p...)
	}
	one := func() []byte {
		switch v := vectors[r.IntN(len(vectors))]; r.IntN(8) {
		case 0:
			return random(1 + r.IntN(40))
		case 1:
			return masked([]byte{0x81, 0x82, 0x89, 0x8a, 0x01, 0x80}[r.IntN(6)], random(r.IntN(126)))
		default:
			first, p := byte(0x81), []byte(v.Frame)
			if v.Base64 != nil {
				first, p = 0x82, slices.Clone(v.Base64)
			}
			for range r.IntN(4) {
				if len(p) == 0 {
					break
				}
				switch at := r.IntN(len(p)); r.IntN(4) {
				case 0:
					p[at] = byte(0x20 + r.IntN(0x5f)) // stays UTF-8
				case 1:
					p = slices.Delete(p, at, at+1)
				case 2:
					p = slices.Insert(p, at, p[:min(at, 8)]...)
				case 3:
					p[at] = random(1)[0]
				}
			}
			return masked(first, p)
		}
	}
	may := []int{0, 1000, 1002, gohub.CloseInvalidUTF8, gohub.CloseTooBig, gohub.CloseProtocolError}
	for i := range 600 {
		b := w.bare("user=mallory")
		var sent []byte
		for range 8 {
			sent = append(sent, one()...)
		}
		_, err := b.nc.Write(sent)
		require.NoError(t, err)
		_, _, err = b.read() // "welcome": who closes earlier has no session
		require.NoError(t, err)
		_ = b.nc.(*net.TCPConn).CloseWrite() // an error: the hub has cut it off
		code := 0
		for {
			op, p, err := b.read()
			if err != nil {
				break
			}
			if op == opClose && len(p) >= 2 {
				code = int(p[0])<<8 | int(p[1])
			}
		}
		require.Contains(t, may, code, "connection %d: %s", i, base64.StdEncoding.EncodeToString(sent))
		require.NoError(t, b.nc.Close())
	}
	undisturbed(t, w, "lobby", alice, bob)
}

// Neither a session nor a ticket keeps the request that it began with: a
// header may have a megabyte.
func TestRequestsAreForgotten(t *testing.T) {
	w := start(t, gohub.Config{})
	pad := strings.Repeat("x", 512<<10)
	heap := func() int64 {
		for range 3 { // net/http's and our pools go in steps
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	ask := func(t *testing.T, query, headers string, status int) {
		nc, err := w.raw(t.Context(), "tcp", strings.TrimPrefix(w.url, "http://"))
		require.NoError(t, err)
		t.Cleanup(func() { _ = nc.Close() })
		_, err = fmt.Fprintf(nc, "GET /?%s HTTP/1.1\r\nHost: h\r\n%s\r\n", query, headers)
		require.NoError(t, err)
		b := newBare(t, nc)
		require.Equal(t, status, b.answer())
		if status == http.StatusOK {
			require.NoError(t, nc.Close())
			return
		}
		f, err := b.frame()
		require.NoError(t, err)
		require.Equal(t, "welcome", f["type"])
	}
	const upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for _, c := range []struct {
		name, query, headers string
		status               int
	}{
		{"ticket", "user=alice&login=l&rooms=a&pad=" + pad, "", http.StatusOK},
		{"session by its URL", "user=alice&login=l&rooms=a&pad=" + pad, upgrade, http.StatusSwitchingProtocols},
		{"session by its subprotocol", "user=alice", upgrade + "Sec-WebSocket-Protocol: gohub.v1, " + pad + "\r\n", http.StatusSwitchingProtocols},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := heap()
			for range 32 {
				ask(t, c.query, c.headers, c.status)
			}
			require.Eventually(t, func() bool { return heap()-before < 4<<20 }, patience, 10*time.Millisecond,
				"32 requests of 512 KiB have left %d KiB", (heap()-before)>>10)
		})
	}
}
