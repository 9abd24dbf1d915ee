// Package clustertest is the suite that every [gohub.Broker] passes. An
// adapter, inside this project or outside, calls [Run] from a test of its own:
//
//	func TestBroker(t *testing.T) {
//		clustertest.Run(t, clustertest.Features{SharedReceivers: true}, func(t *testing.T) gohub.Broker {
//			return mybroker.New()
//		})
//	}
//
// [RunClaims], [RunPresence], [RunNodes] and [RunTickets] are the same for the
// parts of a [gohub.Directory].
//
// Run them with -race. Run tests a healthy broker; what an adapter does when its
// server fails is for the adapter's own tests.
package clustertest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gohub/gohub"
)

// Features says what a Broker promises beyond the contract of [gohub.Broker],
// and how patient the suite has to be with it.
type Features struct {
	// SharedReceivers: several receivers may Run on one Broker value.
	SharedReceivers bool
	// Second makes another Broker of the same cluster as b, as another
	// process has. Nil: there are no clusters of it.
	Second func(t *testing.T, b gohub.Broker) gohub.Broker
	// DedupMessages is after how many newer messages of a room an id is still
	// known, if all of them come at once. Defaults to 100.
	DedupMessages int
	// Prompt: what is Stored, with all before it, is gone from Log when Stored
	// returns.
	Prompt bool
	// Skew is how far the clock that orders may be from this process's.
	// Defaults to 5 s.
	Skew time.Duration
	// Patience is how long the suite waits for what must come. Defaults to
	// 10 s.
	Patience time.Duration
	// Quiet is how long it waits for what must not come. Defaults to 50 ms.
	Quiet time.Duration
}

// Run runs the suite as subtests of t. open makes a Broker for one subtest,
// not running yet, and ends it with t.Cleanup. Brokers may share one server:
// each subtest uses tenants that no other has used, also of earlier runs.
func Run(t *testing.T, f Features, open func(t *testing.T) gohub.Broker) {
	t.Helper()
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) { c.test(t, f, open) })
	}
}

func cases() []testCase {
	return slices.Concat(orderCases, dedupCases, carryCases, logCases, lifeCases)
}

// testCase is one subtest.
type testCase struct {
	name  string
	nodes int // how many receivers run from the start
	run   func(*run)
}

func (c testCase) test(t *testing.T, f Features, open func(t *testing.T) gohub.Broker) {
	t.Helper()
	f.DedupMessages = cmp.Or(f.DedupMessages, 100)
	f.Skew = cmp.Or(f.Skew, 5*time.Second)
	f.Patience = cmp.Or(f.Patience, 10*time.Second)
	f.Quiet = cmp.Or(f.Quiet, 50*time.Millisecond)
	if c.nodes > 1 && !f.SharedReceivers && f.Second == nil {
		t.Skip("the broker serves one receiver only")
	}
	r := &run{T: t, f: f, b: open(t), unique: "t" + rand.Text()[:12]}
	for i := range c.nodes {
		b := r.b
		if i > 0 && f.Second != nil {
			b = f.Second(t, r.b)
		}
		r.nodes = append(r.nodes, r.start(b))
	}
	c.run(r)
	for _, n := range r.nodes {
		n.stop()
		for _, p := range n.problems() {
			t.Error(p)
		}
	}
}

// run is what a subtest has in hand.
type run struct {
	*testing.T
	f      Features
	b      gohub.Broker
	nodes  []*node
	unique string // this subtest's tenant
}

// node is a receiver on a running broker.
type node struct {
	receiver
	r    *run
	b    gohub.Broker
	stop func() // ends Run and waits for it; may be called again
}

// start runs a new receiver on b and waits until it is connected.
func (r *run) start(b gohub.Broker) *node {
	r.Helper()
	n := &node{r: r, b: b}
	n.got = map[gohub.RoomID][]delivery{}
	n.inside = map[gohub.RoomID]bool{}
	n.changed = make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { // ends with ctx; stop waits for it
		defer close(ended)
		if err := b.Run(ctx, n); err != nil && !errors.Is(err, context.Canceled) {
			r.Errorf("Run: %v", err)
		}
	}()
	n.stop = func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(r.f.Patience):
			r.Errorf("Run did not return within %v of its context's end", r.f.Patience)
		}
	}
	r.Cleanup(n.stop)
	probe := r.room("probe")
	for deadline := time.Now().Add(r.f.Patience); ; {
		err := b.Subscribe(r.Context(), n, probe)
		if err == nil {
			break
		}
		if !errors.Is(err, gohub.ErrUnavailable) || time.Now().After(deadline) {
			r.Fatalf("Subscribe after Run began: %v", err)
		}
		time.Sleep(time.Millisecond)
	}
	b.Unsubscribe(n, probe)
	if err := ready(b, r.f.Patience); err != nil {
		r.Fatalf("Ready after Run began: %v", err)
	}
	return n
}

// ready waits until a Broker that says so serves all rooms, and not only some.
func ready(b gohub.Broker, patience time.Duration) error {
	says, ok := b.(interface{ Ready() error })
	if !ok {
		return nil
	}
	err := says.Ready()
	for deadline := time.Now().Add(patience); err != nil && time.Now().Before(deadline); err = says.Ready() {
		time.Sleep(time.Millisecond)
	}
	return err
}

func (r *run) room(name string) gohub.RoomID { return gohub.RoomID{Tenant: r.unique, Name: name} }

// msg makes a message with a fresh id.
func msg(room gohub.RoomID, sender, text string) gohub.Message {
	return gohub.Message{Room: room, ID: newID(), Sender: sender, Kind: "chat", Body: fmt.Appendf(nil, "%q", text)}
}

func msgs(room gohub.RoomID, sender string, n int) []gohub.Message {
	ms := make([]gohub.Message, n)
	for i := range ms {
		ms[i] = msg(room, sender, fmt.Sprint(sender, " ", i))
	}
	return ms
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// try publishes as the hub does: it repeats what has an unknown outcome. It
// may be called from any goroutine.
func (n *node) try(floor int64, ms ...gohub.Message) (out []gohub.Ordered, err error) {
	unknown := func(o gohub.Ordered) bool { return errors.Is(o.Err, gohub.ErrUnknown) }
	for range 20 {
		out = n.b.Publish(n.r.Context(), floor, ms...)
		if len(out) != len(ms) {
			return nil, fmt.Errorf("Publish of %d messages returned %d results", len(ms), len(out))
		}
		if !slices.ContainsFunc(out, unknown) {
			return out, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil, fmt.Errorf("Publish: still unknown after 20 times: %w", gohub.ErrUnknown)
}

// publish publishes; what it cannot know ends the test.
func (n *node) publish(floor int64, ms ...gohub.Message) []gohub.Ordered {
	n.r.Helper()
	out, err := n.try(floor, ms...)
	if err != nil {
		n.r.Fatal(err)
	}
	return out
}

// fresh publishes what must be new, and returns it with its Seqs.
func (n *node) fresh(floor int64, ms ...gohub.Message) []gohub.Message {
	n.r.Helper()
	ms = slices.Clone(ms)
	for i, o := range n.publish(floor, slices.Clone(ms)...) {
		if o.Err != nil || o.Duplicate || o.Seq == 0 {
			n.r.Fatalf("Publish, message %d of %d with a new id: got %+v, want a Seq, no Duplicate, no Err", i, len(ms), o)
		}
		ms[i].Seq = o.Seq
	}
	return ms
}

func (n *node) subscribe(rooms ...gohub.RoomID) {
	n.r.Helper()
	for _, room := range rooms {
		if err := n.b.Subscribe(n.r.Context(), n, room); err != nil {
			n.r.Fatalf("Subscribe(%v): %v", room, err)
		}
	}
}

// log reads the whole log of a room.
func (n *node) log(room gohub.RoomID) (ms []gohub.Message, base int64) {
	n.r.Helper()
	ms, base, err := n.b.Log(n.r.Context(), room, 0, 100_000)
	if err != nil {
		n.r.Fatalf("Log(%v): %v", room, err)
	}
	return ms, base
}

// wantDelivered waits until exactly want has been delivered in a room, in
// this order, each with the Seq before it as prev. The first may have more than
// that: a Broker that has forgotten does not know what was before.
func (n *node) wantDelivered(what string, room gohub.RoomID, prev int64, want []gohub.Message) {
	n.r.Helper()
	got := n.wait(room, len(want))
	ms := make([]gohub.Message, len(got))
	for i, d := range got {
		ms[i] = d.Message
	}
	if diff := difference(ms, want); diff != "" {
		n.r.Errorf("%s: delivered in %v: %s", what, room, diff)
		return
	}
	for i, d := range got {
		if d.prev != prev && (i > 0 || d.prev < prev || d.prev >= d.Seq) {
			n.r.Errorf("%s: delivery %d in %v, Seq %d: prev is %d, want %d", what, i, room, d.Seq, d.prev, prev)
			return
		}
		prev = d.Seq
	}
}

// wait waits until at least count messages were delivered in a room, and
// returns what there is.
func (n *node) wait(room gohub.RoomID, count int) []delivery {
	n.until(n.r.f.Patience, func() bool { return len(n.got[room]) >= count })
	return n.delivered(room)
}

// quiet gives time for what must not come.
func (r *run) quiet() { time.Sleep(r.f.Quiet) }

// receiver records what a Broker carries.
type receiver struct {
	mu      sync.Mutex // protects all below
	got     map[gohub.RoomID][]delivery
	inside  map[gohub.RoomID]bool // Deliver is running
	signals []signal
	wrong   []string
	changed chan struct{} // closed and replaced by every change
}

type delivery struct {
	gohub.Message
	prev int64
}

type signal struct {
	to    gohub.Target
	frame string
}

func (n *receiver) Deliver(m gohub.Message, prev int64) {
	n.mu.Lock()
	if n.inside[m.Room] {
		n.wrong = append(n.wrong, fmt.Sprintf("two calls of Deliver at once for room %v", m.Room))
	}
	n.inside[m.Room] = true
	n.mu.Unlock()
	runtime.Gosched() // room for a second call to come in
	n.change(func() {
		n.inside[m.Room] = false
		n.got[m.Room] = append(n.got[m.Room], delivery{m, prev})
	})
}

func (n *receiver) Signal(to gohub.Target, frame []byte) {
	n.change(func() { n.signals = append(n.signals, signal{to, string(frame)}) })
}

func (n *receiver) Suspect(...gohub.RoomID) {}

func (n *receiver) change(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *receiver) delivered(room gohub.RoomID) []delivery {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.got[room])
}

func (n *receiver) problems() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.wrong
}

// until waits until done, which is called with mu held, reports true.
func (n *receiver) until(patience time.Duration, done func() bool) bool {
	timeout := time.After(patience)
	for {
		n.mu.Lock()
		ok, changed := done(), n.changed
		n.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-timeout:
			return false
		}
	}
}

// difference tells how two lists of messages differ; empty: they do not.
func difference(got, want []gohub.Message) string {
	for i := range min(len(got), len(want)) {
		g, w := got[i], want[i]
		body := bytes.Equal(g.Body, w.Body)
		gb, wb := g.Body, w.Body
		g.Body, w.Body = nil, nil
		switch {
		case g.Room != w.Room || g.ID != w.ID || g.Seq != w.Seq || g.Sender != w.Sender || g.To != w.To || g.Kind != w.Kind || g.Binary != w.Binary:
			return fmt.Sprintf("message %d of %d differs:\n got %+v\nwant %+v", i, len(got), g, w)
		case !body:
			return fmt.Sprintf("body of message %d (Seq %d): got %d bytes %.60q, want %d bytes %.60q", i, g.Seq, len(gb), gb, len(wb), wb)
		}
	}
	if len(got) != len(want) {
		return fmt.Sprintf("got %d messages %v, want %d %v", len(got), seqs(got), len(want), seqs(want))
	}
	return ""
}

// seqs shows the Seqs of messages, the first ones.
func seqs(ms []gohub.Message) string {
	var b bytes.Buffer
	for i, m := range ms {
		if i == 12 {
			b.WriteString(" …")
			break
		}
		fmt.Fprintf(&b, " %d", m.Seq)
	}
	return "[" + b.String() + " ]"
}

func bySeq(a, b gohub.Message) int { return cmp.Compare(a.Seq, b.Seq) }
