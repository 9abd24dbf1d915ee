package wire

// Names are kept to alphabets that mean the same in a URL, a log line, a Redis
// key and a SQL literal, and that never need escaping in JSON.

const (
	inRoom = 1 << iota
	inUser
	inKind
	inHex
)

var alphabet = func() (t [256]uint8) {
	add := func(bits uint8, from, to byte) {
		for c := from; c <= to; c++ {
			t[c] |= bits
		}
	}
	add(inRoom|inUser|inKind|inHex, '0', '9')
	add(inRoom|inUser|inKind, 'a', 'z')
	add(inRoom|inUser, 'A', 'Z')
	add(inHex, 'a', 'f')
	add(inHex, 'A', 'F')
	for _, c := range []byte("._-") {
		t[c] |= inRoom | inUser | inKind
	}
	t[':'] |= inRoom | inUser
	t['@'] |= inRoom
	t[','] |= inRoom
	return t
}()

// ValidRoom tells whether b may be a room: 1–128 of A-Z a-z 0-9 . _ : @ , -
func ValidRoom[T ~string | ~[]byte](b T) bool { return all(b, inRoom, 128) }

// ValidUser tells whether b may be a user id: 1–63 of a room's alphabet without
// the @ and comma, which make the names of direct rooms out of two users.
func ValidUser[T ~string | ~[]byte](b T) bool { return all(b, inUser, 63) }

// ValidKind tells whether b may be a message kind: 1–32 of a-z 0-9 . _ -
func ValidKind[T ~string | ~[]byte](b T) bool { return all(b, inKind, 32) }

// ValidUUID tells whether b is a UUID in its usual form, 8-4-4-4-12 hex digits
// of either case. Version and variant are the client's business.
func ValidUUID[T ~string | ~[]byte](b T) bool {
	if len(b) != 36 {
		return false
	}
	for i := range len(b) {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if b[i] != '-' {
				return false
			}
		} else if alphabet[b[i]]&inHex == 0 {
			return false
		}
	}
	return true
}

func all[T ~string | ~[]byte](b T, bit uint8, most int) bool {
	if len(b) == 0 || len(b) > most {
		return false
	}
	for i := range len(b) {
		if alphabet[b[i]]&bit == 0 {
			return false
		}
	}
	return true
}
