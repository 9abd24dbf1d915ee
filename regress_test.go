package gohub_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// A hookedStore asks the test first. It is no *MemoryStore, so the hub takes
// it for one that may wait.
type hookedStore struct {
	gohub.Store
	mu    sync.Mutex
	hooks storeHooks
}

// storeHooks are called, where set, before the Store is, and answer for it
// with an error; read is called after it.
type storeHooks struct {
	add, advance func(ctx context.Context) error
	history      func(ctx context.Context, q gohub.Query) error
	read         func(ctx context.Context, q gohub.Query) error
}

func newHookedStore() *hookedStore {
	return &hookedStore{Store: gohub.NewMemoryStore(gohub.MemoryStoreOptions{})}
}

func (s *hookedStore) set(h storeHooks) {
	s.mu.Lock()
	s.hooks = h
	s.mu.Unlock()
}

func (s *hookedStore) now() storeHooks {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hooks
}

func (s *hookedStore) Append(ctx context.Context, batch []gohub.Message) ([]gohub.Ordered, error) {
	if f := s.now().add; f != nil {
		if err := f(ctx); err != nil {
			return nil, err
		}
	}
	return s.Store.Append(ctx, batch)
}

func (s *hookedStore) Advance(ctx context.Context, ws []gohub.Watermark) ([]gohub.Watermark, error) {
	if f := s.now().advance; f != nil {
		if err := f(ctx); err != nil {
			return nil, err
		}
	}
	return s.Store.Advance(ctx, ws)
}

func (s *hookedStore) History(ctx context.Context, q gohub.Query) ([]gohub.Message, bool, error) {
	h := s.now()
	if h.history != nil {
		if err := h.history(ctx, q); err != nil {
			return nil, false, err
		}
	}
	ms, more, err := s.Store.History(ctx, q)
	if err == nil && h.read != nil {
		err = h.read(ctx, q)
	}
	return ms, more, err
}

// A barrier holds up who passes it until it is opened.
type barrier struct {
	reached chan struct{} // gets one for each who came
	opened  chan struct{}
	open    func()
}

// newBarrier makes one that is open when the test has ended, however it ends.
func newBarrier(t *testing.T) *barrier {
	t.Helper()
	b := &barrier{reached: make(chan struct{}, 1000), opened: make(chan struct{})}
	b.open = sync.OnceFunc(func() { close(b.opened) })
	t.Cleanup(b.open)
	return b
}

func (b *barrier) pass(ctx context.Context) error {
	b.reached <- struct{}{}
	select {
	case <-b.opened:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// What a joiner may not see, more of it than a replay catches up with at
// once, was read again and again: the join never ended.
func TestJoinDoesNotSpinOnWhatItMayNotSee(t *testing.T) {
	virtual(t, func(t *testing.T) {
		store := newHookedStore()
		w := startVirtual(t, gohub.Config{Store: store})
		alice := w.as("alice", "r")
		seqs := w.fill("r", 70)
		for range 6 {
			alice.say("r", strings.Repeat("x", 60_000), "to", "bob")
		}
		carol := w.as("carol")
		var reads atomic.Int64
		store.set(storeHooks{history: func(context.Context, gohub.Query) error {
			if reads.Add(1) > 50 {
				return errSecret // or a join that spins would not end
			}
			return nil
		}})
		require.Equal(t, "joined", carol.join("r", seqs[0]-1)["type"])
		carol.sync()
		require.Equal(t, seqs, seqsOf(carol.collect("r", len(seqs))))
		require.Less(t, reads.Load(), int64(10))
	})
}

// Shutdown waited, whatever its context, for receipts that the Store did not
// take. (In real time: synctest does not see through a mutex.)
func TestShutdownDoesNotWaitForAStoreThatHangs(t *testing.T) {
	t.Parallel()
	store := newHookedStore()
	w := start(t, gohub.Config{Store: store})
	hung := newBarrier(t)
	store.set(storeHooks{advance: hung.pass})
	w.as("alice", "r") // which is stored a little later
	<-hung.reached
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	done := make(chan struct{})
	go func() { // ends with Shutdown
		defer close(done)
		_ = w.hub.Shutdown(ctx) // nothing but a join is lost: an error or none
	}()
	select {
	case <-done:
	case <-time.After(patience):
		require.FailNow(t, "Shutdown has not returned")
	}
}

// Each join of a client that did not read queued a replay, and replays do not
// count against MaxQueue: a few KiB sent cost the hub hundreds of MiB.
func TestJoinsWaitForAClientThatDoesNotRead(t *testing.T) {
	virtual(t, func(t *testing.T) {
		var taken atomic.Int64
		w := startVirtual(t, gohub.Config{MayJoin: func(_ context.Context, who gohub.Identity, _ gohub.RoomID) error {
			if who.User == "mallory" {
				taken.Add(1)
			}
			return nil
		}})
		w.as("alice", "r")
		body := []byte(`"` + strings.Repeat("x", 5_000) + `"`)
		for range 20 {
			w.post(gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "alice", Body: body})
		}
		mallory := w.bare("user=mallory")
		const joins = 20
		go func() { // ends when all are taken, or with the connection
			for i := range joins {
				p := fmt.Appendf(nil, `{"type":"join","room":"r","ref":%d}`, i)
				if _, err := mallory.nc.Write(maskedText(p)); err != nil {
					return
				}
			}
		}()
		synctest.Wait()
		require.Less(t, taken.Load(), int64(4), "replays that nobody reads")

		for n := 0; n < joins; { // it gets them all as it reads
			f, err := mallory.frame()
			require.NoError(t, err)
			if f["type"] == "joined" {
				n++
			}
		}
		require.EqualValues(t, joins, taken.Load())
	})
}

// maskedText is a text frame of a client, masked with zeros.
func maskedText(p []byte) []byte {
	f := []byte{0x80 | opText, 0x80 | byte(len(p))}
	if len(p) > 125 {
		f = binary.BigEndian.AppendUint16([]byte{0x80 | opText, 0x80 | 126}, uint16(len(p)))
	}
	return append(append(f, 0, 0, 0, 0), p...)
}

// While the Store looked for a page of history, its session got nothing live.
func TestLiveMessagesDoNotWaitForHistory(t *testing.T) {
	virtual(t, func(t *testing.T) {
		store := newHookedStore()
		w := startVirtual(t, gohub.Config{Store: store})
		alice, bob := w.as("alice", "r"), w.as("bob", "r")
		slow := newBarrier(t)
		store.set(storeHooks{history: func(ctx context.Context, _ gohub.Query) error { return slow.pass(ctx) }})
		bob.send(frame{"type": "history", "room": "r", "before": 5, "ref": "h"})
		<-slow.reached
		id := alice.publish("r", "live")
		bob.expect("message", "id", id)
		require.Empty(t, bob.all("history"))
		slow.open()
		bob.expect("history", "ref", "h")
	})
}

// Two messages were ordered after a page's log was read, and only the later
// one was stored when the Store was: who went on after it never got the other.
func TestHistoryHasNoHoleWhereTheStoreHasOne(t *testing.T) {
	virtual(t, func(t *testing.T) {
		broker, memory := gohub.NewMemoryBroker(), gohub.NewMemoryStore(gohub.MemoryStoreOptions{})
		storeA, storeB := &hookedStore{Store: memory}, &hookedStore{Store: memory}
		a := startVirtual(t, gohub.Config{Store: storeA, Broker: broker})
		b := startVirtual(t, gohub.Config{Store: storeB, Broker: broker})
		alice, bob := a.as("alice", "r"), b.as("bob", "r")
		first := alice.say("r", "first").num("seq")
		unstored, paused := newBarrier(t), newBarrier(t)
		storeA.set(storeHooks{add: unstored.pass})
		storeB.set(storeHooks{history: func(ctx context.Context, _ gohub.Query) error { return paused.pass(ctx) }})

		bob.send(frame{"type": "history", "room": "r", "after": first - 1, "ref": "h"})
		<-paused.reached // it has read the log
		id := alice.publish("r", "not stored")
		alice.expect("message", "id", id)
		b.post(gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "bot", Body: []byte(`"stored"`)})
		paused.open()
		var got []any
		page := bob.expect("history", "ref", "h")
		for range 3 {
			at := first
			for _, m := range page["messages"].([]any) {
				got = append(got, m.(map[string]any)["body"])
				at = frame(m.(map[string]any)).num("seq")
			}
			if len(got) >= 3 {
				break
			}
			page = bob.ask(frame{"type": "history", "room": "r", "after": at}, "history")
		}
		require.Equal(t, []any{"first", "not stored", "stored"}, got)
		unstored.open()
		alice.expect("ack", "id", id)
	})
}

// A join read the messages first and the head of the room afterwards: what
// came in between was in neither, and live only for those already there.
func TestJoinMissesNothingThatComesBetweenItsReads(t *testing.T) {
	for n := range 2 {
		t.Run(fmt.Sprint("after read ", n+1), func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				store := newHookedStore()
				w := startVirtual(t, gohub.Config{Store: store})
				alice := w.as("alice", "r")
				first := alice.say("r", "first").num("seq")
				for range 70 { // more than the room holds for joins
					alice.say("r", "private", "to", "bob")
				}
				paused := newBarrier(t)
				var reads atomic.Int64
				store.set(storeHooks{read: func(ctx context.Context, q gohub.Query) error {
					if q.Viewer == "carol" && reads.Add(1) == int64(n+1) {
						return paused.pass(ctx)
					}
					return nil
				}})
				carol := w.as("carol")
				carol.send(frame{"type": "join", "room": "r", "since": first, "ref": "j"})
				<-paused.reached
				want := w.fill("r", 1)
				paused.open()
				carol.expect("joined", "ref", "j")
				want = append(want, w.fill("r", 1)...)
				require.Equal(t, want, seqsOf(carol.collect("r", 2)))
				carol.sync()
				require.Empty(t, carol.messages("r"))
			})
		})
	}
}

// ErrUnavailable on the repetition of a publish of unknown outcome was taken
// for the outcome: everybody saw the message, and nobody stored it.
func TestUnavailableAfterUnknownIsNoOutcome(t *testing.T) {
	virtual(t, func(t *testing.T) {
		b := &faultyBroker{MemoryBroker: gohub.NewMemoryBroker()}
		store := newHookedStore()
		w := startVirtual(t, gohub.Config{Broker: b, Store: store})
		alice, bob := w.as("alice", "r"), w.as("bob", "r")
		b.mu.Lock()
		b.answers = []error{gohub.ErrUnknown, gohub.ErrUnavailable} // the first one has ordered it
		b.mu.Unlock()
		ack := alice.say("r", "x")
		require.Equal(t, "ack", ack["type"], "%v", ack)
		require.Equal(t, ack["seq"], bob.expect("message", "id", ack["id"])["seq"])
		_, found, err := store.Lookup(t.Context(), gohub.RoomID{Name: "r"}, ack.str("id"))
		require.NoError(t, err)
		require.True(t, found, "acked is stored")
		bob.sync()
		require.Empty(t, bob.messages("r"))
	})
}

// A forgetfulBroker's caller gives up just as the message has been sent, and
// once a context has ended its outcome is unknown, as with a network's client.
type forgetfulBroker struct {
	*gohub.MemoryBroker
	giveUp func()
	tries  atomic.Int64
}

func (b *forgetfulBroker) Publish(ctx context.Context, floor int64, ms ...gohub.Message) []gohub.Ordered {
	if b.tries.Add(1) == 1 {
		b.giveUp()
	}
	if ctx.Err() != nil {
		return []gohub.Ordered{{Err: gohub.ErrUnknown}}
	}
	return b.MemoryBroker.Publish(ctx, floor, ms...)
}

// A publish of unknown outcome was repeated with its caller's context, which
// had ended: for ever, without any outcome.
func TestPublishOfUnknownOutcomeOutlivesItsContext(t *testing.T) {
	virtual(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		b := &forgetfulBroker{MemoryBroker: gohub.NewMemoryBroker(), giveUp: cancel}
		store := newHookedStore()
		w := startVirtual(t, gohub.Config{Broker: b, Store: store})
		m := gohub.Message{Room: gohub.RoomID{Name: "r"}, ID: gohub.NewID(), Sender: "bot", Body: []byte("1")}
		done := make(chan struct{})
		go func() { // ends with Publish
			defer close(done)
			_, _ = w.hub.Publish(ctx, m) // stored already or not: an error or none
		}()
		select {
		case <-done:
		case <-time.After(patience):
			require.FailNow(t, "Publish has not returned", "after %d tries", b.tries.Load())
		}
		pass(time.Second)
		_, found, err := store.Lookup(t.Context(), m.Room, m.ID)
		require.NoError(t, err)
		require.True(t, found, "what was ordered is stored")
	})
}

// A room was opened with the context of who came first: when that one gave up,
// the joins that waited for the room failed with it.
func TestJoinDoesNotFailWithAnotherCallersContext(t *testing.T) {
	virtual(t, func(t *testing.T) {
		store := newHookedStore()
		w := startVirtual(t, gohub.Config{Store: store})
		bob := w.as("bob")
		slow := newBarrier(t)
		store.set(storeHooks{history: func(ctx context.Context, _ gohub.Query) error { return slow.pass(ctx) }})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { // ends with Publish
			defer close(done)
			_, _ = w.hub.Publish(ctx, gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "bot", Body: []byte("1")})
		}()
		<-slow.reached // the room is being opened
		bob.send(frame{"type": "join", "room": "r", "ref": "j"})
		synctest.Wait()
		cancel()
		synctest.Wait()
		slow.open()
		<-done
		bob.expect("joined", "ref", "j")
	})
}

// Who connected after a direct message's invite had gone out, and asked for
// the rooms before it was stored, learned of the room in no way.
func TestDirectRoomIsListedBeforeItsFirstMessageIsStored(t *testing.T) {
	virtual(t, func(t *testing.T) {
		store := newHookedStore()
		w := startVirtual(t, gohub.Config{Store: store})
		alice := w.as("alice")
		unstored := newBarrier(t)
		store.set(storeHooks{add: unstored.pass})
		id := alice.publish("", "hi", "to", "bob")
		seq := alice.expect("message", "id", id).num("seq")
		bob := w.as("bob")
		for range 2 {
			line := roomIn(t, bob.ask(frame{"type": "rooms"}, "rooms"), "@alice,bob")
			require.NotNil(t, line)
			require.Equal(t, seq, line.num("head"))
			require.EqualValues(t, 1, line.num("unread"))
			unstored.open() // and the same afterwards
			pass(time.Second)
		}
		alice.expect("ack", "id", id)
		require.Empty(t, bob.all("invite"))
	})
}

// While anything in a room was not stored, its unread messages were counted
// in a page that the reader's own, older ones had filled.
func TestUnreadCountsBeyondOnesOwnMessages(t *testing.T) {
	virtual(t, func(t *testing.T) {
		store := newHookedStore()
		w := startVirtual(t, gohub.Config{Store: store})
		alice, bob := w.as("alice", "r"), w.as("bob", "r")
		for range 200 {
			w.post(gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "alice"})
		}
		w.fill("r", 10)
		unread := func() int64 {
			return roomIn(t, alice.ask(frame{"type": "rooms"}, "rooms"), "r").num("unread")
		}
		require.EqualValues(t, 10, unread())
		unstored := newBarrier(t)
		store.set(storeHooks{add: unstored.pass})
		id := bob.publish("r", "one more")
		alice.expect("message", "id", id)
		require.EqualValues(t, 11, unread())
		unstored.open()
		bob.expect("ack", "id", id)
		require.EqualValues(t, 11, unread())
	})
}

// What a client had published was shown only after its next command, about
// another room, had its answer from the Store.
func TestPublishDoesNotWaitForTheNextCommandsRoom(t *testing.T) {
	virtual(t, func(t *testing.T) {
		store := newHookedStore()
		w := startVirtual(t, gohub.Config{Store: store})
		bob, alice := w.as("bob", "r"), w.bare("user=alice")
		slow := newBarrier(t)
		store.set(storeHooks{history: func(ctx context.Context, q gohub.Query) error {
			if strings.HasPrefix(q.Room.Name, "@") {
				return slow.pass(ctx)
			}
			return nil
		}})
		// In one write, so that the hub has it all at once.
		burst := maskedText([]byte(`{"type":"join","room":"r"}`))
		for range 5 {
			burst = append(burst, maskedText(fmt.Appendf(nil, `{"type":"publish","room":"r","body":1,"id":%q}`, gohub.NewID()))...)
		}
		burst = append(burst, maskedText(fmt.Appendf(nil, `{"type":"publish","to":"bob","body":1,"id":%q}`, gohub.NewID()))...)
		_, err := alice.nc.Write(burst)
		require.NoError(t, err)
		<-slow.reached
		synctest.Wait() // no longer: later, any event of the room would bring them
		require.Len(t, bob.messages("r"), 5)
		slow.open()
		for acks := 0; acks < 6; {
			f, err := alice.frame()
			require.NoError(t, err)
			if f["type"] == "ack" {
				acks++
			}
		}
	})
}

// What a room holds for joins was bounded by number only, and by a large one
// while publishes were under way: messages of 30 KB made that 60 MiB a room.
func TestRoomHoldsFewLargeMessages(t *testing.T) {
	virtual(t, func(t *testing.T) {
		store := newHookedStore()
		w := startVirtual(t, gohub.Config{Store: store, MaxQueue: 4 << 20})
		alice := w.bare("user=alice") // the room stays; she reads none of it
		alice.text(`{"type":"join","room":"r"}`)
		synctest.Wait()
		body := []byte(`"` + strings.Repeat("x", 60_000) + `"`)
		var seqs []int64
		for range 20 { // fewer than it holds of small ones, and 1.2 MB
			seqs = append(seqs, w.post(gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "bot", Body: body}))
		}
		var reads atomic.Int64
		store.set(storeHooks{history: func(_ context.Context, q gohub.Query) error {
			if q.Viewer != "" { // not the room's own
				reads.Add(1)
			}
			return nil
		}})
		few := w.as("few")
		few.join("r", seqs[15])
		require.Equal(t, seqs[16:], seqsOf(few.collect("r", 4)))
		require.Zero(t, reads.Load(), "the newest are at hand")
		all := w.as("all")
		all.join("r", seqs[0]-1)
		require.Equal(t, seqs, seqsOf(all.collect("r", len(seqs))))
		require.NotZero(t, reads.Load(), "all 1.2 MB are in memory")
	})
}

// A repair began anew whenever a message had come meanwhile: in a busy room
// one lost delivery kept the hub reading from the Store for ever.
func TestRepairEndsThoughMessagesKeepComing(t *testing.T) {
	virtual(t, func(t *testing.T) {
		b := newDroppingBroker(gohub.NewMemoryBroker(), 1, 0)
		store := newHookedStore()
		w := startVirtual(t, gohub.Config{Broker: b, Store: store})
		alice := w.as("alice", "r")
		want := w.fill("r", 1)
		var repairs atomic.Int64
		came := make(chan int64, 100)
		store.set(storeHooks{history: func(ctx context.Context, q gohub.Query) error {
			if q.Viewer != "" || q.Newest || repairs.Add(1) > 50 {
				return nil
			}
			m, err := w.hub.Publish(ctx, gohub.Message{Room: q.Room, Sender: "bot", Body: []byte("1")})
			assert.NoError(t, err)
			came <- m.Seq
			return nil
		}})
		b.lose(1)
		want = append(want, w.fill("r", 1)...)
		b.lose(0)
		want = append(want, w.fill("r", 1)...) // shows the gap
		pass(time.Second)
		require.Positive(t, repairs.Load())
		require.Less(t, repairs.Load(), int64(5))
		for len(came) > 0 {
			want = append(want, <-came)
		}
		require.Equal(t, want, seqsOf(alice.collect("r", len(want))))
		alice.sync()
		require.Empty(t, alice.messages("r"))
	})
}
