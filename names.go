package gohub

import (
	"crypto/rand"
	"encoding/hex"
	"time"

	"github.com/gohub/gohub/internal/wire"
)

func validUser(s string) bool { return wire.ValidUser(s) }
func validRoom(s string) bool { return wire.ValidRoom(s) }

// checkRoom says whether name can be a room's: the alphabet, and for a direct
// room two sorted users.
func checkRoom(id RoomID) error {
	if !validRoom(id.Name) {
		return Errorf(CodeBadRoom, "room %q: 1 to 128 of A-Z a-z 0-9 . _ : @ , - are allowed", clip(id.Name))
	}
	if id.Name[0] == '@' {
		if _, _, ok := id.Direct(); !ok {
			return Errorf(CodeBadRoom, "room %q: a direct room is named @ and its two users, sorted, with a comma between", clip(id.Name))
		}
	}
	return nil
}

// clip shortens what a client sent before it goes into an error message.
func clip(s string) string {
	const most = 40
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// NewID makes a UUID of version 7 (RFC 9562): 48 bits of Unix milliseconds,
// then random bits.
func NewID() string {
	var u [16]byte
	_, _ = rand.Read(u[6:]) // never fails
	ms := time.Now().UnixMilli()
	for i := 5; i >= 0; i-- {
		u[i] = byte(ms)
		ms >>= 8
	}
	u[6] = u[6]&0x0f | 0x70
	u[8] = u[8]&0x3f | 0x80
	var s [36]byte
	hex.Encode(s[:8], u[:4])
	hex.Encode(s[9:13], u[4:6])
	hex.Encode(s[14:18], u[6:8])
	hex.Encode(s[19:23], u[8:10])
	hex.Encode(s[24:], u[10:])
	s[8], s[13], s[18], s[23] = '-', '-', '-', '-'
	return string(s[:])
}
