//go:build unix

package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/hubtest"
	"github.com/gohub/gohub/internal/redistest"
)

// A process is a hub, and what it has as a Broker.
type process struct {
	*hubtest.Hub
	b    *Broker
	wire *wire
}

// quick shortens what a test would wait for. Who has not beaten for three beats begins
// anew to look who is silent: a busy machine may do that to a node again and again if
// beats are much shorter than that.
func quick(b *Broker) {
	b.t.beat, b.t.linger, b.t.silent, b.t.stale = 250*time.Millisecond, time.Second, 2*time.Second, 1500*time.Millisecond
}

func processes(t *testing.T, s *redistest.Server, n int, tune func(*Broker)) []process {
	t.Helper()
	return draining(t, s, n, -1, tune)
}

func draining(t *testing.T, s *redistest.Server, n int, drain time.Duration, tune func(*Broker)) []process {
	t.Helper()
	p, store := prefix(), gohub.NewMemoryStore(gohub.MemoryStoreOptions{})
	out := make([]process, n)
	for i := range out {
		w := new(wire)
		c, err := rueidis.NewClient(Defaults(rueidis.ClientOption{InitAddress: []string{s.Addr()}, ForceSingleClient: true, DialCtxFn: w.dial}))
		require.NoError(t, err)
		t.Cleanup(c.Close)
		b, err := New(t.Context(), c, Options{Prefix: p, Logger: quiet()})
		require.NoError(t, err)
		b.o.Timeout = 10 * time.Second
		tune(b)
		out[i] = process{hubtest.New(t, gohub.Config{Node: fmt.Sprint("n", i), Store: store, Broker: b, DrainTime: drain}), b, w}
		out[i].Patience = patience
	}
	return out
}

func (p process) as(user string) *hubtest.Client {
	c := p.Dial(user)
	c.Join("general")
	return c
}

// A view is a client's, of who is in the room: by its members frames.
type view struct {
	t      *testing.T
	c      *hubtest.Client
	count  int
	frames int
}

// until takes members frames until the count is n and all of joined and left
// were told, in any order and number of frames.
func (v *view) until(n int, joined, left []string) {
	v.t.Helper()
	var j, l []string
	for v.count != n || len(j) < len(joined) || len(l) < len(left) {
		f := v.c.Expect("members")
		v.frames++
		v.count, j, l = f.Count, append(j, f.Joined...), append(l, f.Left...)
	}
	slices.Sort(j)
	slices.Sort(l)
	assert.Equal(v.t, joined, j, "joined")
	assert.Equal(v.t, left, l, "left")
}

// nothing has nobody else come or go for a while: what must not be told comes
// before what is. meanwhile is called while one more is there: others may not be told
// of who has gone by then.
func (v *view) nothing(d time.Duration, at process, meanwhile ...func()) {
	v.t.Helper()
	time.Sleep(d)
	n := v.count
	c := at.as("sentinel")
	v.until(n+1, []string{"sentinel"}, nil)
	for _, f := range meanwhile {
		f()
	}
	c.Leave("general")
	v.until(n, nil, []string{"sentinel"})
}

// presentOn waits until these are in the room, by p.
func presentOn(t *testing.T, p process, users ...string) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		page, err := p.Presence(t.Context(), gohub.RoomID{Name: "general"}, "", 0)
		if assert.NoError(c, err) {
			var got []string
			for _, u := range page.Users {
				got = append(got, u.User)
			}
			assert.Equal(c, users, got)
			assert.Equal(c, len(users), page.Count)
		}
	}, patience, 10*time.Millisecond)
}

func TestMembersOfAllHubs(t *testing.T) {
	p := processes(t, redistest.New(t), 3, func(*Broker) {})
	alice := p[0].as("alice")
	v := &view{t: t, c: alice}
	v.until(1, []string{"alice"}, nil)
	bob := p[1].Dial("bob")
	assert.Equal(t, 2, bob.Join("general").Members)
	v.until(2, []string{"bob"}, nil)
	again := p[2].as("bob") // no news
	v.nothing(300*time.Millisecond, p[2])
	presentOn(t, p[2], "alice", "bob") // it has got the answer to what it has told
	carol := p[2].Dial("carol", hubtest.Name("Carol C."))
	assert.Equal(t, 3, carol.Join("general").Members)
	v.until(3, []string{"carol"}, nil)
	page := carol.Presence("general")
	assert.Equal(t, 3, page.Count)
	require.Len(t, page.Users, 3)
	assert.Equal(t, 2, page.Users[1].Sessions)
	assert.Equal(t, "Carol C.", page.Users[2].Name)
	bob.Cut()
	v.nothing(500*time.Millisecond, p[1])
	again.Leave("general")
	v.until(2, nil, []string{"bob"})
	presentOn(t, p[1], "alice", "carol")
}

// The users of a node that dies leave once it has been silent for long, those
// who came back elsewhere meanwhile do not.
func TestUsersOfADeadNodeLeave(t *testing.T) {
	s := redistest.New(t)
	p := processes(t, s, 3, quick)
	v := &view{t: t, c: p[0].as("watcher")}
	v.until(1, []string{"watcher"}, nil)
	for _, u := range []string{"a", "b", "back"} {
		p[1].as(u)
	}
	v.until(4, []string{"a", "b", "back"}, nil)
	gone := []string{"a", "b"}
	var crowd []gohub.PresentUser
	for i := range 600 {
		crowd = append(crowd, gohub.PresentUser{User: fmt.Sprintf("crowd-%03d", i), Sessions: 1})
		gone = append(gone, crowd[i].User)
	}
	_, err := p[1].b.Announce(t.Context(), gohub.RoomID{Name: "general"}, crowd, false)
	require.NoError(t, err)
	v.until(604, gone[2:], nil)
	back := p[2].Dial("back") // only to join is left for when p[1] is gone
	p[1].wire.cut()
	died := time.Now()
	heard := died // the last that another node has heard of p[1], or later
	for _, other := range []*Broker{p[0].b, p[2].b} {
		w := &the(other).watch
		w.mu.Lock()
		if s, there := w.seen[the(p[1].b).n.name]; there && s.since.Before(heard) {
			heard = s.since
		}
		w.mu.Unlock()
	}
	back.Join("general")
	v.frames = 0
	v.until(2, nil, gone)
	assert.Less(t, v.frames, 10, "not one frame a user")
	took := time.Since(died)
	t.Logf("gone after %v", took)
	assert.GreaterOrEqual(t, time.Since(heard), p[0].b.t.silent)
	assert.Less(t, took, 10*p[0].b.t.silent)
	presentOn(t, p[0], "back", "watcher")
	leavesNothing(t, s, p[0].b, p[1].b)
}

// A wire is a process's way to Redis.
type wire struct {
	mu    sync.Mutex // guards what follows
	isCut bool
	conns []net.Conn
}

func (w *wire) dial(ctx context.Context, addr string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.isCut {
		return nil, errors.New("the wire is cut")
	}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err == nil {
		w.conns = append(w.conns, c)
	}
	return c, err
}

// cut takes the process off Redis, as its death and its being paused do.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = true
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
}

func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = false
}

// leavesNothing waits until nothing of the dead node is in Redis.
func leavesNothing(t *testing.T, s *redistest.Server, b *Broker, dead *Broker) {
	t.Helper()
	require.Eventually(t, func() bool {
		keys, err := b.client.Do(t.Context(), b.client.B().Keys().Pattern(b.o.Prefix+":*"+dead.node.name+"*").Build()).AsStrSlice()
		require.NoError(t, err)
		is, err := b.client.Do(t.Context(), b.client.B().Hgetall().Key(b.keys[0].owners()).Build()).AsStrMap()
		require.NoError(t, err)
		_, there := is[ownerName(dead.node.name, the(dead).epoch)]
		return len(keys) == 0 && !there
	}, patience, 10*time.Millisecond)
}

// A node that was only paused comes to know that it was taken for dead, and
// its users come back.
func TestAPausedNodeAnnouncesItsUsersAgain(t *testing.T) {
	p := processes(t, redistest.New(t), 2, quick)
	v := &view{t: t, c: p[0].as("watcher")}
	v.until(1, []string{"watcher"}, nil)
	paused := &view{t: t, c: p[1].as("a")}
	p[1].as("b")
	v.until(3, []string{"a", "b"}, nil)
	paused.until(3, []string{"a", "b"}, nil)
	for range 2 {
		p[1].wire.cut()
		v.until(1, nil, []string{"a", "b"})
		p[1].wire.mend()
		v.until(3, []string{"a", "b"}, nil)
		v.nothing(2*p[0].b.t.linger, p[1], func() {
			for told := false; !told; { // its own clients may have missed anything but the end
				f := paused.c.Expect("members")
				if told = slices.Contains(f.Joined, "sentinel"); told {
					assert.Equal(t, 4, f.Count)
				}
			}
		})
		paused.c.Expect("members", "count", 3)
		presentOn(t, p[0], "a", "b", "watcher")
	}
}

// A rolling restart: who is back within the grace is not seen to leave.
func TestARestartDoesNotFlap(t *testing.T) {
	const drain, linger = 2 * time.Second, 2 * time.Second
	s := redistest.New(t)
	p := draining(t, s, 3, drain, func(b *Broker) { quick(b); b.t.linger = linger })
	v := &view{t: t, c: p[0].as("watcher")}
	v.until(1, []string{"watcher"}, nil)
	moves := p[1].as("moves")
	p[1].as("stays")
	p[1].as("goes")
	v.until(4, []string{"goes", "moves", "stays"}, nil)
	dead := &Broker{node: p[1].b.node}
	ended := make(chan struct{})
	began := time.Now()
	go func() { // ends with the drain
		defer close(ended)
		assert.NoError(t, p[1].Shutdown(context.Background()))
	}()
	moves.Expect("goaway")
	moves.Cut() // before its time: it is no leave all the same
	time.Sleep(drain / 4)
	p[2].as("moves")
	back := p[2].Dial("stays") // only to join is left for when its hub has ended
	<-ended
	time.Sleep(linger / 4)
	back.Join("general")
	v.until(3, nil, []string{"goes"})
	assert.GreaterOrEqual(t, time.Since(began), drain/2+linger, "who has not gone by half of the drain is closed then")
	v.nothing(200*time.Millisecond, p[2])
	leavesNothing(t, s, p[0].b, dead)
}

// Redis forgets: all is announced again, and nobody is seen to come or go who
// has not.
func TestMembersAfterRedisForgot(t *testing.T) {
	for name, forget := range map[string]func(*testing.T, *redistest.Server){
		"FLUSHALL": func(t *testing.T, s *redistest.Server) { t.Helper(); require.NoError(t, s.FlushAll()) },
		"scripts alone": func(t *testing.T, s *redistest.Server) {
			t.Helper()
			_, err := s.Do("SCRIPT", "FLUSH")
			require.NoError(t, err)
		},
		"restart": func(t *testing.T, s *redistest.Server) { t.Helper(); require.NoError(t, s.Restart()) },
		"down": func(t *testing.T, s *redistest.Server) {
			t.Helper()
			require.NoError(t, s.Kill9())
			time.Sleep(3 * time.Second)
			require.NoError(t, s.Start())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.New(t)
			p := processes(t, s, 2, func(b *Broker) { b.t.beat, b.t.linger = 100*time.Millisecond, time.Second })
			a, b := &view{t: t, c: p[0].as("alice")}, &view{t: t, c: p[1].as("bob")}
			carol, dave := p[0].as("carol"), p[1].as("dave")
			a.until(4, []string{"alice", "bob", "carol", "dave"}, nil)
			b.until(4, []string{"alice", "bob", "carol", "dave"}, nil)
			forget(t, s)
			carol.Leave("general")
			dave.Cut()
			a.until(2, nil, []string{"carol", "dave"})
			b.until(2, nil, []string{"carol", "dave"})
			a.nothing(rosterSettle+time.Second, p[1], func() { b.until(3, []string{"sentinel"}, nil) })
			b.until(2, nil, []string{"sentinel"})
			for _, x := range p {
				presentOn(t, x, "alice", "bob")
			}
			c := p[0].Dial("erin")
			assert.Equal(t, 3, c.Join("general").Members)
		})
	}
}

// rosterSettle is for how long the hub does not trust counts after that.
const rosterSettle = 3 * time.Second

// While Redis is away, presence is unavailable and what happens is told later.
func TestPresenceWhileRedisIsAway(t *testing.T) {
	s := redistest.New(t)
	p := processes(t, s, 2, quick)
	a := &view{t: t, c: p[0].as("alice")}
	bob := p[1].as("bob")
	carol := p[1].as("carol")
	a.until(3, []string{"alice", "bob", "carol"}, nil)
	require.NoError(t, s.Kill9())
	carol.Leave("general")
	require.Eventually(t, func() bool {
		_, err := p[1].Presence(t.Context(), gohub.RoomID{Name: "general"}, "", 0)
		return err != nil
	}, patience, 10*time.Millisecond)
	bob.Send("presence", "ref", 1, "room", "general")
	bob.ExpectError(gohub.CodeUnavailable)
	require.NoError(t, s.Start())
	back := time.Now()
	a.until(2, nil, []string{"carol"})
	t.Logf("carol has left %v after Redis was back", time.Since(back))
	presentOn(t, p[1], "alice", "bob")
}

// What a hub has not heard, since its subscriptions were cut, is at least
// counted.
func TestALostConnectionHasTheCountAskedFor(t *testing.T) {
	s := redistest.New(t)
	p := processes(t, s, 2, func(*Broker) {})
	v := &view{t: t, c: p[0].as("alice")}
	v.until(1, []string{"alice"}, nil)
	// As if it were announced while nobody listens.
	room := gohub.RoomID{Name: "general"}
	_, err := the(p[1].b).announce(t.Context(), the(p[1].b).lease.Load(), room, []gohub.PresentUser{{User: "bob", Name: "bob", Sessions: 1}}, true)
	require.NoError(t, err)
	_, err = s.Do("CLIENT", "KILL", "TYPE", "pubsub")
	require.NoError(t, err)
	v.until(2, nil, nil)
}

// Who is dead, and who only seems so.
func TestDoomed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch{seen: map[string]sighting{}}
		began := time.Now()
		at := func() int64 { return time.Now().UnixMicro() }
		nodes := map[string]string{"self": "1 1", "other": "1 1"}
		are := map[string]string{"self/2": "", "other/1": ""}
		beats := 0
		pass := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(defaultTiming.beat) {
				beats++
				nodes["self"] = fmt.Sprint("1 ", beats)
				w.note(nodes, "self", defaultTiming)
				w.noteOwners(are, nodes, at(), "self/2")
			}
		}
		doomed := func() []doomed { return w.doomed(defaultTiming) }
		alive := func() { nodes["other"] = fmt.Sprint("1 alive ", beats) }

		pass(defaultTiming.silent - time.Second)
		assert.Empty(t, doomed())
		time.Sleep(time.Hour)
		assert.Empty(t, doomed(), "while away nobody is dead")
		pass(defaultTiming.silent - time.Second)
		assert.Empty(t, doomed(), "nor just back")
		pass(3 * time.Second)
		assert.Len(t, doomed(), 1)
		assert.Equal(t, "other/1", doomed()[0].owner)
		assert.Equal(t, "1 1", doomed()[0].beat, "if it still has not beaten")
		alive()
		pass(time.Second)
		assert.Empty(t, doomed())

		are["other/1"] = fmt.Sprint("left ", at())
		alive()
		pass(defaultTiming.linger - time.Second)
		assert.Empty(t, doomed(), "it has left, and its users may come back")
		pass(2 * time.Second)
		assert.Len(t, doomed(), 1)
		are["other/1"] = fmt.Sprint("dead ", at())
		pass(time.Second)
		assert.Empty(t, doomed(), "somebody is at it")
		pass(3 * defaultTiming.linger)
		assert.Len(t, doomed(), 1, "who then has gone, too")

		are["other/1"] = ""
		delete(nodes, "other")
		pass(defaultTiming.linger - time.Second)
		assert.Empty(t, doomed(), "its node is not in the list")
		pass(3 * time.Second)
		assert.Equal(t, []string{"other"}, []string{doomed()[0].node})
		delete(are, "other/1")

		are["self/1"] = ""
		pass(defaultTiming.linger - time.Second)
		assert.Empty(t, doomed(), "this node was it")
		pass(3 * time.Second)
		assert.Equal(t, "self/1", doomed()[0].owner)
		t.Log(time.Since(began))
	})
}

// A node that beats in the last moment keeps its users.
func TestClaim(t *testing.T) {
	s := redistest.New(t)
	b := broker(t, s, prefix())
	quick(b)
	runs(t, b, new(recorder))
	_, err := b.Announce(t.Context(), lobby, []gohub.PresentUser{{User: "alice", Sessions: 1}}, false)
	require.NoError(t, err)
	n, l := the(b), the(b).lease.Load()
	for _, d := range []doomed{
		{l.owner, "", n.n.name, "1 1"},              // it has beaten since
		{l.owner, "", n.n.name, ""},                 // or has come back
		{owner: l.owner, is: "left 1"},              // or is another one
		{owner: ownerName(n.n.name, 0), is: "gone"}, // or is not there
	} {
		require.NoError(t, n.reap(t.Context(), l, d))
		page, err := b.Present(t.Context(), lobby, "", 0)
		require.NoError(t, err)
		require.Equal(t, 1, page.Count, d)
	}
	require.NoError(t, n.reap(t.Context(), l, doomed{owner: l.owner, is: ""}))
	page, err := b.Present(t.Context(), lobby, "", 0)
	require.NoError(t, err)
	require.Zero(t, page.Count)
}
