package gohub_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// A droppingBroker loses deliveries at random, and repeats as many.
type droppingBroker struct {
	gohub.Broker
	mu   sync.Mutex
	rcv  *droppingReceiver
	rng  *rand.Rand
	odds int // one in so many; 0: none
}

type droppingReceiver struct {
	gohub.Receiver
	b *droppingBroker
}

func newDroppingBroker(b gohub.Broker, seed uint64, odds int) *droppingBroker {
	return &droppingBroker{Broker: b, rng: rand.New(rand.NewPCG(seed, seed)), odds: odds}
}

func (d *droppingReceiver) Deliver(m gohub.Message, prev int64) {
	d.b.mu.Lock()
	dice := -1
	if d.b.odds > 0 {
		dice = d.b.rng.IntN(d.b.odds)
	}
	d.b.mu.Unlock()
	if dice == 0 {
		return
	}
	d.Receiver.Deliver(m, prev)
	if dice == 1 {
		d.Receiver.Deliver(m, prev)
	}
}

// wrap stands between the broker and its only hub.
func (b *droppingBroker) wrap(r gohub.Receiver) *droppingReceiver {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rcv == nil {
		b.rcv = &droppingReceiver{r, b}
	}
	return b.rcv
}

func (b *droppingBroker) to() gohub.Receiver { return b.wrap(nil) }

func (b *droppingBroker) lose(odds int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.odds = odds
}

func (b *droppingBroker) Run(ctx context.Context, r gohub.Receiver) error {
	return b.Broker.Run(ctx, b.wrap(r))
}

func (b *droppingBroker) Subscribe(ctx context.Context, r gohub.Receiver, room gohub.RoomID) error {
	return b.Broker.Subscribe(ctx, b.wrap(r), room)
}

func (b *droppingBroker) Unsubscribe(r gohub.Receiver, room gohub.RoomID) {
	b.Broker.Unsubscribe(b.wrap(r), room)
}

// What is lost at the end, with nothing after it to show the gap, comes when
// the broker suspects it.
func TestSuspicionBringsWhatWasLost(t *testing.T) {
	t.Parallel()
	for name, suspected := range map[string][]gohub.RoomID{
		"the room": {{Name: "nobody is here"}, {Name: "r"}}, "all rooms": nil,
	} {
		b := newDroppingBroker(gohub.NewMemoryBroker(), 1, 1) // every one
		w := start(t, plain(gohub.Config{Broker: b}))
		alice, bob := w.as("alice", "r"), w.as("bob", "r")
		var want []int64
		for i := range 3 {
			want = append(want, alice.say("r", i).num("seq"))
		}
		bob.sync()
		require.Empty(t, bob.messages("r"), name)
		for range 5 {
			b.to().Suspect(suspected...)
		}
		require.Equal(t, want, seqsOf(bob.collect("r", 3)), name)
		require.Equal(t, want, seqsOf(alice.collect("r", 3)), name)

		// One who joins gets them from the log or the Store in any case.
		want = append(want, alice.say("r", "lost, too").num("seq"))
		carol := w.as("carol")
		carol.join("r", 0)
		b.to().Suspect(suspected...)
		require.Equal(t, want, seqsOf(carol.collect("r", 4)), name)
		b.lose(0)
		last := alice.say("r", "last").num("seq")
		require.Equal(t, last, carol.collect("r", 1)[0].num("seq"), name)
	}
}

// A brokenStore fails where it is told to.
type brokenStore struct {
	gohub.Store
	mu   sync.Mutex
	fail map[string]int // how many calls of a method; -1: all
}

var errSecret = errors.New("pq: password authentication failed for user hunter2")

func (s *brokenStore) broken(method string, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = map[string]int{method: times}
}

func (s *brokenStore) err(method string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail[method] == 0 {
		return nil
	}
	s.fail[method]--
	return errSecret
}

func (s *brokenStore) History(ctx context.Context, q gohub.Query) ([]gohub.Message, bool, error) {
	if err := s.err("History"); err != nil {
		return nil, false, err
	}
	return s.Store.History(ctx, q)
}

func (s *brokenStore) Advance(ctx context.Context, ws []gohub.Watermark) ([]gohub.Watermark, error) {
	if err := s.err("Advance"); err != nil {
		return nil, err
	}
	return s.Store.Advance(ctx, ws)
}

func (s *brokenStore) Watermarks(ctx context.Context, q gohub.MarkQuery) ([]gohub.Watermark, error) {
	if err := s.err("Watermarks"); err != nil {
		return nil, err
	}
	return s.Store.Watermarks(ctx, q)
}

func (s *brokenStore) Rooms(ctx context.Context, tenant, user string) ([]gohub.RoomState, error) {
	if err := s.err("Rooms"); err != nil {
		return nil, err
	}
	return s.Store.Rooms(ctx, tenant, user)
}

func (s *brokenStore) Lookup(ctx context.Context, room gohub.RoomID, id string) (gohub.Message, bool, error) {
	if err := s.err("Lookup"); err != nil {
		return gohub.Message{}, false, err
	}
	return s.Store.Lookup(ctx, room, id)
}

func (s *brokenStore) Append(ctx context.Context, batch []gohub.Message) ([]gohub.Ordered, error) {
	for i, m := range batch {
		if strings.Contains(string(m.Body), "poison") {
			return nil, &gohub.RowError{Index: i, Err: errSecret}
		}
	}
	return s.Store.Append(ctx, batch)
}

// While the Store cannot be read its users hear "unavailable" and no more, and
// afterwards all is as before.
func TestStoreThatCannotBeRead(t *testing.T) {
	t.Parallel()
	store := &brokenStore{Store: gohub.NewMemoryStore(gohub.MemoryStoreOptions{})}
	w := start(t, gohub.Config{Store: store})
	seqs := w.fill("r", 100)
	u := w.as("alice", "q", "@alice,bob")
	ack := u.say("q", "once")
	for _, c := range []struct {
		method string
		ask    frame
		answer string
	}{
		{"History", frame{"type": "join", "room": "r"}, "joined"},
		{"History", frame{"type": "history", "room": "q"}, "history"},
		{"Watermarks", frame{"type": "history", "room": "q"}, "history"},
		{"Rooms", frame{"type": "rooms"}, "rooms"},
	} {
		store.broken(c.method, 1)
		e := u.ask(c.ask, c.answer)
		require.Equal(t, "unavailable", e["code"], "%s: %v", c.method, e)
		require.Positive(t, e.num("retry_ms"), c.method)
		require.NotContains(t, fmt.Sprint(e), "hunter2", c.method)
		require.Equal(t, c.answer, u.ask(c.ask, c.answer)["type"], c.method)
	}
	require.Equal(t, seqs[80:], seqsOf(u.collect("r", 20)))

	store.broken("Lookup", 1)
	retry := frame{"type": "publish", "id": ack["id"], "room": "q", "body": "once", "retry": true}
	u.send(retry)
	u.expect("error", "id", ack["id"], "code", "unavailable")
	u.send(retry)
	require.Equal(t, ack["seq"], u.expect("ack", "id", ack["id"], "duplicate", true)["seq"])

	store.broken("History", -1)
	_, err := w.hub.Publish(t.Context(), gohub.Message{Room: gohub.RoomID{Name: "unopened"}, Sender: "bot", Body: []byte("1")})
	require.Equal(t, gohub.CodeUnavailable, codeOf(t, err))
	require.NotErrorIs(t, err, errSecret)
	require.Equal(t, gohub.CodeUnavailable, codeOf(t, w.hub.Join(u.session(), "unopened")))
	require.Equal(t, 3, w.hub.Stats().Rooms, "a room that could not be opened is gone")
	store.broken("", 0)
	u.join("unopened")
}

// Who gives up while somebody else has the room opened is told that, not what
// the Store says.
func TestPublishGivesUpWhileTheRoomIsOpened(t *testing.T) {
	t.Parallel()
	store := newPausingStore(gohub.NewMemoryStore(gohub.MemoryStoreOptions{}), func(gohub.Query) bool { return true })
	w := start(t, gohub.Config{Store: store})
	m := gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "bot", Body: []byte("1")}
	first := make(chan error, 1)
	go func() { // ends when the Store goes on
		_, err := w.hub.Publish(context.WithoutCancel(t.Context()), m)
		first <- err
	}()
	store.await(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := w.hub.Publish(ctx, m)
	require.ErrorIs(t, err, context.Canceled)
	close(store.resume)
	require.NoError(t, <-first)
}

func TestMessageThatCannotBeStored(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{Store: &brokenStore{Store: gohub.NewMemoryStore(gohub.MemoryStoreOptions{})}})
	u := w.as("alice", "r")
	e := u.say("r", "poison")
	require.Equal(t, "error", e["type"])
	require.NotContains(t, fmt.Sprint(e), "hunter2")
	_, err := w.hub.Publish(t.Context(), gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "bot", Body: []byte(`"poison"`)})
	require.ErrorIs(t, err, errSecret, "the program may know")
	require.Equal(t, "ack", u.say("r", "fine")["type"])
	w.settled()
}

// Receipts, joins and leaves that the Store does not take are kept until it
// does.
func TestStoreThatCannotBeAdvanced(t *testing.T) {
	virtual(t, func(t *testing.T) {
		store := &brokenStore{Store: gohub.NewMemoryStore(gohub.MemoryStoreOptions{})}
		w := startVirtual(t, gohub.Config{Store: store})
		alice, bob := w.as("alice", "r"), w.as("bob", "r", "q")
		pass(time.Second)
		m1, m2 := alice.say("r", 1).num("seq"), alice.say("r", 2).num("seq")
		store.broken("Advance", -1)
		bob.reads("r", "seen", m1)
		pass(time.Second)
		require.Empty(t, alice.all("receipt"))
		bob.reads("r", "delivered", m2)
		bob.leave("q")
		store.broken("Advance", 0)
		pass(5 * time.Second) // the longest pause between attempts
		require.Equal(t, [][2]int64{{m2, m1}}, alice.receipts("bob"))
		pass(time.Second)
		rooms := bob.ask(frame{"type": "rooms"}, "rooms")
		require.Nil(t, roomIn(t, rooms, "q"))
		require.Equal(t, m1, roomIn(t, rooms, "r").num("seen"))
	})
}
