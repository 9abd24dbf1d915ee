package wire_test

import (
	"encoding/json"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub/internal/pace/pacetest"
	"github.com/gohub/gohub/internal/wire"
)

// The exact text of every server frame is in testdata/wire/server.json; here is
// what its fields cannot express.

// A Store may give a body that is missing as one that is empty: the frame is JSON all the same.
func TestEmptyBodyIsNull(t *testing.T) {
	for _, body := range [][]byte{nil, {}} {
		assert.JSONEq(t, `{"type":"result","body":null}`, string(one(t, wire.AppendResult(nil, nil, body)).payload))
		f := one(t, wire.AppendMessage(nil, &wire.Message{ID: "1", Room: "r", Sender: "a", Kind: "chat", Seq: 1, Body: body}))
		assert.True(t, json.Valid(f.payload), "%s", f.payload)
	}
}

// Each length of a frame's header, with something before it and after it.
func TestFrameLengths(t *testing.T) {
	empty := len(one(t, wire.AppendResult(nil, nil, []byte("0"))).payload) - 1
	for _, n := range []int{empty + 1, 124, 125, 126, 127, 65534, 65535, 65536, 65537, 1 << 20} {
		body := []byte(strings.Repeat(" ", n-empty))
		for i := range body {
			body[i] = '0' + byte(i%10)
		}
		p := wire.AppendPing(nil)
		p = wire.AppendResult(p, nil, body)
		p = wire.AppendMessage(p, &wire.Message{Body: body, Binary: true})
		p = wire.AppendPing(p)
		fs := frames(t, p)
		require.Len(t, fs, 4, n)
		assert.Equal(t, frame{9, []byte{}}, fs[0])
		assert.EqualValues(t, 1, fs[1].opcode)
		assert.Equal(t, `{"type":"result","body":`+string(body)+`}`, string(fs[1].payload))
		assert.Len(t, fs[1].payload, n)
		assert.EqualValues(t, 2, fs[2].opcode)
		assert.True(t, strings.HasSuffix(string(fs[2].payload), "}"+string(body)))
		assert.Equal(t, frame{9, []byte{}}, fs[3])
	}
}

func TestAppendMessageBinary(t *testing.T) {
	m := wire.Message{ID: "i", Room: "r", Sender: "s", Kind: "k", Seq: 1, Body: []byte{0, 255}, Binary: true}
	f := one(t, wire.AppendMessage(nil, &m))
	header := `{"type":"message","id":"i","room":"r","seq":1,"sender":"s","kind":"k"}`
	assert.Equal(t, frame{2, binaryFrame(header, "\x00\xff")}, f)
}

func TestAppendText(t *testing.T) {
	for in, want := range map[string]string{
		"":                         `""`,
		"plain":                    `"plain"`,
		"12345678":                 `"12345678"`,
		"a\"b\\c/":                 `"a\"b\\c/"`,
		"1234567\"":                `"1234567\""`,
		"\n\r\t\b\f\x00\x1f\x7f":   `"\n\r\t\u0008\u000c\u0000\u001f` + "\x7f" + `"`,
		"<script>&'":               `"<script>&'"`,
		"é 世 😀":                    `"é 世 😀"`,
		"\u2028\ufffd":             "\"\u2028\ufffd\"",
		"\xff":                     `"\ufffd"`,
		"1234567\xc3":              `"1234567\ufffd"`,
		"a\xe4\xb8b\xed\xa0\x80.":  `"a\ufffd\ufffdb\ufffd\ufffd\ufffd."`,
		"a longer one, with \x80 ": `"a longer one, with \ufffd "`,
	} {
		got := text(t, wire.AppendLeft(nil, nil, in))
		assert.Equal(t, `{"type":"left","room":`+want+`}`, got)
		var back struct{ Room string }
		require.NoError(t, json.Unmarshal([]byte(got), &back))
		assert.Equal(t, string([]rune(in)), back.Room)
	}
}

// Every byte at every place of the eight-byte words that are looked at at once.
func TestAppendTextBytes(t *testing.T) {
	for c := range 256 {
		for at := range 9 {
			b := []byte("abcdefghi")
			b[at] = byte(c)
			in := string(b)
			var back struct{ Room string }
			require.NoError(t, json.Unmarshal([]byte(text(t, wire.AppendLeft(nil, nil, in))), &back), "%q", in)
			require.Equal(t, string([]rune(in)), back.Room)
		}
	}
}

// A nil body must not make a frame that is no JSON.
func TestNilBody(t *testing.T) {
	assert.JSONEq(t, `{"type":"result","body":null}`, text(t, wire.AppendResult(nil, nil, nil)))
	assert.Contains(t, text(t, wire.AppendMessage(nil, &wire.Message{})), `,"body":null}`)
	page := text(t, wire.AppendHistory(nil, nil, "r", []wire.Message{{}, {Binary: true}}, false, nil))
	assert.Contains(t, page, `,"body":null},`)
	assert.Contains(t, page, `,"binary":true,"body":""}]`)
}

func TestAppendClose(t *testing.T) {
	for _, tt := range []struct {
		name, reason, want string
	}{
		{"none", "", ""},
		{"short", "slow_consumer", "slow_consumer"},
		{"longest", strings.Repeat("x", 123), strings.Repeat("x", 123)},
		{"too long", strings.Repeat("x", 124), strings.Repeat("x", 123)},
		{"character split", strings.Repeat("x", 122) + "é", strings.Repeat("x", 122)},
		{"character fits", strings.Repeat("x", 121) + "éé", strings.Repeat("x", 121) + "é"},
		{"not UTF-8", "a\xff", "a\ufffd"},
		{"not UTF-8 at the cut", strings.Repeat("x", 122) + "\x80\x80", strings.Repeat("x", 122)},
		{"only continuation bytes", strings.Repeat("\x80", 200), "\ufffd"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := one(t, wire.AppendClose(nil, 4000, tt.reason))
			assert.Equal(t, frame{8, []byte("\x0f\xa0" + tt.want)}, f)
			assert.True(t, utf8.Valid(f.payload[2:]))
		})
	}
}

// A page is ended by adding sizes up, so none may be too small; and pages of
// ordinary messages should not end at half of what they could hold.
func TestMessageSize(t *testing.T) {
	nothing := len(wire.AppendHistory(nil, nil, "r", nil, false, nil))
	long := strings.Repeat("x", 128)
	for _, m := range []wire.Message{
		{},
		chat,
		{Seq: math.MinInt64, To: "t", Binary: true, Body: []byte("1")},
		{ID: long, Room: long, Sender: long, To: long, Kind: long, Seq: math.MaxInt64, Body: []byte(`"` + long + `"`)},
		{ID: "\x00", Room: "\"", Sender: "\xff", To: "é", Kind: strings.Repeat("\x01", 99), Binary: true, Body: make([]byte, 1000)},
	} {
		used := len(wire.AppendHistory(nil, nil, "r", []wire.Message{m, m}, false, nil)) - nothing
		assert.LessOrEqual(t, used, 2*wire.MessageSize(&m), "%+v", m)
	}
	size := wire.MessageSize(&chat)
	assert.Less(t, size, 500, "body of 128 bytes")
}

// Growing the buffer happens once, so a caller without one pays one allocation
// (two under the race detector, where slices.Grow costs that).
func TestAppendMessageAllocs(t *testing.T) {
	private := chat
	private.To = "bob"
	binary := chat
	binary.Binary = true
	for _, m := range []wire.Message{chat, private, binary, {Sender: "quote\"", Seq: math.MaxInt64, Body: make([]byte, 1<<17)}} {
		buf := make([]byte, 0, 1<<18)
		assert.Zero(t, testing.AllocsPerRun(100, func() { buf = wire.AppendMessage(buf[:0], &m) }), "%.40q", m.Body)
		assert.LessOrEqual(t, testing.AllocsPerRun(100, func() { wire.AppendMessage(nil, &m) }), 2.0, "%.40q", m.Body)
	}
	refs := []byte(`"r"`)
	buf := make([]byte, 0, 4096)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		buf = wire.AppendAck(buf[:0], chat.ID, chat.Room, chat.Seq, true)
		buf = wire.AppendJoined(buf, refs, chat.Room, chat.Seq, false, 12)
		buf = wire.AppendTyping(buf, chat.Room, chat.Sender, true)
		buf = wire.AppendReceipt(buf, chat.Room, chat.Sender, 1, 2)
		buf = wire.AppendError(buf, refs, chat.ID, "busy", "try again", 500)
		buf = wire.AppendClose(buf, 4000, "slow_consumer")
	}))
	assert.Len(t, frames(t, buf), 6)
}

// Who waits for the network does not wait for the whole of a long answer.
func TestLongAnswersYield(t *testing.T) {
	ms := make([]wire.Message, 200)
	for i := range ms {
		ms[i] = wire.Message{ID: chat.ID, Room: "r", Seq: int64(i), Sender: "s", Kind: "chat", Body: make([]byte, 10_000), Binary: true}
	}
	assert.True(t, pacetest.MakesRoom(t, func() { wire.AppendHistory(nil, nil, "r", ms, false, nil) }), "history")
	rooms := make([]wire.RoomState, 20_000)
	for i := range rooms {
		rooms[i] = wire.RoomState{Room: fmt.Sprintf("room-%d", i), Head: math.MaxInt64, Seen: math.MaxInt64}
	}
	assert.True(t, pacetest.MakesRoom(t, func() { wire.AppendRooms(nil, nil, rooms) }), "rooms")
	assert.True(t, pacetest.Once(func() bool {
		return !pacetest.Heard(t, func() {
			for began := time.Now(); time.Since(began) < 2*time.Millisecond; {
			}
		})
	}), "what never yields is not heard")
}

// A list of rooms grows no buffer while it is written. In bytes, since yielding has
// allocations of its own under the race detector, though small ones.
func TestAppendRoomsGrowsNothing(t *testing.T) {
	rooms := make([]wire.RoomState, 1000)
	for i := range rooms {
		rooms[i] = wire.RoomState{Room: strings.Repeat("r", 128), Head: math.MinInt64, Seen: math.MinInt64, Unread: 100}
	}
	const rounds = 10
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	size := 0
	for range rounds {
		size += len(wire.AppendRooms(nil, nil, rooms))
	}
	runtime.ReadMemStats(&after)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(size)*5/4)
}

func ExampleAppendAck() {
	frame := wire.AppendAck(nil, "0198c5e1-7a3b-7c4d-9e2f-1a2b3c4d5e6f", "lobby", 1763779200000000, false)
	fmt.Printf("% x %s\n", frame[:2], frame[2:])
	// Output: 81 60 {"type":"ack","id":"0198c5e1-7a3b-7c4d-9e2f-1a2b3c4d5e6f","room":"lobby","seq":1763779200000000}
}
