package gohub

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gohub/gohub/internal/wire"
)

// persistLanes is how many commits are under way at a time; a room keeps to one
// lane.
const persistLanes = 8

// A persister stores what was ordered and has the senders told: ack after
// Append has returned nil, never before.
//
// A publisher first reserves a place, and is told "busy" when there is none,
// before anybody has seen the message. Commits are grouped without a timer:
// while a lane's batch is being stored the next one fills. A Store that fails
// is tried again, in order, for as long as the hub lives; meanwhile the queue
// fills and publishers hear "busy".
type persister struct {
	hub    *Hub
	memory *MemoryStore // when that is the Store: no lanes, it never waits
	lanes  [persistLanes]lane

	messages atomic.Int64          // reserved
	failing  atomic.Pointer[error] // the last Append's; nil: it worked
	bytes    atomic.Int64
	mu       sync.Mutex    // guards what follows
	empty    chan struct{} // closed when nothing is reserved any more; nil: nobody waits
}

type commitID struct {
	room RoomID
	id   string
}

// A commit is a message on its way to the Store.
type commit struct {
	room    *room
	m       Message
	size    int64
	at      time.Time // when it was ordered; zero unless somebody wants to know
	waiters []waiting
	out     Ordered // what the Store, or the hub for it, has said in the end
}

type waiting struct {
	w         waiter
	duplicate bool
}

// A waiter is told how storing a message went.
type waiter interface {
	stored(room, id string, seq int64, duplicate bool)
	refused(id string, err error)
}

func newPersister(h *Hub) *persister {
	p := &persister{hub: h}
	p.memory, _ = h.store.(*MemoryStore)
	for i := range p.lanes {
		p.lanes[i].init()
	}
	return p
}

// reserve makes sure that one message of size bytes can be queued.
func (p *persister) reserve(r *room, size int64) bool {
	most := int64(p.hub.cfg.MaxPending)
	if !raise(&p.messages, 1, most) {
		return false
	}
	if raise(&p.bytes, size, p.hub.cfg.MaxPendingBytes) {
		if raise(&r.uncommitted, 1, max(most/2, 1)) {
			return true
		}
		p.bytes.Add(-size)
	}
	p.messages.Add(-1)
	p.settled()
	return false
}

// raise adds d to n unless that were more than most: n is never above it, not
// for a moment either, in which somebody else's smaller d would be refused.
func raise(n *atomic.Int64, d, most int64) bool {
	for {
		old := n.Load()
		if old+d > most {
			return false
		}
		if n.CompareAndSwap(old, old+d) {
			return true
		}
	}
}

// busyLeast and busyMost bound when a publisher that found the queue full is
// asked to try again.
const (
	busyLeast = 100 * time.Millisecond
	busyMost  = 5 * time.Second
)

// busy is the refusal of a message for which there is no place. It says when
// half of what waits in the room's lane will be stored, at the pace of its last
// batches; with a Store that fails, not before it has been tried again.
func (p *persister) busy(r *room) *Error {
	e := *errBusy
	if d := p.lane(r.id).half(); d > 0 {
		e.RetryAfter = d
	}
	if p.failing.Load() != nil {
		e.RetryAfter = max(e.RetryAfter, time.Second)
	}
	e.RetryAfter = min(max(e.RetryAfter, busyLeast), busyMost)
	return &e
}

// cancel gives a reservation back.
func (p *persister) cancel(r *room, size int64) {
	r.uncommitted.Add(-1)
	p.bytes.Add(-size)
	p.messages.Add(-1)
	p.settled()
}

// settled wakes drain when nothing is reserved any more.
func (p *persister) settled() {
	if !p.hub.closing.Load() {
		return
	}
	p.mu.Lock()
	if p.empty != nil && p.messages.Load() == 0 {
		close(p.empty)
		p.empty = nil
	}
	p.mu.Unlock()
}

func (p *persister) lane(id RoomID) *lane {
	return &p.lanes[maphash.String(p.hub.seed, id.Name)%persistLanes]
}

// commit queues a reserved, ordered message. duplicate: w's publish was not
// the first of this id.
func (p *persister) commit(r *room, m *Message, size int64, w waiter, duplicate bool) {
	if p.memory != nil {
		began := p.hub.clock()
		out := p.memory.append1(m)
		if p.hub.local != nil {
			p.hub.local.stored1(m)
		} else {
			p.hub.broker.Stored(*m)
		}
		p.cancel(r, size)
		p.tell(w, m, out, duplicate)
		p.stored(m, out, began)
		return
	}
	l := p.lane(m.Room)
	cm := &commit{room: r, m: *m, size: size, at: p.hub.clock(), waiters: []waiting{{w, duplicate}}}
	if l.push(cm) {
		p.hub.run(func() { p.work(l) })
	}
}

// attach lets w wait for the message of that id that is being stored.
func (p *persister) attach(m *Message, w waiter) (found bool, err error) {
	if p.memory != nil {
		return false, nil
	}
	l := p.lane(m.Room)
	l.mu.Lock()
	defer l.mu.Unlock()
	cm := l.byID[commitID{m.Room, m.ID}]
	if cm == nil {
		return false, nil
	}
	if cm.m.Sender != m.Sender {
		return false, ErrIDConflict
	}
	cm.waiters = append(cm.waiters, waiting{w, true})
	return true, nil
}

// direct lists the user's direct rooms that a message on its way will list:
// who comes after its invite, and before it is stored, asks for the list.
func (p *persister) direct(tenant, user string) (rooms []RoomID) {
	for i := range p.lanes {
		l := &p.lanes[i]
		l.mu.Lock()
		for _, q := range l.rooms {
			id := q.list[0].m.Room
			a, b, ok := id.Direct()
			seen := func(cm *commit) bool { return cm.m.VisibleTo(user) }
			if ok && id.Tenant == tenant && (a == user || b == user) && slices.ContainsFunc(q.list, seen) {
				rooms = append(rooms, id)
			}
		}
		l.mu.Unlock()
	}
	return rooms
}

func (p *persister) tell(w waiter, m *Message, out Ordered, duplicate bool) {
	if out.Err != nil {
		w.refused(m.ID, out.Err)
		return
	}
	w.stored(m.Room.Name, m.ID, out.Seq, duplicate || out.Duplicate)
}

// stored counts a message that the Store has taken, and shows it.
func (p *persister) stored(m *Message, out Ordered, since time.Time) {
	if out.Err != nil {
		return
	}
	p.hub.count.stored.Add(1)
	if p.hub.cfg.Observer.Stored != nil {
		p.hub.tellStored(m, time.Since(since))
	}
}

// work stores a lane's queue; it ends when that is empty, or with the hub.
func (p *persister) work(l *lane) {
	pause := newBackoff()
	for {
		batch := l.batch()
		if len(batch) == 0 {
			return
		}
		err := p.store(l, batch)
		switch {
		case err == nil:
			p.failing.Store(nil)
			pause = newBackoff()
		case p.hub.ctx.Err() != nil:
			return
		default:
			p.failing.Store(&err)
			p.hub.count.storeFailures.Add(1)
			p.hub.log.Warn("store fails; trying again", "messages", len(batch), "err", err)
			if !pause.wait(p.hub.ctx) {
				return
			}
		}
	}
}

// store appends a batch and tells everybody. A message that can never be
// stored is taken out and told alone.
func (p *persister) store(l *lane, batch []*commit) error {
	ms := make([]Message, len(batch))
	for i, cm := range batch {
		ms[i] = cm.m
	}
	began := time.Now()
	out, err := p.hub.store.Append(p.hub.ctx, ms)
	var row *RowError
	switch {
	case errors.As(err, &row) && row.Index >= 0 && row.Index < len(batch):
		bad := batch[row.Index]
		p.hub.log.Error("message cannot be stored", "room", bad.m.Room, "id", bad.m.ID, "err", row.Err)
		l.remove(bad)
		bad.out.Err = fmt.Errorf("%w: %w", Errorf(CodeBadRequest, "this message cannot be stored"), row.Err)
		p.finish(bad)
		return nil
	case err != nil:
		return err
	case len(out) != len(batch):
		return fmt.Errorf("Store.Append returned %d results for %d messages", len(out), len(batch))
	}
	l.remove(batch...)
	l.turn(time.Since(began) / time.Duration(len(batch)))
	for i, cm := range batch {
		cm.out = out[i]
	}
	p.finish(batch...)
	return nil
}

// finish tells what became of messages that have left the lane. A session gets
// all its acks of a batch in one write.
func (p *persister) finish(batch ...*commit) {
	acks := make(map[*Client]*ackRun)
	for _, cm := range batch {
		p.hub.broker.Stored(cm.m)
		for _, w := range cm.waiters {
			if c, ok := w.w.(*Client); ok && cm.out.Err == nil {
				a := acks[c]
				if a == nil {
					a = &ackRun{frames: make([]byte, 0, 128+len(cm.m.Room.Name))}
					acks[c] = a
				}
				a.frames = wire.AppendAck(a.frames, cm.m.ID, cm.m.Room.Name, cm.out.Seq, w.duplicate || cm.out.Duplicate)
				a.n++
				continue
			}
			p.tell(w.w, &cm.m, cm.out, w.duplicate)
		}
	}
	for c, a := range acks {
		c.send(a.frames)
		c.unacked.Add(-a.n)
	}
	for _, cm := range batch {
		p.stored(&cm.m, cm.out, cm.at)
		p.cancel(cm.room, cm.size) // last: Shutdown closes the sessions when nothing is reserved
	}
}

// An ackRun is a session's acks of one batch.
type ackRun struct {
	frames []byte
	n      int32
}

// drain waits until everything reserved is stored; false: ctx ended first.
func (p *persister) drain(ctx context.Context) bool {
	p.mu.Lock()
	if p.messages.Load() == 0 {
		p.mu.Unlock()
		return true
	}
	p.empty = make(chan struct{})
	empty := p.empty
	p.mu.Unlock()
	select {
	case <-empty:
		return true
	case <-ctx.Done():
		return false
	}
}

// ready says why the queue does not move, or is full.
func (p *persister) ready() error {
	if err := p.failing.Load(); err != nil {
		return fmt.Errorf("%w: the Store fails: %w", ErrUnavailable, *err)
	}
	if p.messages.Load() >= int64(p.hub.cfg.MaxPending) || p.bytes.Load() >= p.hub.cfg.MaxPendingBytes {
		return fmt.Errorf("%w: the queue to the Store is full", ErrUnavailable)
	}
	return nil
}

// A result is a waiter for callers that block.
type result struct {
	seq int64
	err error
	ch  chan struct{}
}

func newResult() *result { return &result{ch: make(chan struct{})} }

func (r *result) stored(_, _ string, seq int64, _ bool) { r.seq = seq; close(r.ch) }

func (r *result) refused(_ string, err error) { r.err = err; close(r.ch) }

// wait waits for the outcome, which nobody tells once the hub has given up.
func (r *result) wait(ctx context.Context, h *Hub) error {
	select {
	case <-r.ch:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	case <-h.ctx.Done():
	}
	select {
	case <-r.ch: // just in time
		return r.err
	default:
		return fmt.Errorf("%w: the hub has ended before it was stored", ErrUnknown)
	}
}
