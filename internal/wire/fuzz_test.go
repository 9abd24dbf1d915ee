package wire_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub/internal/wire"
)

func FuzzValid(f *testing.F) {
	for _, s := range jsonTexts {
		f.Add([]byte(s))
	}
	f.Add([]byte(publishFrame))
	f.Add([]byte(strings.Repeat(`[{"a":`, 70)))
	f.Add([]byte(strings.Repeat(`[`, 130) + strings.Repeat(`]`, 130)))
	f.Fuzz(func(t *testing.T, p []byte) {
		require.Equal(t, json.Valid(p), wire.Valid(p), "%q", p)
	})
}

func FuzzDecode(f *testing.F) {
	var vs []clientVector
	readVectors(f, clientVectors, &vs)
	for _, v := range vs {
		if v.Frame != nil {
			f.Add([]byte(*v.Frame))
		}
	}
	f.Add([]byte(publishFrame))
	var c wire.Command // reused, as by the hub
	f.Fuzz(func(t *testing.T, p []byte) { checkDecode(t, &c, p) })
}

// checkDecode decodes p and compares all that comes out of it with what
// encoding/json makes of it.
func checkDecode(t *testing.T, c *wire.Command, p []byte) {
	kept := bytes.Clone(p)
	err := wire.Decode(c, p)
	require.True(t, bytes.Equal(kept, p), "the frame was written to")
	if !utf8.Valid(p) { // refused by the transport; only validity is comparable
		isObject := json.Valid(p) && bytes.TrimLeft(p, " \t\r\n")[0] == '{'
		require.Equal(t, isObject, code(t, err) != wire.CodeBadJSON, "%q", p)
		return
	}
	require.Equal(t, stdCode(p), code(t, err), "%q", p)
	if code(t, err) != wire.CodeBadJSON {
		agreesWithStd(t, p, c)
	}
}

var integer = regexp.MustCompile(`^(-0|0|[1-9][0-9]*)$`)

// stdCode is the code a frame ought to get, by encoding/json.
func stdCode(p []byte) string {
	var m map[string]json.RawMessage
	if json.Unmarshal(p, &m) != nil || m == nil {
		return wire.CodeBadJSON
	}
	own, ok := protocolFields[stdType(p)]
	if !ok {
		return wire.CodeUnknownType
	}
	for f := range strings.FieldsSeq(own) {
		raw := string(m[f])
		if raw == "" || raw == "null" {
			continue
		}
		ok := raw[0] == '"'
		switch f {
		case "ref":
			ok = ok || raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9'
		case "since", "before", "after", "limit", "delivered", "seen":
			_, err := strconv.ParseInt(raw, 10, 64)
			ok = err == nil && integer.MatchString(raw)
		case "retry", "active":
			ok = raw == "true" || raw == "false"
		}
		if !ok {
			return wire.CodeBadRequest
		}
	}
	return ""
}

// stdType is the type in the object p, "" when there is none. It goes by way of
// a map, since encoding/json would take "Type" for a struct's field, too.
func stdType(p []byte) (typ string) {
	var m map[string]json.RawMessage
	if json.Unmarshal(p, &m) == nil && m["type"] != nil {
		_ = json.Unmarshal(m["type"], &typ)
	}
	return typ
}

// agreesWithStd compares c, decoded from the valid JSON p, with encoding/json.
// A field of the wrong type has to be absent.
func agreesWithStd(t *testing.T, p []byte, c *wire.Command) {
	var m map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(p, &m))
	for k, got := range map[string][]byte{
		"id": c.ID, "room": c.Room, "to": c.To, "kind": c.Kind, "name": c.Name, "cursor": c.Cursor, "ticket": c.Ticket,
	} {
		var want *string
		if json.Unmarshal(m[k], &want) != nil || want == nil {
			require.Nil(t, got, "%s of %q", k, p)
			continue
		}
		require.NotNil(t, got, "%s of %q", k, p)
		require.Equal(t, *want, string(got), "%s of %q", k, p)
	}
	ref := m["ref"]
	if ref != nil && strings.IndexByte("{[ntf", ref[0]) >= 0 {
		ref = nil
	}
	require.Equal(t, string(ref), string(c.Ref), "ref of %q", p)
	require.Equal(t, string(m["body"]), string(c.Body), "body of %q", p)
	require.Equal(t, m["body"] != nil, c.Has&wire.HasBody != 0, "body of %q", p)
	for k, got := range map[string]struct {
		n   int64
		has wire.Has
	}{
		"since": {c.Since, wire.HasSince}, "before": {c.Before, wire.HasBefore}, "after": {c.After, wire.HasAfter},
		"limit": {int64(c.Limit), wire.HasLimit}, "delivered": {c.Delivered, wire.HasDelivered}, "seen": {c.Seen, wire.HasSeen},
	} {
		n, err := strconv.ParseInt(string(m[k]), 10, 64)
		has := err == nil && integer.Match(m[k])
		if !has {
			n = 0
		}
		require.Equal(t, n, got.n, "%s of %q", k, p)
		require.Equal(t, has, c.Has&got.has != 0, "%s of %q", k, p)
	}
	active := string(m["active"])
	require.Equal(t, active == "true" || active == "false", c.Has&wire.HasActive != 0, "active of %q", p)
	require.Equal(t, active == "true", c.Active, "active of %q", p)
	require.Equal(t, string(m["retry"]) == "true", c.Retry, "retry of %q", p)
}

func FuzzDecodeBinary(f *testing.F) {
	var vs []clientVector
	readVectors(f, clientVectors, &vs)
	for _, v := range vs {
		if v.FrameBase64 != nil {
			f.Add(*v.FrameBase64)
		} else {
			f.Add(binaryFrame(*v.Frame, "body"))
		}
	}
	var c wire.Command
	f.Fuzz(func(t *testing.T, p []byte) {
		kept := bytes.Clone(p)
		err := wire.DecodeBinary(&c, p)
		require.Equal(t, kept, p, "the frame was written to")
		require.True(t, c.Binary)
		if len(p) < 3 || p[0] != 1 || len(p)-3 < int(binary.BigEndian.Uint16(p[1:])) {
			require.Equal(t, wire.CodeBadJSON, code(t, err), "%q", p)
			return
		}
		n := 3 + int(binary.BigEndian.Uint16(p[1:]))
		header, body := p[3:n], p[n:]
		want := wire.CodeBadJSON
		if utf8.Valid(header) {
			want = stdCode(header)
			if typ := stdType(header); typ != "publish" && protocolFields[typ] != "" {
				want = wire.CodeBadJSON
			}
		}
		require.Equal(t, want, code(t, err), "%q", p)
		if want == "" {
			require.Equal(t, wire.Publish, c.Type)
			require.Equal(t, string(body), string(c.Body))
		}
	})
}

func FuzzAppendMessage(f *testing.F) {
	f.Add(chat.ID, chat.Room, chat.Sender, chat.To, chat.Kind, chat.Seq, chat.Body, false, 0)
	f.Add("i", "r", "s", "t", "k", int64(-1), []byte{0, 255}, true, 3)
	f.Add("\"\\/", "\x00\x1f\x7f", "é\u2028", "\xff\xc3\x28", "12345678\n", int64(1)<<62, []byte(" [1, 2] "), false, 126)
	f.Add("", "", "", "", "", int64(0), []byte("0"), false, 1<<16)
	f.Add("", "", "", "", "", int64(0), []byte(nil), true, 1<<16)
	f.Fuzz(func(t *testing.T, id, room, sender, to, kind string, seq int64, body []byte, bin bool, pad int) {
		if len(id)+len(room)+len(sender)+len(to)+len(kind) > 8192 {
			t.Skip("more than a binary header holds")
		}
		// The padding varies the length of the frame's header.
		body = append(body, strings.Repeat(" ", min(max(pad, 0), 1<<17))...)
		m := wire.Message{ID: id, Room: room, Sender: sender, To: to, Kind: kind, Seq: seq, Body: body, Binary: bin || !json.Valid(body)}
		p := wire.AppendPing(nil)
		p = wire.AppendMessage(p, &m)
		p = wire.AppendMessage(p, &m)
		fs := frames(t, p)
		require.Len(t, fs, 3)
		require.Equal(t, frame{9, []byte{}}, fs[0])
		require.Equal(t, fs[1], fs[2], "what is before it must not matter")

		header := fs[1].payload
		if m.Binary {
			require.EqualValues(t, 2, fs[1].opcode)
			require.EqualValues(t, 1, header[0])
			n := 3 + int(binary.BigEndian.Uint16(header[1:]))
			require.Equal(t, string(body), string(header[n:]))
			header = header[3:n]
		} else {
			require.EqualValues(t, 1, fs[1].opcode)
		}
		if m.Binary || utf8.Valid(body) {
			require.True(t, utf8.Valid(header))
		}
		var got struct {
			Type, ID, Room, Sender, Kind string
			To                           *string
			Seq                          int64
			Body                         json.RawMessage
		}
		require.NoError(t, json.Unmarshal(header, &got), "%q", header)
		assert.Equal(t, "message", got.Type)
		assert.Equal(t, seq, got.Seq)
		for _, s := range [][2]string{{id, got.ID}, {room, got.Room}, {sender, got.Sender}, {kind, got.Kind}} {
			assert.Equal(t, string([]rune(s[0])), s[1])
		}
		if to == "" {
			assert.Nil(t, got.To)
		} else {
			assert.Equal(t, string([]rune(to)), *got.To)
		}
		if !m.Binary {
			assert.Equal(t, string(bytes.Trim(body, " \t\r\n")), string(got.Body))
		}

		page := one(t, wire.AppendHistory(nil, []byte("1"), "r", []wire.Message{m, m}, true, nil)).payload
		nothing := one(t, wire.AppendHistory(nil, []byte("1"), "r", nil, true, nil)).payload
		assert.LessOrEqual(t, len(page)-len(nothing), 2*wire.MessageSize(&m))
		var h struct {
			Messages []struct {
				Sender string
				Binary bool
				Body   json.RawMessage
			}
		}
		require.NoError(t, json.Unmarshal(page, &h), "%q", page)
		require.Len(t, h.Messages, 2)
		for _, back := range h.Messages {
			assert.Equal(t, string([]rune(sender)), back.Sender)
			assert.Equal(t, m.Binary, back.Binary)
			if m.Binary {
				var b []byte
				require.NoError(t, json.Unmarshal(back.Body, &b))
				assert.Equal(t, string(body), string(b))
			}
		}
	})
}
