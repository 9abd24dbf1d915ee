package wire

import (
	"github.com/gohub/gohub/internal/pace"
)

// Every Append function but those of control frames appends one whole, unmasked
// WebSocket frame, so that what several of them appended is a valid stream. A
// nil ref and an empty optional text are left out.

// begin appends the space for a frame's header and the start of its object; it
// returns also where the frame starts, for end.
func begin(dst []byte, typ string, ref []byte) (out []byte, start int) {
	start = len(dst)
	dst = append(dst, "\x00\x00\x00\x00"+`{"type":"`...)
	dst = append(dst, typ...)
	dst = append(dst, '"')
	if ref != nil {
		dst = append(dst, `,"ref":`...)
		dst = append(dst, ref...)
	}
	return dst, start
}

// end closes the object and seals the frame.
func end(dst []byte, start int) []byte {
	return seal(append(dst, '}'), start, finText)
}

// Welcome is the first frame of a connection.
type Welcome struct {
	Session, User, Node string
	PingMS              int64
	MaxFrame            int
	Durable             bool
	Time                int64 // Unix ms
}

// AppendWelcome appends the frame that tells a client the terms it is served on.
func AppendWelcome(dst []byte, w *Welcome) []byte {
	dst, start := begin(dst, "welcome", nil)
	dst = append(dst, `,"version":1`...)
	dst = str(dst, `,"session":`, w.Session)
	dst = str(dst, `,"user":`, w.User)
	dst = str(dst, `,"node":`, w.Node)
	dst = num(dst, `,"ping_ms":`, w.PingMS)
	dst = num(dst, `,"max_frame":`, int64(w.MaxFrame))
	dst = truth(dst, `,"durable":`, w.Durable)
	dst = num(dst, `,"time":`, w.Time)
	return end(dst, start)
}

// AppendAck appends the promise that a message is stored.
func AppendAck(dst []byte, id, room string, seq int64, duplicate bool) []byte {
	dst, start := begin(dst, "ack", nil)
	dst = str(dst, `,"id":`, id)
	dst = str(dst, `,"room":`, room)
	dst = num(dst, `,"seq":`, seq)
	if duplicate {
		dst = append(dst, `,"duplicate":true`...)
	}
	return end(dst, start)
}

// AppendError appends a refusal of the command with that ref or id. retryMS is
// left out when 0: then trying again makes no sense.
func AppendError(dst []byte, ref []byte, id, code, message string, retryMS int64) []byte {
	dst, start := begin(dst, "error", ref)
	dst = optional(dst, `,"id":`, id)
	dst = str(dst, `,"code":`, code)
	dst = str(dst, `,"message":`, message)
	if retryMS != 0 {
		dst = num(dst, `,"retry_ms":`, retryMS)
	}
	return end(dst, start)
}

// AppendJoined appends the answer to a join; the replay follows it.
func AppendJoined(dst []byte, ref []byte, room string, head int64, truncated bool, members int) []byte {
	dst, start := begin(dst, "joined", ref)
	dst = str(dst, `,"room":`, room)
	dst = num(dst, `,"head":`, head)
	dst = truth(dst, `,"truncated":`, truncated)
	dst = num(dst, `,"members":`, int64(members))
	return end(dst, start)
}

// AppendLeft appends the answer to a leave.
func AppendLeft(dst []byte, ref []byte, room string) []byte {
	dst, start := begin(dst, "left", ref)
	return end(str(dst, `,"room":`, room), start)
}

// User is one present user.
type User struct {
	User, Name string
	Sessions   int
}

// AppendPresence appends one page of a room's users; cursor asks for the next.
func AppendPresence(dst []byte, ref []byte, room string, count int, users []User, cursor string) []byte {
	dst, start := begin(dst, "presence", ref)
	dst = str(dst, `,"room":`, room)
	dst = num(dst, `,"count":`, int64(count))
	dst = append(dst, `,"users":[`...)
	for i := range users {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = str(dst, `{"user":`, users[i].User)
		dst = str(dst, `,"name":`, users[i].Name)
		dst = num(dst, `,"sessions":`, int64(users[i].Sessions))
		dst = append(dst, '}')
	}
	dst = append(dst, ']')
	dst = optional(dst, `,"cursor":`, cursor)
	return end(dst, start)
}

// RoomState is where one user stands in one room.
type RoomState struct {
	Room       string
	Head, Seen int64
	Unread     int
}

// AppendRooms appends the rooms of a user. It yields as [AppendHistory] does.
func AppendRooms(dst []byte, ref []byte, rooms []RoomState) []byte {
	size := messageOverhead + len(ref)
	for i := range rooms {
		size += roomOverhead + len(rooms[i].Room)
	}
	dst = grow(dst, size)

	dst, start := begin(dst, "rooms", ref)
	dst = append(dst, `,"rooms":[`...)
	yielded := len(dst)
	for i := range rooms {
		yielded = yield(dst, yielded)
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = str(dst, `{"room":`, rooms[i].Room)
		dst = num(dst, `,"head":`, rooms[i].Head)
		dst = num(dst, `,"seen":`, rooms[i].Seen)
		dst = num(dst, `,"unread":`, int64(rooms[i].Unread))
		dst = append(dst, '}')
	}
	return end(append(dst, ']'), start)
}

// roomOverhead is what a line of that takes beside the room's name, if that has
// nothing to escape.
const roomOverhead = 96

// grow makes room for n bytes. slices.Grow would write zeros there first, which is
// a page fault for each 4 KiB that the process has not used before: milliseconds for
// a page of messages, in one go.
func grow(dst []byte, n int) []byte {
	if cap(dst)-len(dst) >= n {
		return dst
	}
	return append(make([]byte, 0, len(dst)+n), dst...)
}

// yield makes room for others' work where so much has been appended since the
// last time. Most of what it takes is the kernel's, for memory that is new.
func yield(dst []byte, last int) int {
	if len(dst)-last < 32<<10 {
		return last
	}
	pace.Yield()
	return len(dst)
}

// AppendResult appends the answer to a call; body is JSON.
func AppendResult(dst []byte, ref []byte, body []byte) []byte {
	dst, start := begin(dst, "result", ref)
	return end(raw(dst, `,"body":`, body), start)
}

// AppendRefreshed appends the answer to a refresh; expires is Unix ms.
func AppendRefreshed(dst []byte, ref []byte, expires int64) []byte {
	dst, start := begin(dst, "refreshed", ref)
	return end(num(dst, `,"expires":`, expires), start)
}

// AppendPong appends the answer to a ping of the protocol, which browsers need:
// they cannot send one of WebSocket.
func AppendPong(dst []byte, ref []byte) []byte {
	return end(begin(dst, "pong", ref))
}

// AppendInvite appends the hint that from wrote to this user in a direct room;
// seq is the one before the message, to join with as since.
func AppendInvite(dst []byte, room, from string, seq int64) []byte {
	dst, start := begin(dst, "invite", nil)
	dst = str(dst, `,"room":`, room)
	dst = str(dst, `,"from":`, from)
	dst = num(dst, `,"seq":`, seq)
	return end(dst, start)
}

// AppendMembers appends who came and went. Both lists are always there, so that
// a client may loop over them unseen.
func AppendMembers(dst []byte, room string, joined, left []string, count int) []byte {
	dst, start := begin(dst, "members", nil)
	dst = str(dst, `,"room":`, room)
	dst = list(dst, `,"joined":[`, joined)
	dst = list(dst, `,"left":[`, left)
	dst = num(dst, `,"count":`, int64(count))
	return end(dst, start)
}

func list(dst []byte, key string, ss []string) []byte {
	dst = append(dst, key...)
	for i, s := range ss {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(dst, s)
	}
	return append(dst, ']')
}

// AppendTyping appends that user started or stopped typing.
func AppendTyping(dst []byte, room, user string, active bool) []byte {
	dst, start := begin(dst, "typing", nil)
	dst = str(dst, `,"room":`, room)
	dst = str(dst, `,"user":`, user)
	dst = truth(dst, `,"active":`, active)
	return end(dst, start)
}

// AppendReceipt appends how far user has got in the room.
func AppendReceipt(dst []byte, room, user string, delivered, seen int64) []byte {
	dst, start := begin(dst, "receipt", nil)
	dst = str(dst, `,"room":`, room)
	dst = str(dst, `,"user":`, user)
	dst = num(dst, `,"delivered":`, delivered)
	dst = num(dst, `,"seen":`, seen)
	return end(dst, start)
}

// AppendGoaway appends the request to connect elsewhere, at url if given.
func AppendGoaway(dst []byte, reconnectMS, deadlineMS int64, url string) []byte {
	dst, start := begin(dst, "goaway", nil)
	dst = num(dst, `,"reconnect_ms":`, reconnectMS)
	dst = num(dst, `,"deadline_ms":`, deadlineMS)
	dst = optional(dst, `,"url":`, url)
	return end(dst, start)
}
