package redis

import (
	"context"
	"crypto/rand"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/gohub/gohub"
)

// A node is one Run of a Broker. Its goroutines: beats, which alone changes
// the lease; listens, which owns the connection of the subscriptions; sends,
// for signals; and workers, which call the receiver. Run waits for them.
type node struct {
	b     *Broker
	r     gohub.Receiver
	name  string // unique to this Run
	dedup string // its window in ms
	owed  *owed

	// lease says that this node may publish and read; nil: it may not.
	lease   atomic.Pointer[lease]
	highest atomic.Int64 // the highest Seq this node knows
	kick    chan struct{}
	signals chan string
	subs    subscriptions

	watch watch // of beats alone, orphans and reaps

	// epoch counts how often what this node had announced was lost, quiet says
	// that others lost it, too, and told is the owner as which it was served
	// last; of the goroutine beats alone.
	epoch int
	quiet bool
	told  string
	left  atomic.Bool // it has said that it ends
}

// A lease is what a beat gives: good until the server's clock says beat plus
// timing.stale.
type lease struct {
	gen   string
	beat  int64     // µs of the server's clock
	heard time.Time // when its answer came
	owner string    // of what this node announces
	quiet bool      // what it announces again was known to others
}

func newNode(b *Broker, r gohub.Receiver) *node {
	n := &node{
		b: b, r: r,
		name:    b.o.Node + "-" + strings.ToLower(rand.Text()[:10]),
		dedup:   digits(b.t.dedup.Milliseconds()),
		owed:    newOwed(),
		kick:    make(chan struct{}, 1),
		signals: make(chan string, 1024),
	}
	n.subs.init(n, min(8, max(2, runtime.GOMAXPROCS(0))))
	n.watch.seen = map[string]sighting{}
	return n
}

func (n *node) run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, w := range n.subs.workers {
		wg.Go(func() { n.work(ctx, w) })
	}
	wg.Go(func() { n.listens(ctx) })
	wg.Go(func() { n.sends(ctx) })
	wg.Go(func() { n.beats(ctx) })
	wg.Go(func() { n.reaps(ctx) })
	wg.Wait()
	n.leave() //nolint:contextcheck // ctx has ended
}

// leave takes this node from the list, unless it leaves messages behind.
func (n *node) leave() {
	n.lease.Store(nil)
	if !n.owed.clear() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), min(time.Second, n.b.o.Timeout))
	defer cancel()
	c := n.b.client
	_ = c.Do(ctx, c.B().Hdel().Key(n.b.keys.nodes()).Field(n.name).Build()).Error() // or it is silent from now on
}

// saw notes a Seq, above which a new generation will be.
func (n *node) saw(seq int64) {
	for {
		old := n.highest.Load()
		if seq <= old || n.highest.CompareAndSwap(old, seq) {
			return
		}
	}
}

// poke makes the next beat come at once.
func (n *node) poke() {
	select {
	case n.kick <- struct{}{}:
	default:
	}
}

// alarm takes the lease l away: Redis may have forgotten.
func (n *node) alarm(l *lease, why string) {
	for {
		now := n.lease.Load()
		if now == nil || now.gen != l.gen {
			return // known already
		}
		if n.lease.CompareAndSwap(now, nil) {
			n.b.o.Logger.Warn("Redis has forgotten: publishes are unavailable until a new generation begins", "node", n.name, "why", why)
			n.poke()
			return
		}
	}
}

// beats keeps the lease; it ends with ctx.
func (n *node) beats(ctx context.Context) {
	gen := "" // the last generation this node knew
	var troubled bool
	tick := time.NewTimer(0)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-n.kick:
		}
		var err error
		pause := n.b.t.beat
		if gen == "" || n.lease.Load() == nil {
			var now string
			now, err = n.recover(ctx, gen)
			if err == nil && now != "" {
				gen = now
				n.epoch, n.quiet = n.epoch+1, true
				err = n.beat(ctx, gen)
			}
		} else {
			err = n.beat(ctx, gen)
		}
		if n.lease.Load() == nil {
			pause = min(pause, 50*time.Millisecond)
		}
		if err != nil && ctx.Err() == nil {
			pause = min(n.b.t.beat, 200*time.Millisecond)
			if !troubled {
				n.b.o.Logger.Warn("Redis does not answer", "node", n.name, "err", err)
			}
		} else if troubled {
			n.b.o.Logger.Info("Redis answers again", "node", n.name)
		}
		troubled = err != nil
		tick.Reset(pause)
	}
}

// beat says that this node lives and renews the lease.
func (n *node) beat(ctx context.Context, gen string) error {
	ctx, cancel := context.WithTimeout(ctx, n.b.o.Timeout)
	defer cancel()
	held, owner := n.lease.Load(), ownerName(n.name, n.epoch)
	low := "" // the first beat: the server's time, before which nothing was published
	if l := n.owed.low(); l != 0 {
		low = digits(l)
	}
	n.watch.turn += n.b.t.sweep
	c := n.b.client
	answers := c.DoMulti(ctx,
		c.B().Info().Section("server").Build(),
		c.B().Evalsha().Sha1(n.b.scripts.beat.sha).Numkeys(2).Key(n.b.keys.nodes(), n.b.keys.node(n.name)).
			Arg(gen, n.name, low, n.b.keys.prefix, digits(int64(n.watch.turn%partitions)), digits(int64(n.b.t.sweep)), digits(n.b.t.idle.Microseconds()), owner, n.b.about()).Build())
	info, err := answers[0].ToString()
	if err != nil {
		return err
	}
	answer, err := answers[1].ToArray()
	if err != nil {
		if forgot(err) {
			n.alarmGen(held, gen, "the server does not know the script")
			return nil
		}
		return err
	}
	if len(answer) < 7 {
		n.alarmGen(held, gen, "another generation runs")
		return nil
	}
	now, err := answer[1].AsInt64()
	if err != nil {
		return err
	}
	if run, _ := answer[2].ToString(); run != infoField(info, "run_id") {
		n.alarmGen(held, gen, "another server serves")
		return nil
	}
	nodes, err := answer[3].AsStrMap()
	if err != nil {
		return err
	}
	owners, err := answer[4].AsStrMap()
	if err != nil {
		return err
	}
	live, rivals := n.watch.note(nodes, n.name, n.b.t)
	n.b.listed(live)
	for _, other := range rivals {
		n.b.o.Logger.Error("another hub has this one's Config.Node: clients and tickets go to one of the two", "node", n.name, "other", other)
	}
	n.watch.noteOwners(owners, nodes, now, owner)
	if fresh, _ := answer[5].AsInt64(); !n.left.Load() && (owners[owner] != "" || fresh == 1 && n.told == owner) {
		n.b.o.Logger.Warn("others took this node for dead: it announces its users again", "node", n.name)
		n.epoch, n.quiet = n.epoch+1, false
		return n.beat(ctx, gen)
	}
	if !n.lease.CompareAndSwap(held, &lease{gen, now, time.Now(), owner, n.quiet}) {
		return nil // an alarm came meanwhile
	}
	n.owed.beat(now) // after the lease: a publish that is counted here has this lease or a later one
	n.subs.beaten(n.b.t)
	if n.told != "" && n.told != owner {
		n.b.tell(func(l gohub.Listener) { l.Forgotten(n.quiet) })
	} else if written, _ := answer[6].AsInt64(); written == 1 && n.told == owner {
		n.b.o.Logger.Warn("this node was taken for dead, and is back", "node", n.name)
	}
	n.told = owner
	return nil
}

// alarmGen is alarm for a beat, which may be the generation's first.
func (n *node) alarmGen(l *lease, gen, why string) {
	if l == nil {
		l = &lease{gen: gen}
	}
	n.alarm(l, why)
}

// recover asks what generation runs, and takes part in beginning one if none
// does or it is the one that this node has raised the alarm about. "": not yet.
func (n *node) recover(ctx context.Context, gen string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, n.b.o.Timeout)
	defer cancel()
	holds := "0"
	if n.owed.holds() {
		holds = "1"
	}
	c, prefix := n.b.client, n.b.keys.prefix
	answer, err := c.Do(ctx, c.B().Eval().Script(alarmText).Numkeys(1).Key(n.b.keys.recovery()).
		Arg(prefix, gen, rand.Text(), digits(n.highest.Load()), holds,
			digits(n.b.t.grace.Microseconds()), digits(n.b.t.hold.Microseconds())).Build()).ToArray()
	if err != nil {
		return "", err
	}
	if len(answer) < 2 {
		return "", fmt.Errorf("alarm: an answer of %d parts", len(answer))
	}
	runs, _ := answer[0].AsInt64()
	word, _ := answer[1].ToString()
	if runs == 1 {
		return word, nil
	}
	if may, _ := answer[2].AsInt64(); may == 0 {
		return "", nil
	}
	// Nobody can publish before begin, so nobody misses the alarm that the
	// scripts' absence is.
	info, err := c.Do(ctx, c.B().Info().Section("server").Build()).ToString()
	if err != nil {
		return "", err
	}
	if err := n.b.scripts.load(ctx, c); err != nil {
		return "", err
	}
	begun, err := c.Do(ctx, c.B().Eval().Script(beginText).Numkeys(1).Key(n.b.keys.recovery()).
		Arg(prefix, word, infoField(info, "run_id")).Build()).ToString()
	if err != nil {
		return "", err
	}
	if begun != "" {
		n.b.o.Logger.Info("a new generation begins", "node", n.name, "generation", begun)
	}
	return begun, nil
}

// sends sends signals, those that wait in one go; it ends with ctx.
func (n *node) sends(ctx context.Context) {
	c, channel := n.b.client, n.b.keys.signals()
	for {
		var cmds []rueidis.Completed
		select {
		case <-ctx.Done():
			return
		case s := <-n.signals:
			cmds = append(cmds, c.B().Publish().Channel(channel).Message(s).Build())
		}
		for len(n.signals) > 0 && len(cmds) < 256 {
			cmds = append(cmds, c.B().Publish().Channel(channel).Message(<-n.signals).Build())
		}
		do, cancel := context.WithTimeout(ctx, n.b.o.Timeout)
		for _, r := range c.DoMulti(do, cmds...) {
			_ = r.Error() // best effort
		}
		cancel()
	}
}
