package gohub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// slowStore is a Store whose Append waits for the test, and fails as it says.
type slowStore struct {
	gohub.Store
	mu      sync.Mutex
	held    chan struct{} // Append waits until it is closed; nil: no waiting
	fail    func(batch []gohub.Message) error
	batches [][]gohub.Message // those that Append was called with
	called  chan struct{}
}

func newSlowStore() *slowStore {
	return &slowStore{Store: gohub.NewMemoryStore(gohub.MemoryStoreOptions{}), called: make(chan struct{}, 1000)}
}

func (s *slowStore) hold() {
	s.mu.Lock()
	s.held = make(chan struct{})
	s.mu.Unlock()
}

func (s *slowStore) release() {
	s.mu.Lock()
	close(s.held)
	s.held = nil
	s.mu.Unlock()
}

func (s *slowStore) failWith(f func([]gohub.Message) error) {
	s.mu.Lock()
	s.fail = f
	s.mu.Unlock()
}

func (s *slowStore) Append(ctx context.Context, batch []gohub.Message) ([]gohub.Ordered, error) {
	s.mu.Lock()
	held, fail := s.held, s.fail
	s.batches = append(s.batches, append([]gohub.Message(nil), batch...))
	s.mu.Unlock()
	s.called <- struct{}{}
	if held != nil {
		select {
		case <-held:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if fail != nil {
		if err := fail(batch); err != nil {
			return nil, err
		}
	}
	return s.Store.Append(ctx, batch)
}

func (s *slowStore) Durable() bool { return true }

func TestAckComesAfterTheStoreHasIt(t *testing.T) {
	store := newSlowStore()
	w := start(t, gohub.Config{Store: store})
	alice, bob := w.as("alice", "r"), w.as("bob", "r")
	store.hold()
	id := alice.publish("r", 1)
	bob.expect("message", "id", id) // live before durable
	alice.expect("message", "id", id)
	<-store.called
	alice.sync()
	require.Empty(t, alice.all("ack"), "nothing is stored yet")
	require.EqualValues(t, 1, w.hub.Stats().Uncommitted)
	store.release()
	alice.expect("ack", "id", id)
	_, found, err := store.Lookup(t.Context(), gohub.RoomID{Name: "r"}, id)
	require.NoError(t, err)
	require.True(t, found)
}

func TestUncommittedIsSeenByEveryRead(t *testing.T) {
	store := newSlowStore()
	w := start(t, gohub.Config{Store: store})
	alice := w.as("alice", "r")
	first := alice.say("r", "stored")
	store.hold()
	defer store.release()
	id := alice.publish("r", "ordered")
	seq := alice.expect("message", "id", id)["seq"]
	private := alice.publish("r", "for carol", "to", "carol")
	alice.expect("message", "id", private)

	bob := w.as("bob")
	joined := bob.ask(frame{"type": "join", "room": "r", "since": first["seq"]}, "joined")
	require.Equal(t, seq, joined["head"])
	bob.expect("message", "id", id)
	page := bob.ask(frame{"type": "history", "room": "r", "after": 0, "limit": 10}, "history")
	require.Len(t, page["messages"], 2)
	rooms := bob.ask(frame{"type": "rooms"}, "rooms")
	line := rooms["rooms"].([]any)[0].(map[string]any)
	require.Equal(t, seq, line["head"])
	require.EqualValues(t, 2, line["unread"])
	require.Empty(t, bob.messages("r"))

	// Also once nobody is in the room and it has to be read anew.
	for _, u := range []*user{alice, bob} {
		require.Equal(t, "left", u.ask(frame{"type": "leave", "room": "r"}, "left")["type"])
	}
	carol := w.as("carol")
	carol.ask(frame{"type": "join", "room": "r"}, "joined")
	carol.sync()
	require.Len(t, carol.messages("r"), 3)
}

// What is stored while somebody reads is in the page: the log is read before
// the Store.
func TestWhatIsStoredMeanwhileIsRead(t *testing.T) {
	slow := newSlowStore()
	store := newPausingStore(slow, func(q gohub.Query) bool { return q.Viewer == "bob" && q.Limit == 7 })
	w := start(t, gohub.Config{Store: store})
	alice, bob := w.as("alice", "r"), w.as("bob", "r")
	slow.hold()
	id := alice.publish("r", "ordered, and soon stored")
	bob.expect("message", "id", id)
	bob.send(frame{"type": "history", "ref": "page", "room": "r", "limit": 7})
	store.await(t)
	slow.release()
	alice.expect("ack", "id", id)
	w.settled()
	close(store.resume)
	require.Len(t, bob.expect("history", "ref", "page")["messages"], 1)
}

func TestBusyWhenTheQueueIsFull(t *testing.T) {
	store := newSlowStore()
	w := start(t, gohub.Config{Store: store, MaxPending: 8})
	alice, bob := w.as("alice", "r", "other"), w.as("bob", "r", "other")
	store.hold()
	var ids []string
	for i := range 4 { // half of 8: a single room may have no more
		ids = append(ids, alice.publish("r", i))
	}
	no := alice.say("r", "too many")
	require.Equal(t, "error", no["type"])
	require.Equal(t, "busy", no["code"])
	require.Positive(t, no.num("retry_ms"))
	for i := range 4 {
		ids = append(ids, alice.publish("other", i)) // the other rooms go on
	}
	require.Equal(t, "busy", alice.say("other", "too many")["code"])
	store.release()
	for _, id := range ids {
		alice.expect("ack", "id", id)
		bob.expect("message", "id", id)
	}
	bob.sync()
	require.Empty(t, bob.messages("r"), "nobody sees what was refused")
	w.settled() // a place is free a moment after the ack
	require.Equal(t, "ack", alice.say("r", "again")["type"])
	w.settled()
}

func TestBusyWhenTheQueueHasTooManyBytes(t *testing.T) {
	store := newSlowStore()
	w := start(t, gohub.Config{Store: store, MaxBody: 4000, MaxPendingBytes: 10_000})
	alice, bob := w.as("alice", "r"), w.as("bob", "r")
	store.hold()
	big := strings.Repeat("x", 3900)
	ids := []string{alice.publish("r", big), alice.publish("r", big)}
	require.Equal(t, "busy", alice.say("r", big)["code"])
	ids = append(ids, alice.publish("r", "small"))
	store.release()
	for _, id := range ids {
		alice.expect("ack", "id", id)
		bob.expect("message", "id", id)
	}
	bob.sync()
	require.Empty(t, bob.messages("r"), "nobody sees what was refused")
	w.settled()
	require.Equal(t, "ack", alice.say("r", big)["type"])
}

// settled waits until nothing is on its way to the Store.
func (w *world) settled() {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return w.hub.Stats().Uncommitted == 0 }, patience, time.Millisecond)
}

// However much waits, a Store gets it in pieces that one statement can take.
func TestAppendsAreBounded(t *testing.T) {
	virtual(t, func(t *testing.T) {
		store := newSlowStore()
		w := startVirtual(t, gohub.Config{Store: store, MaxFrame: 1 << 20})
		for room, c := range map[string]struct{ n, size int }{"many": {600, 10}, "big": {6, 900_000}} {
			var wg sync.WaitGroup
			post := func() {
				body := []byte(`"` + strings.Repeat("x", c.size) + `"`)
				_, err := w.hub.Publish(t.Context(), gohub.Message{Room: gohub.RoomID{Name: room}, Sender: "bot", Body: body})
				assert.NoError(t, err)
			}
			store.hold()
			wg.Go(post)
			synctest.Wait() // it is being stored; the others gather behind it
			for range c.n {
				wg.Go(post)
			}
			synctest.Wait()
			store.release()
			wg.Wait()
		}
		store.mu.Lock()
		defer store.mu.Unlock()
		total, most := 0, 0
		for _, batch := range store.batches {
			size := 0
			for _, m := range batch {
				size += len(m.Body)
			}
			require.LessOrEqual(t, size, 4<<20)
			total, most = total+len(batch), max(most, len(batch))
		}
		require.Equal(t, 608, total)
		require.Equal(t, 512, most)
	})
}

// A client that is told "busy" is told when half of the queue will be gone.
func TestBusySaysWhenToTryAgain(t *testing.T) {
	virtual(t, func(t *testing.T) {
		store := newSlowStore()
		w := startVirtual(t, gohub.Config{Store: store, MaxPending: 100})
		store.failWith(func(b []gohub.Message) error { // 20 messages a second
			time.Sleep(time.Duration(len(b)) * 50 * time.Millisecond)
			return nil
		})
		alice := w.as("alice", "r")
		var retries []int64
		for range 60 { // 100 ms each: twice what the Store can take
			for range 4 {
				alice.publish("r", 1)
			}
			pass(100 * time.Millisecond)
			for _, e := range alice.all("error") {
				require.Equal(t, "busy", e["code"])
				retries = append(retries, e.num("retry_ms"))
			}
		}
		require.NotEmpty(t, retries)
		last := retries[len(retries)-1]
		require.InDelta(t, 50/2*1000/20, last, 100, "50 are queued for the room, and 20 are stored a second: %v", retries)

		// A fast Store that fails is asked again a second later at the earliest.
		store.failWith(nil)
		pass(10 * time.Second)
		for range 200 { // of no time each
			require.Equal(t, "ack", alice.say("r", 1)["type"])
		}
		store.failWith(func([]gohub.Message) error { return errors.New("down") })
		for range 60 {
			alice.publish("r", 1)
		}
		pass(time.Second)
		down := alice.all("error")
		require.NotEmpty(t, down)
		alice.publish("r", 1)
		require.EqualValues(t, 1000, alice.expect("error", "code", "busy").num("retry_ms"))
		store.failWith(nil)
		pass(time.Minute)
	})
}

// A room with thousands of messages to be stored does not hold up the acks of
// others by more than its share of a batch.
func TestBusyRoomDoesNotStarveOthers(t *testing.T) {
	virtual(t, func(t *testing.T) {
		const quiet = 50 // some of them in the busy one's lane
		store := newSlowStore()
		store.failWith(func([]gohub.Message) error { time.Sleep(10 * time.Millisecond); return nil }) // lanes keep step
		w := startVirtual(t, gohub.Config{Store: store})
		post := func(room string) {
			_, err := w.hub.Publish(t.Context(), gohub.Message{Room: gohub.RoomID{Name: room}, Sender: "bot", Body: []byte("1")})
			assert.NoError(t, err)
		}
		var wg sync.WaitGroup
		store.hold()
		for range 5000 {
			wg.Go(func() { post("busy") })
		}
		synctest.Wait()
		for i := range quiet {
			wg.Go(func() { post(fmt.Sprint("quiet", i)) })
		}
		synctest.Wait()
		store.release()
		wg.Wait()
		store.mu.Lock()
		defer store.mu.Unlock()
		busy, others := 0, 0
		for _, batch := range store.batches {
			for _, m := range batch {
				switch {
				case m.Room.Name != "busy":
					others++
				case others < quiet:
					busy++
				}
			}
		}
		require.Equal(t, quiet, others)
		require.LessOrEqual(t, busy, 2*512, "stored before the last quiet room's")
	})
}

func TestStoreThatFailsIsTriedAgainInOrder(t *testing.T) {
	store := newSlowStore()
	w := start(t, gohub.Config{Store: store})
	alice := w.as("alice", "r")
	tries := 0
	store.failWith(func([]gohub.Message) error {
		if tries++; tries <= 3 {
			return errors.New("connection refused: secret-host:5432")
		}
		return nil
	})
	var ids []string
	for i := range 10 {
		ids = append(ids, alice.publish("r", i))
	}
	for _, id := range ids {
		f := alice.until("an answer to "+id, func(f frame) bool { return f["type"] == "ack" || f["type"] == "error" })
		require.Equal(t, "ack", f["type"])
		require.Equal(t, id, f["id"], "acks come in the order of the publishes")
	}
}

// However long a Store was away, it is found within a second of its return.
func TestStoreThatComesBackIsFoundSoon(t *testing.T) {
	virtual(t, func(t *testing.T) {
		store := newSlowStore()
		w := startVirtual(t, gohub.Config{Store: store})
		alice := w.as("alice", "r")
		for _, away := range []time.Duration{time.Second, 10 * time.Second, time.Hour / 10} {
			store.failWith(func([]gohub.Message) error {
				<-store.called // or its channel is full one day
				return errors.New("away")
			})
			id := alice.publish("r", 1)
			pass(away)
			require.Empty(t, alice.all("ack"))
			store.failWith(nil)
			pass(time.Second)
			acks := alice.all("ack")
			require.Len(t, acks, 1, "after %v", away)
			require.Equal(t, id, acks[0].str("id"))
		}
	})
}

func TestRowThatCannotBeStoredIsRefusedAlone(t *testing.T) {
	store := newSlowStore()
	w := start(t, gohub.Config{Store: store})
	alice := w.as("alice", "r")
	store.hold()
	alice.publish("r", "first, alone in its batch")
	<-store.called
	var ids []string
	for i := range 5 {
		ids = append(ids, alice.publish("r", i))
	}
	alice.sync()
	store.failWith(func(batch []gohub.Message) error {
		for i, m := range batch {
			if m.ID == ids[2] {
				return &gohub.RowError{Index: i, Err: errors.New("column body: secret detail")}
			}
		}
		return nil
	})
	store.release()
	for i, id := range ids {
		f := alice.until("an answer to "+id, func(f frame) bool {
			return f["id"] == id && (f["type"] == "ack" || f["type"] == "error")
		})
		if i == 2 {
			require.Equal(t, "bad_request", f["code"])
			require.Nil(t, f["retry_ms"], "trying again does not help")
			require.NotContains(t, f["message"], "secret")
		} else {
			require.Equal(t, "ack", f["type"])
		}
	}
	w.settled()
}

func TestRetryWaitsForTheFirst(t *testing.T) {
	store := newSlowStore()
	w := start(t, gohub.Config{Store: store})
	alice, again, bob := w.as("alice", "r"), w.as("alice", "r"), w.as("bob", "r")
	store.hold()
	id := alice.publish("r", "once")
	seq := bob.expect("message", "id", id)["seq"]
	alice.sync() // bob may have it while she is still at it
	again.send(frame{"type": "publish", "room": "r", "id": id, "body": "twice", "retry": true})
	again.sync()
	bob.send(frame{"type": "publish", "room": "r", "id": id, "body": "mine", "retry": true})
	require.Equal(t, "id_conflict", bob.expect("error", "id", id)["code"])
	require.Empty(t, again.all("ack"), "nothing is stored yet")
	store.release()
	require.Nil(t, alice.expect("ack", "id", id)["duplicate"])
	dup := again.expect("ack", "id", id)
	require.Equal(t, true, dup["duplicate"])
	require.Equal(t, seq, dup["seq"])
	bob.sync()
	require.Empty(t, bob.messages("r"), "one message")
}

// Everybody is told of their own messages in a batch, once each, however they
// are mixed, and owes nothing afterwards.
func TestAcksOfABatch(t *testing.T) {
	virtual(t, func(t *testing.T) {
		store := newSlowStore()
		w := startVirtual(t, gohub.Config{Store: store, DrainTime: -1})
		alice, again, bob := w.as("alice", "r"), w.as("alice", "r"), w.as("bob", "r")
		store.hold()
		taken := gohub.NewID() // somebody else's, by the time it is stored
		first := alice.publish("r", "alone in the first batch")
		synctest.Wait()
		_, err := store.Store.Append(t.Context(), []gohub.Message{{Room: gohub.RoomID{Name: "r"}, ID: taken, Seq: 1, Sender: "carol"}})
		require.NoError(t, err)
		want := map[*user][]string{alice: {first}}
		for i := range 3 {
			for _, u := range []*user{alice, bob} {
				want[u] = append(want[u], u.publish("r", i))
				synctest.Wait()
			}
		}
		twice := want[alice][2]
		again.send(frame{"type": "publish", "room": "r", "id": twice, "body": "twice", "retry": true})
		alice.send(frame{"type": "publish", "room": "r", "id": taken, "body": "mine"})
		synctest.Wait()
		require.Len(t, store.batches, 1)
		store.release()
		synctest.Wait()
		require.Len(t, store.batches, 2)
		require.Len(t, store.batches[1], 7)
		acked := func(u *user) (ids []string) {
			for _, f := range u.all("ack") {
				require.Equal(t, "r", f["room"])
				require.Equal(t, u == again, f["duplicate"] == true)
				ids = append(ids, f["id"].(string))
			}
			return ids
		}
		require.Equal(t, want[alice], acked(alice))
		require.Equal(t, want[bob], acked(bob))
		require.Equal(t, []string{twice}, acked(again))
		alice.expect("error", "id", taken, "code", "id_conflict")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		require.NoError(t, w.hub.Shutdown(ctx))
		require.Zero(t, time.Since(start), "nobody is waited for")
	})
}

func TestShutdownStoresAndAcks(t *testing.T) {
	store := newSlowStore()
	hub, err := gohub.New(gohub.Config{Store: store, AllowAnonymous: true})
	require.NoError(t, err)
	store.hold()
	done := make(chan error, 1)
	go func() {
		_, err := hub.Publish(context.Background(), gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "program", Body: []byte(`1`)})
		done <- err
	}()
	<-store.called
	down := make(chan error, 1)
	go func() { down <- hub.Shutdown(context.Background()) }()
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		_, err := hub.Publish(ctx, gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "program", Body: []byte(`2`)})
		var e *gohub.Error
		return errors.As(err, &e) && e.Code == gohub.CodeDraining
	}, patience, time.Millisecond)
	select {
	case err := <-down:
		t.Fatal("Shutdown did not wait for what is being stored", err)
	default:
	}
	store.release()
	require.NoError(t, <-done)
	require.NoError(t, <-down)
	require.NoError(t, hub.Shutdown(context.Background()), "again")
}

func TestShutdownSaysWhatWasNotStored(t *testing.T) {
	store := newSlowStore()
	hub, err := gohub.New(gohub.Config{Store: store, AllowAnonymous: true})
	require.NoError(t, err)
	store.hold()
	defer store.release()
	pub, cancelPub := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = hub.Publish(pub, gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "program", Body: []byte(`1`)})
	}()
	<-store.called
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	err = hub.Shutdown(ctx)
	require.ErrorContains(t, err, "1 messages and 0 receipts were not stored")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	cancelPub()
	<-done
}
