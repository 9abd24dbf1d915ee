package gohub

import (
	"context"
	"sync"
	"time"

	"github.com/gohub/gohub/internal/wire"
)

// markDelay is for how long receipts, joins and leaves are gathered before
// they are stored and told: at most four times a second a room.
const markDelay = 250 * time.Millisecond

// receiptDepth is how many messages back authors are looked for when a reader
// has caught up; older ones see it in history.
const receiptDepth = 200

// marks gathers watermarks on their way to the Store. Only the newest of a
// user and room waits, so a client that reports every message costs no more
// than one that reports the last.
type marks struct {
	hub *Hub

	mu      sync.Mutex // guards what follows
	waiting map[markID]mark
	untold  map[markID]mark // stored, and not yet told
	timed   bool

	// storing has a token while a batch is stored: one at a time. It is
	// held while the Store is called, and a lock that is waited for would stop
	// virtual time (testing/synctest).
	storing chan struct{}
	telling chan struct{} // the same while authors are told
}

type markID struct {
	room RoomID
	user string
}

type mark struct {
	Watermark
	session string // that reported it last
}

func newMarks(h *Hub) *marks {
	return &marks{hub: h, waiting: make(map[markID]mark), untold: make(map[markID]mark), storing: make(chan struct{}, 1), telling: make(chan struct{}, 1)}
}

func (k *marks) add(w Watermark) { k.addFrom(w, "") }

func (k *marks) addFrom(w Watermark, session string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	id := markID{w.Room, w.User}
	old := k.waiting[id]
	w.Delivered = max(w.Delivered, old.Delivered)
	w.Seen = max(w.Seen, old.Seen)
	if w.Listing == ListKeep {
		w.Listing = old.Listing
	}
	if session == "" {
		session = old.session
	}
	k.waiting[id] = mark{w, session}
	k.later()
}

// later sets the timer; mu is held.
func (k *marks) later() {
	if !k.timed {
		k.timed = true
		time.AfterFunc(markDelay, func() { k.hub.spawn(k.work) })
	}
}

// unstored is how many wait to be stored.
func (k *marks) unstored() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.waiting)
}

// work ticks until all is stored; it ends then, or with the hub. Between its
// attempts no timer is set, so new marks wait for the next one, too.
func (k *marks) work() {
	// Never sooner than markDelay: however a Store fails, those who read are
	// not told more often.
	pause := &backoff{next: 2 * markDelay, most: 5 * time.Second}
	for !k.tick(k.hub.ctx) && pause.wait(k.hub.ctx) {
	}
}

// tick stores what waits, and tells what has moved. False: not all could be
// stored, and to try again is the caller's.
func (k *marks) tick(ctx context.Context) bool {
	k.storing <- struct{}{}
	n, err := k.store(ctx)
	<-k.storing // telling reads from the Store: who only wants to store does not wait for it
	if err != nil {
		k.hub.log.Warn("receipts cannot be stored yet", "count", n, "err", err)
	}
	k.telling <- struct{}{}
	defer func() { <-k.telling }()
	k.mu.Lock()
	if err == nil {
		k.timed = false
		if len(k.waiting) > 0 {
			k.later()
		}
	}
	untold := k.untold
	k.untold = make(map[markID]mark)
	k.mu.Unlock()
	for _, m := range untold {
		k.hub.tellReceipt(ctx, m.Watermark, m.session)
	}
	return err == nil
}

// flush stores what waits, also between the attempts of a tick that fails:
// what it cannot store is left to those. Whom it concerns is told with the
// next tick: however often this is called, not more often.
func (k *marks) flush(ctx context.Context) {
	k.storing <- struct{}{}
	defer func() { <-k.storing }()
	_, _ = k.store(ctx)
}

// store stores what waits; n is how many that were. storing is held.
func (k *marks) store(ctx context.Context) (n int, err error) {
	k.mu.Lock()
	batch := k.waiting
	if len(batch) == 0 {
		k.mu.Unlock()
		return 0, nil
	}
	k.waiting = make(map[markID]mark)
	k.mu.Unlock()
	ws := make([]Watermark, 0, len(batch))
	for _, m := range batch {
		ws = append(ws, m.Watermark)
	}
	moved, err := k.hub.store.Advance(ctx, ws)
	if err != nil {
		k.putBack(batch)
		return len(ws), err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, w := range moved {
		id := markID{w.Room, w.User}
		k.untold[id] = mark{w, batch[id].session}
	}
	if len(moved) > 0 {
		k.later()
	}
	return len(ws), nil
}

// putBack keeps a batch that could not be stored for the next time.
func (k *marks) putBack(batch map[markID]mark) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, old := range batch {
		now, newer := k.waiting[id]
		if newer {
			old.Delivered, old.Seen = max(old.Delivered, now.Delivered), max(old.Seen, now.Seen)
			if now.Listing != ListKeep {
				old.Listing = now.Listing
			}
		}
		k.waiting[id] = old
	}
	k.later()
}

// receipt takes a client's watermarks. They are clamped to the newest message
// that the client may see: nobody can claim to have seen the future, or learn
// from the answer what is hidden from it.
func (c *Client) receipt(cmd *wire.Command) error {
	m, err := c.joined(cmd.Room)
	if err != nil {
		return err
	}
	if cmd.Has&(wire.HasDelivered|wire.HasSeen) == 0 {
		return Errorf(CodeBadRequest, "receipt needs delivered or seen")
	}
	c.waits()
	head, err := c.hub.head(m.room, c.who.User)
	if err != nil {
		return c.hub.blame(err, "receipt", m.room.id)
	}
	w := Watermark{Room: m.room.id, User: c.who.User, Seen: min(cmd.Seen, head), Delivered: min(cmd.Delivered, head)}
	w.Delivered = max(w.Delivered, w.Seen)
	if w.Delivered > 0 {
		c.hub.marks.addFrom(w, c.id)
	}
	return nil
}

// head is the seq of the newest message that user may see; 0: none.
func (h *Hub) head(r *room, user string) (int64, error) {
	r.mu.Lock()
	seq, known := r.head(user)
	r.mu.Unlock()
	if known {
		return seq, nil
	}
	return h.newest(r, user)
}

// newest is head by the log and the Store, which may know more than this hub
// has been brought yet.
func (h *Hub) newest(r *room, user string) (int64, error) {
	newest, _, err := h.read(h.ctx, Query{Room: r.id, Viewer: user, Newest: true, Limit: 1})
	if err != nil || len(newest) == 0 {
		return 0, err
	}
	return newest[0].Seq, nil
}

// tellReceipt shows a watermark that has moved to the authors of what was
// newly read, each no further than a message that author can see, and to the
// reader's other sessions, on every hub.
func (h *Hub) tellReceipt(ctx context.Context, w Watermark, session string) {
	r := h.find(w.Room)
	if r == nil {
		return
	}
	reader := w.User
	r.mu.Lock()
	o := r.users[reader]
	var shown Watermark
	if o != nil {
		shown.Delivered, shown.Seen = o.shown[0], o.shown[1]
		o.shown = [2]int64{w.Delivered, w.Seen}
	}
	recent := r.ring
	all := r.base == 0
	known := all || r.base <= shown.Seen
	read := make([]said, 0, len(recent))
	for i := range recent {
		read = append(read, said{recent[i].seq, recent[i].sender, recent[i].to})
	}
	r.mu.Unlock()
	if !known {
		ms, _, err := h.read(ctx, Query{Room: w.Room, Viewer: "", After: shown.Seen, Before: w.Delivered + 1, Newest: true, Limit: receiptDepth})
		if err != nil {
			h.log.Warn("receipt is not told", "room", w.Room, "err", err)
			return
		}
		read = read[:0]
		for i := range ms {
			read = append(read, said{ms[i].Seq, ms[i].Sender, ms[i].To})
		}
	}
	frames := []frame{{bytes: wire.AppendReceipt(nil, r.id.Name, reader, w.Delivered, w.Seen), to: reader, except: session}}
	var older []said // what stands before Seen, read once for all authors
	for author := range authors(read, reader, shown, w) {
		d, s := floorSeq(read, author, w.Delivered), floorSeq(read, author, w.Seen)
		if s == 0 && w.Seen > 0 && !all { // it stands at something older
			if older == nil {
				ms, _, err := h.read(ctx, Query{Room: w.Room, Before: w.Seen + 1, Newest: true, Limit: receiptDepth})
				if err != nil {
					h.log.Warn("receipt is not told", "room", w.Room, "err", err)
					return
				}
				older = make([]said, 0, len(ms))
				for i := range ms {
					older = append(older, said{ms[i].Seq, ms[i].Sender, ms[i].To})
				}
			}
			s = floorSeq(older, author, w.Seen)
		}
		frames = append(frames, frame{bytes: wire.AppendReceipt(nil, r.id.Name, reader, d, s), to: author})
	}
	r.inline(func() {
		for _, f := range frames {
			h.broker.Signal(Target{Tenant: r.id.Tenant, Room: r.id.Name, User: f.to, Except: f.except}, f.bytes)
		}
	})
}

// said is what receipts need to know of a message.
type said struct {
	seq        int64
	sender, to string
}

func (s *said) visible(user string) bool { return s.to == "" || s.to == user || s.sender == user }

// authors are those with a message that reader may see and has newly received
// or read.
func authors(read []said, reader string, shown, w Watermark) map[string]struct{} {
	found := make(map[string]struct{})
	for i := range read {
		s := &read[i]
		if s.sender != reader && s.visible(reader) &&
			(s.seq > shown.Seen && s.seq <= w.Seen || s.seq > shown.Delivered && s.seq <= w.Delivered) {
			found[s.sender] = struct{}{}
		}
	}
	return found
}

// floorSeq rounds at down to a message that user can see; 0: none known.
func floorSeq(read []said, user string, at int64) int64 {
	for i := len(read) - 1; i >= 0; i-- {
		if read[i].seq <= at && read[i].visible(user) {
			return read[i].seq
		}
	}
	return 0
}
