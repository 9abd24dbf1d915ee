package gohub

import (
	"slices"
	"sync"
	"time"
)

const (
	batchMost    = 512     // messages in one Append
	batchMostLen = 4 << 20 // and their bytes
	batchShare   = 32      // of them from one room while others wait
)

// A lane stores the messages of some rooms, one batch at a time. Its rooms
// take turns, so that a busy one delays the others' acks by its share of a
// batch, however much it has waiting. A room's own messages keep their order.
type lane struct {
	mu     sync.Mutex // guards what follows
	rooms  []*waitingRoom
	byRoom map[RoomID]*waitingRoom
	byID   map[commitID]*commit
	served int           // how many of rooms had their turn in the last batch
	busy   bool          // its goroutine is there
	queued int           // messages in rooms
	each   time.Duration // how long one took in the last batches; 0: nobody knows
}

// A waitingRoom has messages to be stored, oldest first, those being stored
// included.
type waitingRoom struct{ list []*commit }

func (l *lane) init() {
	l.byRoom = make(map[RoomID]*waitingRoom)
	l.byID = make(map[commitID]*commit)
}

// push queues cm; true: the lane has no goroutine, and the caller starts it.
func (l *lane) push(cm *commit) (start bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.byRoom[cm.m.Room]
	if q == nil {
		q = new(waitingRoom)
		l.byRoom[cm.m.Room] = q
		l.rooms = append(l.rooms, q)
	}
	q.list = append(q.list, cm)
	l.queued++
	l.byID[commitID{cm.m.Room, cm.m.ID}] = cm
	start = !l.busy
	l.busy = true
	return start
}

// batch gives the next ones to store: a share of each room in turn, and again
// while there is space. They stay queued until remove. None ends the lane's
// work.
func (l *lane) batch() (out []*commit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rooms) == 0 {
		l.busy = false
		return nil
	}
	l.served = 0
	size := int64(0)
	for round := 0; ; round++ {
		more := false
		for i, q := range l.rooms {
			if round == 0 {
				l.served = i + 1
			}
			from := min(round*batchShare, len(q.list))
			to := min(from+batchShare, len(q.list))
			for _, cm := range q.list[from:to] {
				if len(out) == batchMost || len(out) > 0 && size+cm.size > batchMostLen {
					return out
				}
				out = append(out, cm)
				size += cm.size
			}
			more = more || to < len(q.list)
		}
		if !more {
			return out
		}
	}
}

// half is how long half of what is queued will take; 0: nobody knows.
func (l *lane) half() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.each * time.Duration(l.queued) / 2
}

// turn puts the rooms that were served behind the others, and notes how long
// each message of the batch has taken.
func (l *lane) turn(each time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.each > 0 {
		each = (l.each + each) / 2
	}
	l.each = each
	if n := min(l.served, len(l.rooms)); n < len(l.rooms) {
		l.rooms = append(l.rooms[n:len(l.rooms):len(l.rooms)], l.rooms[:n]...)
	}
	l.served = 0
}

// remove takes commits of a batch out of the queue. Those of one room are a
// run of its list.
func (l *lane) remove(run ...*commit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queued -= len(run)
	emptied := false
	for _, cm := range run {
		q := l.byRoom[cm.m.Room]
		if i := slices.Index(q.list, cm); i == 0 {
			q.list[0] = nil
			q.list = q.list[1:]
		} else {
			q.list = slices.Delete(q.list, i, i+1)
		}
		if len(q.list) == 0 {
			delete(l.byRoom, cm.m.Room)
			emptied = true
		}
		if k := (commitID{cm.m.Room, cm.m.ID}); l.byID[k] == cm {
			delete(l.byID, k)
		}
	}
	if !emptied {
		return
	}
	served := l.served
	kept := l.rooms[:0]
	for i, q := range l.rooms {
		switch {
		case len(q.list) > 0:
			kept = append(kept, q)
		case i < served:
			l.served--
		}
	}
	clear(l.rooms[len(kept):])
	l.rooms = kept
}
