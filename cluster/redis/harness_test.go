//go:build unix

package redis

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/internal/atrest"
	"github.com/gohub/gohub/internal/redistest"
)

// A cluster client closes what it needs no more five seconds later.
var later = goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*clusterClient)._refresh.func2")

func TestMain(m *testing.M) { goleak.VerifyTestMain(atrest.M(m, goleak.Find, later), later) }

// patience is how long a test waits for what must come.
const patience = time.Minute

// connect gives a client as a hub has it.
func connect(tb testing.TB, s *redistest.Server) rueidis.Client {
	tb.Helper()
	c, err := rueidis.NewClient(Defaults(rueidis.ClientOption{InitAddress: []string{s.Addr()}, ForceSingleClient: true}))
	require.NoError(tb, err)
	tb.Cleanup(c.Close)
	return c
}

// quiet gives a logger for what goes wrong on purpose; -v shows it.
func quiet() *slog.Logger {
	if testing.Verbose() {
		return nil
	}
	return slog.New(slog.DiscardHandler)
}

// broker makes one on a client of its own, as a process has it. When Redis has
// forgotten it waits for other nodes only for a moment, and no call fails because
// the machine is busy: see patient.
func broker(tb testing.TB, s *redistest.Server, prefix string) *Broker {
	tb.Helper()
	return brokerOn(tb, connect(tb, s), prefix)
}

func brokerOn(tb testing.TB, client rueidis.Client, prefix string) *Broker {
	tb.Helper()
	b, err := New(context.Background(), client, Options{Prefix: prefix, Logger: quiet()})
	require.NoError(tb, err)
	b.t.grace, b.t.hold, b.o.Timeout = 100*time.Millisecond, 200*time.Millisecond, 10*time.Second
	return b
}

// patient makes bs wait for other nodes, and for answers, as long as they do outside
// tests.
func patient(bs ...*Broker) {
	for _, b := range bs {
		b.t.grace, b.t.hold, b.o.Timeout = defaultTiming.grace, defaultTiming.hold, 2*time.Second
	}
}

func prefix() string { return "t" + strconv.FormatUint(rand.Uint64(), 36) }

func isLeased(b *Broker) bool {
	n, err := b.running(context.Background())
	return err == nil && !slices.ContainsFunc(n.parts, func(p *part) bool { return p.lease.Load() == nil })
}

// the gives the part of a server alone.
func the(b *Broker) *part { return b.node.parts[0] }

// beatsOn returns when b has beaten after seq: what it publishes now is another
// beat's than what had seq.
func beatsOn(tb testing.TB, b *Broker, seq int64) {
	tb.Helper()
	o := the(b).owed
	require.Eventually(tb, func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.now.beat > seq
	}, patience, time.Millisecond)
}

// hear waits until all of bs, which are all there are, listen to signals: what is sent
// before, such as an order to a hub that has just begun, is lost to them.
func hear(tb testing.TB, bs ...*Broker) {
	tb.Helper()
	c, channel := bs[0].client, bs[0].keys[0].signals()
	require.Eventually(tb, func() bool {
		listen, err := c.Do(context.Background(), c.B().PubsubShardnumsub().Channel(channel).Build()).AsIntMap()
		return err == nil && listen[channel] == int64(len(bs))
	}, patience, time.Millisecond)
}

// runs runs r on b until the test ends, or stop is called, and waits until it
// is served.
func runs(tb testing.TB, b *Broker, r gohub.Receiver) (stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx, r) }() // ends with ctx
	done := false
	stop = func() {
		if !done {
			done = true
			cancel()
			require.NoError(tb, <-ended)
		}
	}
	tb.Cleanup(stop)
	require.Eventually(tb, func() bool { return isLeased(b) }, patience, time.Millisecond)
	return stop
}
