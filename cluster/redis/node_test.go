//go:build unix

package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/hubtest"
	"github.com/gohub/gohub/internal/redistest"
)

// recorder is a receiver that remembers.
type recorder struct {
	mu       sync.Mutex
	got      []gohub.Message
	suspects []gohub.RoomID
}

func (r *recorder) Deliver(m gohub.Message, _ int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, m)
}

func (r *recorder) Suspect(rooms ...gohub.RoomID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.suspects = append(r.suspects, rooms...)
}

func (r *recorder) Signal(gohub.Target, []byte) {}

func (r *recorder) delivered() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.got)
}

func (r *recorder) suspected(room gohub.RoomID) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, s := range r.suspects {
		if s == room {
			n++
		}
	}
	return n
}

var lobby = gohub.RoomID{Tenant: "acme", Name: "lobby"}

func message(text string) gohub.Message {
	return gohub.Message{Room: lobby, ID: gohub.NewID(), Sender: "alice", Kind: "chat", Body: fmt.Appendf(nil, "%q", text)}
}

// publish publishes what must be new.
func publish(t *testing.T, b *Broker, floor int64, m gohub.Message) gohub.Message {
	t.Helper()
	o := b.Publish(t.Context(), floor, m)[0]
	require.NoError(t, o.Err)
	require.False(t, o.Duplicate)
	m.Seq = o.Seq
	return m
}

func readLog(t *testing.T, b *Broker) (ms []gohub.Message, base int64) {
	t.Helper()
	ms, base, err := b.Log(t.Context(), lobby, 0, 1000)
	require.NoError(t, err)
	return ms, base
}

func TestALostConnectionMakesRoomsSuspect(t *testing.T) {
	s := redistest.New(t)
	p := prefix()
	a, b := broker(t, s, p), broker(t, s, p)
	r := new(recorder)
	runs(t, a, r)
	runs(t, b, new(recorder))
	require.NoError(t, a.Subscribe(t.Context(), r, lobby))
	publish(t, b, 0, message("1"))
	require.Eventually(t, func() bool { return r.delivered() == 1 }, patience, time.Millisecond)
	require.Zero(t, r.suspected(lobby))
	_, err := s.Do("CLIENT", "KILL", "TYPE", "pubsub")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return r.suspected(lobby) == 1 }, patience, time.Millisecond)
	publish(t, b, 0, message("2"))
	require.Eventually(t, func() bool { return r.delivered() == 2 }, patience, time.Millisecond)
}

// A connection that looks well and brings nothing is found out, since a node
// does not hear its own beats on it.
func TestProbe(t *testing.T) {
	s := redistest.New(t)
	b := broker(t, s, prefix())
	b.t.beat = 20 * time.Millisecond
	r := new(recorder)
	runs(t, b, r)
	require.NoError(t, b.Subscribe(t.Context(), r, lobby))
	subs := &the(b).subs
	subs.mu.Lock()
	subs.dropped = append(subs.dropped, subs.p.keys.room(roomKey(lobby)), subs.self)
	subs.wake()
	subs.mu.Unlock()
	require.Eventually(t, func() bool {
		channels, err := s.Do("PUBSUB", "SHARDCHANNELS", subs.self)
		return err == nil && channels == "*0"
	}, patience, time.Millisecond)
	subs.heard.Store(clock() - int64(b.t.probe)) // or it takes as long as that
	require.Eventually(t, func() bool { return r.suspected(lobby) == 1 }, patience, time.Millisecond)
	publish(t, b, 0, message("1"))
	require.Eventually(t, func() bool { return r.delivered() == 1 }, patience, time.Millisecond)
	for range 3 { // not by connecting again and again
		last := subs.heard.Load()
		require.Eventually(t, func() bool { return subs.heard.Load() > last }, patience, time.Millisecond)
	}
	assert.Equal(t, 1, r.suspected(lobby), "it hears itself again")
}

func TestUnknownOutcome(t *testing.T) {
	s := redistest.New(t)
	b := broker(t, s, prefix())
	b.o.Timeout = 200 * time.Millisecond
	b.t.beat = time.Hour // the first one that is not answered says that Redis is away
	runs(t, b, new(recorder))
	require.NoError(t, s.Freeze())
	m, cut := message("1"), message("2")
	require.ErrorIs(t, b.Publish(t.Context(), 0, m)[0].Err, gohub.ErrUnknown)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := the(b).owed
	underWay := func() int {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.now.count
	}
	before := underWay()
	go func() { // ends when the publish has begun
		for underWay() == before {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	require.ErrorIs(t, b.Publish(ctx, 0, cut)[0].Err, gohub.ErrUnknown)
	assert.False(t, o.clear())
	require.NoError(t, s.Thaw())
	for _, m := range []gohub.Message{m, cut} {
		var o gohub.Ordered
		require.Eventually(t, func() bool { o = b.Publish(t.Context(), 0, m)[0]; return o.Err == nil }, patience, 10*time.Millisecond)
		m.Seq = o.Seq
		b.Stored(m)
	}
	var ms []gohub.Message
	require.Eventually(t, func() bool {
		var err error
		ms, _, err = b.Log(t.Context(), lobby, 0, 1000)
		return err == nil
	}, patience, 10*time.Millisecond)
	assert.Len(t, ms, 2)
	assert.True(t, o.clear())

	require.NoError(t, s.Kill9())
	require.Eventually(t, func() bool {
		return errors.Is(b.Publish(t.Context(), 0, message("3"))[0].Err, gohub.ErrUnavailable)
	}, patience, 10*time.Millisecond, "nobody is there to order it")
}

// A message of unknown outcome that was delivered here keeps its seq, even if
// Redis has forgotten it when it is repeated. No generation begins that would
// have it below what is stored.
func TestUnknownOutcomeThatWasDelivered(t *testing.T) {
	s := redistest.New(t)
	b := broker(t, s, prefix())
	r := new(recorder)
	runs(t, b, r)
	require.NoError(t, b.Subscribe(t.Context(), r, lobby))
	m := publish(t, b, 0, message("1"))
	require.Eventually(t, func() bool { return r.delivered() == 1 }, patience, time.Millisecond)
	b.Stored(m)
	// As if its answer had been lost, and then it came.
	n := the(b)
	n.owed.answered(n.owed.begin(1), &m, gohub.Ordered{Err: gohub.ErrUnknown}, true)
	stolen := m
	stolen.Sender = "mallory"
	n.owed.answered(n.owed.begin(1), &stolen, gohub.Ordered{Err: gohub.ErrUnknown}, true)
	n.owed.delivered(&m)
	require.ErrorIs(t, b.Publish(t.Context(), 0, stolen)[0].Err, gohub.ErrIDConflict)
	require.NoError(t, s.FlushAll())
	require.Eventually(t, func() bool { return !isLeased(b) }, patience, time.Millisecond)
	time.Sleep(3 * (b.t.grace + b.t.hold))
	require.False(t, isLeased(b))
	again := m
	again.Seq = 0
	assert.Equal(t, gohub.Ordered{Seq: m.Seq, Duplicate: true}, b.Publish(t.Context(), 0, again)[0])
	b.Stored(m)
	assert.True(t, n.owed.clear())
	require.Eventually(t, func() bool { return isLeased(b) }, patience, time.Millisecond)
}

func TestFullServer(t *testing.T) {
	s := redistest.New(t, "maxmemory 8mb")
	b := broker(t, s, prefix())
	b.t.beat = 50 * time.Millisecond
	runs(t, b, new(recorder))
	var o gohub.Ordered
	for i := 0; o.Err == nil && i < 1000; i++ {
		m := message("")
		m.Body = make([]byte, 100_000)
		o = b.Publish(t.Context(), 0, m)[0]
	}
	require.ErrorIs(t, o.Err, gohub.ErrUnavailable)
	require.NotErrorIs(t, o.Err, gohub.ErrUnknown)
	_, err := s.Do("CONFIG", "SET", "maxmemory", "1mb") // what a publish needs for itself is free again
	require.NoError(t, err)
	alice := []gohub.PresentUser{{User: "alice", Sessions: 1}}
	_, err = b.Announce(t.Context(), message("").Room, alice, false)
	require.ErrorIs(t, err, gohub.ErrUnavailable, "presence takes no memory that is not there, either")
	beat := the(b).lease.Load().beat
	require.Eventually(t, func() bool { return the(b).lease.Load().beat > beat+2*b.t.beat.Microseconds() }, patience, time.Millisecond, "beats go on")
	ms, _ := readLog(t, b)
	assert.NotEmpty(t, ms)
	_, err = s.Do("CONFIG", "SET", "maxmemory", "0")
	require.NoError(t, err)
	publish(t, b, 0, message("goes on"))
	n, err := b.Announce(t.Context(), message("").Room, alice, false)
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

// However far ahead a room is, the next generation is above it, on every node.
func TestANewGenerationIsAboveAll(t *testing.T) {
	t.Parallel() // it only waits
	s := redistest.New(t)
	p := prefix()
	a, b := broker(t, s, p), broker(t, s, p)
	patient(a, b)
	b.t.beat, b.t.hold = time.Hour, patience // it finds out when a has said that it holds, and gives it time to say so again
	runs(t, a, new(recorder))
	runs(t, b, new(recorder))
	ahead := publish(t, a, time.Now().Add(time.Hour).UnixMicro(), message("ahead"))
	require.NoError(t, s.FlushAll())
	a.poke()
	require.Eventually(t, func() bool {
		held, err := s.Do("HEXISTS", a.keys[0].recovery(), "held")
		return err == nil && held == ":1"
	}, patience, time.Millisecond)
	require.Eventually(t, func() bool { return errors.Is(b.Publish(t.Context(), 0, message(""))[0].Err, gohub.ErrUnavailable) }, patience, time.Millisecond)
	time.Sleep(2 * b.t.grace)
	assert.False(t, isLeased(b), "a has not stored all")
	a.Stored(ahead)
	require.Eventually(t, func() bool { return isLeased(b) }, patience, time.Millisecond)
	next := publish(t, b, 0, message("next"))
	assert.Greater(t, next.Seq, ahead.Seq)
	ms, base := readLog(t, b)
	assert.Equal(t, []gohub.Message{next}, ms)
	assert.GreaterOrEqual(t, base, ahead.Seq, "what came before is in the Store")
	assert.Less(t, base, next.Seq)
}

// follows notes what each message is said to follow.
type follows struct {
	recorder
	prevs chan int64
}

func (f *follows) Deliver(m gohub.Message, prev int64) {
	f.recorder.Deliver(m, prev)
	f.prevs <- prev
}

// The publisher may have missed what came before Redis forgot: its floor tells
// other nodes nothing.
func TestTheFirstOfAGenerationFollowsAllBefore(t *testing.T) {
	s := redistest.New(t)
	b := broker(t, s, prefix())
	r := &follows{prevs: make(chan int64, 2)}
	runs(t, b, r)
	old := the(b).lease.Load().gen
	require.NoError(t, b.Subscribe(t.Context(), r, message("").Room))
	missed := publish(t, b, 0, message("1"))
	<-r.prevs
	b.Stored(missed)
	require.NoError(t, s.FlushAll())
	require.Eventually(t, func() bool { l := the(b).lease.Load(); return l != nil && l.gen != old }, patience, time.Millisecond)
	next := publish(t, b, missed.Seq-1, message("2"))
	prev := <-r.prevs
	assert.GreaterOrEqual(t, prev, missed.Seq)
	assert.Less(t, prev, next.Seq)
	b.Stored(next)
}

// A node that has not noticed cannot publish into a generation that began
// without it.
func TestAnOldGenerationIsRefused(t *testing.T) {
	s := redistest.New(t)
	p := prefix()
	a, b := broker(t, s, p), broker(t, s, p)
	a.t.beat = time.Hour
	runs(t, a, new(recorder))
	runs(t, b, new(recorder))
	old := the(b).lease.Load().gen
	require.NoError(t, s.FlushAll())
	require.Eventually(t, func() bool { l := the(b).lease.Load(); return l != nil && l.gen != old }, patience, time.Millisecond)
	m := message("1")
	require.ErrorIs(t, a.Publish(t.Context(), 0, m)[0].Err, gohub.ErrUnavailable)
	ms, _ := readLog(t, b)
	require.Empty(t, ms)
	require.Eventually(t, func() bool { return a.Publish(t.Context(), 0, m)[0].Err == nil }, patience, time.Millisecond)
}

// A server that does not know the scripts, or does and is another one
// nevertheless, may have forgotten more. A beat is enough to find out.
func TestAlarms(t *testing.T) {
	for name, words := range map[string][]string{
		"no scripts":     {"SCRIPT", "FLUSH"},
		"another server": {"HSET", "META", "run", "another"},
		"no generation":  {"DEL", "META"},
	} {
		t.Run(name, func(t *testing.T) {
			s := redistest.New(t)
			b := broker(t, s, prefix())
			b.t.beat = 10 * time.Millisecond
			runs(t, b, new(recorder))
			old := the(b).lease.Load().gen
			if words[1] == "META" {
				words[1] = b.keys[0].meta()
			}
			_, err := s.Do(words...)
			require.NoError(t, err)
			require.Eventually(t, func() bool { l := the(b).lease.Load(); return l != nil && l.gen != old }, patience, time.Millisecond)
		})
	}
}

func TestLogsLetGoOfWhatAllHaveStored(t *testing.T) {
	s := redistest.New(t)
	p := prefix()
	a, b := broker(t, s, p), broker(t, s, p)
	a.t.beat, b.t.beat = 10*time.Millisecond, 10*time.Millisecond
	runs(t, a, new(recorder))
	runs(t, b, new(recorder))
	first := publish(t, a, 0, message("first"))
	var newest gohub.Message
	for range 300 { // more than a node of a stream holds
		newest = publish(t, a, 0, message(""))
		a.Stored(newest)
	}
	beatsOn(t, b, newest.Seq)
	other := publish(t, b, 0, message("of the other node"))
	time.Sleep(20 * a.t.beat)
	ms, base := readLog(t, b)
	assert.Equal(t, first.ID, ms[0].ID)
	assert.Less(t, base, first.Seq, "unstored")
	a.Stored(first)
	last := first
	require.Eventually(t, func() bool {
		last = publish(t, a, 0, message("last"))
		a.Stored(last)
		ms, base = readLog(t, b)
		return len(ms) < 300 && base >= first.Seq
	}, patience, 10*time.Millisecond)
	assert.Less(t, base, other.Seq, "the other node has not stored this one")
	assert.True(t, slices.ContainsFunc(ms, func(m gohub.Message) bool { return m.ID == other.ID }))
	b.Stored(other)
	require.Eventually(t, func() bool { _, base = readLog(t, a); return base >= last.Seq }, patience, 10*time.Millisecond)
}

// What is ordered with the first lease, and begins before it is counted from then on, is
// owed as well.
func TestOwedFromTheFirstBeatOn(t *testing.T) {
	o, m := newOwed(), message("1")
	began := o.begin(1)
	o.beat(5)
	o.answered(began, &m, gohub.Ordered{Seq: 7}, false)
	o.beat(9)
	assert.EqualValues(t, 5, o.low())
	o.stored(m.Room, 7)
	assert.EqualValues(t, 9, o.low())
}

func TestIdleRoomsGo(t *testing.T) {
	s := redistest.New(t)
	b := broker(t, s, prefix())
	b.t.beat, b.t.idle = 10*time.Millisecond, 2*time.Second
	runs(t, b, new(recorder))
	stored := publish(t, b, 0, message("stored"))
	b.Stored(stored)
	beatsOn(t, b, stored.Seq)
	kept := message("unstored")
	kept.Room.Name = "other"
	kept = publish(t, b, 0, kept)
	exists := func(room gohub.RoomID) string {
		key := roomKey(room)
		n, err := s.Do("EXISTS", b.keys.of(key).log(key))
		require.NoError(t, err)
		return n
	}
	if exists(lobby) != ":1" { // a machine that pauses may have let it idle
		require.Greater(t, time.Now().UnixMicro(), stored.Seq+b.t.idle.Microseconds())
	}
	require.Eventually(t, func() bool { return exists(lobby) == ":0" }, patience, 10*time.Millisecond)
	beatsOn(t, b, kept.Seq+b.t.idle.Microseconds())
	assert.Equal(t, ":1", exists(kept.Room))
	b.Stored(kept)
	require.Eventually(t, func() bool { return exists(kept.Room) == ":0" }, patience, 10*time.Millisecond)
}

// A node that was silent for long is refused until it has beaten again: what
// it publishes could be taken for stored.
func TestASilentNodeIsRefused(t *testing.T) {
	b := broker(t, redistest.New(t), prefix())
	b.t.beat = time.Hour
	runs(t, b, new(recorder))
	publish(t, b, 0, message("1"))
	silent := func() { // its last beat was long ago
		l := *the(b).lease.Load()
		l.beat -= 2 * b.t.stale.Microseconds()
		the(b).lease.Store(&l)
	}
	m := message("2")
	call := func() error { return b.Publish(t.Context(), 0, m)[0].Err }
	silent()
	require.ErrorIs(t, call(), gohub.ErrUnavailable)
	require.Eventually(t, func() bool { return call() == nil }, patience, time.Millisecond)
	ms, _ := readLog(t, b)
	assert.Len(t, ms, 2)

	// Nor does it say who is there, whom somebody may be taking out.
	call = func() error {
		_, err := b.Announce(t.Context(), lobby, []gohub.PresentUser{{User: "alice", Sessions: 1}}, false)
		return err
	}
	require.Eventually(t, func() bool { // one more beat may have been asked for above
		silent()
		return errors.Is(call(), gohub.ErrUnavailable)
	}, patience, time.Millisecond)
	require.Eventually(t, func() bool { return call() == nil }, patience, time.Millisecond)
}

// The clock of the server that serves now is behind that of the one before: what
// is ordered is not taken for stored.
func TestAClockThatIsBehind(t *testing.T) {
	s, p := redistest.New(t), prefix()
	a, b := broker(t, s, p), broker(t, s, p)
	a.t.beat, b.t.beat = 20*time.Millisecond, 20*time.Millisecond
	runs(t, a, new(recorder))
	runs(t, b, new(recorder))
	o := the(b).owed
	ahead := time.Now().Add(time.Minute).UnixMicro()
	o.mu.Lock()
	o.now.beat = ahead
	o.mu.Unlock()
	require.Eventually(t, func() bool { return the(b).lease.Load().least >= ahead }, patience, time.Millisecond)
	m := publish(t, b, 0, message("1"))
	time.Sleep(10 * b.t.beat)
	ms, base := readLog(t, b)
	assert.Equal(t, []gohub.Message{m}, ms)
	assert.Less(t, base, m.Seq, "it is not stored")
}

func TestOrphans(t *testing.T) {
	s := redistest.New(t)
	p := prefix()
	a, b := broker(t, s, p), broker(t, s, p)
	a.t.beat, b.t.beat = 20*time.Millisecond, 20*time.Millisecond
	stop := runs(t, a, new(recorder))
	runs(t, b, new(recorder))
	stored := publish(t, a, 0, message("stored"))
	a.Stored(stored)
	beatsOn(t, a, stored.Seq)
	want := publish(t, a, 0, message("not stored"))
	w, name := &the(b).watch, the(a).n.name
	require.Eventually(t, func() bool { // b knows that what a owes begins with this one
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.seen[name].entry.beat > want.Seq
	}, patience, time.Millisecond)
	silent := func(more time.Duration) time.Duration { // for how long b has not heard of a, and that as if it were more
		w.mu.Lock()
		defer w.mu.Unlock()
		is, there := w.seen[name]
		if !there {
			return 0
		}
		is.since = is.since.Add(-more)
		w.seen[name] = is
		return time.Since(is.since)
	}
	var got []gohub.Message
	failing := errors.New("the store fails")
	orphans := func(err error) error {
		return b.Orphans(t.Context(), func(ms []gohub.Message) error { got = append(got, ms...); return err })
	}
	require.Eventually(t, func() bool { return silent(time.Hour) > time.Hour }, patience, time.Millisecond)
	require.Eventually(t, func() bool { return silent(0) < time.Minute }, patience, time.Millisecond)
	require.NoError(t, orphans(nil))
	assert.Empty(t, got, "a lives")
	stop()
	require.NoError(t, orphans(nil))
	assert.Empty(t, got, "nor is it dead at once")
	require.Eventually(t, func() bool {
		silent(time.Hour) // each time: b begins anew when it has been away for a moment
		return errors.Is(orphans(failing), failing)
	}, patience, time.Millisecond)
	got = nil
	require.Eventually(t, func() bool { // each time anew: its last beat may be one that b has yet to see
		silent(time.Hour)
		if orphans(nil) != nil {
			return false
		}
		n, err := s.Do("HLEN", b.keys[0].nodes())
		return err == nil && n == ":1"
	}, patience, time.Millisecond, "again after a failure")
	require.NotEmpty(t, got)
	assert.LessOrEqual(t, len(got), 2, "once more where its last beat came late")
	for _, m := range got {
		assert.Equal(t, want, m)
	}
	got = nil
	beatsOn(t, b, time.Now().UnixMicro()) // what was under way may have brought the list of before
	silent(time.Hour)
	require.NoError(t, orphans(nil))
	assert.Empty(t, got, "not once it is off the list")
}

// While Redis is away nobody beats, and nobody is dead for it.
func TestAnOutageKillsNobody(t *testing.T) {
	s := redistest.New(t)
	p := prefix()
	a, b := broker(t, s, p), broker(t, s, p)
	a.t.beat, b.t.beat = 500*time.Millisecond, 50*time.Millisecond // so that b is back first
	a.t.silent, b.t.silent = 1500*time.Millisecond, 1500*time.Millisecond
	runs(t, a, new(recorder))
	runs(t, b, new(recorder))
	publish(t, a, 0, message("not stored"))
	w, name := &the(b).watch, the(a).n.name
	require.Eventually(t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.seen[name].beats > 0
	}, patience, time.Millisecond)
	require.NoError(t, s.Freeze())
	time.Sleep(b.t.silent + 6*b.t.beat)
	require.NoError(t, s.Thaw())
	back := time.Now()
	heard := func() bool { // some more beats
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.last.After(back.Add(6 * b.t.beat))
	}
	for ; !heard(); time.Sleep(time.Millisecond) {
		require.Less(t, time.Since(back), patience)
		err := b.Orphans(t.Context(), func(ms []gohub.Message) error {
			t.Errorf("%d messages of a node that lives", len(ms))
			return nil
		})
		require.NoError(t, err)
	}
}

// Silence counts only while this node hears of the others.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch{seen: map[string]sighting{}}
		list := map[string]string{"self": "1 1", "other": "1 1"}
		pass := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(defaultTiming.beat) {
				w.note(list, "self", defaultTiming)
			}
			w.note(list, "self", defaultTiming)
		}
		pass(15 * time.Second)
		assert.Empty(t, w.dead(defaultTiming))
		time.Sleep(time.Hour)
		assert.Empty(t, w.dead(defaultTiming), "while away nobody is dead")
		w.note(list, "self", defaultTiming)
		assert.Empty(t, w.dead(defaultTiming), "nor just back")
		pass(19 * time.Second)
		assert.Empty(t, w.dead(defaultTiming))
		pass(time.Second)
		assert.Equal(t, map[string]string{"other": "1 1"}, w.dead(defaultTiming))
		list["other"] = "1 2"
		pass(0)
		assert.Empty(t, w.dead(defaultTiming), "it lives")
	})
}

// A hub dies between ordering and storing, and nobody repeats the message:
// another hub stores it.
func TestAHubStoresWhatADeadOneLeft(t *testing.T) {
	t.Parallel() // it only waits
	s := redistest.New(t)
	p := prefix()
	a, b := broker(t, s, p), broker(t, s, p)
	for _, x := range []*Broker{a, b} {
		x.t.beat, x.t.silent = 400*time.Millisecond, 2*time.Second
	}
	shared := gohub.NewMemoryStore(gohub.MemoryStoreOptions{})
	failing, waiting := hubtest.Faulty(shared), hubtest.Faulty(shared)
	waiting.Hold() // until it is known that nobody has stored it before
	dying, err := gohub.New(hubtest.Config(t, gohub.Config{Node: "a", Store: failing, Broker: a}))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return isLeased(a) }, patience, time.Millisecond)
	survivor := hubtest.New(t, gohub.Config{Node: "b", Store: waiting, Broker: b})
	serve := hubtest.Serve(t, dying.Handler())
	survivor.Patience, serve.Patience = patience, patience
	alice, bob := serve.Dial("alice"), survivor.Dial("bob")
	alice.Join("general")
	bob.Join("general")
	failing.Hold()
	id := alice.Publish("general", "last words")
	bob.ExpectMessage("general", "last words")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, dying.Shutdown(ctx), "it says what is lost")
	_, found, err := shared.Lookup(t.Context(), gohub.RoomID{Name: "general"}, id)
	require.NoError(t, err)
	require.False(t, found)
	waiting.Release()
	require.Eventually(t, func() bool {
		_, found, err := shared.Lookup(t.Context(), gohub.RoomID{Name: "general"}, id)
		return err == nil && found
	}, patience, 10*time.Millisecond)
}

func TestOneRunAtATime(t *testing.T) {
	b := broker(t, redistest.New(t), prefix())
	runs(t, b, new(recorder))
	require.Error(t, b.Run(t.Context(), new(recorder)))
	require.ErrorIs(t, b.Subscribe(t.Context(), new(recorder), lobby), gohub.ErrUnavailable)
}

func TestOptions(t *testing.T) {
	s := redistest.New(t)
	c := connect(t, s)
	for _, o := range []Options{{Prefix: "a{b"}, {Prefix: "a b"}, {Node: "ä"}, {Timeout: -1}} {
		_, err := New(t.Context(), c, o)
		require.ErrorContains(t, err, "redis: Options.")
	}
	_, err := New(t.Context(), nil, Options{})
	require.Error(t, err)
	_, err = s.Do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	require.NoError(t, err)
	_, err = New(t.Context(), c, Options{})
	require.ErrorContains(t, err, "noeviction")
	_, err = New(t.Context(), c, Options{Unsafe: true})
	require.NoError(t, err)
}

func TestFrames(t *testing.T) {
	m := message("ä\x00")
	m.To, m.Binary = "bob", true
	m.ID += string(make([]byte, 300))
	var got gohub.Message
	frame := string(appendFrame(nil, &m))
	require.NoError(t, parseFrame(frame, &got))
	got.Room = m.Room
	assert.Equal(t, m, got)
	for i := range len(frame) - len(m.Body) {
		require.Error(t, parseFrame(frame[:i], &got), "cut at %d", i)
	}
	to := gohub.Target{Tenant: "acme", Room: "lobby", User: "bob", Outside: true, Except: "x"}
	back, f, err := parseSignal(string(appendSignal(nil, &to, []byte("frame"))))
	require.NoError(t, err)
	assert.Equal(t, to, back)
	assert.Equal(t, "frame", string(f))
	for _, id := range []gohub.RoomID{{}, lobby, {Tenant: "a:b", Name: "c:"}, {Name: "1:a"}} {
		got, ok := parseRoomKey(roomKey(id))
		assert.True(t, ok)
		assert.Equal(t, id, got)
	}
}
