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

	over      atomic.Bool  // nothing new is published
	large     atomic.Bool  // what is published is large
	stays     atomic.Bool  // clients move only when they are told to
	mourns    atomic.Bool  // most of those who are cut off stay away for long
	kept      atomic.Int64 // joins of others' direct rooms that were refused
	asked     atomic.Int64 // sessions that were replaced because their client had made a newer one
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
	happened []*fault
}

// newWorld starts three nodes on a Redis and a Postgres of their own, and the
// clients.
func newWorld(t *testing.T, seed uint64, o options) *world {
	t.Helper()
	w := &world{
		t: t, o: o, seed: seed, http: newHTTP(),
		messages: map[[2]string]*message{}, open: map[string]int{},
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
	require.Eventually(w.t, func() bool { return x.get(w.t.Context(), "/ready", nil) == nil }, 30*time.Second, 10*time.Millisecond, x.name)
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

// goesOn waits until every node that runs has acked n more publishes, and says
// how long that took.
func (w *world) goesOn(n int64, within time.Duration) time.Duration {
	w.t.Helper()
	began := time.Now()
	wants := map[*node]int64{}
	for _, x := range w.nodes {
		if x.cmd != nil {
			wants[x] = x.acks.Load() + n
		}
	}
	for x, want := range wants {
		require.Eventually(w.t, func() bool { return x.acks.Load() >= want }, within, time.Millisecond, "%s acks nothing", x.name)
	}
	return time.Since(began)
}

// settle has the clients stop publishing, and waits until all is acked and all
// have caught up, or for so long.
func (w *world) settle(within time.Duration) {
	w.t.Helper()
	w.over.Store(true)
	deadline := time.Now().Add(within)
	waiting := func() (names []string) {
		for _, c := range w.clients {
			if n := c.waits.Load(); n > 0 {
				names = append(names, fmt.Sprintf("%s (%d)", c.name(), n))
			}
		}
		return names
	}
	for len(waiting()) > 0 && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
	}
	if names := waiting(); len(names) > 0 {
		w.t.Errorf("%d clients still wait for acks after %v: %v", len(names), within, names[:min(len(names), 10)])
	}
	// All that is acked has been ordered, and is on its way to everybody.
	deadline = time.Now().Add(10 * time.Second)
	for {
		heads := map[string]int64{}
		for _, c := range w.clients {
			for i, p := range c.places {
				heads[p.name] = max(heads[p.name], c.tail[i].Load())
			}
		}
		behind := 0
		for _, c := range w.clients {
			if c.joined.Load() < c.wanted.Load() {
				behind++
			}
			for i, p := range c.places {
				if c.tail[i].Load() < heads[p.name] {
					behind++
				}
			}
		}
		if behind == 0 || time.Now().After(deadline) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(500 * time.Millisecond) // pages that are still asked for
	w.judgeSessions()
	w.judgePresence()
	w.stop()
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
