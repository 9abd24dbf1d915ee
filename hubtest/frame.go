package hubtest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/gohub/gohub"
)

// A Frame is one frame that a client got. docs/protocol.md says which of the
// fields a type has, and what they mean; the others are zero.
type Frame struct {
	Type string          `json:"type"`
	Ref  json.RawMessage `json:"ref"` // as it was sent: a string has its quotes

	// message, and what others say of one
	ID        string          `json:"id"`
	Room      string          `json:"room"`
	Seq       int64           `json:"seq"`
	Sender    string          `json:"sender"`
	To        string          `json:"to"`
	Kind      string          `json:"kind"`
	Body      json.RawMessage `json:"body"` // one JSON value; any bytes when Binary
	Binary    bool            `json:"binary"`
	Duplicate bool            `json:"duplicate"` // ack

	// error
	Code    gohub.Code `json:"code"`
	Message string     `json:"message"`
	RetryMS int64      `json:"retry_ms"`

	// joined
	Head      int64 `json:"head"`
	Truncated bool  `json:"truncated"`
	Members   int   `json:"members"`

	// typing, receipt, invite
	User      string `json:"user"` // welcome, too
	Active    bool   `json:"active"`
	Delivered int64  `json:"delivered"`
	Seen      int64  `json:"seen"`
	From      string `json:"from"`

	// members, presence
	Count  int      `json:"count"`
	Joined []string `json:"joined"`
	Left   []string `json:"left"`
	Users  []struct {
		User     string `json:"user"`
		Name     string `json:"name"`
		Sessions int    `json:"sessions"`
	} `json:"users"`
	Cursor string `json:"cursor"`

	// history
	Messages   []Frame `json:"messages"`
	More       bool    `json:"more"`
	Watermarks map[string]struct {
		Delivered int64 `json:"delivered"`
		Seen      int64 `json:"seen"`
	} `json:"watermarks"`

	// rooms
	Rooms []struct {
		Room   string `json:"room"`
		Head   int64  `json:"head"`
		Seen   int64  `json:"seen"`
		Unread int    `json:"unread"`
	} `json:"rooms"`

	// welcome, refreshed, goaway
	Session     string `json:"session"`
	Node        string `json:"node"`
	Version     int    `json:"version"`
	PingMS      int64  `json:"ping_ms"`
	MaxFrame    int    `json:"max_frame"`
	Durable     bool   `json:"durable"`
	Time        int64  `json:"time"`
	Expires     int64  `json:"expires"`
	ReconnectMS int64  `json:"reconnect_ms"`
	DeadlineMS  int64  `json:"deadline_ms"`
	URL         string `json:"url"`

	text string         // as it came
	all  map[string]any // as it came, decoded
}

// String is the frame as it came, shortened.
func (f Frame) String() string { return shorten(f.text) }

func shorten(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// types are those of the frames that a hub sends.
var types = []string{
	"ack", "error", "goaway", "history", "invite", "joined", "left", "members", "message", "pong",
	"presence", "receipt", "refreshed", "result", "rooms", "typing", "welcome",
}

// fieldNames are those of all their fields.
var fieldNames = func() (names []string) {
	for f := range reflect.TypeFor[Frame]().Fields() {
		if name, ok := f.Tag.Lookup("json"); ok {
			names = append(names, name)
		}
	}
	return names
}()

// wanted are fields to look for in frames of a type. What no frame has would
// never come, and never be missed either.
func wanted(typ string, pairs []any) (map[string]any, error) {
	want, err := fieldsOf(pairs)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(types, typ) {
		return nil, fmt.Errorf("the hub sends no frame of type %q", typ)
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if !slices.Contains(fieldNames, name) {
			return nil, fmt.Errorf("no frame has a field %q", name)
		}
	}
	return want, nil
}

// decode reads what came. What is not a frame gets a type that no frame has.
func decode(binary bool, p []byte) Frame {
	var f Frame
	header, body := p, []byte(nil)
	if binary {
		if n := 3; len(p) < n || len(p) < n+int(p[1])<<8+int(p[2]) {
			return Frame{Type: "(not a frame)", text: fmt.Sprintf("%d bytes that are no frame", len(p))}
		}
		n := 3 + int(p[1])<<8 + int(p[2])
		header, body = p[3:n], p[n:]
	}
	if err := json.Unmarshal(header, &f); err != nil {
		return Frame{Type: "(not a frame)", text: string(p)}
	}
	f.text = string(header)
	all, _ := decodeAny(header)
	f.all, _ = all.(map[string]any)
	if binary {
		f.Binary, f.Body = true, body
		f.text += fmt.Sprintf(" and %d bytes", len(body))
		f.all["body"] = base64.StdEncoding.EncodeToString(body)
	}
	for i := range f.Messages {
		m := &f.Messages[i]
		m.Type = "message"
		m.text = fmt.Sprintf("%s in %s, seq %d: %s", m.ID, m.Room, m.Seq, m.Body)
		var b []byte
		if m.Binary && json.Unmarshal(m.Body, &b) == nil {
			m.Body = b
		}
	}
	return f
}

// decodeAny keeps integers exact.
func decodeAny(p []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(p))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

// fields are given as key, value, key, value. The values are made what
// decodeAny would make of them.
func fieldsOf(pairs []any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("fields come in pairs of a name and a value: %v", pairs)
	}
	m := make(map[string]any, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		k, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("a field's name is a string, not %v", pairs[i])
		}
		p, err := json.Marshal(pairs[i+1])
		if err == nil {
			m[k], err = decodeAny(p)
		}
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", k, err)
		}
	}
	return m, nil
}

// has tells whether the frame has these fields. One that is absent is as good
// as false, null, zero or "".
func (f *Frame) has(fields map[string]any) bool {
	for k, want := range fields {
		got, there := f.all[k]
		if there && !reflect.DeepEqual(got, want) || !there && !isZero(want) {
			return false
		}
	}
	return true
}

func isZero(v any) bool {
	return v == nil || v == false || v == "" || v == json.Number("0")
}

// describe names a type, if there is one, and fields in the order they were
// given.
func describe(typ string, pairs []any) string {
	var b strings.Builder
	b.WriteString(typ)
	for i := 0; i+1 < len(pairs); i += 2 {
		p, err := json.Marshal(pairs[i+1])
		if err != nil || len(p) > 200 {
			p = fmt.Appendf(nil, "%.200v", pairs[i+1])
		}
		fmt.Fprintf(&b, " %v=%s", pairs[i], p)
	}
	return strings.TrimSpace(b.String())
}
