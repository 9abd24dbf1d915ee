package main

import (
	"slices"
	"sync"

	"github.com/gohub/gohub/bench/internal/frame"
)

// Bare WebSocket libraries have no protocol. Their hubs here speak the little of
// gohub.v1 that a chat needs, without any promise: a join is answered, and a
// publish goes to the room as it came, under another type.

var welcome = []byte(`{"type":"welcome"}`)

// parse finds what a client wants and in which room. It looks at no more than
// it must: a JSON decoder would be dearer.
func parse(payload []byte) (kind, room string) {
	return string(frame.Type(payload)), string(frame.Field(payload, `"room":"`))
}

func joined(room string) []byte { return []byte(`{"type":"joined","room":"` + room + `"}`) }

// message makes a publish the room's, where it is: both words have seven letters.
func message(publish []byte) []byte {
	copy(publish[len(`{"type":"`):], "message")
	return publish
}

// rooms are members by room, for the libraries that do not group connections. A
// list that has been handed out does not change.
type rooms[T comparable] struct {
	mu      sync.RWMutex
	members map[string][]T
}

func newRooms[T comparable]() *rooms[T] { return &rooms[T]{members: map[string][]T{}} }

func (r *rooms[T]) join(room string, member T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members[room] = append(r.members[room], member)
}

func (r *rooms[T]) leave(room string, member T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := slices.Clone(r.members[room])
	if i := slices.Index(m, member); i >= 0 {
		m = slices.Delete(m, i, i+1)
	}
	if len(m) == 0 {
		delete(r.members, room)
		return
	}
	r.members[room] = m
}

func (r *rooms[T]) of(room string) []T {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.members[room]
}
