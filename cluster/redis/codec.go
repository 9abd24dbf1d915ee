package redis

import (
	"encoding/binary"
	"errors"
	"strconv"
	"strings"

	"github.com/gohub/gohub"
)

var errFrame = errors.New("redis: a frame that this version cannot read")

const (
	frameJSON   = 'j'
	frameBinary = 'b'
)

// appendFrame appends all of m but room and seq: its kind of body, four
// strings with their lengths in front, and the body to the end.
func appendFrame(b []byte, m *gohub.Message) []byte {
	kind := byte(frameJSON)
	if m.Binary {
		kind = frameBinary
	}
	b = append(b, kind)
	for _, s := range [...]string{m.ID, m.Sender, m.To, m.Kind} {
		b = appendString(b, s)
	}
	return append(b, m.Body...)
}

// parseFrame is the other way round.
func parseFrame(s string, m *gohub.Message) error {
	if s == "" || s[0] != frameJSON && s[0] != frameBinary {
		return errFrame
	}
	m.Binary = s[0] == frameBinary
	s = s[1:]
	for _, into := range [...]*string{&m.ID, &m.Sender, &m.To, &m.Kind} {
		var ok bool
		if *into, s, ok = cutString(s); !ok {
			return errFrame
		}
	}
	m.Body = []byte(s)
	return nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func cutString(s string) (head, rest string, ok bool) {
	var n uint64
	for i, shift := 0, 0; i < len(s) && i < 5; i, shift = i+1, shift+7 {
		n |= uint64(s[i]&0x7f) << shift
		if s[i] < 0x80 {
			s = s[i+1:]
			if n > uint64(len(s)) {
				return "", "", false
			}
			return strings.Clone(s[:n]), s[n:], true
		}
	}
	return "", "", false
}

// parseDelivery reads what the publish script sends to a room's channel:
// "seq prev frame".
func parseDelivery(s string, m *gohub.Message) (prev int64, err error) {
	seq, rest, ok := strings.Cut(s, " ")
	before, frame, ok2 := strings.Cut(rest, " ")
	if !ok || !ok2 {
		return 0, errFrame
	}
	if m.Seq, err = strconv.ParseInt(seq, 10, 64); err != nil {
		return 0, errFrame
	}
	if prev, err = strconv.ParseInt(before, 10, 64); err != nil {
		return 0, errFrame
	}
	return prev, parseFrame(frame, m)
}

// appendSignal makes what goes over the channel of signals.
func appendSignal(b []byte, to *gohub.Target, frame []byte) []byte {
	outside := byte('-')
	if to.Outside {
		outside = 'o'
	}
	b = append(b, outside)
	for _, s := range [...]string{to.Tenant, to.Room, to.User, to.Except} {
		b = appendString(b, s)
	}
	return append(b, frame...)
}

func parseSignal(s string) (to gohub.Target, frame []byte, err error) {
	if s == "" {
		return to, nil, errFrame
	}
	to.Outside = s[0] == 'o'
	s = s[1:]
	for _, into := range [...]*string{&to.Tenant, &to.Room, &to.User, &to.Except} {
		var ok bool
		if *into, s, ok = cutString(s); !ok {
			return to, nil, errFrame
		}
	}
	return to, []byte(s), nil
}
