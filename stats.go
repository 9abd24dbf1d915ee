package gohub

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Stats says how a hub is doing at the moment.
type Stats struct {
	Sessions         int
	Rooms            int   // with members here, or in use
	Uncommitted      int64 // messages on their way to the Store
	UncommittedBytes int64
}

// ClosedByClient is where [Totals].SessionsClosed counts what clients closed.
const ClosedByClient = 1000

// Totals are what a hub has done since [New]: they only grow. They are read
// one after the other, so that two of them may differ by what happens in
// between.
type Totals struct {
	SessionsOpened int64
	// SessionsClosed counts by the hub's close codes. ClosedByClient stands for
	// all that the client has closed, with whichever code; 0: the connection
	// broke without one.
	SessionsClosed map[int]int64
	// HandshakesRefused counts handshakes and negotiates by what they were
	// told.
	HandshakesRefused map[Code]int64
	// Errors counts error frames by code.
	Errors map[Code]int64

	FramesReceived int64 // clients' messages, refused ones included
	BytesReceived  int64 // of their payloads
	Published      int64 // messages that this hub had ordered
	Stored         int64 // of these and of other hubs' that it stored: acked, as their senders are still here
	Deliveries     int64 // messages given to a member to write, live; replays are not counted
	EventsDropped  int64 // frames of typing, members and the like, or batches of them, not sent to a client that was behind
	StoreFailures  int64 // batches that the Store did not take, and that were tried again
	Repairs        int64 // rooms that read again what the Broker may have lost
}

// counters are Totals in the making.
type counters struct {
	opened, framesIn, bytesIn, published, stored, deliveries, dropped, storeFailures, repairs atomic.Int64

	mu      sync.Mutex // guards the maps: nothing in them is counted often
	closed  map[int]int64
	refused map[Code]int64
	errors  map[Code]int64
}

func (n *counters) init() {
	n.closed, n.refused, n.errors = make(map[int]int64), make(map[Code]int64), make(map[Code]int64)
}

func count[K comparable](mu *sync.Mutex, m map[K]int64, k K) {
	mu.Lock()
	m[k]++
	mu.Unlock()
}

// Stats reports on this hub. It takes a few locks for an instant: made to be
// called every few seconds, not for every message.
func (h *Hub) Stats() Stats {
	s := Stats{Uncommitted: h.persist.messages.Load(), UncommittedBytes: h.persist.bytes.Load(), Sessions: h.sessionCount()}
	for i := range h.shards {
		h.shards[i].mu.RLock()
		s.Rooms += len(h.shards[i].rooms)
		h.shards[i].mu.RUnlock()
	}
	return s
}

// Totals reports what this hub has done. Like Stats, it is made to be called
// every few seconds.
func (h *Hub) Totals() Totals {
	n := &h.count
	t := Totals{
		SessionsOpened: n.opened.Load(),
		FramesReceived: n.framesIn.Load(),
		BytesReceived:  n.bytesIn.Load(),
		Published:      n.published.Load(),
		Stored:         n.stored.Load(),
		Deliveries:     n.deliveries.Load(),
		EventsDropped:  n.dropped.Load(),
		StoreFailures:  n.storeFailures.Load(),
		Repairs:        n.repairs.Load(),
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	t.SessionsClosed = maps.Clone(n.closed)
	t.HandshakesRefused = maps.Clone(n.refused)
	t.Errors = maps.Clone(n.errors)
	return t
}

// RoomStats says how a room is doing on this node.
type RoomStats struct {
	Sessions    int
	Users       int
	Head        int64 // Seq of its newest message; 0: none
	Uncommitted int64 // messages on their way to the Store
}

// RoomStats reports on a room; zero if nobody is in it here.
func (h *Hub) RoomStats(id RoomID) RoomStats {
	r := h.find(id)
	if r == nil {
		return RoomStats{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return RoomStats{len(r.members), len(r.users), r.last, r.uncommitted.Load()}
}
