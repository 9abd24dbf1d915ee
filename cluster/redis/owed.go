package redis

import (
	"sync"

	"github.com/gohub/gohub"
)

// owed knows what this node has ordered, or may have, and not yet stored. The
// node's low comes from it: no such message has a lower Seq.
//
// Every publish belongs to the beat before it: its Seq is not below that
// beat's time. So the oldest beat that has one left is the node's low.
type owed struct {
	mu      sync.Mutex // guards all below; a leaf
	now     *since     // where publishes that begin go
	oldest  *since
	known   map[messageKey]*since    // ordered here
	unknown map[messageID]*uncertain // answer lost: to be repeated
}

// since is the publishes that began between two beats.
type since struct {
	beat  int64 // µs of the server's clock
	count int
	next  *since // the beat after it
}

type messageKey struct {
	room gohub.RoomID
	seq  int64
}

// messageID has the sender, too: an id that is taken by another one is a
// conflict, which Redis is to find.
type messageID struct {
	room       gohub.RoomID
	id, sender string
}

func idOf(m *gohub.Message) messageID { return messageID{m.Room, m.ID, m.Sender} }

// uncertain is a message whose publish had an unknown outcome.
type uncertain struct {
	at  *since
	seq int64 // not 0: it was delivered here, so it was ordered
}

func newOwed() *owed {
	first := &since{}
	return &owed{now: first, oldest: first, known: map[messageKey]*since{}, unknown: map[messageID]*uncertain{}}
}

// begin counts a publish of n messages in.
func (o *owed) begin(n int) *since {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now.count += n
	return o.now
}

// low is for a beat: no message below it is owed. empty: none is at all.
func (o *owed) low() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.oldest != o.now && o.oldest.count == 0 {
		o.oldest = o.oldest.next
	}
	return o.oldest.beat
}

// holds reports whether messages that were surely ordered here are unstored: a
// new generation, below which all is stored, waits for them.
func (o *owed) holds() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.known) > 0 {
		return true
	}
	for _, u := range o.unknown {
		if u.seq != 0 {
			return true
		}
	}
	return false
}

// clear reports whether nothing is owed, nor may be.
func (o *owed) clear() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.known) == 0 && len(o.unknown) == 0
}

// next is the time of the since that a beat at the server's time t begins: where
// another server serves whose clock is behind, that of the last one.
func (o *owed) next(t int64) int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return max(t, o.now.beat)
}

// beat begins a new since at the server's time t. A publish may begin, and be ordered,
// between the first lease and the first call: it counts in the since that was there,
// whose time is that lease's then.
func (o *owed) beat(t int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.now.beat == 0 {
		o.now.beat = t
	}
	next := &since{beat: max(t, o.now.beat)}
	o.now.next = next
	o.now = next
}

// answered is what became of one message that began at s.
func (o *owed) answered(s *since, m *gohub.Message, out gohub.Ordered, unknown bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	id := idOf(m)
	before := o.unknown[id]
	switch {
	case unknown && before == nil:
		o.unknown[id] = &uncertain{at: s}
	case unknown:
		s.count-- // before holds the place, which is older
	case out.Err == nil && before != nil:
		s.count--
		o.own(messageKey{m.Room, out.Seq}, before.at)
		delete(o.unknown, id)
	case out.Err == nil && !out.Duplicate:
		o.own(messageKey{m.Room, out.Seq}, s)
	case before != nil && out.Err != nil && !isConflict(out.Err):
		s.count-- // this repetition was refused; what went before may have been ordered
	default:
		s.count--
		if before != nil {
			before.at.count--
			delete(o.unknown, id)
		}
	}
}

// own notes that a message counts in s.
func (o *owed) own(k messageKey, s *since) {
	if o.known[k] != nil {
		s.count--
		return
	}
	o.known[k] = s
}

// stored is told that a message is stored, or refused for good.
func (o *owed) stored(room gohub.RoomID, seq int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	k := messageKey{room, seq}
	if s := o.known[k]; s != nil {
		s.count--
		delete(o.known, k)
	}
}

// delivered is told of every message that arrives here: one with an unknown
// outcome was ordered, as this shows, even if Redis forgets it.
func (o *owed) delivered(m *gohub.Message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.unknown) == 0 {
		return
	}
	if u := o.unknown[idOf(m)]; u != nil && u.seq == 0 {
		u.seq = m.Seq
	}
}

// seen gives the Seq with which a message of unknown outcome was delivered, or 0.
func (o *owed) seen(m *gohub.Message) int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if u := o.unknown[idOf(m)]; u != nil {
		return u.seq
	}
	return 0
}
