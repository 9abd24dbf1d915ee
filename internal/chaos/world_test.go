//go:build unix

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub/internal/pgtest"
	"github.com/gohub/gohub/internal/redistest"
)

type options struct {
	clients, rooms, roomsEach int
	every                     time.Duration // a client publishes, about
	stay                      time.Duration // a client stays with a node, about
	settings                  []string      // of Redis
	breaks                    bool          // Postgres: it needs its own
	direct                    bool          // no proxy before Redis: who is not there refuses
	rests                     bool          // clients go away for a while, too
}

// ordinary is what most tests have.
func ordinary() options {
	return options{clients: 48, rooms: 12, roomsEach: 3, every: 600 * time.Millisecond, stay: 15 * time.Second}
}

// A world is a cluster and its clients.
type world struct {
	t       *testing.T
	o       options
	seed    uint64
	redis   *redistest.Server
	pg      *pgtest.Server
	db      string
	nodes   []*node
	clients []*client
	http    *http.Client
	going   sync.WaitGroup // the clients
	stop    context.CancelFunc
	ended   chan struct{} // closed by stop
	readers sync.WaitGroup

	overlaps bool                   // two faults may come at a time
	acked    map[*message]time.Time // made by judge: when
	again    map[*message]time.Time // likewise: when what was acked was last repeated

	over      atomic.Bool  // nothing new is published
	large     atomic.Bool  // what is published is large
	stays     atomic.Bool  // clients move only when they are told to
	mourns    atomic.Bool  // most of those who are cut off stay away for long
	kept      atomic.Int64 // joins of others' direct rooms that were refused
	asked     atomic.Int64 // sessions that were replaced because their client had made a newer one
	abandoned atomic.Int64 // or had given one up, which the node had begun
	came      atomic.Int64 // connections
	acks      atomic.Int64
	repeats   atomic.Int64
	doubled   atomic.Int64
	truncated atomic.Int64

	twins    sync.WaitGroup
	presence []string // what was measured of it

	mu       sync.Mutex     // guards all below
	open     map[string]int // older connections of a device that are not closed yet, by user
	messages map[[2]string]*message
	heads    map[[2]string]int64 // the newest that is acked, by room and for whom; "": for all
	happened []*fault
}

// newWorld starts three nodes on a Redis and a Postgres of their own, and the
// clients.
func newWorld(t *testing.T, seed uint64, o options) *world {
	t.Helper()
	w := &world{
		t: t, o: o, seed: seed, http: newHTTP(),
		messages: map[[2]string]*message{}, heads: map[[2]string]int64{}, open: map[string]int{},
		ended: make(chan struct{}),
	}
	w.redis = redistest.New(t, o.settings...)
	if o.breaks {
		w.pg = pgtest.New(t)
	} else {
		w.pg = pgtest.Shared(t)
	}
	w.db = w.pg.Database(t)
	for n := range 3 {
		x := newNode(t, n, w.redis.Addr(), w.db, o.direct)
		require.NoError(t, x.start())
		w.nodes = append(w.nodes, x)
	}
	for _, x := range w.nodes {
		w.ready(x)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = sync.OnceFunc(func() {
		cancel()
		close(w.ended)
		w.going.Wait()
		w.readers.Wait()
		w.twins.Wait()
	})
	t.Cleanup(w.stop)
	for n := range o.clients {
		c := newClient(w, n)
		w.clients = append(w.clients, c)
		w.going.Go(func() { c.run(ctx) })
	}
	return w
}

// ready waits until a node says that it is.
func (w *world) ready(x *node) {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return x.get(w.t.Context(), "/ready", nil) == nil }, patience, 10*time.Millisecond, x.name)
}

// message is the one that a frame is about.
func (w *world) message(f *frame) *message {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := [2]string{f.Room, f.ID}
	m := w.messages[key]
	if m == nil {
		m = &message{f.Room, f.ID, f.Sender, f.To}
		w.messages[key] = m
	}
	return m
}

// goesOn waits until every node that runs has acked n more publishes.
func (w *world) goesOn(n int64) {
	w.t.Helper()
	wants := map[*node]int64{}
	for _, x := range w.nodes {
		if x.cmd != nil {
			wants[x] = x.acks.Load() + n
		}
	}
	for x, want := range wants {
		require.Eventually(w.t, func() bool { return x.acks.Load() >= want }, patience, time.Millisecond, "%s acks nothing", x.name)
	}
}

// settle has the clients stop publishing, and waits until all is acked and all
// have caught up, or not for much longer.
func (w *world) settle() {
	w.t.Helper()
	w.over.Store(true)
	until := func(left func() []string) (names []string) {
		for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
			if names = left(); len(names) == 0 || time.Now().After(end) {
				return names
			}
		}
	}
	if names := until(func() (names []string) {
		for _, c := range w.clients {
			if n := c.waits.Load(); n > 0 {
				names = append(names, fmt.Sprintf("%s (%d)", c.name(), n))
			}
		}
		return names
	}); len(names) > 0 {
		w.t.Errorf("%d clients still wait for acks after %v: %v", len(names), patience, names[:min(len(names), 10)])
	}
	// All that is acked has been ordered, and is on its way to everybody. What does
	// not come is judge's to say.
	until(func() (names []string) {
		for _, c := range w.clients {
			if c.joined.Load() < c.wanted.Load() || c.gaps.Load() > 0 || w.behind(c) {
				names = append(names, c.name())
			}
		}
		return names
	})
	w.judgeSessions()
	w.judgePresence()
	w.stop()
}

// ahead notes that a message is acked, for some users or ("") for all.
func (w *world) ahead(room string, seq int64, users ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, user := range users {
		key := [2]string{room, user}
		w.heads[key] = max(w.heads[key], seq)
	}
}

// behind reports whether something is acked that a client has not been shown.
func (w *world) behind(c *client) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, p := range c.places {
		if c.last[i].Load() < max(w.heads[[2]string{p.name, ""}], w.heads[[2]string{p.name, c.user}]) {
			return true
		}
	}
	return false
}

// slots are in how long clients were told to come back, between from and to,
// soonest first. The clients must have ended.
func (w *world) slots(from, to time.Time) (slots []time.Duration) {
	for _, c := range w.clients {
		for _, g := range c.goaways {
			if g.at.After(from) && g.at.Before(to) {
				slots = append(slots, g.in)
			}
		}
	}
	slices.Sort(slots)
	return slots
}

func newSeed() uint64 { return rand.Uint64N(1_000_000) }
