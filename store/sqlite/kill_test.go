//go:build unix

package sqlite_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/store/sqlite"
)

// childFile, in the environment, makes this test binary a hub that keeps its
// history in that file.
const childFile = "GOHUB_TEST_SQLITE_FILE"

// runAsChild makes a server of this process if it is to be one.
func runAsChild() bool {
	path := os.Getenv(childFile)
	if path == "" {
		return false
	}
	if err := serveChild(path); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

// serveChild serves until it is killed, or its parent is.
func serveChild(path string) error {
	store, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		return err
	}
	hub, err := gohub.New(gohub.Config{
		Store: store,
		Authenticator: gohub.AuthenticatorFunc(func(r *http.Request) (gohub.Identity, error) {
			return gohub.Identity{User: r.URL.Query().Get("user"), Tenant: killTenant}, nil
		}),
		RateLimiter: gohub.NewRateLimiter(gohub.Rate{}),
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

const (
	killTenant = "acme"
	killLives  = 50
	killUsers  = 6
	killRooms  = 3
	killWindow = 8 // publishes that a client has under way
)

// TestKill9 kills a hub 50 times in the middle of its work, while clients send
// what was not acked again to the next. In the end everything acked is stored
// under the seq that its sender was told, nothing is stored twice, what each
// client was shown is in the one order that everybody reads, and what another
// process has written meanwhile is there.
func TestKill9(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "chat.db")
	k := &killed{}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	var clients sync.WaitGroup
	defer clients.Wait()
	defer cancel()
	users := make([]*killUser, killUsers)
	for i := range users {
		u := &killUser{k: k, name: fmt.Sprint("user", i), acked: map[string]int64{}, rooms: map[string][]killSeen{}}
		users[i] = u
		clients.Go(func() { u.run(ctx) })
	}

	began := time.Now()
	beside := gohub.RoomID{Tenant: killTenant, Name: "beside"}
	var written []gohub.Message
	for life := range killLives {
		before := k.acks.Load()
		kill := k.live(ctx, t, path)
		if life%5 == 0 { // another process writes to the same file
			m := gohub.Message{Room: beside, ID: newID(), Seq: int64(life + 1), Sender: "alice", Kind: "chat", Body: []byte(`""`)}
			store, err := sqlite.Open(path, sqlite.Options{})
			require.NoError(t, err)
			_, err = store.Append(ctx, []gohub.Message{m})
			require.NoError(t, err)
			require.NoError(t, store.Close())
			written = append(written, m)
		}
		// A life ends at any moment once something was stored in it.
		require.Eventually(t, func() bool { return k.acks.Load() >= before+20 }, time.Minute, time.Millisecond, "nothing is acked")
		time.Sleep(time.Duration(rand.IntN(100_000)) * time.Microsecond)
		kill()
	}
	k.over.Store(true)

	// One more life, to settle what is still under way.
	kill := k.live(ctx, t, path)
	clients.Wait()
	require.NoError(t, ctx.Err(), "clients still wait for acks")
	kill()
	took := time.Since(began)

	store := open(t, path)
	others, _, err := store.History(t.Context(), gohub.Query{Room: beside, Limit: killLives})
	require.NoError(t, err)
	require.Equal(t, written, others, "what the other process has written")
	stored := map[string]gohub.Message{}
	total := 0
	for n := range killRooms {
		room := gohub.RoomID{Tenant: killTenant, Name: fmt.Sprint("room", n)}
		all, more, err := store.History(t.Context(), gohub.Query{Room: room, Limit: 1_000_000})
		require.NoError(t, err)
		require.False(t, more)
		require.True(t, slices.IsSortedFunc(all, func(a, b gohub.Message) int { return int(a.Seq - b.Seq) }))
		for _, m := range all {
			_, twice := stored[m.ID]
			require.False(t, twice, "stored twice: %s", m.ID)
			stored[m.ID] = m
		}
		total += len(all)
		for _, u := range users {
			u.check(t, room, all, store)
		}
	}
	acked := 0
	for _, u := range users {
		require.Empty(t, u.problems)
		for id, seq := range u.acked {
			m, found := stored[id]
			require.True(t, found, "acked, and not stored: %s of %s", id, u.name)
			require.Equal(t, seq, m.Seq, "acked under another seq")
			require.Equal(t, u.name, m.Sender)
		}
		acked += len(u.acked)
	}
	require.Equal(t, acked, total, "everything stored was acked in the end")
	t.Logf("%d lives in %v: %d messages acked and stored, %d repeated", killLives, took.Round(time.Millisecond), acked, k.repeats.Load())
}

// killed is what the clients share.
type killed struct {
	addr    atomic.Value // of the life that runs
	acks    atomic.Int64
	repeats atomic.Int64
	over    atomic.Bool // nothing new is sent
}

// live starts a hub and tells the clients where. kill ends it with SIGKILL.
func (k *killed) live(ctx context.Context, t *testing.T, path string) (kill func()) {
	t.Helper()
	child := exec.CommandContext(ctx, os.Args[0])
	child.Env = append(os.Environ(), childFile+"="+path)
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe() // the child ends with it, should this process die
	require.NoError(t, err)
	stdout, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	addr, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	k.addr.Store(strings.TrimSpace(addr))
	return func() {
		require.NoError(t, child.Process.Kill())
		_ = child.Wait()
		_ = stdin.Close()
	}
}

type killSeen struct {
	id  string
	seq int64
}

// A killUser publishes to all rooms and reads them.
type killUser struct {
	k        *killed
	name     string
	sent     int
	outbox   []*killPublish
	acked    map[string]int64
	rooms    map[string][]killSeen
	problems []string
}

type killPublish struct {
	Type  string `json:"type"`
	ID    string `json:"id"`
	Room  string `json:"room"`
	To    string `json:"to,omitempty"`
	Body  string `json:"body"`
	Retry bool   `json:"retry,omitempty"`
}

// run connects again whenever it must, until all is over and acked.
func (u *killUser) run(ctx context.Context) {
	for ctx.Err() == nil && (!u.k.over.Load() || len(u.outbox) > 0) {
		_ = u.session(ctx) // it was killed
		time.Sleep(5 * time.Millisecond)
	}
}

func (u *killUser) session(ctx context.Context) error {
	addr, _ := u.k.addr.Load().(string)
	ws, res, err := websocket.Dial(ctx, "ws://"+addr+"/?user="+u.name, &websocket.DialOptions{Subprotocols: []string{"gohub.v1"}})
	if res != nil && res.Body != nil {
		_ = res.Body.Close()
	}
	if err != nil {
		return err
	}
	defer func() { _ = ws.CloseNow() }()
	ws.SetReadLimit(4 << 20)
	send := func(frame any) error {
		b, err := json.Marshal(frame)
		if err != nil {
			return err
		}
		return ws.Write(ctx, websocket.MessageText, b)
	}
	for n := range killRooms {
		room := fmt.Sprint("room", n)
		join := map[string]any{"type": "join", "room": room, "since": 0}
		if seen := u.rooms[room]; len(seen) > 0 {
			join["since"] = seen[len(seen)-1].seq
		}
		if err := send(join); err != nil {
			return err
		}
	}
	joined := 0
	for {
		if joined == killRooms {
			for len(u.outbox) < killWindow && !u.k.over.Load() {
				p := &killPublish{Type: "publish", ID: newID(), Room: fmt.Sprint("room", u.sent%killRooms), Body: fmt.Sprint(u.name, " ", u.sent)}
				if u.sent%5 == 0 {
					p.To = fmt.Sprint("user", rand.IntN(killUsers))
				}
				u.sent++
				u.outbox = append(u.outbox, p)
				if err := send(p); err != nil {
					return err
				}
			}
			if len(u.outbox) == 0 {
				return nil
			}
		}
		_, b, err := ws.Read(ctx)
		if err != nil {
			return err
		}
		var f struct {
			Type, ID, Room, Sender, To, Code string
			Seq                              int64
			Truncated                        bool
		}
		if err := json.Unmarshal(b, &f); err != nil {
			return err
		}
		switch f.Type {
		case "joined":
			if joined++; f.Truncated {
				u.problems = append(u.problems, "more was missed than is replayed")
			}
			if joined < killRooms {
				break
			}
			for _, p := range u.outbox {
				p.Retry = true
				u.k.repeats.Add(1)
				if err := send(p); err != nil {
					return err
				}
			}
		case "message":
			if f.To != "" && f.To != u.name && f.Sender != u.name {
				u.problems = append(u.problems, "was shown a private message of others")
			}
			u.rooms[f.Room] = append(u.rooms[f.Room], killSeen{f.ID, f.Seq})
		case "ack":
			u.outbox = slices.DeleteFunc(u.outbox, func(p *killPublish) bool { return p.ID == f.ID })
			if _, twice := u.acked[f.ID]; !twice {
				u.k.acks.Add(1)
			}
			u.acked[f.ID] = f.Seq
		case "error":
			u.problems = append(u.problems, "error: "+string(b))
			return nil
		}
	}
}

// check compares what u was shown of a room with what it reads in the end.
func (u *killUser) check(t *testing.T, room gohub.RoomID, all []gohub.Message, store gohub.Store) {
	t.Helper()
	var want []killSeen
	is := map[killSeen]bool{}
	for _, m := range all {
		if m.VisibleTo(u.name) {
			want = append(want, killSeen{m.ID, m.Seq})
			is[want[len(want)-1]] = true
		}
	}
	for _, newest := range []bool{false, true} {
		page, _, err := store.History(t.Context(), gohub.Query{Room: room, Viewer: u.name, Limit: 1_000_000, Newest: newest})
		require.NoError(t, err)
		var got []killSeen
		for _, m := range page {
			got = append(got, killSeen{m.ID, m.Seq})
		}
		require.Equal(t, want, got, "history of %s for %s", room, u.name)
	}
	// What was shown live and lost with a life, before it was stored, came
	// back under a later seq. All else is there, in order, without a gap.
	var got []killSeen
	for _, s := range u.rooms[room.Name] {
		if is[s] {
			got = append(got, s)
		}
	}
	require.NotEmpty(t, got)
	assert.Equal(t, want[:len(got)], got, "what %s was shown of %s", u.name, room)
}

// newID makes a UUID.
func newID() string {
	return fmt.Sprintf("%08x-0000-4000-8000-%012x", rand.Uint32(), rand.Uint64N(1<<48))
}
