package gohub_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// faultyBroker is a MemoryBroker behind a network that misbehaves.
type faultyBroker struct {
	*gohub.MemoryBroker
	mu      sync.Mutex
	to      *lossy
	answers []error // what the next Publishes return, though they may have worked
	before  bool    // the error came before the publish reached the broker
	tried   int
	logless atomic.Bool // the log cannot be read
	asked   atomic.Int32
	read    atomic.Pointer[func()] // called once, when the log has been read and not answered
}

type lossy struct {
	gohub.Receiver
	mu   sync.Mutex
	lose int // so many deliveries
}

func (l *lossy) Deliver(m gohub.Message, prev int64) {
	l.mu.Lock()
	lost := l.lose > 0
	if lost {
		l.lose--
	}
	l.mu.Unlock()
	if !lost {
		l.Receiver.Deliver(m, prev)
	}
}

func (b *faultyBroker) receiver(r gohub.Receiver) *lossy {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.to == nil {
		b.to = &lossy{Receiver: r}
	}
	return b.to
}

func (b *faultyBroker) Run(ctx context.Context, r gohub.Receiver) error {
	return b.MemoryBroker.Run(ctx, b.receiver(r))
}

func (b *faultyBroker) Subscribe(ctx context.Context, r gohub.Receiver, room gohub.RoomID) error {
	return b.MemoryBroker.Subscribe(ctx, b.receiver(r), room)
}

func (b *faultyBroker) Unsubscribe(r gohub.Receiver, room gohub.RoomID) {
	b.MemoryBroker.Unsubscribe(b.receiver(r), room)
}

func (b *faultyBroker) Publish(ctx context.Context, floor int64, ms ...gohub.Message) []gohub.Ordered {
	b.mu.Lock()
	var err error
	if len(b.answers) > 0 {
		err, b.answers = b.answers[0], b.answers[1:]
	}
	b.tried++
	lost := err != nil && b.before
	b.mu.Unlock()
	if lost {
		return []gohub.Ordered{{Err: err}}
	}
	out := b.MemoryBroker.Publish(ctx, floor, ms...)
	if err != nil {
		return []gohub.Ordered{{Err: err}}
	}
	return out
}

func (b *faultyBroker) Log(ctx context.Context, room gohub.RoomID, after int64, limit int) ([]gohub.Message, int64, error) {
	b.asked.Add(1)
	if b.logless.Load() {
		return nil, 0, gohub.ErrUnavailable
	}
	ms, base, err := b.MemoryBroker.Log(ctx, room, after, limit)
	if read := b.read.Swap(nil); read != nil {
		(*read)()
	}
	return ms, base, err
}

// startFaulty starts a hub on a faultyBroker, by start or startVirtual.
func startFaulty(t *testing.T, begin func(*testing.T, gohub.Config) *world, cfg gohub.Config) (*world, *faultyBroker) {
	t.Helper()
	b := &faultyBroker{MemoryBroker: gohub.NewMemoryBroker()}
	cfg.Broker = b
	w := begin(t, cfg)
	// Run connects in the background.
	require.Eventually(t, func() bool {
		_, err := w.hub.Publish(t.Context(), gohub.Message{Room: gohub.RoomID{Name: "ready"}, Sender: "test", Body: []byte("1")})
		return err == nil
	}, patience, 1e6)
	return w, b
}

func TestUnknownOutcomeIsResolvedBeforeAnythingElse(t *testing.T) {
	virtual(t, func(t *testing.T) { // a session waits for two seconds, and no longer
		for _, before := range []bool{true, false} {
			w, b := startFaulty(t, startVirtual, gohub.Config{})
			alice, bob := w.as("alice", "r"), w.as("bob", "r")
			b.mu.Lock()
			b.before, b.answers = before, []error{gohub.ErrUnknown, gohub.ErrUnknown}
			b.mu.Unlock()
			first := alice.publish("r", 1)
			second := alice.publish("r", 2)
			alice.expect("ack", "id", first)
			alice.expect("ack", "id", second)
			require.Equal(t, first, bob.expect("message")["id"], "the second did not overtake")
			require.Equal(t, second, bob.expect("message")["id"])
			bob.sync()
			require.Empty(t, bob.messages("r"))
			require.Zero(t, w.hub.Stats().Uncommitted)
		}
	})
}

// While a Broker is away for long a session is not kept waiting, nor told nothing
// at all; and still nothing overtakes what may have been ordered.
func TestUnknownOutcomeHoldsNobodyUpForLong(t *testing.T) {
	virtual(t, func(t *testing.T) {
		for _, before := range []bool{true, false} {
			w, b := startFaulty(t, startVirtual, gohub.Config{})
			alice, bob := w.as("alice", "r"), w.as("bob", "r")
			b.mu.Lock()
			b.before, b.answers = before, slices.Repeat([]error{gohub.ErrUnknown}, 10_000)
			b.mu.Unlock()
			began := time.Now()
			first := alice.publish("r", 1)
			second := alice.publish("r", 2)
			for _, id := range []string{first, second} {
				e := alice.expect("error", "id", id)
				require.Equal(t, "unavailable", e["code"])
				require.Positive(t, e.num("retry_ms"))
			}
			alice.sync()
			require.Less(t, time.Since(began), 5*time.Second)
			if before {
				require.EqualValues(t, 1, w.hub.Stats().Uncommitted)
				b.mu.Lock()
				b.answers = []error{gohub.ErrUnavailable} // of a repetition this says nothing
				b.mu.Unlock()
			} else {
				require.Equal(t, first, bob.expect("message")["id"])
				b.mu.Lock()
				b.answers = nil
				b.mu.Unlock()
			}
			pass(5 * time.Second) // the pauses between attempts are shorter
			require.Zero(t, w.hub.Stats().Uncommitted, "it is stored without its sender")
			if before {
				require.Equal(t, first, bob.expect("message")["id"])
			}
			again := func(id string, body int) frame {
				require.Equal(t, id, alice.publish("r", body, "id", id, "retry", true))
				return alice.expect("ack", "id", id)
			}
			require.Equal(t, true, again(first, 1)["duplicate"])
			require.Nil(t, again(second, 2)["duplicate"])
			require.Equal(t, second, bob.expect("message")["id"])
			bob.sync()
			require.Empty(t, bob.messages("r"))
		}
	})
}

// What this hub may have ordered is stored, though nobody can say now who was
// the first: a Broker that has forgotten waits for it.
func TestUnknownOutcomeIsStoredWithoutTheLog(t *testing.T) {
	virtual(t, func(t *testing.T) {
		store := newSlowStore()
		w, b := startFaulty(t, startVirtual, gohub.Config{Store: store})
		alice, bob := w.as("alice", "r"), w.as("bob", "r")
		b.logless.Store(true)
		b.mu.Lock()
		b.answers = []error{gohub.ErrUnknown}
		b.mu.Unlock()
		id := alice.publish("r", "x")
		ack := alice.expect("ack", "id", id)
		require.Equal(t, bob.expect("message", "id", id).num("seq"), ack.num("seq"))
		synctest.Wait()
		require.Zero(t, w.hub.Stats().Uncommitted)
	})
}

func TestUnavailableBrokerRefusesAndForgets(t *testing.T) {
	w, b := startFaulty(t, start, gohub.Config{MaxPending: 4})
	alice := w.as("alice", "r")
	for range 20 { // more than could be reserved if a refusal kept its place
		b.mu.Lock()
		b.before, b.answers = true, []error{gohub.ErrUnavailable}
		b.mu.Unlock()
		no := alice.say("r", "x")
		require.Equal(t, "unavailable", no["code"])
		require.Positive(t, no.num("retry_ms"))
	}
	require.Equal(t, "ack", alice.say("r", "y")["type"])
	require.Zero(t, w.hub.Stats().Uncommitted)
}

func TestLostDeliveriesAreReadFromTheLog(t *testing.T) {
	store := newSlowStore()
	w, b := startFaulty(t, start, gohub.Config{Store: store})
	alice, bob := w.as("alice", "r"), w.as("bob", "r")
	var want []string
	for i := range 60 {
		if i%7 == 3 {
			b.to.mu.Lock()
			b.to.lose = i % 5
			b.to.mu.Unlock()
		}
		want = append(want, alice.say("r", i).str("id"))
	}
	b.to.mu.Lock()
	b.to.lose = 0
	b.to.mu.Unlock()
	want = append(want, alice.say("r", "last").str("id"))
	for _, id := range want {
		require.Equal(t, id, bob.expect("message")["id"])
	}
	bob.sync()
	require.Empty(t, bob.messages("r"))
}

// A room that cannot be repaired for a while has more to catch up with than it
// holds, or than fits on a page. Nothing comes afterwards to show a gap.
func TestARepairReadsToTheEnd(t *testing.T) {
	const messages = 600
	for name, c := range map[string]struct {
		page int
		lose int // of the deliveries, the last ones
	}{
		"the page reaches beyond what is held": {page: 300},
		"what is held goes on from the page":   {page: 5},
		"the last frames were lost":            {page: 300, lose: messages - 100},
		"all frames were lost":                 {page: 300, lose: messages},
	} {
		t.Run(name, func(t *testing.T) {
			w, b := startFaulty(t, start, gohub.Config{ReplayLimit: c.page})
			bob := w.as("bob", "r")
			id := gohub.RoomID{Name: "r"}
			b.logless.Store(true)
			asked := b.asked.Load()
			b.to.Suspect(id)
			require.Eventually(t, func() bool { return b.asked.Load() > asked }, patience, 1e6)
			for i := range messages {
				if i == messages-c.lose {
					b.to.mu.Lock()
					b.to.lose = c.lose
					b.to.mu.Unlock()
				}
				_, err := w.hub.Publish(t.Context(), gohub.Message{Room: id, Sender: "alice", Body: fmt.Append(nil, i)})
				require.NoError(t, err)
			}
			b.to.Suspect(id)
			b.logless.Store(false)
			for i := range messages {
				require.EqualValues(t, i, bob.expect("message").num("body"))
			}
		})
	}
}

// A cluster's log may hold more than one hub may have unstored.
func TestALogIsReadToTheEnd(t *testing.T) {
	const messages = 20
	w, b := startFaulty(t, start, gohub.Config{MaxPending: 4, JoinReplay: 3})
	bob := w.as("bob", "r")
	id := gohub.RoomID{Name: "r"}
	b.to.mu.Lock()
	b.to.lose = messages
	b.to.mu.Unlock()
	for i := range messages { // of another hub, which has not stored them
		m := gohub.Message{Room: id, ID: gohub.NewID(), Sender: "alice", Kind: "chat", Body: fmt.Append(nil, i)}
		require.NoError(t, b.MemoryBroker.Publish(t.Context(), 0, m)[0].Err)
	}
	newest := 0
	for m, err := range w.hub.History(t.Context(), gohub.Query{Room: id, Newest: true, Limit: 3}) {
		require.NoError(t, err)
		newest++
		require.Equal(t, fmt.Append(nil, messages-newest), m.Body)
	}
	require.Equal(t, messages, newest)
	b.to.Suspect(id)
	for i := range messages {
		require.EqualValues(t, i, bob.expect("message").num("body"))
	}
}

// A client that was with another hub is not shown again what it had there and
// what this one has yet to get.
func TestResumeAheadOfTheHub(t *testing.T) {
	w, b := startFaulty(t, start, gohub.Config{})
	carol := w.as("carol", "r")
	id := gohub.RoomID{Name: "r"}
	b.to.mu.Lock()
	b.to.lose = 3
	b.to.mu.Unlock()
	var seqs [3]int64
	for i := range seqs {
		m := gohub.Message{Room: id, ID: gohub.NewID(), Sender: "alice", Kind: "chat", Body: fmt.Append(nil, i)}
		out := b.MemoryBroker.Publish(t.Context(), 0, m)[0]
		require.NoError(t, out.Err)
		seqs[i] = out.Seq
	}
	bob, future := w.as("bob"), w.as("dave")
	require.Equal(t, seqs[2], bob.join("r", seqs[1]).num("head"))
	require.EqualValues(t, 2, bob.expect("message").num("body"))
	require.Equal(t, seqs[2], future.join("r", 1<<52).num("head"))
	b.to.Suspect(id)
	for i := range seqs {
		require.EqualValues(t, i, carol.expect("message").num("body"))
	}
	carol.publish("r", "live")
	for _, c := range []*user{carol, bob, future} {
		require.Equal(t, "live", c.expect("message")["body"])
	}
}

func TestWhatIsMissedDuringARepairIsReadAgain(t *testing.T) {
	for name, c := range map[string]struct{ messages, lose int }{
		"lost":              {1, 1},
		"more than is held": {300, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w, b := startFaulty(t, start, gohub.Config{})
			bob := w.as("bob", "r")
			id := gohub.RoomID{Name: "r"}
			_, err := w.hub.Publish(t.Context(), gohub.Message{Room: id, Sender: "alice", Body: []byte("-1")}) // from here on the log is asked
			require.NoError(t, err)
			require.EqualValues(t, -1, bob.expect("message").num("body"))
			b.read.Store(new(func() {
				b.to.mu.Lock()
				b.to.lose = c.lose
				b.to.mu.Unlock()
				for i := range c.messages {
					_, err := w.hub.Publish(t.Context(), gohub.Message{Room: id, Sender: "alice", Body: fmt.Append(nil, i)})
					if err != nil {
						t.Error(err)
					}
				}
				if c.lose > 0 {
					b.to.Suspect(id)
				}
			}))
			b.to.Suspect(id)
			for i := range c.messages {
				require.EqualValues(t, i, bob.expect("message").num("body"))
			}
		})
	}
}

// A duplicate is no proof of storage: the process that ordered it first may
// have died before it stored it.
func TestDuplicateIsStoredBeforeItIsAcked(t *testing.T) {
	broker := gohub.NewMemoryBroker()
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		_ = broker.Run(ctx, deaf{new(int)})
	}()
	m := gohub.Message{Room: gohub.RoomID{Name: "r"}, ID: gohub.NewID(), Sender: "alice", Kind: "chat", Body: []byte(`"first body"`)}
	var seq int64
	require.Eventually(t, func() bool {
		out := broker.Publish(ctx, 0, m)[0]
		seq = out.Seq
		return out.Err == nil
	}, patience, 1e6)
	store := newSlowStore()
	w := start(t, gohub.Config{Store: store, Broker: broker})
	alice := w.as("alice", "r")
	alice.expect("message", "id", m.ID) // ordered, so it is seen
	_, found, _ := store.Lookup(ctx, m.Room, m.ID)
	require.False(t, found)
	alice.send(frame{"type": "publish", "room": "r", "id": m.ID, "body": "second body", "retry": true})
	ack := alice.expect("ack", "id", m.ID)
	require.Equal(t, true, ack["duplicate"])
	require.Equal(t, seq, ack.num("seq"))
	got, found, _ := store.Lookup(ctx, m.Room, m.ID)
	require.True(t, found, "acked is stored")
	require.Equal(t, `"first body"`, string(got.Body), "the first body wins")
	require.Equal(t, seq, got.Seq)
	cancel()
	<-ran
}

// deaf is another hub's receiver, which died. The pointer makes it comparable
// and unlike any other.
type deaf struct{ *int }

func (deaf) Deliver(gohub.Message, int64) {}
func (deaf) Signal(gohub.Target, []byte)  {}
func (deaf) Suspect(...gohub.RoomID)      {}
