package wire_test

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub/internal/wire"
)

type frame struct {
	opcode  byte
	payload []byte
}

// frames reads a stream as a client does, and insists on what RFC 6455 demands
// of a server: no mask, no reserved bits, lengths in their shortest form.
func frames(t testing.TB, p []byte) (fs []frame) {
	t.Helper()
	for len(p) > 0 {
		require.GreaterOrEqual(t, len(p), 2)
		require.EqualValues(t, 0x80, p[0]&0xf0, "FIN set, RSV clear")
		require.Zero(t, p[1]&0x80, "unmasked")
		f, n := frame{opcode: p[0] & 0x0f}, int(p[1])
		p = p[2:]
		switch n {
		case 126:
			n, p = int(binary.BigEndian.Uint16(p)), p[2:]
			require.GreaterOrEqual(t, n, 126)
		case 127:
			n, p = int(binary.BigEndian.Uint64(p)), p[8:]
			require.GreaterOrEqual(t, n, 1<<16)
		}
		if f.opcode >= 8 {
			require.Less(t, n, 126)
		}
		require.LessOrEqual(t, n, len(p))
		f.payload, p = p[:n:n], p[n:]
		fs = append(fs, f)
	}
	return fs
}

// one reads a stream that is one frame.
func one(t testing.TB, p []byte) frame {
	t.Helper()
	fs := frames(t, p)
	require.Len(t, fs, 1)
	return fs[0]
}

// text reads a stream that is one text frame.
func text(t testing.TB, p []byte) string {
	t.Helper()
	f := one(t, p)
	require.EqualValues(t, 1, f.opcode)
	return string(f.payload)
}

// code is the protocol's code of an error of the decoder, "" without one.
func code(t testing.TB, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var e *wire.Error
	if !errors.As(err, &e) {
		t.Fatalf("%T is not a *wire.Error", err)
	}
	require.NotEmpty(t, e.Message)
	return e.Code
}

func binaryFrame(header, body string) []byte {
	p := binary.BigEndian.AppendUint16([]byte{1}, uint16(len(header)))
	return append(append(p, header...), body...)
}
