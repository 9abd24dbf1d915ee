package gohub_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// A cluster is hubs in one process, in virtual time.
type cluster struct {
	t     *testing.T
	hubs  []*world
	links []*link
	dirs  []*dirLink
}

// startCluster starts n hubs that share a Store, a Broker and a Directory.
func startCluster(t *testing.T, n int, cfg gohub.Config) *cluster {
	t.Helper()
	c := &cluster{t: t}
	broker, dir := gohub.NewMemoryBroker(), gohub.NewMemoryDirectory()
	if cfg.Store == nil {
		cfg.Store = gohub.NewMemoryStore(gohub.MemoryStoreOptions{})
	}
	for i := range n {
		l, d := &link{Broker: broker}, &dirLink{Directory: dir.Node()}
		c.links, c.dirs = append(c.links, l), append(c.dirs, d)
		own := cfg
		own.Node, own.Broker, own.Directory = fmt.Sprint("hub", i), l, d
		c.hubs = append(c.hubs, startVirtual(t, own))
	}
	return c
}

// forget gives all hubs a Directory that knows nothing.
func (c *cluster) forget() {
	dir := gohub.NewMemoryDirectory()
	for _, d := range c.dirs {
		d.set(func() { d.Directory = dir.Node() })
	}
}

func (c *cluster) down(down bool) {
	for _, d := range c.dirs {
		d.set(func() { d.down = down })
	}
}

// A link is one hub's way to the Broker.
type link struct {
	gohub.Broker
	deaf, mute atomic.Bool
	to         atomic.Pointer[deafReceiver]
}

type deafReceiver struct {
	gohub.Receiver
	l *link
}

func (r *deafReceiver) Signal(to gohub.Target, frame []byte) {
	if !r.l.deaf.Load() {
		r.Receiver.Signal(to, frame)
	}
}

func (l *link) receiver(r gohub.Receiver) gohub.Receiver {
	l.to.CompareAndSwap(nil, &deafReceiver{r, l})
	return l.to.Load()
}

func (l *link) Run(ctx context.Context, r gohub.Receiver) error {
	return l.Broker.Run(ctx, l.receiver(r))
}

func (l *link) Subscribe(ctx context.Context, r gohub.Receiver, room gohub.RoomID) error {
	return l.Broker.Subscribe(ctx, l.receiver(r), room)
}

func (l *link) Unsubscribe(r gohub.Receiver, room gohub.RoomID) {
	l.Broker.Unsubscribe(l.receiver(r), room)
}

func (l *link) Signal(to gohub.Target, frame []byte) {
	if !l.mute.Load() {
		l.Broker.Signal(to, frame)
	}
}

// A dirLink is one hub's way to the Directory.
type dirLink struct {
	gohub.Directory
	mu     sync.Mutex // guards what follows, and Directory
	down   bool
	before func(gohub.Claim) error // nil: nothing; an error keeps the claim from being made
	after  func(gohub.Claim) error // an error keeps the answer from being heard
	listen gohub.Listener
	asked  int
}

func (d *dirLink) set(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

func (d *dirLink) get() (to gohub.Directory, before, after func(gohub.Claim) error, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down {
		err = gohub.ErrUnavailable
	}
	d.asked++
	return d.Directory, d.before, d.after, err
}

func (d *dirLink) Serve(l gohub.Listener, self gohub.Node) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.listen = l
	d.Directory.Serve(l, self)
}

func (d *dirLink) Claim(ctx context.Context, c gohub.Claim) (int64, error) {
	to, before, after, err := d.get()
	if err != nil {
		return 0, err
	}
	if before != nil {
		if err := before(c); err != nil {
			return 0, err
		}
	}
	if ctx.Err() != nil {
		return 0, gohub.ErrUnavailable
	}
	gen, err := to.Claim(ctx, c)
	if err == nil && after != nil {
		err = after(c)
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return gen, err
}

func (d *dirLink) Lost(ctx context.Context, held []gohub.Claim) ([]gohub.Claim, error) {
	to, _, _, err := d.get()
	if err != nil {
		return nil, err
	}
	return to.Lost(ctx, held)
}

// Nodes is asked with each handshake, also while the Directory is exchanged.
func (d *dirLink) Nodes() []gohub.Node {
	d.mu.Lock()
	to := d.Directory
	d.mu.Unlock()
	return to.Nodes()
}

// A gate holds up who comes to it.
type gate chan struct{}

func (g gate) wait(gohub.Claim) error { <-g; return nil }

const phone = "user=alice&device=phone"

// replaced shows that u has been replaced by now.
func replaced(t *testing.T, u *user) {
	t.Helper()
	synctest.Wait()
	require.True(t, u.isClosed(), "%s still has its session", u.name)
	u.closes(gohub.CloseSessionReplaced)
}

// stays shows that u has its session, and keeps it.
func stays(t *testing.T, u *user) {
	t.Helper()
	pass(3 * time.Minute)
	require.False(t, u.isClosed(), "the newest session has been ended: %v", u.end)
	u.sync()
}

func inCluster(t *testing.T, n int, f func(t *testing.T, c *cluster)) {
	t.Helper()
	virtual(t, func(t *testing.T) { f(t, startCluster(t, n, gohub.Config{})) })
}

func TestOneSessionOfADeviceInTheCluster(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *cluster) {
		others := []*user{
			c.hubs[0].dial("user=alice"), c.hubs[0].dial("user=alice"), c.hubs[0].dial("user=alice&device=laptop"),
			c.hubs[0].dial("user=bob&device=phone"), c.hubs[0].dial("user=alice&device=phone&tenant=acme"),
		}
		begun := time.Now()
		last := c.hubs[0].dial(phone)
		for i := range 7 {
			next := c.hubs[(i+1)%3].dial(phone)
			replaced(t, last)
			last = next
		}
		again := c.hubs[1].dial(phone) // where the last one is, too
		replaced(t, last)
		require.Zero(t, time.Since(begun), "at once")
		stays(t, again)
		for _, u := range others {
			u.sync()
		}
	})
}

// Nothing follows the Close frame of a session that was replaced from another hub.
func TestReplacedSessionHearsNothingMore(t *testing.T) {
	inCluster(t, 2, func(t *testing.T, c *cluster) {
		old := c.hubs[0].bare(phone)
		old.text(`{"type":"join","room":"r","ref":1}`)
		for f := (frame{}); f["type"] != "joined"; {
			var err error
			f, err = old.frame()
			require.NoError(t, err)
		}
		speaker := c.hubs[1].as("bob", "r")
		for i := range 10 {
			speaker.publish("r", i)
		}
		c.hubs[1].knock(phone)
		for i := range 10 {
			speaker.publish("r", i)
		}
		ops, code := old.rest()
		require.Equal(t, gohub.CloseSessionReplaced, code)
		require.Equal(t, byte(opClose), ops[len(ops)-1])
		require.NotContains(t, ops[:len(ops)-1], byte(opClose))
	})
}

// An order that was lost is made up for within a minute.
func TestLostOrderIsHealed(t *testing.T) {
	for name, lose := range map[string]func(c *cluster){
		"not sent":     func(c *cluster) { c.links[1].mute.Store(true) },
		"not received": func(c *cluster) { c.links[0].deaf.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, 2, func(t *testing.T, c *cluster) {
				lose(c)
				old := c.hubs[0].dial(phone)
				now := c.hubs[1].dial(phone)
				pass(time.Second)
				require.False(t, old.isClosed(), "nobody has told")
				pass(time.Minute)
				replaced(t, old)
				stays(t, now)
			})
		})
	}
}

// A claim that can never be made keeps no other session from being looked at,
// nor claimed.
func TestAClaimThatAlwaysFails(t *testing.T) {
	inCluster(t, 2, func(t *testing.T, c *cluster) {
		c.links[0].deaf.Store(true)
		down := true
		c.dirs[0].set(func() {
			c.dirs[0].before = func(cl gohub.Claim) error {
				if down && cl.User != "alice" || cl.User == "mallory" {
					return gohub.ErrUnavailable
				}
				return nil
			}
		})
		old := c.hubs[0].dial(phone)
		for n := range 40 {
			c.hubs[0].dial(fmt.Sprint("user=mallory&device=d", n))
		}
		var late []*user
		for n := range 20 {
			late = append(late, c.hubs[0].dial(fmt.Sprint("user=bob&device=d", n)))
		}
		now := c.hubs[1].dial(phone)
		pass(2 * time.Minute)
		replaced(t, old)
		c.dirs[0].set(func() { down = false })
		pass(5 * time.Minute)
		for n := range late { // claimed: it is known who is newer
			c.hubs[1].dial(fmt.Sprint("user=bob&device=d", n))
		}
		pass(2 * time.Minute)
		for _, u := range late {
			replaced(t, u)
		}
		stays(t, now)
	})
}

// While a third of the Directory is away, who is late is claimed in the others at once.
func TestLateClaimsWhileAPartIsAway(t *testing.T) {
	inCluster(t, 1, func(t *testing.T, c *cluster) {
		claimed := map[string]bool{}
		c.down(true)
		c.dirs[0].set(func() {
			c.dirs[0].before = func(cl gohub.Claim) error {
				if cl.User == "away" {
					return gohub.ErrUnavailable
				}
				return nil
			}
			c.dirs[0].after = func(cl gohub.Claim) error {
				c.dirs[0].set(func() { claimed[cl.Session] = true })
				return nil
			}
		})
		const each = 90
		for n := range each {
			for _, user := range []string{"away", "alice", "bob"} {
				c.hubs[0].dial(fmt.Sprintf("user=%s&device=d%d", user, n))
			}
		}
		pass(10 * time.Second)
		require.Empty(t, claimed)
		c.down(false)
		pass(5 * time.Second) // one look
		n := 0
		c.dirs[0].set(func() { n = len(claimed) })
		require.Equal(t, 2*each, n)
	})
}

// asked is a Directory that counts whom it is asked about. It answers late, and
// never for a third of the users.
type asked struct {
	gohub.Directory
	takes time.Duration
	of    map[string]bool
}

func (d *asked) Lost(ctx context.Context, held []gohub.Claim) (_ []gohub.Claim, err error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(d.takes):
	}
	for _, c := range held {
		if c.User == "away" {
			err = gohub.ErrUnavailable
		} else {
			d.of[c.Session] = true
		}
	}
	return nil, err
}

// While a part of the Directory is away, the others are asked about all claims;
// where that takes too long for one look, each look is at others.
func TestClaimsAreLookedAtWhileAPartIsAway(t *testing.T) {
	var held []gohub.Claim
	for n := range 6000 { // those of the part that is away come first
		user := "alice"
		if n < 2000 {
			user = "away"
		}
		held = append(held, gohub.Claim{User: user, Device: "phone", Session: fmt.Sprint(n)})
	}
	virtual(t, func(t *testing.T) {
		d := &asked{takes: 10 * time.Millisecond, of: map[string]bool{}}
		require.ErrorIs(t, gohub.AskAbout(t.Context(), d, slices.Clone(held)), gohub.ErrUnavailable)
		n := len(d.of)
		require.Equal(t, 4000, n)

		slow := &asked{takes: 4 * time.Second, of: map[string]bool{}}
		began := time.Now()
		for range 20 { // 1,000 of 6,000 each
			require.Error(t, gohub.AskAbout(t.Context(), slow, slices.Clone(held)))
		}
		require.LessOrEqual(t, time.Since(began), 20*5*time.Second)
		require.Greater(t, len(slow.of), 3500)
	})
}

// After trouble with the Broker or the Directory it takes a second.
func TestLostOrdersAreLookedForAfterTrouble(t *testing.T) {
	for name, trouble := range map[string]func(c *cluster){
		"Suspect":          func(c *cluster) { c.links[0].to.Load().Suspect() },
		"Suspect of rooms": func(c *cluster) { c.links[0].to.Load().Suspect(gohub.RoomID{Name: "r"}) },
		"Forgotten":        func(c *cluster) { c.dirs[0].listen.Forgotten(true) },
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, 2, func(t *testing.T, c *cluster) {
				c.links[0].deaf.Store(true)
				var old, now []*user
				for i := range 30 { // more than one look would find without
					old = append(old, c.hubs[0].dial(fmt.Sprint("user=alice&device=d", i)))
				}
				for i := range 30 {
					now = append(now, c.hubs[1].dial(fmt.Sprint("user=alice&device=d", i)))
				}
				trouble(c)
				pass(time.Second)
				for _, u := range old {
					replaced(t, u)
				}
				for _, u := range now {
					u.sync()
				}
				stays(t, now[0])
			})
		})
	}
}

// Trouble while the Directory is away is remembered until it is back.
func TestDoubtsWaitForTheDirectory(t *testing.T) {
	inCluster(t, 2, func(t *testing.T, c *cluster) {
		c.links[0].deaf.Store(true)
		var old []*user
		for i := range 30 {
			old = append(old, c.hubs[0].dial(fmt.Sprint("user=alice&device=d", i)))
			c.hubs[1].dial(fmt.Sprint("user=alice&device=d", i))
		}
		c.down(true)
		c.links[0].to.Load().Suspect()
		pass(time.Minute)
		c.down(false)
		pass(6 * time.Second)
		for _, u := range old {
			replaced(t, u)
		}
	})
}

// The order of a newer session comes while the older one's claim is under way:
// the older one does not survive it, the newer one does.
func TestOrderDuringAClaim(t *testing.T) {
	inCluster(t, 2, func(t *testing.T, c *cluster) {
		g := make(gate)
		c.dirs[0].set(func() { c.dirs[0].after = g.wait }) // it has its generation, and does not know yet
		old := c.hubs[0].knock(phone)
		synctest.Wait()
		now := c.hubs[1].dial(phone)
		close(g)
		replaced(t, old)
		require.Equal(t, "welcome", old.all("welcome")[0]["type"])
		stays(t, now)
	})
}

// The same, but the claim is made only after the newer one's: then it is the
// newer one itself.
func TestClaimAfterAnOrder(t *testing.T) {
	inCluster(t, 2, func(t *testing.T, c *cluster) {
		g := make(gate)
		c.dirs[0].set(func() { c.dirs[0].before = g.wait })
		now := c.hubs[0].knock(phone)
		synctest.Wait()
		old := c.hubs[1].dial(phone)
		close(g)
		replaced(t, old)
		stays(t, now)
	})
}

// The order comes between the registration of the older one and that of the
// newer one's: both hubs hold a session, and the order is late.
func TestOrdersThatCross(t *testing.T) {
	for _, first := range []int{0, 1} {
		t.Run(fmt.Sprint("hub ", first, " is told first"), func(t *testing.T) {
			inCluster(t, 2, func(t *testing.T, c *cluster) {
				gates := []gate{make(gate), make(gate)}
				for i, d := range c.dirs {
					d.set(func() { d.after = gates[i].wait })
				}
				old := c.hubs[0].knock(phone)
				synctest.Wait()
				now := c.hubs[1].knock(phone)
				synctest.Wait()
				close(gates[first])
				synctest.Wait()
				close(gates[1-first])
				replaced(t, old)
				stays(t, now)
			})
		})
	}
}

// Two sessions of a device come to one hub at once: the second waits for the
// first one's claim.
func TestClaimsOfADeviceComeOneByOne(t *testing.T) {
	inCluster(t, 2, func(t *testing.T, c *cluster) {
		g := make(gate)
		claims := 0
		c.dirs[0].set(func() {
			c.dirs[0].before = func(cl gohub.Claim) error {
				if claims++; claims == 1 {
					return g.wait(cl)
				}
				return nil
			}
		})
		old := c.hubs[0].knock(phone)
		synctest.Wait()
		now := c.hubs[0].knock(phone)
		synctest.Wait()
		require.Equal(t, 1, claims)
		other := c.hubs[0].dial("user=alice&device=laptop") // does not wait
		close(g)
		replaced(t, old)
		stays(t, now)
		other.sync()
	})
}

// A Directory that does not answer holds a session up for a second, and no
// longer however many there are.
func TestClaimsAreWaitedForASecond(t *testing.T) {
	inCluster(t, 1, func(t *testing.T, c *cluster) {
		g := make(gate)
		c.dirs[0].set(func() {
			c.dirs[0].before = func(gohub.Claim) error { time.Sleep(time.Second); return g.wait(gohub.Claim{}) }
		})
		close(g)
		begun := time.Now()
		var all []*user
		for range 20 {
			all = append(all, c.hubs[0].knock(phone))
		}
		for _, u := range all {
			u.until("welcome or its end", func(f frame) bool { return f["type"] == "welcome" })
		}
		require.LessOrEqual(t, time.Since(begun), 2*time.Second)
		pass(time.Minute)
		open := 0
		for _, u := range all {
			if !u.isClosed() {
				open++
			}
		}
		require.Equal(t, 1, open)
	})
}

// While the Directory is away sessions begin as ever. When it is back they are
// claimed as of when they began: the newest stays.
func TestSessionsBeginWithoutTheDirectory(t *testing.T) {
	for name, c := range map[string]struct {
		at   []int // the hubs to which the device comes, one after the other
		last bool  // only the last one comes while the Directory is away
		slow int   // this hub claims later than the others; -1: none
	}{
		"the newest is claimed last":                 {[]int{0, 1}, false, 1},
		"the newest is claimed first":                {[]int{0, 1}, false, 0},
		"the older one has been claimed":             {[]int{0, 1}, true, -1},
		"on three hubs":                              {[]int{0, 1, 2}, false, 1},
		"and back":                                   {[]int{0, 1, 0}, false, 0},
		"on one hub":                                 {[]int{0, 0}, false, -1},
		"on one hub, the older one has been claimed": {[]int{0, 0}, true, -1},
		"three on two, all but the last claimed":     {[]int{0, 1, 0}, true, -1},
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, 3, func(t *testing.T, cl *cluster) {
				cl.down(!c.last)
				var all []*user
				for i, at := range c.at {
					if i == len(c.at)-1 {
						cl.down(true)
					}
					all = append(all, cl.hubs[at].dial(phone))
					pass(10 * time.Millisecond)
				}
				pass(2 * time.Second)
				cl.down(false)
				if c.slow >= 0 {
					cl.dirs[c.slow].set(func() { cl.dirs[c.slow].down = true })
					pass(11 * time.Second)
					cl.down(false)
				}
				pass(time.Minute)
				for _, u := range all[:len(all)-1] {
					replaced(t, u)
				}
				stays(t, all[len(all)-1])
			})
		})
	}
}

// Who comes when the Directory is back is newer than who came while it was
// away, though it is claimed first.
func TestLateClaimIsNotAboveNewerOnes(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		t.Run(fmt.Sprint("order lost: ", deaf), func(t *testing.T) {
			inCluster(t, 2, func(t *testing.T, c *cluster) {
				c.links[0].deaf.Store(deaf)
				c.down(true)
				old := c.hubs[0].dial(phone)
				pass(100 * time.Millisecond)
				c.dirs[1].set(func() { c.dirs[1].down = false })
				now := c.hubs[1].dial(phone)
				pass(time.Minute)
				require.False(t, old.isClosed(), "its hub cannot know")
				c.down(false)
				pass(6 * time.Second)
				replaced(t, old)
				stays(t, now)
			})
		})
	}
}

// An order that finds a session unclaimed has it claimed soon.
func TestOrderHurriesALateClaim(t *testing.T) {
	inCluster(t, 2, func(t *testing.T, c *cluster) {
		c.down(true)
		old := c.hubs[0].dial(phone)
		pass(5*time.Second + 100*time.Millisecond) // a beat has been in vain
		c.down(false)
		now := c.hubs[1].dial(phone)
		pass(time.Second)
		replaced(t, old)
		stays(t, now)
	})
}

// The same, while the late claim is under way, and then the Directory is gone
// again: what the order said is enough.
func TestOrderDuringALateClaim(t *testing.T) {
	inCluster(t, 2, func(t *testing.T, c *cluster) {
		c.down(true)
		old := c.hubs[0].dial(phone)
		g := make(gate)
		c.dirs[0].set(func() { c.dirs[0].after = g.wait })
		c.down(false)
		pass(1100 * time.Millisecond) // the late claim is made, and not answered
		now := c.hubs[1].dial(phone)
		synctest.Wait()
		require.False(t, old.isClosed())
		c.down(true)
		close(g)
		replaced(t, old)
		stays(t, now)
	})
}

// The claim was made, and its answer lost.
func TestLostAnswerOfAClaim(t *testing.T) {
	inCluster(t, 2, func(t *testing.T, c *cluster) {
		older := c.hubs[1].dial(phone)
		c.dirs[0].set(func() { c.dirs[0].after = func(gohub.Claim) error { return errors.New("lost") } })
		old := c.hubs[0].dial(phone)
		pass(10 * time.Millisecond)
		c.dirs[0].set(func() { c.dirs[0].after = nil })
		pass(2 * time.Second)
		replaced(t, older)
		now := c.hubs[1].dial(phone)
		replaced(t, old)
		stays(t, now)

		// Nobody else has come: it does not fall to its own claim.
		c.dirs[0].set(func() { c.dirs[0].after = func(gohub.Claim) error { return errors.New("lost") } })
		only := c.hubs[0].dial("user=bob&device=phone")
		pass(time.Minute)
		c.dirs[0].set(func() { c.dirs[0].after = nil })
		stays(t, only)
	})
}

// A Directory that has forgotten everything is told anew, by whoever comes
// first, and the newest stays the newest.
func TestForgottenClaims(t *testing.T) {
	for _, tellsFirst := range []int{0, 1} {
		t.Run(fmt.Sprint("hub ", tellsFirst, " tells first"), func(t *testing.T) {
			inCluster(t, 2, func(t *testing.T, c *cluster) {
				c.links[0].deaf.Store(true) // else there is only one
				old := c.hubs[0].dial(phone)
				pass(time.Millisecond)
				now := c.hubs[1].dial(phone)
				c.forget()
				c.dirs[tellsFirst].listen.Forgotten(true)
				pass(2 * time.Second)
				require.False(t, now.isClosed())
				pass(2 * time.Minute)
				replaced(t, old)
				stays(t, now)

				c.links[0].deaf.Store(false)
				c.forget()
				again := c.hubs[0].dial(phone)
				replaced(t, now)
				stays(t, again)
			})
		})
	}
}

// A hub that is told of an older session does nothing.
func TestOrderOfAnOlderSession(t *testing.T) {
	inCluster(t, 2, func(t *testing.T, c *cluster) {
		old := c.hubs[0].dial(phone)
		pass(time.Millisecond)
		now := c.hubs[1].dial(phone)
		replaced(t, old)
		order := []byte(`{"From":"another","Replace":{"User":"alice","Device":"phone","Session":"x","Gen":1}}`)
		c.links[0].Signal(gohub.Target{}, order)
		c.links[0].Signal(gohub.Target{}, []byte(`{"From":"another","Replace":{"User":"alice","Device":"","Session":"x","Gen":9000000000000000}}`))
		stays(t, now)
	})
}

// What each claim costs: one look a minute at a session, nothing without devices.
func TestClaimsAreLookedAtOnceAMinute(t *testing.T) {
	inCluster(t, 1, func(t *testing.T, c *cluster) {
		for i := range 50 {
			c.hubs[0].dial(fmt.Sprint("user=u", i))
		}
		pass(10 * time.Minute)
		require.Zero(t, c.dirs[0].asked)
		c.hubs[0].dial(phone)
		pass(10 * time.Minute)
		require.InDelta(t, 11, c.dirs[0].asked, 1)
	})
}

// Devices come to three hubs at any time while claims are slow, fail, and lose
// their answers, orders are lost, and the Directory forgets. When all is well
// again each device has one session: never none, and the newest but for what
// came within a second of it.
func TestDevicesAtRandom(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inCluster(t, 3, func(t *testing.T, c *cluster) {
				r := rand.New(rand.NewPCG(seed, 1))
				var mu sync.Mutex // guards r
				dice := func(n int) int { mu.Lock(); defer mu.Unlock(); return r.IntN(n) }
				var calm atomic.Bool
				shaken := func(gohub.Claim) error {
					if calm.Load() {
						return nil
					}
					time.Sleep(time.Duration(dice(300_000)) * time.Microsecond) // no two at the same one
					if dice(6) == 0 {
						return gohub.ErrUnavailable
					}
					if dice(10) == 0 {
						time.Sleep(2 * time.Second)
					}
					return nil
				}
				for _, d := range c.dirs {
					d.set(func() { d.before, d.after = shaken, shaken })
				}
				const devices, each = 12, 8
				type session struct {
					u           *user
					came, stood time.Time // when it knocked, and was welcomed
				}
				var all [devices][each]session
				var wg sync.WaitGroup
				for d := range devices {
					wg.Go(func() {
						for i := range each {
							s := &all[d][i]
							s.came = time.Now()
							s.u = c.hubs[dice(3)].knock(fmt.Sprint("user=alice&device=d", d))
							wg.Go(func() {
								s.u.until("welcome", func(f frame) bool { return f["type"] == "welcome" })
								s.stood = time.Now()
							})
							time.Sleep(time.Duration(dice(2_000_000)) * time.Microsecond)
						}
					})
				}
				for range 20 {
					i := dice(3)
					c.links[i].deaf.Store(dice(3) == 0)
					c.links[i].mute.Store(dice(3) == 0)
					c.dirs[i].set(func() { c.dirs[i].down = dice(4) == 0 })
					if dice(8) == 0 {
						c.forget()
					}
					time.Sleep(time.Duration(dice(1500)) * time.Millisecond)
				}
				wg.Wait()
				calm.Store(true)
				c.down(false)
				for _, l := range c.links {
					l.deaf.Store(false)
					l.mute.Store(false)
				}
				pass(3 * time.Minute)
				for d := range all {
					var left []session
					newest := time.Time{}
					for _, s := range all[d] {
						if !s.u.isClosed() {
							left = append(left, s)
							s.u.sync()
						} else {
							s.u.closes(gohub.CloseSessionReplaced)
						}
						if s.came.After(newest) {
							newest = s.came
						}
					}
					require.Len(t, left, 1, "device %d", d)
					require.Less(t, newest.Sub(left[0].stood), time.Second, "device %d: a newer one has been ended", d)
				}
			})
		})
	}
}

// A session that ends while it is claimed, which may take a second, has never
// been one: nobody is told of it, and it does not replace its device's.
func TestEndDuringAClaim(t *testing.T) {
	virtual(t, func(t *testing.T) {
		var opened atomic.Int64
		c := startCluster(t, 1, gohub.Config{
			FirstFrameTimeout: 100 * time.Millisecond,
			PingInterval:      800 * time.Millisecond, // looks each 100 ms
			Observer:          gohub.Observer{SessionOpened: func(*gohub.Client) { opened.Add(1) }},
		})
		first := c.hubs[0].dial(phone)
		require.NoError(t, c.hubs[0].hub.Join(first.session(), "r")) // it has no frame to send
		c.dirs[0].set(func() { c.dirs[0].before = func(gohub.Claim) error { time.Sleep(500 * time.Millisecond); return nil } })
		late := c.hubs[0].knock(phone)
		pass(time.Second)
		late.closes(gohub.CloseHeartbeatTimeout)
		require.Empty(t, late.all("welcome"))
		require.EqualValues(t, 1, opened.Load())
		require.False(t, first.isClosed())
	})
}
