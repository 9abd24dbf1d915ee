// Package redis is a [gohub.Broker] and a [gohub.Directory] over a Redis server
// or a Redis Cluster:
// hubs in several processes behave as one. Each room has one order, every
// message reaches all hubs that have members in it, an id is ordered once
// however many hubs it is sent to, and a device of a user has one session.
//
//	client, err := rueidis.NewClient(redis.Defaults(rueidis.ClientOption{InitAddress: []string{"redis:6379"}}))
//	broker, err := redis.New(ctx, client, redis.Options{})
//	hub, err := gohub.New(gohub.Config{Broker: broker, Store: store, …})
//
// All hubs of a cluster use the same server or servers, the same Options.Prefix, and a
// Store that they share. The client stays the caller's, who closes it after
// the hub.
//
// Redis carries and orders; it does not keep. What was acked is in the Store,
// so a Redis that restarts empty loses nothing: publishes and joins are
// unavailable for about two seconds, connections stay, and all goes on by
// itself. docs/cluster.md says what happens in each kind of failure.
//
// On a Redis Cluster the rooms are spread over 32 partitions, each in one slot,
// and each stands on its own: where a server is away, its rooms are unavailable,
// and those of the others go on.
//
// The Broker is the hubs' [gohub.Directory] as well, by which they know each
// other and who is in a room, send sessions to where they belong, and take each
// other's tickets.
package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/gohub/gohub"
)

// Options say which cluster a Broker belongs to and how it behaves. The zero
// value is ready to use.
type Options struct {
	// Prefix begins the names of all keys and channels: clusters with
	// different prefixes may share a server. 1 to 64 of A-Z a-z 0-9 . _ : -.
	// Defaults to "gohub".
	Prefix string
	// Node names this process in Redis and in logs. It need not be unique:
	// each Run adds a random part. Defaults to "node".
	Node string
	// Timeout is how long one call may take before it fails. A publish that
	// takes longer has an unknown outcome, and the hub repeats it. Defaults
	// to 2 s.
	Timeout time.Duration
	// Silent is how long a node may be silent before others take it for dead
	// and store what it left: 5 s to 10 min. After a quarter of that nobody
	// is sent to it any more, and after half of it its publishes are refused,
	// so that none comes after its death. A node beats every second, or 20
	// times in Silent where that is more often. Defaults to 20 s.
	Silent time.Duration
	// Unsafe accepts a server that may evict keys. For tests.
	Unsafe bool
	// Logger is told when Redis cannot be reached, has forgotten, or serves
	// again. Defaults to slog.Default().
	Logger *slog.Logger
}

func (o Options) resolve() (Options, error) {
	if o.Prefix == "" {
		o.Prefix = "gohub"
	}
	if o.Node == "" {
		o.Node = "node"
	}
	for name, s := range map[string]string{"Prefix": o.Prefix, "Node": o.Node} {
		odd := func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._:-", r))
		}
		if len(s) > 64 || strings.ContainsFunc(s, odd) {
			return o, fmt.Errorf("redis: Options.%s is %q: 1 to 64 of A-Z a-z 0-9 . _ : -", name, s)
		}
	}
	switch {
	case o.Timeout == 0:
		o.Timeout = 2 * time.Second
	case o.Timeout < 0:
		return o, fmt.Errorf("redis: Options.Timeout is %v: a duration above 0", o.Timeout)
	}
	switch {
	case o.Silent == 0:
		o.Silent = 20 * time.Second
	case o.Silent < 5*time.Second || o.Silent > 10*time.Minute:
		return o, fmt.Errorf("redis: Options.Silent is %v: 5 s to 10 min", o.Silent)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o, nil
}

// Defaults gives o what a hub's client needs. Where o leaves them open,
// connecting gives up after 2 s and not 5, and a connection on which nothing
// moves is closed after 2 s and not 10. Whatever o says, calls that are made at
// the same time share a write, there is no client-side cache, and nothing is
// read from replicas, which may lag.
func Defaults(o rueidis.ClientOption) rueidis.ClientOption {
	if o.Dialer.Timeout == 0 {
		o.Dialer.Timeout = 2 * time.Second
	}
	if o.ConnWriteTimeout == 0 {
		o.ConnWriteTimeout = 2 * time.Second
	}
	o.DisableCache = true
	o.AlwaysPipelining = true
	o.ReplicaOnly, o.SendToReplicas, o.ReadNodeSelector = false, nil, nil
	return o
}

// A Broker is a [gohub.Broker] over Redis. It serves one receiver, a hub, at a
// time.
type Broker struct {
	client  rueidis.Client
	o       Options
	keys    keyspace
	scripts []scripts // of each partition
	t       timing

	served atomic.Pointer[served]   // nil: no hub serves
	list   atomic.Pointer[nodeList] // nil: it does not run

	mu   sync.RWMutex // guards node
	node *node        // nil: it does not run
}

// timing is what tests make shorter.
type timing struct {
	beat        time.Duration // between two beats
	absent      time.Duration // without a beat a node is not in Nodes
	silent      time.Duration // without a beat a node is dead
	stale       time.Duration // without a beat a node's publishes are refused; below silent
	probe       time.Duration // without its own beat's echo, the subscriptions are made anew
	grace       time.Duration // how long other nodes have to take part in a recovery
	hold        time.Duration // how long a node's word counts that it has unstored messages
	unsubscribe time.Duration // how long a room without members stays subscribed
	idle        time.Duration // a stored room is dropped after that
	sweep       int           // how many such rooms a beat drops at most, in all partitions together
	dedup       time.Duration
	linger      time.Duration // how long users of a node that has ended are still present
}

var defaultTiming = timing{
	beat: time.Second, absent: 5 * time.Second, silent: 20 * time.Second, stale: 10 * time.Second, probe: 4 * time.Second,
	grace: 1500 * time.Millisecond, hold: 2 * time.Second, unsubscribe: 5 * time.Second,
	idle: 2 * time.Minute, sweep: 400, dedup: 2 * time.Minute,
	linger: 5 * time.Second,
}

// silentFor sets what follows from Options.Silent.
func (t timing) silentFor(silent time.Duration) timing {
	t.silent, t.stale, t.absent = silent, silent/2, silent/4
	t.beat = min(t.beat, silent/20)
	return t
}

var _ gohub.Broker = (*Broker)(nil)

// New makes a Broker on client, which stays the caller's; see [Defaults]. The
// client may be one of a single server, of one behind Sentinel, or of a Redis
// Cluster.
//
// Unless o.Unsafe, it refuses servers that evict keys when their memory is full:
// set maxmemory-policy to noeviction, and publishes are unavailable while it is
// full. Of a Redis Cluster it asks those that can be reached.
func New(ctx context.Context, client rueidis.Client, o Options) (*Broker, error) {
	o, err := o.resolve()
	if err != nil {
		return nil, err
	}
	if client == nil {
		return nil, errors.New("redis: New needs a client")
	}
	if !o.Unsafe {
		ctx, cancel := context.WithTimeout(ctx, o.Timeout)
		defer cancel()
		if err := keepsAll(ctx, client); err != nil {
			return nil, err
		}
	}
	partitions := 1
	if client.Mode() == rueidis.ClientModeCluster {
		partitions = clusterPartitions
	}
	b := &Broker{client: client, o: o, keys: newKeyspace(o.Prefix, partitions), t: defaultTiming.silentFor(o.Silent)}
	for _, keys := range b.keys {
		b.scripts = append(b.scripts, newScripts(keys))
	}
	return b, nil
}

// keepsAll refuses servers that evict.
func keepsAll(ctx context.Context, client rueidis.Client) error {
	servers := map[string]rueidis.Client{"": client}
	if client.Mode() == rueidis.ClientModeCluster {
		servers = client.Nodes()
	}
	infos := make(chan rueidis.RedisResult, len(servers))
	for _, c := range servers {
		go func() { infos <- c.Do(ctx, c.B().Info().Section("memory").Build()) }() // ends with ctx
	}
	answers, failure := 0, errors.New("the client knows no server")
	for range servers {
		info, err := (<-infos).ToString()
		if err != nil {
			failure = err
			continue
		}
		answers++
		if policy := infoField(info, "maxmemory_policy"); policy != "" && policy != "noeviction" {
			return fmt.Errorf("redis: maxmemory-policy is %s: messages could be evicted before they are stored. Set noeviction, or Options.Unsafe", policy)
		}
	}
	if answers == 0 {
		return fmt.Errorf("redis: read maxmemory_policy: %w", failure)
	}
	return nil
}

// infoField finds a line of INFO's answer.
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// Run connects r until ctx ends; see [gohub.Broker]. It returns nil then, and
// r gets nothing any more. It fails at once while another receiver runs.
//
// While Redis cannot be reached it tries again, for as long as it takes, and
// publishes, joins and reads of the log fail with gohub.ErrUnavailable.
func (b *Broker) Run(ctx context.Context, r gohub.Receiver) error {
	n := newNode(b, r)
	b.mu.Lock()
	if b.node != nil {
		b.mu.Unlock()
		return errors.New("redis: the broker runs already")
	}
	b.node = n
	b.mu.Unlock()
	n.run(ctx)
	b.list.Store(nil)
	b.mu.Lock()
	b.node = nil
	b.mu.Unlock()
	return nil
}

// running gives the node, or says why there is none.
func (b *Broker) running(ctx context.Context) (*node, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", gohub.ErrUnavailable, err)
	}
	b.mu.RLock()
	n := b.node
	b.mu.RUnlock()
	if n == nil {
		return nil, fmt.Errorf("%w: the broker does not run", gohub.ErrUnavailable)
	}
	return n, nil
}

// at gives the part for a key, such as a room's, and its lease, or says why
// there is none. Without a lease there may be a part nevertheless.
func (b *Broker) at(ctx context.Context, key string) (*part, *lease, error) {
	n, err := b.running(ctx)
	if err != nil {
		return nil, nil, err
	}
	p := n.of(key)
	l := p.lease.Load()
	if l == nil {
		return p, nil, fmt.Errorf("%w: Redis does not serve this node", gohub.ErrUnavailable)
	}
	return p, l, nil
}

// Ready reports whether Redis serves this node now, as [gohub.Hub.Ready] wants
// to know: nil, or gohub.ErrUnavailable and why not. Of a Redis Cluster it is nil
// while any part is served: a part that is not is so for all hubs, and new clients
// are no better off with another one. The log says which. It does no I/O.
func (b *Broker) Ready() error {
	n, err := b.running(context.Background())
	if err != nil {
		return err
	}
	for _, p := range n.parts {
		if err = p.serves(); err == nil {
			return nil
		}
	}
	return err
}

// Publish orders msgs in one call of a script; see [gohub.Broker]. An id is
// known for two minutes after it was ordered. gohub.ErrUnavailable is also the
// answer of a server whose memory is full.
func (b *Broker) Publish(ctx context.Context, floor int64, msgs ...gohub.Message) []gohub.Ordered {
	if len(msgs) == 0 {
		return nil
	}
	p, _, err := b.at(ctx, roomKey(msgs[0].Room))
	if p == nil {
		return failed(make([]gohub.Ordered, len(msgs)), err)
	}
	return p.publish(ctx, floor, msgs) // even without a lease: it may know the outcome
}

// Stored lets the logs go of msgs, in time; see [gohub.Broker].
func (b *Broker) Stored(msgs ...gohub.Message) {
	b.mu.RLock()
	n := b.node
	b.mu.RUnlock()
	if n == nil {
		return
	}
	for i := range msgs {
		n.of(roomKey(msgs[i].Room)).owed.stored(msgs[i].Room, msgs[i].Seq)
	}
}

// Subscribe returns when Redis has confirmed; see [gohub.Broker].
func (b *Broker) Subscribe(ctx context.Context, r gohub.Receiver, room gohub.RoomID) error {
	p, _, err := b.at(ctx, roomKey(room))
	if err != nil {
		return err
	}
	if p.n.r != r {
		return fmt.Errorf("%w: another receiver runs on this broker", gohub.ErrUnavailable)
	}
	return p.subscribe(ctx, room)
}

// Unsubscribe ends what Subscribe began; see [gohub.Broker]. Redis is told
// some seconds later, in case somebody comes back.
func (b *Broker) Unsubscribe(r gohub.Receiver, room gohub.RoomID) {
	b.mu.RLock()
	n := b.node
	b.mu.RUnlock()
	if n != nil && n.r == r {
		n.of(roomKey(room)).unsubscribe(room)
	}
}

// Log reads a room's log; see [gohub.Broker].
func (b *Broker) Log(ctx context.Context, room gohub.RoomID, after int64, limit int) (ms []gohub.Message, base int64, err error) {
	p, l, err := b.at(ctx, roomKey(room))
	if err != nil {
		return nil, 0, err
	}
	return p.read(ctx, l, room, after, limit)
}

// Orphans hands out what nodes have left that have been silent for
// Options.Silent; see [gohub.Broker]. Silence counts only while this node is in touch with Redis.
func (b *Broker) Orphans(ctx context.Context, store func([]gohub.Message) error) error {
	n, err := b.running(ctx)
	if err != nil {
		return err
	}
	var failures []error
	for _, p := range n.parts { // one that cannot be reached is no reason to leave out others
		l := p.lease.Load()
		if l == nil {
			failures = append(failures, fmt.Errorf("%w: Redis does not serve this node", gohub.ErrUnavailable))
			continue
		}
		failures = append(failures, p.orphans(ctx, l, store))
	}
	return errors.Join(failures...)
}

// Signal sends the frame to all hubs, this one among them; see [gohub.Broker].
// It is dropped while Redis cannot be reached or 1,024 signals wait; one for
// the members of a room when 768 do, which leaves a quarter to what hubs tell
// each other. In a Redis Cluster it goes by a partition that is served, one for a
// room by the room's.
func (b *Broker) Signal(to gohub.Target, frame []byte) {
	b.mu.RLock()
	n := b.node
	b.mu.RUnlock()
	if n == nil {
		return
	}
	p := n.carrier(to)
	if to.Room != "" && len(p.signals) >= cap(p.signals)*3/4 {
		return
	}
	select {
	case p.signals <- rueidis.BinaryString(appendSignal(nil, &to, frame)):
	default:
	}
}

// carrier is the part by which a signal goes: those to one target by one, for
// their order.
func (n *node) carrier(to gohub.Target) *part {
	if to.Room != "" {
		return n.of(roomKey(gohub.RoomID{Tenant: to.Tenant, Name: to.Room}))
	}
	first := n.b.keys.partition(strconv.Itoa(len(to.Tenant)) + ":" + to.Tenant + ":" + to.User)
	for i := range n.parts {
		p := n.parts[(first+i)%len(n.parts)]
		if p.lease.Load() != nil && p.away() == nil {
			return p
		}
	}
	return n.parts[first]
}

func failed(out []gohub.Ordered, err error) []gohub.Ordered {
	for i := range out {
		out[i] = gohub.Ordered{Err: err}
	}
	return out
}
