package wire_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub/internal/wire"
)

// What every type of frame decodes to is in testdata/wire/client.json; here is
// what a golden vector cannot say, or should not demand of other languages.

func TestDecodeKeepsBytes(t *testing.T) {
	const body = "{ \"a\" :\t[1.0, 1e3, \"\\u0041\"] }"
	p := []byte(`{"body": ` + body + ` ,"ref": 1.50 ,"type":"publish","room":"r\u006fom","kind":"chat"}`)
	var c wire.Command
	require.NoError(t, wire.Decode(&c, p))
	assert.Equal(t, body, string(c.Body)) //nolint:testifylint // white space counts here, too
	assert.Equal(t, "1.50", string(c.Ref))
	assert.Equal(t, "room", string(c.Room))
	assert.Same(t, &p[9], &c.Body[0], "not copied")
	for name, s := range map[string][]byte{"body": c.Body, "ref": c.Ref, "room": c.Room, "kind": c.Kind} {
		assert.Equal(t, len(s), cap(s), "appending to %s must not write into the frame or the scratch", name)
	}
}

func TestDecodeResets(t *testing.T) {
	var c wire.Command
	require.NoError(t, wire.DecodeBinary(&c, binaryFrame(`{"type":"publish","id":"1","retry":true,"ref":1}`, "x")))
	require.NoError(t, wire.Decode(&c, []byte(`{"type":"history","room":"a","since":1,"before":2,"limit":3}`)))
	require.NoError(t, wire.Decode(&c, []byte(`{"type":"ping"}`)))
	assert.Equal(t, wire.Ping, c.Type)
	assert.Zero(t, c.Has)
	assert.False(t, c.Binary || c.Retry || c.Active)
	assert.Zero(t, c.Since|c.Before|c.After|c.Delivered|c.Seen|int64(c.Limit))
	for _, s := range [][]byte{c.Ref, c.ID, c.Room, c.To, c.Kind, c.Name, c.Cursor, c.Ticket, c.Body} {
		assert.Nil(t, s)
	}
}

func TestDecodeScratch(t *testing.T) {
	var c wire.Command
	require.NoError(t, wire.Decode(&c, []byte(`{"type":"\u0063all","name":"\n","room":"\u00e9\ud83d\ude00","to":"\"\\\/\b\f\n\r\t","ref":"\n"}`)))
	assert.Equal(t, wire.Call, c.Type)
	assert.Equal(t, "\n", string(c.Name))
	assert.Equal(t, "é😀", string(c.Room))
	assert.Equal(t, "\"\\/\b\f\n\r\t", string(c.To), "each field has its own part of the scratch")
	assert.Equal(t, `"\n"`, string(c.Ref), "ref goes back as it came")
	assert.Positive(t, wire.ScratchCap(&c))

	huge := []byte(`{"type":"call","name":"` + strings.Repeat(`\n`, 2*wire.MaxScratch) + `"}`)
	require.NoError(t, wire.Decode(&c, huge))
	assert.Len(t, c.Name, 2*wire.MaxScratch)
	require.NoError(t, wire.Decode(&c, []byte(`{"type":"ping"}`)))
	assert.Zero(t, wire.ScratchCap(&c), "one hostile frame's memory is let go")
}

// Even the longest known key written wholly in escapes is known.
func TestDecodeEscapedKeys(t *testing.T) {
	var key strings.Builder
	for _, r := range "delivered" {
		key.WriteString(fmt.Sprintf(`\u%04x`, r))
	}
	var c wire.Command
	require.NoError(t, wire.Decode(&c, []byte(`{"type":"receipt","`+key.String()+`":7,"`+key.String()+`d":8}`)))
	assert.EqualValues(t, 7, c.Delivered)
}

func TestDecodeEmptyIsNotAbsent(t *testing.T) {
	var c wire.Command
	require.NoError(t, wire.Decode(&c, []byte(`{"type":"presence","room":"","cursor":null}`)))
	assert.NotNil(t, c.Room)
	assert.Empty(t, c.Room)
	assert.Nil(t, c.Cursor)
}

func TestDecodeIntegers(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want int64
		code string
	}{
		{"0", 0, ""},
		{"-0", 0, ""},
		{"1763779200000000", 1763779200000000, ""},
		{"9223372036854775807", math.MaxInt64, ""},
		{"9223372036854775808", 0, wire.CodeBadRequest},
		{"9223372036854775810", 0, wire.CodeBadRequest},
		{"18446744073709551616", 0, wire.CodeBadRequest},
		{"18446744073709551617", 0, wire.CodeBadRequest},
		{"92233720368547758070", 0, wire.CodeBadRequest},
		{strings.Repeat("9", 5000), 0, wire.CodeBadRequest},
		{"-1", 0, wire.CodeBadRequest},
		{"1.0", 0, wire.CodeBadRequest},
		{"-0.0", 0, wire.CodeBadRequest},
		{"1e3", 0, wire.CodeBadRequest},
		{`"1"`, 0, wire.CodeBadRequest},
		{"true", 0, wire.CodeBadRequest},
		{"[]", 0, wire.CodeBadRequest},
		{"01", 0, wire.CodeBadJSON},
		{"+1", 0, wire.CodeBadJSON},
	} {
		var c wire.Command
		err := wire.Decode(&c, []byte(`{"type":"join","room":"a","since":`+tt.in+`}`))
		assert.Equal(t, tt.code, code(t, err), tt.in)
		assert.Equal(t, tt.want, c.Since, tt.in)
		if tt.code != wire.CodeBadJSON {
			assert.Equal(t, tt.code == "", c.Has&wire.HasSince != 0, tt.in)
		}
		err = wire.Decode(&c, []byte(`{"type":"history","room":"a","limit":`+tt.in+`}`))
		assert.Equal(t, tt.code, code(t, err), tt.in)
		assert.EqualValues(t, min(tt.want, math.MaxInt), c.Limit, tt.in)
	}
}

func TestDecodeHas(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want wire.Has
	}{
		{`{"type":"join"}`, 0},
		{`{"type":"join","since":null,"before":null,"after":null,"limit":null,"delivered":null,"seen":null,"active":null}`, 0},
		{`{"type":"join","since":1,"since":null,"active":true,"active":null}`, 0},
		{`{"type":"join","since":0}`, wire.HasSince},
		{`{"type":"history","before":0}`, wire.HasBefore},
		{`{"type":"history","after":0}`, wire.HasAfter},
		{`{"type":"history","limit":0}`, wire.HasLimit},
		{`{"type":"receipt","delivered":0}`, wire.HasDelivered},
		{`{"type":"receipt","seen":0}`, wire.HasSeen},
		{`{"type":"call","body":null}`, wire.HasBody},
		{`{"type":"typing","active":false}`, wire.HasActive},
	} {
		var c wire.Command
		require.NoError(t, wire.Decode(&c, []byte(tt.in)), tt.in)
		assert.Equal(t, tt.want, c.Has, tt.in)
		assert.False(t, c.Active, tt.in)
	}
}

// The answer to a refused frame must be able to name it.
func TestDecodeRefusedKeepsIDAndRef(t *testing.T) {
	for _, tt := range []struct{ name, in, code, id, ref string }{
		{"field error first", `{"type":"publish","room":1,"id":"x","ref":7}`, wire.CodeBadRequest, "x", "7"},
		{"no type", `{"id":"x","ref":7}`, wire.CodeUnknownType, "x", "7"},
		{"unknown type first", `{"type":"x","id":"x","ref":"y"}`, wire.CodeUnknownType, "x", `"y"`},
		{"unknown type and field error", `{"room":1,"type":"x","id":"x"}`, wire.CodeUnknownType, "x", ""},
		{"field error, then syntax error", `{"type":"publish","room":1,"id":"x",}`, wire.CodeBadJSON, "x", ""},
		{"trailing data", `{"type":"publish","id":"x","ref":7} {}`, wire.CodeBadJSON, "x", "7"},
		{"cut off", `{"type":"publish","id":"x","ref":7,"body":{"a`, wire.CodeBadJSON, "x", "7"},
		{"bad id", `{"type":"publish","id":1,"ref":7}`, wire.CodeBadRequest, "", "7"},
		{"bad ref", `{"type":"publish","id":"x","ref":{}}`, wire.CodeBadRequest, "x", ""},
		{"bad ref after a good one", `{"type":"publish","id":"x","ref":1,"ref":true}`, wire.CodeBadRequest, "x", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var c wire.Command
			assert.Equal(t, tt.code, code(t, wire.Decode(&c, []byte(tt.in))))
			assert.Equal(t, tt.id, string(c.ID))
			assert.Equal(t, tt.ref, string(c.Ref))
		})
	}
}

func TestDecodeMessages(t *testing.T) {
	long := strings.Repeat("x", 31)
	for _, tt := range []struct{ in, want string }{
		{``, "bad_json: not a JSON object"},
		{`[]`, "bad_json: not a JSON object"},
		{`{"type":"join",}`, "bad_json: invalid JSON at byte 15"},
		{`{"type":"join","body":[1,2`, "bad_json: invalid JSON at byte 26"},
		{`{"type":"join"} x`, "bad_json: data after the JSON object, at byte 16"},
		{`{}`, "unknown_type: no type"},
		{`{"type":null}`, "unknown_type: no type"},
		{`{"type":"Join"}`, "unknown_type: unknown type Join"},
		{`{"type":7}`, "unknown_type: unknown type 7"},
		{`{"type":"` + long + `yz"}`, "unknown_type: unknown type " + long + "y"},
		{`{"type":"` + long + `é"}`, "unknown_type: unknown type " + long},
		{`{"type":"join","room":7}`, "bad_request: room must be a string"},
		{`{"type":"join","ref":true}`, "bad_request: ref must be a string or a number"},
		{`{"type":"join","since":"7"}`, "bad_request: since must be an integer from 0 to 9223372036854775807"},
		{`{"type":"typing","active":1}`, "bad_request: active must be true or false"},
		{`{"type":"publish","retry":1}`, "bad_request: retry must be true or false"},
	} {
		var c wire.Command
		assert.EqualError(t, wire.Decode(&c, []byte(tt.in)), tt.want, tt.in)
	}
}

// Every field of a type is checked, and none of another's.
func TestDecodeChecksOwnFields(t *testing.T) {
	all := []string{"ref", "id", "room", "to", "kind", "name", "cursor", "ticket", "since", "before", "after", "limit", "delivered", "seen", "retry", "active"}
	for typ, own := range protocolFields {
		for _, f := range all {
			var c wire.Command
			err := wire.Decode(&c, []byte(`{"type":"`+typ+`","`+f+`":{}}`))
			want := ""
			if strings.Contains(" "+own+" ", " "+f+" ") {
				want = wire.CodeBadRequest
				assert.ErrorContains(t, err, f+" must be")
			}
			assert.Equal(t, want, code(t, err), "%s of %s", f, typ)
		}
		var c wire.Command
		require.NoError(t, wire.Decode(&c, []byte(`{"type":"`+typ+`","body":{}}`)))
		assert.Equal(t, typ, c.Type.String())
	}
	assert.Len(t, protocolFields, int(wire.Ping), "one entry a type")
	assert.Equal(t, "unknown", wire.Unknown.String())
	assert.Equal(t, "unknown", wire.Type(200).String())
}

// protocolFields is the table of the protocol: which fields each type has.
var protocolFields = map[string]string{
	"join":     "ref room since",
	"leave":    "ref room",
	"publish":  "ref id room to kind retry",
	"typing":   "ref room active",
	"receipt":  "ref room delivered seen",
	"history":  "ref room before after limit",
	"presence": "ref room cursor",
	"rooms":    "ref",
	"call":     "ref name",
	"refresh":  "ref ticket",
	"ping":     "ref",
}

func TestDecodeBinary(t *testing.T) {
	var c wire.Command
	p := binaryFrame(`{"type":"publish","id":"x","body":{"not":"this"}}`, "\x00\xffnext frame")
	p = p[:len(p)-len("next frame")]
	require.NoError(t, wire.DecodeBinary(&c, p))
	assert.True(t, c.Binary)
	assert.Equal(t, "\x00\xff", string(c.Body))
	assert.Same(t, &p[len(p)-2], &c.Body[0], "not copied")
	assert.Equal(t, 2, cap(c.Body), "appending to it must not write into the buffer")
	assert.Equal(t, wire.HasBody, c.Has)

	p = binaryFrame(`{"type":"publish","room":1,"id":"x"}`, "")
	assert.Equal(t, wire.CodeBadRequest, code(t, wire.DecodeBinary(&c, p)))
	assert.Equal(t, "x", string(c.ID))

	p = binaryFrame(`{"type":"join","room":1,"ref":5}`, "")
	assert.Equal(t, wire.CodeBadJSON, code(t, wire.DecodeBinary(&c, p)), "bad_json wins over bad_request")
	assert.Equal(t, "5", string(c.Ref))
}

func TestDecodeAllocs(t *testing.T) {
	var c wire.Command
	text, bin := []byte(publishFrame), binaryFrame(`{"type":"publish","id":"x","room":"a"}`, "body")
	escaped := []byte(`{"\u0074ype":"publish","room":"\u0061","body":[[[[{"a":"\n"}]]]]}`)
	for name, f := range map[string]func() error{
		"publish": func() error { return wire.Decode(&c, text) },
		"escaped": func() error { return wire.Decode(&c, escaped) },
		"binary":  func() error { return wire.DecodeBinary(&c, bin) },
	} {
		require.NoError(t, f(), name)
		assert.Zero(t, testing.AllocsPerRun(100, func() { _ = f() }), name)
	}
}
