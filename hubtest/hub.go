package hubtest

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gohub/gohub"
)

// A Hub is a hub under test: all of [gohub.Hub], and [Server.Dial].
type Hub struct {
	*gohub.Hub // another one after Restart and Crash
	*Server

	t         testing.TB
	cfg       gohub.Config
	ownBroker bool // the Broker ends with the hub
	setup     []func(*gohub.Hub)
}

// New makes a hub that ends with the test. What cfg leaves out is made for
// tests, as [Config] says; all else is as with [gohub.New].
//
// setup is done with the hub before it serves, and again with the one after
// [Hub.Restart] or [Hub.Crash]: Use and Handle belong there.
//
// When the test ends the hub is shut down; that something ordered could not
// be stored is an error of the test.
func New(t testing.TB, cfg gohub.Config, setup ...func(*gohub.Hub)) *Hub {
	t.Helper()
	own := cfg.Broker == nil
	if cfg.Node == "" {
		cfg.Node = "hub-1"
	}
	return newHub(t, cfg, own, new(world), setup)
}

// NewCluster makes n hubs that are one system: they share a Broker, a Store
// and a Directory, those of cfg or ones in memory. Their Nodes are hub-1, hub-2
// and so on. Messages, typing, receipts, invites, members, presence, Revoke,
// Kick and CloseRoom reach all hubs, and a device's new session replaces its
// old one on any of them. Join and Leave are each hub's own.
func NewCluster(t testing.TB, n int, cfg gohub.Config, setup ...func(*gohub.Hub)) []*Hub {
	t.Helper()
	cfg = inMemory(cfg)
	w := new(world)
	dir := gohub.NewMemoryDirectory()
	hubs := make([]*Hub, n)
	for i := range hubs {
		c := cfg
		if _, both := cfg.Broker.(gohub.Directory); !both && cfg.Directory == nil {
			c.Directory = dir.Node()
		}
		c.Node = fmt.Sprintf("hub-%d", i+1)
		hubs[i] = newHub(t, c, false, w, setup)
	}
	return hubs
}

// Config fills in what cfg leaves out and tests want otherwise, as [New] does,
// for programs that make their hub themselves. No rate is limited
// (RateLimiter). Shutdown closes all at once, since nobody moves elsewhere
// (DrainTime -1). A client may say nothing for ever (FirstFrameTimeout -1).
// The log is seen only if the test fails (Logger). Without an Authenticator,
// and unless AllowAnonymous, [Authenticate] takes everybody for whom Dial says.
//
// All else stays as it is: without a Store or Broker, each hub gets its own.
func Config(t testing.TB, cfg gohub.Config) gohub.Config {
	if cfg.Authenticator == nil && !cfg.AllowAnonymous {
		cfg.Authenticator = gohub.AuthenticatorFunc(Authenticate)
	}
	if cfg.RateLimiter == nil {
		cfg.RateLimiter = gohub.NewRateLimiter(gohub.Rate{})
	}
	if cfg.Logger == nil {
		cfg.Logger = quiet(t, "the hub")
	}
	if cfg.DrainTime == 0 {
		cfg.DrainTime = -1
	}
	if cfg.FirstFrameTimeout == 0 {
		cfg.FirstFrameTimeout = -1
	}
	return cfg
}

// inMemory fills in what is to outlive a hub.
func inMemory(cfg gohub.Config) gohub.Config {
	if cfg.Store == nil {
		cfg.Store = gohub.NewMemoryStore(gohub.MemoryStoreOptions{})
	}
	if cfg.Broker == nil {
		cfg.Broker = gohub.NewMemoryBroker()
	}
	return cfg
}

func newHub(t testing.TB, cfg gohub.Config, ownBroker bool, w *world, setup []func(*gohub.Hub)) *Hub {
	t.Helper()
	cfg = Config(t, inMemory(cfg))
	h := &Hub{t: t, cfg: cfg, ownBroker: ownBroker, setup: setup}
	hub := h.make()
	h.Hub, h.Server = hub, serve(t, hub.Handler(), w)
	t.Cleanup(func() {
		t.Helper()
		if s, ok := h.cfg.Store.(*FaultyStore); ok {
			s.heal()
		}
		ctx, cancel := context.WithTimeout(context.Background(), h.Patience)
		defer cancel()
		if err := h.Shutdown(ctx); err != nil {
			t.Errorf("hubtest: the hub's Shutdown: %v", err)
		}
	})
	h.ready()
	return h
}

func (h *Hub) make() *gohub.Hub {
	h.t.Helper()
	hub, err := gohub.New(h.cfg)
	if err != nil {
		h.t.Fatalf("hubtest: %v", err)
	}
	for _, f := range h.setup {
		f(hub)
	}
	return hub
}

// ready waits for the Broker: one that is not in memory may take a moment.
func (h *Hub) ready() {
	h.t.Helper()
	if _, local := h.cfg.Broker.(*gohub.MemoryBroker); local {
		return
	}
	for until := time.Now().Add(h.Patience); ; time.Sleep(time.Millisecond) {
		_, _, err := h.cfg.Broker.Log(context.Background(), gohub.RoomID{Name: "hubtest"}, 0, 1)
		if err == nil {
			return
		}
		if time.Now().After(until) {
			h.t.Fatalf("hubtest: the Broker does not run: %v", err)
		}
	}
}

// Restart shuts the hub down, which stores what is ordered and closes every
// session with 1012, and brings up a new one with the same Config, so the same
// Store and Broker. Clients have read all that the old one said when it
// returns, but for frozen and slow ones, which hold it up for
// Config.CloseTimeout. They resume when they are told to, by [Client.Resume].
//
// h.Hub is another hub then: Restart and Crash belong on the test's goroutine,
// while no other uses h.
func (h *Hub) Restart() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), h.Patience)
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		h.t.Fatalf("hubtest: Restart: %v", err)
	}
	h.next()
}

// Crash ends the hub as the end of its process does, and brings up a new one
// on the same Store. Every client is cut. The Broker ends, too, and what was
// ordered and not stored is lost with it; a Broker that came with cfg or is a
// cluster's stays, and has it still.
func (h *Hub) Crash() {
	h.t.Helper()
	for _, c := range h.mine() {
		c.Cut()
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = h.Shutdown(ctx) // it says what was lost, which is the point
	// No process comes up in the very microsecond in which the last one went
	// down, not in virtual time either: seqs go on above those that are lost.
	time.Sleep(time.Millisecond)
	if h.ownBroker {
		h.cfg.Broker = gohub.NewMemoryBroker()
	}
	h.next()
}

// next brings up the hub after this one.
func (h *Hub) next() {
	h.t.Helper()
	h.Hub = h.make()
	handler := h.Handler()
	h.handler.Store(&handler)
	h.ready()
}

// mine are the clients that are at this hub.
func (h *Hub) mine() []*Client {
	var mine []*Client
	for _, c := range h.world.all() {
		if c.at() == h.Server {
			mine = append(mine, c)
		}
	}
	return mine
}

// quiet makes a logger whose last lines are shown if the test fails.
func quiet(t testing.TB, who string) *slog.Logger {
	l := new(lines)
	t.Cleanup(func() {
		l.mu.Lock()
		last := strings.Join(l.last, "")
		l.mu.Unlock()
		if t.Failed() && last != "" {
			t.Logf("hubtest: %s logged:\n%s", who, last)
		}
	})
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// lines keeps the last lines of a log.
type lines struct {
	mu   sync.Mutex // guards last
	last []string
}

func (l *lines) Write(p []byte) (int, error) {
	const most = 30
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = append(l.last, string(p))
	if len(l.last) > most {
		l.last = l.last[1:]
	}
	return len(p), nil
}
