package redis

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/gohub/gohub"
)

// subscriptions are the rooms of a partition that this node listens to, over
// one connection of their own. When that breaks, or Redis ends a subscription
// since the partition has moved to another server, all are subscribed again on the
// next one, and the receiver is told of each room, in its order, that something
// may be missing.
//
// The channels are sharded ones (SSUBSCRIBE), on a server alone as well, where
// they cost the same.
type subscriptions struct {
	p             *part
	signals, self string // channels

	mu      sync.Mutex               // guards all below
	rooms   map[string]*subscription // by channel
	wanted  []string                 // to be subscribed, in this order
	dropped []string                 // to be unsubscribed, before those
	ending  map[string]int           // of those, how many ends Redis has not confirmed
	more    chan struct{}            // something is in them
	giveUp  context.CancelFunc       // ends the connection; nil: there is none

	heard atomic.Int64 // when this node last heard itself, or began to connect, in ns of the process's clock
}

// A subscription is one room.
type subscription struct {
	part   *part
	room   gohub.RoomID
	worker chan carried
	live   atomic.Bool // between Subscribe and Unsubscribe

	// Guarded by subscriptions.mu.
	confirmed chan struct{} // closed when Redis has confirmed, on this connection
	is        bool          // it is closed
	before    bool          // it was, on an earlier connection
	left      time.Time     // when it was unsubscribed; zero: it is not
}

// carried is what workers take: a message, a signal, or that a room is suspect.
type carried struct {
	sub     *subscription // nil: a signal
	payload string
	suspect bool
}

// started is when the process's clock began.
var started = time.Now()

func clock() int64 { return int64(time.Since(started)) + 1 }

func (s *subscriptions) init(p *part) {
	s.p, s.signals, s.self = p, p.keys.signals(), p.keys.node(p.n.name)
	s.rooms = map[string]*subscription{}
	s.more = make(chan struct{}, 1)
}

// employ makes the workers' queues. When one is full the connection waits, and
// at last Redis cuts it: then the rooms are suspect, and nothing has grown without
// bounds.
func employ(workers int) (queues []chan carried) {
	for range workers {
		queues = append(queues, make(chan carried, 1024))
	}
	return queues
}

// worker is who calls the receiver for a room.
func (n *node) worker(room string) chan carried {
	return n.workers[hash(room)/uint32(len(n.parts))%uint32(len(n.workers))] //nolint:gosec // both are small
}

// work calls the receiver; it ends with ctx.
func (n *node) work(ctx context.Context, in chan carried) {
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-in:
			if ctx.Err() != nil {
				return
			}
			n.carry(c)
		}
	}
}

func (n *node) carry(c carried) {
	switch {
	case c.sub == nil:
		to, frame, err := parseSignal(c.payload)
		if err == nil {
			n.r.Signal(to, frame)
		}
	case c.suspect:
		if c.sub.live.Load() {
			n.r.Suspect(c.sub.room)
		}
	case strings.HasPrefix(c.payload, memberNews):
		if c.sub.live.Load() {
			n.tell(c.sub.room, c.payload)
		}
	default:
		m := gohub.Message{Room: c.sub.room}
		prev, err := parseDelivery(c.payload, &m)
		if err != nil {
			n.b.o.Logger.Error("a message cannot be read", "room", m.Room, "err", err)
			return
		}
		c.sub.part.saw(m.Seq)
		c.sub.part.owed.delivered(&m)
		if c.sub.live.Load() {
			n.r.Deliver(m, prev)
		}
	}
}

// subscribe returns when the room is confirmed.
func (p *part) subscribe(ctx context.Context, id gohub.RoomID) error {
	s := &p.subs
	key := roomKey(id)
	channel := p.keys.room(key)
	s.mu.Lock()
	sub := s.rooms[channel]
	if sub == nil {
		sub = &subscription{part: p, room: id, worker: p.n.worker(key), confirmed: make(chan struct{})}
		s.rooms[channel] = sub
		s.want(channel)
	}
	sub.left = time.Time{}
	sub.live.Store(true)
	confirmed := sub.confirmed
	s.mu.Unlock()

	timeout := time.NewTimer(p.b.o.Timeout)
	defer timeout.Stop()
	var err error
	select {
	case <-confirmed:
		return nil
	case <-timeout.C:
		err = fmt.Errorf("%w: Redis has not confirmed the subscription", gohub.ErrUnavailable)
	case <-ctx.Done():
		err = fmt.Errorf("%w: %w", gohub.ErrUnavailable, ctx.Err())
	}
	p.unsubscribe(id)
	return err
}

// unsubscribe stops deliveries now; Redis is told by a later beat.
func (p *part) unsubscribe(id gohub.RoomID) {
	s := &p.subs
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub := s.rooms[p.keys.room(roomKey(id))]; sub != nil {
		sub.live.Store(false)
		sub.left = time.Now()
	}
}

// want queues a channel for listens; mu is held.
func (s *subscriptions) want(channel string) {
	s.wanted = append(s.wanted, channel)
	s.wake()
}

func (s *subscriptions) wake() {
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// beaten comes after every good beat: it drops rooms that were left a while
// ago, and gives up a connection on which the beats do not come back.
func (s *subscriptions) beaten(t timing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for channel, sub := range s.rooms {
		// One that is not confirmed stays: its confirmation must not be taken
		// for that of a later one.
		if !sub.left.IsZero() && sub.is && time.Since(sub.left) >= t.unsubscribe {
			delete(s.rooms, channel)
			s.dropped = append(s.dropped, channel)
		}
	}
	if len(s.dropped) > 0 {
		s.wake()
	}
	if s.giveUp != nil && clock()-s.heard.Load() > int64(t.probe) {
		s.p.log.Warn("this node does not hear itself: connecting anew")
		s.end()
	}
}

// end gives up the connection; mu is held.
func (s *subscriptions) end() {
	if s.giveUp != nil {
		s.giveUp()
		s.giveUp = nil
	}
}

// listens keeps the subscriptions; it ends with ctx.
func (p *part) listens(ctx context.Context) {
	pause := 10 * time.Millisecond
	for ctx.Err() == nil {
		began := time.Now()
		p.listen(ctx)
		if time.Since(began) > time.Second {
			pause = 10 * time.Millisecond
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, 500*time.Millisecond)
	}
}

// reach takes a connection to the server that has the partition. Where the
// client does not know yet that it has moved, which takes it up to a second, the
// server says so. A replica would take a subscription, and bring less than all: it
// refuses this.
func (p *part) reach(ctx context.Context) (client rueidis.DedicatedClient, release func(), err error) {
	client, release = p.b.client.Dedicate()
	for range 2 {
		err = client.Do(ctx, client.B().Exists().Key(p.keys.meta()).Build()).Error()
		re, ok := rueidis.IsRedisErr(err)
		if err == nil || !ok {
			break
		}
		if _, moving := re.IsAsk(); moving { // it is here until all of it has gone
			return client, release, nil
		}
		at, _ := re.IsMoved()
		server := p.b.client.Nodes()[at]
		if server == nil {
			break
		}
		release()
		client, release = server.Dedicate()
	}
	if err != nil {
		release()
		return nil, nil, err
	}
	return client, release, nil
}

// lost has who subscribes from now on wait for the next connection.
func (s *subscriptions) lost() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range s.rooms {
		if sub.is {
			sub.is, sub.before = false, true
			sub.confirmed = make(chan struct{})
		}
	}
}

// listen subscribes everything on a new connection and returns when that has
// ended.
func (p *part) listen(ctx context.Context) {
	s := &p.subs
	ctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	s.lost()
	client, release, err := p.reach(ctx)
	if err != nil {
		return
	}
	defer release()
	// The connection goes back to the client's pool without our subscriptions,
	// or rather not at all.
	defer client.Close()
	ended := client.SetPubSubHooks(rueidis.PubSubHooks{
		OnMessage:      func(m rueidis.PubSubMessage) { s.message(ctx, m) },
		OnSubscription: func(c rueidis.PubSubSubscription) { s.confirm(ctx, c) },
	})
	s.heard.Store(clock())
	s.mu.Lock()
	s.giveUp = giveUp
	s.wanted = append(s.wanted[:0], s.signals, s.self)
	s.dropped, s.ending = nil, map[string]int{}
	for channel := range s.rooms {
		s.wanted = append(s.wanted, channel)
	}
	s.wake()
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.giveUp = nil
		s.mu.Unlock()
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case err := <-ended:
			if ctx.Err() == nil {
				p.log.Warn("the connection of the subscriptions has ended", "err", err)
			}
			return
		case <-s.more:
		}
		s.mu.Lock()
		wanted, dropped := s.wanted, s.dropped
		s.wanted, s.dropped = nil, nil
		for _, channel := range dropped {
			s.ending[channel]++
		}
		s.mu.Unlock()
		if !send(ctx, client, dropped, wanted) {
			return
		}
	}
}

// send unsubscribes and subscribes, in this order.
func send(ctx context.Context, client rueidis.DedicatedClient, dropped, wanted []string) bool {
	const most = 512
	for len(dropped) > 0 {
		some := dropped[:min(most, len(dropped))]
		dropped = dropped[len(some):]
		if client.Do(ctx, client.B().Sunsubscribe().Channel(some...).Build()).Error() != nil {
			return false
		}
	}
	for len(wanted) > 0 {
		some := wanted[:min(most, len(wanted))]
		wanted = wanted[len(some):]
		if client.Do(ctx, client.B().Ssubscribe().Channel(some...).Build()).Error() != nil {
			return false
		}
	}
	return true
}

// confirm is called on the connection's goroutine, in the order of what Redis
// sends.
func (s *subscriptions) confirm(ctx context.Context, c rueidis.PubSubSubscription) {
	if c.Kind == "sunsubscribe" {
		s.ended(ctx, c.Channel)
		return
	}
	s.mu.Lock()
	sub := s.rooms[c.Channel]
	suspect := false
	if sub != nil && !sub.is && ctx.Err() == nil { // else it is of the connection before this one
		sub.is = true
		suspect, sub.before = sub.before, false
		close(sub.confirmed)
	}
	s.mu.Unlock()
	if suspect {
		s.pass(ctx, sub.worker, carried{sub: sub, suspect: true})
	}
}

// ended tells the end of a subscription that nobody asked for, with which Redis
// says that the partition is elsewhere now, from the others.
func (s *subscriptions) ended(ctx context.Context, channel string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch n := s.ending[channel]; {
	case ctx.Err() != nil: // it is of the connection before this one
	case n > 1:
		s.ending[channel]--
	case n == 1:
		delete(s.ending, channel)
	case s.giveUp != nil:
		s.p.log.Info("the partition has moved: subscribing where it is")
		s.end()
	}
}

// message is called on the connection's goroutine.
func (s *subscriptions) message(ctx context.Context, m rueidis.PubSubMessage) {
	switch m.Channel {
	case s.signals:
		s.pass(ctx, s.p.n.workers[0], carried{payload: m.Message})
		return
	case s.self:
		s.heard.Store(clock())
		return
	}
	s.mu.Lock()
	sub := s.rooms[m.Channel]
	s.mu.Unlock()
	if sub != nil {
		s.pass(ctx, sub.worker, carried{sub: sub, payload: m.Message})
	}
}

func (s *subscriptions) pass(ctx context.Context, worker chan carried, c carried) {
	select {
	case worker <- c:
	case <-ctx.Done():
	}
}
