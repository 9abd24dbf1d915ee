//go:build unix

// Package killtest kills a hub again and again in the middle of its work,
// while its clients go on with the next one, and judges what the Store has
// kept and what the clients were shown. Only test files may import it.
//
// The hub runs in a process of its own, which is the test's binary once more:
// TestMain calls [Child] first, and a test calls [Run].
package killtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gohub/gohub"
)

// An Open opens the Store whose data is at where: a file, a URL. end closes it.
type Open func(where string) (s gohub.Store, end func() error, err error)

const (
	// childWhere, in the environment, makes this binary a hub on that data.
	childWhere = "GOHUB_TEST_KILL_WHERE"
	// livesEnv is how many lives a run has, for a soak.
	livesEnv = "GOHUB_KILLS"

	tenant   = "acme"
	users    = 6
	rooms    = 3
	underWay = 8  // publishes of a client
	atLeast  = 20 // acks in a life
)

// Child makes a hub of this process if [Run] has started it, and returns true
// when that is over.
func Child(open Open) bool {
	where := os.Getenv(childWhere)
	if where == "" {
		return false
	}
	if err := serve(where, open); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

// serve serves until it is killed, or its parent is.
func serve(where string, open Open) error {
	store, _, err := open(where)
	if err != nil {
		return err
	}
	hub, err := gohub.New(gohub.Config{
		Store: store,
		Authenticator: gohub.AuthenticatorFunc(func(r *http.Request) (gohub.Identity, error) {
			return gohub.Identity{User: r.URL.Query().Get("user"), Tenant: tenant}, nil
		}),
		RateLimiter: gohub.NewRateLimiter(gohub.Rate{}),
		ReplayLimit: 10_000, // more than a life's messages
	})
	if err != nil {
		return err
	}
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: hub.Handler(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(ln) }() // ends with the process
	fmt.Println(ln.Addr())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// Run kills a hub 50 times, or GOHUB_KILLS times, while clients publish in
// several rooms, read them all, and send what was not acked again to the next
// hub. In the end
//
//   - everything acked is stored, once, under the seq that its sender was told,
//     and nothing else is;
//   - what each client has of a room, by the rules of docs/protocol.md, is what
//     is stored for it, in that order: what it saw and a kill has forgotten
//     came back under a higher seq, and replaced the first copy;
//   - that is also what it reads page by page, from either end;
//   - what another process has written to the same data meanwhile is there.
func Run(t *testing.T, where string, open Open) {
	t.Helper()
	lives := 50
	if s := os.Getenv(livesEnv); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("%s: %v", livesEnv, err)
		}
		lives = n
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Duration(lives)*5*time.Second)
	w := &world{t: t, where: where, open: open}
	var going sync.WaitGroup
	defer going.Wait()
	defer cancel()
	clients := make([]*client, users)
	for i := range clients {
		clients[i] = newClient(w, fmt.Sprint("user", i))
		going.Go(func() { clients[i].run(ctx) })
	}

	began := time.Now()
	var beside []gohub.Message
	for life := range lives {
		before := w.acks.Load()
		kill := w.live(ctx)
		if life%5 == 0 {
			beside = append(beside, w.writeBeside(ctx, life))
		}
		// A life ends at any moment once something was stored in it.
		for w.acks.Load() < before+atLeast {
			if ctx.Err() != nil {
				t.Fatalf("life %d: too few acks; %d messages acked before", life, before)
			}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(rand.N(100 * time.Millisecond)) //nolint:gosec // any moment
		kill()
	}
	w.over.Store(true)
	// One more life, to settle what is still under way, and to read it all.
	kill := w.live(ctx)
	going.Wait()
	if ctx.Err() != nil {
		t.Fatal("clients still wait for acks")
	}
	for _, c := range clients {
		c.settle(ctx)
	}
	kill()
	took := time.Since(began)
	w.judge(clients, beside)
	t.Logf("%d lives in %v: %d messages acked and stored, %d repeats, %d shown by a hub that forgot them",
		lives, took.Round(time.Millisecond), w.acks.Load(), w.repeats.Load(), w.forgotten)
}

// world is what the clients share.
type world struct {
	t         *testing.T
	where     string
	open      Open
	addr      atomic.Value // of the hub that runs
	acks      atomic.Int64 // messages
	repeats   atomic.Int64
	over      atomic.Bool // nothing new is sent
	forgotten int
}

// live starts a hub and tells the clients where. kill ends it with SIGKILL.
func (w *world) live(ctx context.Context) (kill func()) {
	w.t.Helper()
	child := exec.CommandContext(ctx, os.Args[0]) //nolint:gosec // this very binary
	child.Env = append(os.Environ(), childWhere+"="+w.where)
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe() // the child ends with it, should this process die
	w.no(err)
	stdout, err := child.StdoutPipe()
	w.no(err)
	w.no(child.Start())
	addr, err := bufio.NewReader(stdout).ReadString('\n')
	w.no(err)
	w.addr.Store(strings.TrimSpace(addr))
	return func() {
		w.t.Helper()
		w.no(child.Process.Kill())
		_ = child.Wait()
		_ = stdin.Close()
	}
}

// writeBeside stores a message from this process, in a room of its own.
func (w *world) writeBeside(ctx context.Context, life int) gohub.Message {
	w.t.Helper()
	m := gohub.Message{
		Room: gohub.RoomID{Tenant: tenant, Name: "beside"}, ID: gohub.NewID(), Seq: int64(life + 1),
		Sender: "alice", Kind: "chat", Body: []byte(`""`),
	}
	store, end, err := w.open(w.where)
	w.no(err)
	_, err = store.Append(ctx, []gohub.Message{m})
	w.no(errors.Join(err, end()))
	return m
}

func (w *world) no(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// judge compares what is stored with what everybody was told.
func (w *world) judge(clients []*client, beside []gohub.Message) {
	t := w.t
	t.Helper()
	store, end, err := w.open(w.where)
	w.no(err)
	defer func() { w.no(end()) }()
	read := func(room string) []gohub.Message {
		t.Helper()
		all, more, err := store.History(t.Context(), gohub.Query{Room: gohub.RoomID{Tenant: tenant, Name: room}, Limit: 10_000_000})
		w.no(err)
		if more {
			t.Fatal("there is more than ten million messages")
		}
		return all
	}
	if got := read("beside"); !slices.EqualFunc(got, beside, same) {
		t.Errorf("the other process has written %d messages, and %d are there", len(beside), len(got))
	}
	stored := make(map[string]gohub.Message)
	for n := range rooms {
		room := roomName(n)
		last := int64(0)
		all := read(room)
		for _, m := range all {
			if m.Seq <= last {
				t.Errorf("%s: seq %d after %d", room, m.Seq, last)
			}
			last = m.Seq
			if _, twice := stored[m.ID]; twice {
				t.Errorf("stored twice: %s", m.ID)
			}
			stored[m.ID] = m
		}
		for _, c := range clients {
			visible := slices.DeleteFunc(slices.Clone(all), func(m gohub.Message) bool { return !m.VisibleTo(c.name) })
			if len(visible) == 0 {
				t.Errorf("nothing in %s for %s", room, c.name)
			}
			c.judge(room, visible)
			w.forgotten += c.replaced
			c.replaced = 0
		}
	}
	acked := 0
	for _, c := range clients {
		for _, p := range c.problems {
			t.Errorf("%s: %s", c.name, p)
		}
		for id, seq := range c.acked {
			switch m, found := stored[id]; {
			case !found:
				t.Errorf("acked, and not stored: %s of %s", id, c.name)
			case m.Seq != seq || m.Sender != c.name:
				t.Errorf("%s acked %s at %d, and stored at %d of %s", c.name, id, seq, m.Seq, m.Sender)
			}
		}
		acked += len(c.acked)
	}
	if acked != len(stored) {
		t.Errorf("%d messages acked, and %d stored", acked, len(stored))
	}
}

func same(a, b gohub.Message) bool {
	return a.ID == b.ID && a.Seq == b.Seq && a.Sender == b.Sender && a.To == b.To && string(a.Body) == string(b.Body)
}

func roomName(n int) string { return fmt.Sprint("room", n) }
