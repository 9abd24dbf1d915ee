//go:build unix

package redis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/cluster/clustertest"
	"github.com/gohub/gohub/hubtest"
	"github.com/gohub/gohub/internal/redistest"
)

// directories makes clusters of Brokers that run and beat often.
func directories(s *redistest.Server) clustertest.OpenDirectory {
	return func(t *testing.T) func() gohub.Directory {
		t.Helper()
		p := prefix()
		return func() gohub.Directory {
			b := quickly(t, s, p)
			runs(t, b, new(recorder))
			return b
		}
	}
}

// quickly is a broker that finds out soon who is gone.
func quickly(t *testing.T, s *redistest.Server, prefix string) *Broker {
	t.Helper()
	b := broker(t, s, prefix)
	b.t.beat, b.t.absent, b.t.silent = 100*time.Millisecond, 600*time.Millisecond, 1200*time.Millisecond
	b.t.grace = 50 * time.Millisecond
	return b
}

func TestNodes(t *testing.T)   { clustertest.RunNodes(t, directories(redistest.New(t))) }
func TestTickets(t *testing.T) { clustertest.RunTickets(t, directories(redistest.New(t))) }

// ears is a listener that counts.
type ears struct{ forgotten atomic.Int64 }

func (*ears) Members(gohub.RoomID, []string, []string, int) {}
func (e *ears) Forgotten(bool)                              { e.forgotten.Add(1) }

func names(b *Broker) string {
	var all []string
	for _, n := range b.Nodes() {
		all = append(all, n.Name)
	}
	return strings.Join(all, " ")
}

func wantNames(t *testing.T, b *Broker, want string) {
	t.Helper()
	require.Eventually(t, func() bool { return names(b) == want }, patience, time.Millisecond, "%s, not %q", want, names(b))
}

// A node that says nothing is out of the ring, and then dead and out of the
// list. If it was only paused, its next beat brings all back, and it knows.
func TestASilentNodeIsPruned(t *testing.T) {
	s := redistest.New(t)
	p := prefix()
	a, b := quickly(t, s, p), quickly(t, s, p)
	a.t.linger, b.t.linger = 100*time.Millisecond, 100*time.Millisecond
	a.t.silent, b.t.silent = 2*time.Second, 2*time.Second // longer than a beat that was asked for may be under way
	b.t.beat = time.Hour                                  // its first beat, and those that are asked for
	e := new(ears)
	b.Serve(e, gohub.Node{Name: "b", ID: "1"})
	a.Serve(new(ears), gohub.Node{Name: "a", ID: "2"})
	runs(t, a, new(recorder))
	runs(t, b, new(recorder))
	both := func() { // b's beat is good for a moment only
		t.Helper()
		require.Eventually(t, func() bool {
			b.poke()
			return names(a) == "a b" && names(b) == "a b"
		}, patience, 10*time.Millisecond)
	}
	both()
	listed := func() string {
		n, err := s.Do("HLEN", a.keys[0].nodes())
		require.NoError(t, err)
		return n
	}
	wantNames(t, a, "a")
	assert.Equal(t, ":2", listed(), "it may have left messages")
	wantNames(t, b, "") // it knows nothing either
	for round := int64(1); round < 3; round++ {
		require.Eventually(t, func() bool {
			require.NoError(t, a.Orphans(t.Context(), func([]gohub.Message) error { return nil }))
			return listed() == ":1"
		}, patience, 10*time.Millisecond)
		require.Eventually(t, func() bool { // its users are gone as well
			n, err := s.Do("HLEN", a.keys[0].owners())
			return err == nil && n == ":1"
		}, patience, 10*time.Millisecond)
		assert.Equal(t, round-1, e.forgotten.Load())
		both()
		require.Eventually(t, func() bool { return e.forgotten.Load() == round }, patience, time.Millisecond)
	}
}

// All is there again, by itself, after Redis has lost it.
func TestNodesAfterRedisForgot(t *testing.T) {
	s := redistest.New(t)
	p := prefix()
	a, b := quickly(t, s, p), quickly(t, s, p)
	a.t.silent, b.t.silent = defaultTiming.silent, defaultTiming.silent // or a pause makes b take a for dead, which a is told as well
	e := new(ears)
	a.Serve(e, gohub.Node{Name: "a", ID: "1"})
	b.Serve(new(ears), gohub.Node{Name: "b", ID: "2"})
	runs(t, a, new(recorder))
	runs(t, b, new(recorder))
	wantNames(t, a, "a b")
	require.NoError(t, s.Kill9())
	require.Eventually(t, func() bool { return a.Nodes() == nil }, patience, time.Millisecond, "who is there is not known now")
	require.NoError(t, s.Start())
	wantNames(t, a, "a b")
	require.Eventually(t, func() bool { return e.forgotten.Load() == 1 }, patience, time.Millisecond)
}

func TestEndedRunsKnowNoNodes(t *testing.T) {
	s := redistest.New(t)
	p := prefix()
	a, b := quickly(t, s, p), quickly(t, s, p)
	a.Serve(new(ears), gohub.Node{Name: "a", ID: "1"})
	b.Serve(new(ears), gohub.Node{Name: "b", ID: "2"})
	stop := runs(t, a, new(recorder))
	runs(t, b, new(recorder))
	wantNames(t, a, "a b")
	wantNames(t, b, "a b")
	stop()
	assert.Empty(t, a.Nodes())
	wantNames(t, b, "b")
	require.ErrorIs(t, a.PutTicket(t.Context(), "x", nil, time.Minute), gohub.ErrUnavailable)
}

// lines is a log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), text)
}

func TestTwoNodesOfOneName(t *testing.T) {
	s := redistest.New(t)
	p := prefix()
	start := func(id string) (*lines, func()) {
		b, log := quickly(t, s, p), new(lines)
		b.o.Logger = slog.New(slog.NewTextHandler(log, nil))
		b.Serve(new(ears), gohub.Node{Name: "same", ID: id})
		return log, runs(t, b, new(recorder))
	}
	const complaint = "has this one's Config.Node"
	first, stop := start("1")
	second, _ := start("2")
	for _, log := range []*lines{first, second} {
		require.Eventually(t, func() bool { return log.count(complaint) > 0 }, patience, time.Millisecond)
	}
	stop()
	w, list, told := watch{seen: map[string]sighting{}}, map[string]string{"self": `1 1 9 {"Name":"same"}`}, []string(nil)
	for beat := range 3 * rivalBeats {
		list["other"] = fmt.Sprintf(`1 %d 9 {"Name":"same"}`, beat)
		_, rivals := w.note(list, "self", timing{beat: time.Hour, absent: time.Hour})
		told = append(told, rivals...)
	}
	assert.Equal(t, []string{"other"}, told, "once, while it is not away")

	// One that was started anew finds what is left of itself, which is no other hub.
	b := quickly(t, s, prefix())
	b.Serve(new(ears), gohub.Node{Name: "same", ID: "3"})
	log := new(lines)
	b.o.Logger = slog.New(slog.NewTextHandler(log, nil))
	c := b.client
	require.NoError(t, c.Do(t.Context(), c.B().Hset().Key(b.keys[0].nodes()).FieldValue().
		FieldValue("dead", `9007199254740000 1 20000 {"Name":"same","ID":"0","URL":"ws://old"}`).Build()).Error())
	runs(t, b, new(recorder))
	require.Eventually(t, func() bool { all := b.Nodes(); return len(all) == 1 && all[0].ID == "3" }, patience, time.Millisecond)
	time.Sleep(10 * b.t.beat)
	assert.Zero(t, log.count(complaint))
}

func TestEntries(t *testing.T) {
	b := &Broker{t: defaultTiming}
	assert.Equal(t, entry{beat: 2, silent: 20 * time.Second}, parseEntry("1 2 "+b.about(true), entry{}))
	node := gohub.Node{Name: "a b", ID: "x", URL: "ws://x/?a=b c", Weight: 3}
	b.Serve(new(ears), node)
	e := parseEntry("1 2 "+b.about(true), entry{})
	assert.Equal(t, node, e.node)
	assert.Equal(t, e, parseEntry("1 2 "+b.about(true), e))
	for _, is := range []string{"", "x", "1", "1 2", "1 2 3", "1 2 x {", "1 2 3 {\"Name\":1}"} {
		assert.Equal(t, gohub.Node{}, parseEntry(is, e).node, is)
	}
}

// A node that may be silent for longer is not taken for dead by one that may not.
func TestSilenceOfNodesThatDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch{seen: map[string]sighting{}}
		impatient := defaultTiming.silentFor(5 * time.Second)
		list := map[string]string{"self": "1 1 5000", "other": "1 1 20000"}
		for end := time.Now().Add(19 * time.Second); time.Now().Before(end); time.Sleep(impatient.beat) {
			w.note(list, "self", impatient)
			assert.Empty(t, w.dead(impatient))
		}
		for range 5 {
			time.Sleep(impatient.beat)
			w.note(list, "self", impatient)
		}
		assert.Len(t, w.dead(impatient), 1)
	})
}

func TestSilentOption(t *testing.T) {
	s := redistest.New(t)
	c := connect(t, s)
	for _, d := range []time.Duration{-1, time.Second, time.Hour} {
		_, err := New(t.Context(), c, Options{Silent: d})
		require.ErrorContains(t, err, "Options.Silent")
	}
	for silent, want := range map[time.Duration]timing{
		0:               {beat: time.Second, absent: 5 * time.Second, stale: 10 * time.Second, silent: 20 * time.Second},
		5 * time.Second: {beat: 250 * time.Millisecond, absent: 1250 * time.Millisecond, stale: 2500 * time.Millisecond, silent: 5 * time.Second},
		time.Minute:     {beat: time.Second, absent: 15 * time.Second, stale: 30 * time.Second, silent: time.Minute},
	} {
		b, err := New(context.Background(), c, Options{Silent: silent})
		require.NoError(t, err)
		assert.Equal(t, want, timing{beat: b.t.beat, absent: b.t.absent, stale: b.t.stale, silent: b.t.silent})
	}
}

// A hub is ready when it can order messages: not before Redis serves it, nor
// while Redis is away.
func TestReadyFollowsRedis(t *testing.T) {
	s := redistest.New(t)
	b := quickly(t, s, prefix())
	require.ErrorIs(t, b.Ready(), gohub.ErrUnavailable, "it does not run")
	hub := hubtest.New(t, gohub.Config{Broker: b})
	ready := func() bool { return hub.Ready() == nil }
	require.Eventually(t, ready, patience, time.Millisecond)
	require.NoError(t, s.Kill9())
	require.Eventually(t, func() bool { return errors.Is(hub.Ready(), gohub.ErrUnavailable) }, patience, time.Millisecond)
	require.NoError(t, hub.Health(), "a restart would mend nothing")
	require.NoError(t, s.Start())
	require.Eventually(t, ready, patience, time.Millisecond)
}

// partitioned is a node of a Redis Cluster that does nothing by itself.
func partitioned() *node {
	b := &Broker{o: Options{Logger: slog.New(slog.DiscardHandler)}, t: defaultTiming, keys: newKeyspace("x", clusterPartitions)}
	b.scripts = make([]scripts, len(b.keys))
	b.node = newNode(b, nil)
	return b.node
}

// While one partition is served, new clients are as well off here as elsewhere.
func TestReadyWhileAnyPartitionIsServed(t *testing.T) {
	n := partitioned()
	require.ErrorIs(t, n.b.Ready(), gohub.ErrUnavailable)
	p := n.parts[7]
	p.lease.Store(&lease{})
	p.beaten(true)
	require.NoError(t, n.b.Ready())
	p.lease.Store(nil)
	require.ErrorIs(t, n.b.Ready(), gohub.ErrUnavailable)
}

// A server that comes back has listed nodes that have died meanwhile: it is not
// believed before it could have missed them.
func TestAHomeThatComesBackIsNotBelievedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := partitioned()
		first, second := n.parts[0], n.parts[11]
		a, both := []gohub.Node{{Name: "a"}}, []gohub.Node{{Name: "a"}, {Name: "b"}}
		beat := func(p *part, nodes []gohub.Node) {
			p.beaten(false)
			n.listed(p, nodes)
		}
		beat(first, a)
		assert.Equal(t, "a", names(n.b), "all begins somewhere")
		for range 6 {
			time.Sleep(time.Second)
			beat(second, a)
			beat(first, both)
			assert.Equal(t, "a b", names(n.b), "the first")
		}
		fail := func() {
			first.state.Store(&state{first.state.Load().good, first.state.Load().since, gohub.ErrUnavailable})
		}
		for range 10 { // away, and b dies
			time.Sleep(time.Second)
			fail()
			beat(second, a)
		}
		for range 5 {
			assert.Equal(t, "a", names(n.b), "b is gone")
			beat(first, both)
			beat(second, a)
			time.Sleep(time.Second)
		}
		beat(first, nil)
		assert.Empty(t, names(n.b), "the first again")
		fail() // only for a moment
		beat(second, a)
		beat(first, nil)
		assert.Equal(t, "a", names(n.b))
		for range 5 {
			time.Sleep(time.Second)
			beat(second, a)
			beat(first, nil)
		}
		assert.Empty(t, names(n.b), "the first again")
		first.beaten(true) // a new generation has a list that begins empty
		beat(second, a)
		beat(first, nil)
		assert.Equal(t, "a", names(n.b))
	})
}
