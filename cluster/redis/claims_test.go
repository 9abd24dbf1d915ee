//go:build unix

package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/cluster/clustertest"
	"github.com/gohub/gohub/hubtest"
	"github.com/gohub/gohub/internal/redistest"
)

func TestClaims(t *testing.T) {
	s := redistest.New(t)
	p := prefix()
	clustertest.RunClaims(t, func(t *testing.T) clustertest.Claims {
		a, b := broker(t, s, p), broker(t, s, p)
		return claimsOf(t, a, b, func(t *testing.T) {
			t.Helper()
			require.NoError(t, s.FlushAll())
			_, err := s.Do("SCRIPT", "FLUSH")
			require.NoError(t, err)
		})
	})
}

// claimsOf has two brokers run, and forget until they are served anew.
func claimsOf(t *testing.T, a, b *Broker, forget func(t *testing.T)) clustertest.Claims {
	t.Helper()
	runs(t, a, new(recorder))
	runs(t, b, new(recorder))
	return clustertest.Claims{A: a, B: b, Forget: func(t *testing.T) {
		t.Helper()
		begin := beginsAnew(a, b)
		forget(t)
		require.Eventually(t, begin, patience, time.Millisecond)
	}}
}

// beginsAnew reports whether all generations are others than they were, and have
// been heard of since it was first called: one that has begun while much was being
// forgotten may have been forgotten, too.
func beginsAnew(bs ...*Broker) func() bool {
	var before [][]string
	for _, b := range bs {
		before = append(before, generations(b))
	}
	var called int64
	return func() bool {
		if called == 0 {
			called = time.Now().UnixMicro()
		}
		for i, b := range bs {
			for part, p := range b.node.parts {
				if l := p.lease.Load(); l == nil || l.gen == before[i][part] || l.beat <= called {
					b.poke()
					return false
				}
			}
		}
		return true
	}
}

// A device's generation is kept as long as a hub holds it, and some minutes.
func TestClaimsExpire(t *testing.T) {
	s := redistest.New(t)
	b := broker(t, s, prefix())
	runs(t, b, new(recorder))
	c := gohub.Claim{User: "alice", Device: "phone", Session: "s"}
	gen, err := b.Claim(t.Context(), c)
	require.NoError(t, err)
	c.Gen = gen
	name := deviceName(&c)
	key := b.keys.of(name).device(name)
	life := func() int64 {
		ms, err := b.client.Do(t.Context(), b.client.B().Pttl().Key(key).Build()).AsInt64()
		require.NoError(t, err)
		return ms
	}
	full := claimLife.Milliseconds()
	require.InDelta(t, full, life(), float64(full)/4)
	shorten := func() {
		require.NoError(t, b.client.Do(t.Context(), b.client.B().Pexpire().Key(key).Milliseconds(full/2).Build()).Error())
	}
	shorten()
	lost, err := b.Lost(t.Context(), []gohub.Claim{c})
	require.NoError(t, err)
	require.Empty(t, lost)
	require.InDelta(t, full, life(), float64(full)/4, "it is held")
	shorten()
	c.Gen--
	lost, err = b.Lost(t.Context(), []gohub.Claim{c})
	require.NoError(t, err)
	require.Len(t, lost, 1)
	require.LessOrEqual(t, life(), full/2, "who holds an older one keeps nothing alive")
}

func TestClaimsWithoutRedis(t *testing.T) {
	s := redistest.New(t)
	b := broker(t, s, prefix())
	c := gohub.Claim{User: "alice", Device: "phone", Session: "s", Gen: 1}
	_, err := b.Claim(t.Context(), c)
	require.ErrorContains(t, err, "does not run")
	_, err = b.Lost(t.Context(), []gohub.Claim{c})
	require.ErrorContains(t, err, "does not run")
	runs(t, b, new(recorder))
	require.NoError(t, s.Freeze())
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = b.Claim(ctx, c)
	require.ErrorIs(t, err, gohub.ErrUnavailable)
	require.NoError(t, s.Thaw())
	require.NoError(t, s.Kill9())
	_, err = b.Claim(t.Context(), c)
	require.ErrorIs(t, err, gohub.ErrUnavailable)
	_, err = b.Lost(t.Context(), []gohub.Claim{c})
	require.ErrorIs(t, err, gohub.ErrUnavailable)
}

// Without a lease the server's clock is not known, so a claim could not be void
// when nobody waits for it any more: there is none.
func TestNoClaimWithoutALease(t *testing.T) {
	s := redistest.New(t)
	b := broker(t, s, prefix())
	runs(t, b, new(recorder))
	c := gohub.Claim{User: "alice", Device: "phone", Session: "s"}
	unstored := publish(t, b, 0, message("no generation begins before it is stored"))
	require.NoError(t, s.FlushAll())
	b.poke()
	require.Eventually(t, func() bool { return the(b).lease.Load() == nil }, patience, time.Millisecond)
	_, err := b.Claim(t.Context(), c)
	require.ErrorIs(t, err, gohub.ErrUnavailable)
	b.Stored(unstored)
	require.Eventually(t, func() bool { return isLeased(b) }, patience, time.Millisecond)
	_, err = b.Claim(t.Context(), c)
	require.NoError(t, err)
}

// What can do without the server is not sent to one that has not answered the last
// beat, nor what would keep a session waiting.
func TestNothingIsAskedOfAServerThatIsAway(t *testing.T) {
	b := broker(t, redistest.New(t), prefix())
	b.t.beat = time.Hour
	runs(t, b, new(recorder))
	c := gohub.Claim{User: "alice", Device: "phone", Session: "s"}
	away := errors.New("no answer")
	calls := map[string]func() error{
		"Claim":      func() (err error) { c.Gen, err = b.Claim(t.Context(), gohub.Claim{Session: "s"}); return err },
		"Lost":       func() error { _, err := b.Lost(t.Context(), []gohub.Claim{c}); return err },
		"PutTicket":  func() error { return b.PutTicket(t.Context(), "x", nil, time.Minute) },
		"TakeTicket": func() error { _, err := b.TakeTicket(t.Context(), "x"); return err },
		"Publish":    func() error { return b.Publish(t.Context(), 0, message("m"))[0].Err },
		"Announce":   func() error { _, err := b.Announce(t.Context(), lobby, nil, false); return err },
		"Present":    func() error { _, err := b.Present(t.Context(), lobby, "", 1); return err },
	}
	for _, err := range []error{nil, away} {
		the(b).state.Store(&state{good: time.Now(), err: err})
		for name, call := range calls {
			if got := call(); err == nil {
				require.NoError(t, got, name)
			} else {
				require.ErrorIs(t, got, gohub.ErrUnavailable, name)
				require.ErrorIs(t, got, away, name)
			}
		}
	}
}

// signals is a Broker that loses orders when told to.
type signals struct {
	*Broker
	lose atomic.Bool
	to   atomic.Pointer[gohub.Receiver]
}

func (b *signals) Run(ctx context.Context, r gohub.Receiver) error {
	b.to.Store(&r)
	return b.Broker.Run(ctx, r)
}

func (b *signals) Signal(to gohub.Target, frame []byte) {
	if !b.lose.Load() {
		b.Broker.Signal(to, frame)
	}
}

// suspect has its hub look at all claims, as after a lost connection.
func (b *signals) suspect() { (*b.to.Load()).Suspect() }

type deviceHub struct {
	*hubtest.Hub
	b *signals
}

func deviceHubs(t *testing.T, s *redistest.Server) (a, b deviceHub) {
	t.Helper()
	p, store := prefix(), gohub.NewMemoryStore(gohub.MemoryStoreOptions{})
	hub := func(node string) deviceHub {
		br := &signals{Broker: broker(t, s, p)}
		h := hubtest.New(t, gohub.Config{Node: node, Store: store, Broker: br})
		h.Patience = 40 * time.Second // hubs look by themselves once a minute: it is orders that are awaited
		return deviceHub{h, br}
	}
	a, b = hub("a"), hub("b")
	hear(t, a.b.Broker, b.b.Broker)
	return a, b
}

// known waits until Redis has heard of c's session last of those of alice's phone. One whose
// claim has failed, since the machine paused, is claimed a second later.
func known(t *testing.T, b *Broker, c *hubtest.Client) {
	t.Helper()
	name := deviceName(&gohub.Claim{User: "alice", Device: "phone"})
	get := b.client.B().Get().Key(b.keys.of(name).device(name)).Build().Pin()
	require.Eventually(t, func() bool {
		is, _ := b.client.Do(t.Context(), get).ToString()
		return strings.HasSuffix(is, " "+c.Session())
	}, patience, time.Millisecond)
}

// replaced waits for that.
func replaced(t *testing.T, c *hubtest.Client) {
	t.Helper()
	c.ExpectClose(gohub.CloseSessionReplaced)
}

func TestOneSessionOfADevice(t *testing.T) {
	a, b := deviceHubs(t, redistest.New(t))
	other := a.Dial("alice")
	last := a.Dial("alice", hubtest.Device("phone"))
	var took []time.Duration
	for i := range 20 {
		next := []deviceHub{b, a}[i%2].Dial("alice", hubtest.Device("phone"))
		began := time.Now()
		replaced(t, last)
		took = append(took, time.Since(began))
		last = next
	}
	slices.Sort(took)
	t.Logf("replaced after %v, at most %v", took[10], took[19])
	require.Less(t, took[10], 10*time.Second, "they are told: hubs look by themselves once a minute")
	last.Ping()
	other.Ping()
}

// Devices change hubs all the time, all at once: the last session of each stays,
// and every other one has been replaced.
func TestDevicesThatChangeHubs(t *testing.T) {
	a, b := deviceHubs(t, redistest.New(t))
	var wg sync.WaitGroup
	var all [10][]*hubtest.Client
	for d := range all {
		wg.Go(func() {
			for range 20 {
				h := []deviceHub{a, b}[rand.IntN(2)]
				all[d] = append(all[d], h.Dial("alice", hubtest.Device(fmt.Sprint("d", d))))
				time.Sleep(rand.N(5 * time.Millisecond))
			}
		})
	}
	wg.Wait()
	for d := range all {
		last := len(all[d]) - 1
		for _, c := range all[d][:last] {
			c.ExpectClose(gohub.CloseSessionReplaced)
		}
		all[d][last].Ping()
	}
	require.Eventually(t, func() bool { return a.Stats().Sessions+b.Stats().Sessions == len(all) }, patience, time.Millisecond)
}

func TestKickAndReceiptsOnTwoHubs(t *testing.T) {
	a, b := deviceHubs(t, redistest.New(t))
	alice, bob := a.Dial("alice"), b.Dial("bob")
	alice.Join("r")
	bob.Join("r")
	m := alice.Say("r", 1)
	bob.ExpectMessage("r", 1)
	bob.Receipt("r", m.Seq, m.Seq)
	alice.Expect("receipt", "user", "bob", "seen", m.Seq)

	require.Zero(t, a.CloseRoom(gohub.RoomID{Name: "q"}))
	require.Equal(t, 1, a.CloseRoom(gohub.RoomID{Name: "r"}))
	bob.Expect("left", "room", "r")
	require.Zero(t, a.Kick("", "bob", "spam"))
	bob.ExpectClose(gohub.CloseKicked)
	alice.Ping()
}

func TestLostOrderToReplace(t *testing.T) {
	a, b := deviceHubs(t, redistest.New(t))
	old := a.Dial("alice", hubtest.Device("phone"))
	known(t, a.b.Broker, old)
	b.b.lose.Store(true)
	now := b.Dial("alice", hubtest.Device("phone"))
	known(t, a.b.Broker, now)
	time.Sleep(200 * time.Millisecond)
	old.Ping() // nobody has told
	a.b.suspect()
	replaced(t, old)
	b.b.suspect()
	time.Sleep(1500 * time.Millisecond)
	now.Ping()
}

// Sessions begin while Redis is down, on hubs that do not hear of each other.
// When it is back, and empty, the newest of each device stays.
func TestSessionsBeginWhileRedisIsDown(t *testing.T) {
	s := redistest.New(t)
	a, b := deviceHubs(t, s)
	device := func(i int) hubtest.Option { return hubtest.Device(fmt.Sprint("d", i)) }
	const devices = 20
	var old, older, now []*hubtest.Client
	for i := range devices {
		older = append(older, a.Dial("alice", device(i)))
	}
	require.NoError(t, s.Kill9())
	for i := range devices {
		old = append(old, b.Dial("alice", device(i)))
	}
	began := time.Now()
	for i := range devices {
		now = append(now, a.Dial("alice", device(i)))
		replaced(t, older[i])
	}
	require.Less(t, time.Since(began), devices*500*time.Millisecond, "nobody waits for Redis, which would be a second each")
	for _, c := range append(old, now...) {
		c.Ping()
	}
	require.NoError(t, s.Start())
	for i := range devices {
		replaced(t, old[i])
	}
	a.b.suspect()
	b.b.suspect()
	time.Sleep(1500 * time.Millisecond)
	for _, c := range now {
		c.Ping()
	}
}

func TestNewestWinsAfterFlushAll(t *testing.T) {
	s := redistest.New(t)
	a, b := deviceHubs(t, s)
	old := a.Dial("alice", hubtest.Device("phone"))
	known(t, a.b.Broker, old)
	a.b.lose.Store(true)
	b.b.lose.Store(true)
	now := b.Dial("alice", hubtest.Device("phone"))
	known(t, a.b.Broker, now)
	// No generation begins before these are stored, which would have both look.
	one, two := publish(t, a.b.Broker, 0, message("1")), publish(t, b.b.Broker, 0, message("2"))
	require.NoError(t, s.FlushAll())
	a.b.suspect() // the older one is told first
	known(t, a.b.Broker, old)
	old.Ping()
	b.b.suspect()
	known(t, a.b.Broker, now)
	now.Ping()
	a.b.suspect()
	replaced(t, old)
	a.b.Stored(one)
	b.b.Stored(two)

	a.b.lose.Store(false)
	b.b.lose.Store(false)
	require.NoError(t, s.FlushAll())
	newer := a.Dial("alice", hubtest.Device("phone"))
	replaced(t, now)
	newer.Ping()
}

// Orders have a place when the queue of signals is full of what may be lost.
func TestSignalsKeepRoomForOrders(t *testing.T) {
	s := redistest.New(t)
	b := broker(t, s, prefix())
	n := newNode(b, nil) // does not run: nothing leaves the queue
	b.node = n
	for range 2000 {
		b.Signal(gohub.Target{Room: "r", User: "alice"}, []byte("receipt"))
	}
	require.Len(t, n.parts[0].signals, 768)
	b.Signal(gohub.Target{Tenant: "t"}, []byte("order"))
	require.Len(t, n.parts[0].signals, 769)
}

// A claim that was held up on its way until nobody waits for it any more, as by
// a process that is stopped, is none: newer sessions have been claimed since.
func TestALateClaimIsVoid(t *testing.T) {
	s := redistest.New(t)
	p := prefix()
	line := newLine(t, s.Addr())
	client, err := rueidis.NewClient(Defaults(rueidis.ClientOption{InitAddress: []string{line.addr()}, ForceSingleClient: true}))
	require.NoError(t, err)
	t.Cleanup(client.Close)
	b, err := New(t.Context(), client, Options{Prefix: p, Logger: quiet()})
	require.NoError(t, err)
	runs(t, b, new(recorder))
	_, err = b.Claim(t.Context(), gohub.Claim{User: "bob", Device: "phone", Session: "first"}) // Redis knows the script
	require.NoError(t, err)

	line.held.Lock()
	goOn := sync.OnceFunc(line.held.Unlock)
	t.Cleanup(goOn)
	for session, since := range map[string]time.Time{"given up": {}, "late and given up": time.Now()} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, err = b.Claim(ctx, gohub.Claim{User: "alice", Device: "phone", Session: session, Since: since})
		cancel()
		require.ErrorIs(t, err, gohub.ErrUnavailable)
	}
	other := broker(t, s, p)
	runs(t, other, new(recorder))
	c := gohub.Claim{User: "alice", Device: "phone", Session: "the newest"}
	c.Gen, err = other.Claim(t.Context(), c)
	require.NoError(t, err)
	time.Sleep(200 * time.Millisecond) // they are not wanted any more
	goOn()
	require.Eventually(t, func() bool { // behind it, on the same connection
		_, err := b.Claim(t.Context(), gohub.Claim{User: "carol", Device: "phone", Session: "s"})
		return err == nil
	}, patience, 10*time.Millisecond)
	lost, err := other.Lost(t.Context(), []gohub.Claim{c})
	require.NoError(t, err)
	require.Empty(t, lost)
}
