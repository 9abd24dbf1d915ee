package wire_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub/internal/wire"
)

// -update writes what the encoders make of the fields in server.json into its
// payloads. Look at the diff: clients in other languages are tested with it.
var update = flag.Bool("update", false, "rewrite the payloads of testdata/wire/server.json")

const (
	clientVectors = "../../testdata/wire/client.json"
	serverVectors = "../../testdata/wire/server.json"
)

func readVectors(t testing.TB, name string, v any) {
	t.Helper()
	p, err := os.ReadFile(name)
	require.NoError(t, err)
	d := json.NewDecoder(bytes.NewReader(p))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(v))
}

type clientVector struct {
	Name        string         `json:"name"`
	Frame       *string        `json:"frame"`
	FrameBase64 *[]byte        `json:"frame_base64"`
	Fields      map[string]any `json:"fields"`
	Error       string         `json:"error"`
}

func (v *clientVector) decode(c *wire.Command) error {
	if v.Frame != nil {
		return wire.Decode(c, []byte(*v.Frame))
	}
	return wire.DecodeBinary(c, *v.FrameBase64)
}

func TestClientVectors(t *testing.T) {
	var vs []clientVector
	readVectors(t, clientVectors, &vs)
	covered := map[wire.Type]bool{}
	for _, v := range vs {
		t.Run(v.Name, func(t *testing.T) {
			require.NotEqual(t, v.Frame == nil, v.FrameBase64 == nil)
			var c wire.Command
			assert.Equal(t, v.Error, code(t, v.decode(&c)))
			if v.Error != "" { // nothing else of a refused frame is promised
				assert.Equal(t, v.Fields["id"], optionalText(c.ID))
				assert.Equal(t, v.Fields["ref"], optionalText(c.Ref))
				return
			}
			covered[c.Type] = true
			got, err := json.Marshal(fieldsOf(&c))
			require.NoError(t, err)
			want, err := json.Marshal(v.Fields)
			require.NoError(t, err)
			assert.Equal(t, string(want), string(got))
			if v.Frame != nil {
				agreesWithStd(t, []byte(*v.Frame), &c)
			}
		})
	}
	for typ := wire.Join; typ <= wire.Ping; typ++ {
		assert.True(t, covered[typ], "no vector for %s", typ)
	}
}

func optionalText(b []byte) any {
	if b == nil {
		return nil
	}
	return string(b)
}

// fieldsOf is c as the vectors write it.
func fieldsOf(c *wire.Command) map[string]any {
	m := map[string]any{"type": c.Type.String()}
	for k, b := range map[string][]byte{
		"ref": c.Ref, "id": c.ID, "room": c.Room, "to": c.To, "kind": c.Kind, "name": c.Name, "cursor": c.Cursor, "ticket": c.Ticket,
	} {
		if b != nil {
			m[k] = string(b)
		}
	}
	for _, f := range []struct {
		has wire.Has
		key string
		v   any
	}{
		{wire.HasSince, "since", c.Since},
		{wire.HasBefore, "before", c.Before},
		{wire.HasAfter, "after", c.After},
		{wire.HasLimit, "limit", c.Limit},
		{wire.HasDelivered, "delivered", c.Delivered},
		{wire.HasSeen, "seen", c.Seen},
		{wire.HasActive, "active", c.Active},
	} {
		if c.Has&f.has != 0 {
			m[f.key] = f.v
		}
	}
	if c.Retry {
		m["retry"] = true
	}
	switch {
	case c.Has&wire.HasBody == 0:
	case c.Binary:
		m["body_base64"] = base64.StdEncoding.EncodeToString(c.Body)
	default:
		m["body"] = string(c.Body)
	}
	return m
}

type serverVector struct {
	Name          string          `json:"name"`
	Opcode        byte            `json:"opcode,omitempty"`
	Payload       *string         `json:"payload,omitempty"`
	PayloadBase64 *[]byte         `json:"payload_base64,omitempty"`
	Fields        json.RawMessage `json:"fields"`
}

func TestServerVectors(t *testing.T) {
	var vs []serverVector
	readVectors(t, serverVectors, &vs)
	covered := map[string]bool{}
	for i := range vs {
		v := &vs[i]
		t.Run(v.Name, func(t *testing.T) {
			var f serverFields
			d := json.NewDecoder(bytes.NewReader(v.Fields))
			d.DisallowUnknownFields()
			require.NoError(t, d.Decode(&f))
			if v.Opcode == 0 {
				v.Opcode = 1
			}
			covered[f.Type] = true

			got := one(t, f.encode(t, v.Opcode))
			assert.Equal(t, v.Opcode, got.opcode)
			if *update {
				v.Payload, v.PayloadBase64 = nil, nil
				if s := string(got.payload); v.Opcode == 1 {
					v.Payload = &s
				} else {
					v.PayloadBase64 = &got.payload
				}
			}
			// The other way: what the payload says to somebody else's parser
			// is what the fields say.
			switch v.Opcode {
			case 1:
				require.NotNil(t, v.Payload)
				assert.Equal(t, *v.Payload, string(got.payload))
				assert.JSONEq(t, string(v.Fields), *v.Payload)
			case 2:
				require.NotNil(t, v.PayloadBase64)
				p := *v.PayloadBase64
				assert.Equal(t, p, got.payload)
				require.EqualValues(t, 1, p[0])
				n := 3 + int(binary.BigEndian.Uint16(p[1:]))
				var m map[string]any
				require.NoError(t, json.Unmarshal(p[3:n], &m))
				m["body_base64"] = p[n:]
				again, err := json.Marshal(m)
				require.NoError(t, err)
				assert.JSONEq(t, string(v.Fields), string(again))
			default:
				require.NotNil(t, v.PayloadBase64)
				assert.Equal(t, *v.PayloadBase64, got.payload)
			}
		})
	}
	for _, typ := range []string{
		"welcome", "message", "ack", "error", "joined", "left", "history", "presence", "rooms", "result", "refreshed",
		"pong", "invite", "members", "typing", "receipt", "goaway",
	} {
		assert.True(t, covered[typ], "no vector for %s", typ)
	}
	if *update && !t.Failed() {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		require.NoError(t, e.Encode(vs))
		require.NoError(t, os.WriteFile(serverVectors, b.Bytes(), 0o644))
	}
}

type messageFields struct {
	ID, Room, Sender, To, Kind string
	Seq                        int64
	Binary                     bool
	Body                       json.RawMessage
	BodyBase64                 []byte `json:"body_base64"`
}

func (f *messageFields) message(t testing.TB, binary bool) wire.Message {
	m := wire.Message{ID: f.ID, Room: f.Room, Sender: f.Sender, To: f.To, Kind: f.Kind, Seq: f.Seq, Binary: binary, Body: compact(t, f.Body)}
	switch {
	case !binary:
	case f.Binary:
		require.NoError(t, json.Unmarshal(f.Body, &m.Body))
	default:
		m.Body = f.BodyBase64
	}
	return m
}

type serverFields struct {
	Type string
	Ref  json.RawMessage
	messageFields
	Version                                         int
	Session, User, Node, Message, Cursor, From, URL string
	PingMS                                          int64 `json:"ping_ms"`
	MaxFrame                                        int   `json:"max_frame"`
	Durable, Duplicate, Truncated, More, Active     bool
	Time, Head, Expires, Delivered, Seen            int64
	Code                                            json.RawMessage // a text in an error, a number in a close
	RetryMS                                         int64           `json:"retry_ms"`
	ReconnectMS                                     int64           `json:"reconnect_ms"`
	DeadlineMS                                      int64           `json:"deadline_ms"`
	Reason                                          string
	Members, Count                                  int
	Joined, Left                                    []string
	Messages                                        []messageFields
	Watermarks                                      map[string]struct{ Delivered, Seen int64 }
	Users                                           []wire.User
	Rooms                                           []wire.RoomState
}

func (f *serverFields) encode(t testing.TB, opcode byte) []byte {
	ref := compact(t, f.Ref)
	switch opcode {
	case 8:
		var code int
		require.NoError(t, json.Unmarshal(f.Code, &code))
		return wire.AppendClose(nil, code, f.Reason)
	case 9:
		return wire.AppendPing(nil)
	}
	switch f.Type {
	case "welcome":
		return wire.AppendWelcome(nil, &wire.Welcome{
			Session: f.Session, User: f.User, Node: f.Node, PingMS: f.PingMS, MaxFrame: f.MaxFrame, Durable: f.Durable, Time: f.Time,
		})
	case "message":
		m := f.message(t, opcode == 2)
		return wire.AppendMessage(nil, &m)
	case "ack":
		return wire.AppendAck(nil, f.ID, f.Room, f.Seq, f.Duplicate)
	case "error":
		var code string
		require.NoError(t, json.Unmarshal(f.Code, &code))
		return wire.AppendError(nil, ref, f.ID, code, f.Message, f.RetryMS)
	case "joined":
		return wire.AppendJoined(nil, ref, f.Room, f.Head, f.Truncated, f.Members)
	case "left":
		return wire.AppendLeft(nil, ref, f.Room)
	case "history":
		var ms []wire.Message
		for _, m := range f.Messages {
			ms = append(ms, m.message(t, m.Binary))
		}
		var marks []wire.Mark
		for _, user := range slices.Sorted(maps.Keys(f.Watermarks)) {
			marks = append(marks, wire.Mark{User: user, Delivered: f.Watermarks[user].Delivered, Seen: f.Watermarks[user].Seen})
		}
		return wire.AppendHistory(nil, ref, f.Room, ms, f.More, marks)
	case "presence":
		return wire.AppendPresence(nil, ref, f.Room, f.Count, f.Users, f.Cursor)
	case "rooms":
		return wire.AppendRooms(nil, ref, f.Rooms)
	case "result":
		return wire.AppendResult(nil, ref, compact(t, f.Body))
	case "refreshed":
		return wire.AppendRefreshed(nil, ref, f.Expires)
	case "pong":
		return wire.AppendPong(nil, ref)
	case "invite":
		return wire.AppendInvite(nil, f.Room, f.From, f.Seq)
	case "members":
		return wire.AppendMembers(nil, f.Room, f.Joined, f.Left, f.Count)
	case "typing":
		return wire.AppendTyping(nil, f.Room, f.User, f.Active)
	case "receipt":
		return wire.AppendReceipt(nil, f.Room, f.User, f.Delivered, f.Seen)
	case "goaway":
		return wire.AppendGoaway(nil, f.ReconnectMS, f.DeadlineMS, f.URL)
	}
	require.Fail(t, "no encoder", f.Type)
	return nil
}

// compact undoes the indentation of the file.
func compact(t testing.TB, p json.RawMessage) []byte {
	if p == nil {
		return nil
	}
	var b bytes.Buffer
	require.NoError(t, json.Compact(&b, p))
	return b.Bytes()
}
