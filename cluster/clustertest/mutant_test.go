package clustertest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// A broker of several processes is played by one that they share.
var features = Features{
	SharedReceivers: true,
	DedupMessages:   1024,
	Prompt:          true,
	Second:          func(_ *testing.T, b gohub.Broker) gohub.Broker { return b },
}

func memory(*testing.T) gohub.Broker { return gohub.NewMemoryBroker() }

func TestSuite(t *testing.T) { Run(t, features, memory) }

// A single receiver skips what needs two.
func TestSuiteAlone(t *testing.T) { Run(t, Features{Quiet: time.Millisecond}, memory) }

// A mutant is a broker with one mistake. The suite must find it, in the
// subtest that is there for it.
type mutant struct {
	gohub.Broker
	run         func(gohub.Broker, context.Context, gohub.Receiver) error
	publish     func(b *mutant, ctx context.Context, floor int64, ms []gohub.Message) []gohub.Ordered
	stored      func(gohub.Broker, []gohub.Message)
	subscribe   func(gohub.Broker, context.Context, gohub.Receiver, gohub.RoomID) error
	unsubscribe func(gohub.Broker, gohub.Receiver, gohub.RoomID)
	log         func(gohub.Broker, context.Context, gohub.RoomID, int64, int) ([]gohub.Message, int64, error)
	orphans     func(*mutant, context.Context, func([]gohub.Message) error) error
	signal      func(*mutant, gohub.Target, []byte)
	deliver     func(r gohub.Receiver, m gohub.Message, prev int64)

	mu      sync.Mutex // protects all below
	wrapped []*mutantReceiver
	seqs    map[string]gohub.Ordered
	senders map[string]string
	orphan  gohub.Message
}

// mutantReceiver is what the real broker delivers to.
type mutantReceiver struct {
	gohub.Receiver
	m *mutant
}

func (r *mutantReceiver) Deliver(m gohub.Message, prev int64) {
	if r.m.deliver != nil {
		r.m.deliver(r.Receiver, m, prev)
		return
	}
	r.Receiver.Deliver(m, prev)
}

func (m *mutant) wrap(r gohub.Receiver) gohub.Receiver {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range m.wrapped {
		if w.Receiver == r {
			return w
		}
	}
	w := &mutantReceiver{r, m}
	m.wrapped = append(m.wrapped, w)
	return w
}

func (m *mutant) Run(ctx context.Context, r gohub.Receiver) error {
	if m.run != nil {
		return m.run(m.Broker, ctx, m.wrap(r))
	}
	return m.Broker.Run(ctx, m.wrap(r))
}

func (m *mutant) Publish(ctx context.Context, floor int64, ms ...gohub.Message) []gohub.Ordered {
	if m.publish != nil {
		return m.publish(m, ctx, floor, ms)
	}
	return m.Broker.Publish(ctx, floor, ms...)
}

func (m *mutant) Stored(ms ...gohub.Message) {
	if m.stored != nil {
		m.stored(m.Broker, ms)
		return
	}
	m.Broker.Stored(ms...)
}

func (m *mutant) Subscribe(ctx context.Context, r gohub.Receiver, room gohub.RoomID) error {
	if m.subscribe != nil {
		return m.subscribe(m.Broker, ctx, m.wrap(r), room)
	}
	return m.Broker.Subscribe(ctx, m.wrap(r), room)
}

func (m *mutant) Unsubscribe(r gohub.Receiver, room gohub.RoomID) {
	if m.unsubscribe != nil {
		m.unsubscribe(m.Broker, m.wrap(r), room)
		return
	}
	m.Broker.Unsubscribe(m.wrap(r), room)
}

func (m *mutant) Log(ctx context.Context, room gohub.RoomID, after int64, limit int) ([]gohub.Message, int64, error) {
	if m.log != nil {
		return m.log(m.Broker, ctx, room, after, limit)
	}
	return m.Broker.Log(ctx, room, after, limit)
}

func (m *mutant) Orphans(ctx context.Context, store func([]gohub.Message) error) error {
	if m.orphans != nil {
		return m.orphans(m, ctx, store)
	}
	return m.Broker.Orphans(ctx, store)
}

func (m *mutant) Signal(to gohub.Target, frame []byte) {
	if m.signal != nil {
		m.signal(m, to, frame)
		return
	}
	m.Broker.Signal(to, frame)
}

const child = "GOHUB_CLUSTERTEST_MUTANTS"

// TestMutantsChild fails on purpose: TestMutants runs it in a process of its
// own and reads which mutants were found.
func TestMutantsChild(t *testing.T) {
	if os.Getenv(child) == "" {
		t.Skip("run by TestMutants")
	}
	for test, ms := range mutants() {
		i := slices.IndexFunc(cases(), func(c testCase) bool { return c.name == test })
		require.GreaterOrEqual(t, i, 0, "no subtest %s", test)
		for name := range ms {
			t.Run(test+": "+name, func(t *testing.T) {
				t.Parallel()
				m := mutants()[test][name]
				m.Broker = memory(t)
				m.seqs, m.senders = map[string]gohub.Ordered{}, map[string]string{}
				f := features
				f.Patience, f.Quiet = time.Second, time.Second // it shall be found on a busy machine, too
				cases()[i].test(t, f, func(*testing.T) gohub.Broker { return m })
			})
		}
	}
}

func TestMutants(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMutantsChild$", "-test.v", "-test.timeout=5m", "-test.parallel=16")
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "the suite passed every mutant")
	raced := strings.Contains(string(out), "DATA RACE")
	require.False(t, raced, "a race fails every subtest, found or not")
	tried := 0
	for test, ms := range mutants() {
		for name := range ms {
			tried++
			line := fmt.Sprintf("--- FAIL: TestMutantsChild/%s:_%s (", test, strings.ReplaceAll(name, " ", "_"))
			found := strings.Contains(string(out), line)
			assert.True(t, found, "the subtest %s passed a broker with this mistake: %s", test, name)
		}
	}
	for _, c := range cases() {
		assert.NotEmpty(t, mutants()[c.name], "no mutant shows that the subtest %s finds anything", c.name)
	}
	t.Logf("%d mutants", tried)
}
