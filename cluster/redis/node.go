package redis

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/gohub/gohub"
)

// A node is one Run of a Broker. Its goroutines are those of its parts, and
// workers, which call the receiver. Run waits for them.
type node struct {
	b       *Broker
	r       gohub.Receiver
	name    string // unique to this Run
	dedup   string // its window in ms
	parts   []*part
	workers []chan carried
	left    atomic.Bool // it has said that it ends

	unknown atomic.Int32 // partitions of which no generation is known yet
	begun   atomic.Int32 // those of the others whose first one this node has begun
}

// A part is what a node has to do with one partition: nothing that happens to
// another one is of consequence here. Its goroutines: beats, which alone changes the
// lease; listens, which owns the connection of the subscriptions; sends, for
// signals; and reaps, for what other nodes leave.
type part struct {
	n       *node
	b       *Broker
	keys    partKeys
	home    bool // nodes say here who they are
	scripts scripts
	log     *slog.Logger
	owed    *owed

	// lease says that this node may publish and read; nil: it may not.
	lease   atomic.Pointer[lease]
	state   atomic.Pointer[state]
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
}

// A lease is what a beat gives: good until the server's clock says beat plus
// timing.stale.
type lease struct {
	gen   string
	beat  int64     // µs of the server's clock
	heard time.Time // when its answer came
	least int64     // no Seq of a publish with it is below: the highest beat there was, of any server
	owner string    // of what this node announces
	quiet bool      // what it announces again was known to others
}

// A state is how the last beat went. It never changes.
type state struct {
	good  time.Time // the last that came through; zero: none has
	since time.Time // since when all have, of this generation
	err   error     // why the last did not
}

// beaten notes that a beat has come through; first: the first of a generation.
func (p *part) beaten(first bool) {
	now, last := time.Now(), p.state.Load()
	next := &state{good: now, since: last.since}
	if first || last.err != nil || now.Sub(last.good) >= p.b.t.absent/2 {
		next.since = now
	}
	p.state.Store(next)
}

func newNode(b *Broker, r gohub.Receiver) *node {
	n := &node{
		b: b, r: r,
		name:    b.o.Node + "-" + strings.ToLower(rand.Text()[:10]),
		dedup:   digits(b.t.dedup.Milliseconds()),
		workers: employ(min(8, max(2, runtime.GOMAXPROCS(0)))),
	}
	for i, keys := range b.keys {
		p := &part{
			n: n, b: b, keys: keys, home: b.keys.isHome(i), scripts: b.scripts[i],
			log:     b.o.Logger.With("node", n.name),
			owed:    newOwed(),
			kick:    make(chan struct{}, 1),
			signals: make(chan string, 1024),
		}
		if len(b.keys) > 1 {
			p.log = p.log.With("partition", i)
		}
		p.state.Store(&state{})
		p.subs.init(p)
		p.watch.seen = map[string]sighting{}
		n.parts = append(n.parts, p)
	}
	n.unknown.Store(int32(len(n.parts))) //nolint:gosec // a few dozen
	return n
}

// of is the part that a key belongs to, such as a room's.
func (n *node) of(key string) *part { return n.parts[n.b.keys.partition(key)] }

func (n *node) run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, w := range n.workers {
		wg.Go(func() { n.work(ctx, w) })
	}
	for _, p := range n.parts {
		wg.Go(func() { p.listens(ctx) })
		wg.Go(func() { p.sends(ctx) })
		wg.Go(func() { p.beats(ctx) })
		wg.Go(func() { p.reaps(ctx) })
	}
	wg.Wait()
	n.leave() //nolint:contextcheck // ctx has ended
}

// leave takes this node from the lists, but for those of partitions in which it
// leaves messages behind.
func (n *node) leave() {
	c := n.b.client
	var cmds []rueidis.Completed
	for _, p := range n.parts {
		p.lease.Store(nil)
		if p.owed.clear() {
			cmds = append(cmds, c.B().Hdel().Key(p.keys.nodes()).Field(n.name).Build())
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), min(time.Second, n.b.o.Timeout))
	defer cancel()
	for _, r := range c.DoMulti(ctx, cmds...) {
		_ = r.Error() // or it is silent from now on
	}
}

// poke makes the next beats come at once.
func (n *node) poke() {
	for _, p := range n.parts {
		p.poke()
	}
}

// serves reports why Redis does not serve this part now, or nil.
func (p *part) serves() error {
	is := p.state.Load()
	var why string
	switch {
	case p.lease.Load() == nil:
		why = "Redis does not serve this node"
	case time.Since(is.good) >= p.b.t.absent:
		why = fmt.Sprintf("no beat of this node has come through for %v", p.b.t.absent)
	default:
		return nil
	}
	if is.err != nil {
		return fmt.Errorf("%w: %s: %w", gohub.ErrUnavailable, why, is.err)
	}
	return fmt.Errorf("%w: %s", gohub.ErrUnavailable, why)
}

// away is why the last beat did not come through, or nil: what can do without the
// server does not wait for it then.
func (p *part) away() error {
	if err := p.state.Load().err; err != nil {
		return fmt.Errorf("%w: %w", gohub.ErrUnavailable, err)
	}
	return nil
}

// saw notes a Seq, above which a new generation will be.
func (p *part) saw(seq int64) {
	for {
		old := p.highest.Load()
		if seq <= old || p.highest.CompareAndSwap(old, seq) {
			return
		}
	}
}

// poke makes the next beat come at once.
func (p *part) poke() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// alarm takes the lease l away: Redis may have forgotten.
func (p *part) alarm(l *lease, why string) {
	for {
		now := p.lease.Load()
		if now == nil || now.gen != l.gen {
			return // known already
		}
		if p.lease.CompareAndSwap(now, nil) {
			p.log.Warn("Redis has forgotten: publishes are unavailable until a new generation begins", "why", why)
			p.poke()
			return
		}
	}
}

// beats keeps the lease; it ends with ctx.
func (p *part) beats(ctx context.Context) {
	gen := "" // the last generation this node knew
	var troubled bool
	tick := time.NewTimer(0)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-p.kick:
		}
		var err error
		pause := p.b.t.beat
		if gen == "" || p.lease.Load() == nil {
			var now string
			now, err = p.recover(ctx, gen)
			if err == nil && now != "" {
				if gen == "" {
					p.n.found()
				}
				gen = now
				p.epoch, p.quiet = p.epoch+1, true
				err = p.beat(ctx, gen)
			}
		} else {
			err = p.beat(ctx, gen)
		}
		if err != nil {
			last := p.state.Load()
			p.state.Store(&state{last.good, last.since, err})
		}
		if p.lease.Load() == nil {
			pause = min(pause, 50*time.Millisecond)
		}
		if err != nil && ctx.Err() == nil {
			pause = min(p.b.t.beat, 200*time.Millisecond)
			if !troubled {
				p.log.Warn("Redis does not answer", "err", err)
			}
		} else if troubled {
			p.log.Info("Redis answers again")
		}
		troubled = err != nil
		tick.Reset(pause)
	}
}

// beat says that this node lives and renews the lease.
func (p *part) beat(ctx context.Context, gen string) error {
	ctx, cancel := context.WithTimeout(ctx, p.b.o.Timeout)
	defer cancel()
	held, owner := p.lease.Load(), ownerName(p.n.name, p.epoch)
	low := "" // the first beat: the server's time, before which nothing was published
	if l := p.owed.low(); l != 0 {
		low = digits(l)
	}
	c := p.b.client
	answer, err := c.Do(ctx, c.B().Evalsha().Sha1(p.scripts.beat.sha).Numkeys(5).
		Key(p.keys.meta(), p.keys.heads(), p.keys.nodes(), p.keys.owners(), p.keys.node(p.n.name)).
		Arg(gen, p.n.name, low, string(p.keys), strconv.Itoa(p.b.t.sweep/len(p.n.parts)), digits(p.b.t.idle.Microseconds()), owner, p.b.about(p.home)).Build()).ToArray()
	if err != nil {
		if forgot(err) {
			p.alarmGen(held, gen, "the server does not know the script")
			return nil
		}
		return err
	}
	if code, err := intOf(answer, 0); err != nil || code != answerOK {
		p.alarmGen(held, gen, map[int]string{answerGen: "another generation runs", answerServer: "another server serves"}[code])
		return err
	}
	if len(answer) < 6 {
		return fmt.Errorf("beat: an answer of %d parts", len(answer))
	}
	now, err := answer[1].AsInt64()
	if err != nil {
		return err
	}
	nodes, err := answer[2].AsStrMap()
	if err != nil {
		return err
	}
	owners, err := answer[3].AsStrMap()
	if err != nil {
		return err
	}
	live, rivals := p.watch.note(nodes, p.n.name, p.b.t)
	p.beaten(held == nil)
	if p.home {
		p.n.listed(p, live)
	}
	for _, other := range rivals {
		if p == p.n.parts[0] { // once
			p.log.Error("another hub has this one's Config.Node: clients and tickets go to one of the two", "other", other)
		}
	}
	p.watch.noteOwners(owners, nodes, now, owner)
	if fresh, _ := answer[4].AsInt64(); !p.n.left.Load() && (owners[owner] != "" || fresh == 1 && p.told == owner) {
		p.log.Warn("others took this node for dead: it announces its users again")
		p.epoch, p.quiet = p.epoch+1, false
		return p.beat(ctx, gen)
	}
	if !p.lease.CompareAndSwap(held, &lease{gen, now, time.Now(), p.owed.next(now), owner, p.quiet}) {
		return nil // an alarm came meanwhile
	}
	p.owed.beat(now) // after the lease: a publish that is counted here has this lease or a later one
	p.subs.beaten(p.b.t)
	if p.told != "" && p.told != owner {
		p.b.tell(func(l gohub.Listener) { l.Forgotten(p.quiet) })
	} else if written, _ := answer[5].AsInt64(); written == 1 && p.told == owner {
		p.log.Warn("this node was taken for dead, and is back")
	}
	p.told = owner
	return nil
}

// alarmGen is alarm for a beat, which may be the generation's first.
func (p *part) alarmGen(l *lease, gen, why string) {
	if l == nil {
		l = &lease{gen: gen}
	}
	p.alarm(l, why)
}

// recover asks what generation runs, and takes part in beginning one if none
// does or it is the one that this node has raised the alarm about. "": not yet.
func (p *part) recover(ctx context.Context, gen string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, p.b.o.Timeout)
	defer cancel()
	holds := "0"
	if p.owed.holds() {
		holds = "1"
	}
	c := p.b.client
	answer, err := c.Do(ctx, c.B().Eval().Script(alarmText).Numkeys(3).Key(p.keys.recovery(), p.keys.meta(), p.keys.never()).
		Arg(gen, rand.Text(), digits(p.highest.Load()), holds,
			digits(p.b.t.grace.Microseconds()), digits(p.b.t.hold.Microseconds())).Build()).ToArray()
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
	if err := p.load(ctx); err != nil {
		return "", err
	}
	begun, err := c.Do(ctx, c.B().Eval().Script(beginText).Numkeys(3).Key(p.keys.recovery(), p.keys.meta(), p.keys.never()).
		Arg(word).Build()).ToString()
	if err != nil {
		return "", err
	}
	switch {
	case begun == "":
	case gen == "" && len(p.n.parts) > 1:
		p.n.begun.Add(1)
	default:
		p.log.Info("a new generation begins", "generation", begun)
	}
	return begun, nil
}

// found counts a partition whose generation this node has come to know. In a new
// Redis Cluster the first hub begins all of them, which is one line of its log.
func (n *node) found() {
	if n.unknown.Add(-1) > 0 {
		return
	}
	if begun := n.begun.Load(); begun > 0 {
		n.b.o.Logger.Info("new generations begin", "node", n.name, "partitions", begun)
	}
}

// load loads the scripts where the partition is. Only who begins a generation
// does it.
func (p *part) load(ctx context.Context) error {
	client, release, err := p.reach(ctx)
	if err != nil {
		return err
	}
	defer release()
	for _, sc := range p.scripts.all() {
		if err := client.Do(ctx, client.B().ScriptLoad().Script(sc.text).Build()).Error(); err != nil {
			return err
		}
	}
	return nil
}

// sends sends signals, those that wait in one go; it ends with ctx.
func (p *part) sends(ctx context.Context) {
	c, channel := p.b.client, p.keys.signals()
	for {
		var cmds []rueidis.Completed
		select {
		case <-ctx.Done():
			return
		case s := <-p.signals:
			cmds = append(cmds, c.B().Spublish().Channel(channel).Message(s).Build())
		}
		for len(p.signals) > 0 && len(cmds) < 256 {
			cmds = append(cmds, c.B().Spublish().Channel(channel).Message(<-p.signals).Build())
		}
		do, cancel := context.WithTimeout(ctx, p.b.o.Timeout)
		for _, r := range c.DoMulti(do, cmds...) {
			_ = r.Error() // best effort
		}
		cancel()
	}
}
