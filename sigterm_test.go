//go:build unix

package gohub_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// childStore, in the environment, makes this test binary a server that keeps
// its messages in that file.
const childStore = "GOHUB_TEST_CHILD_STORE"

const (
	childDrain    = 4 * time.Second
	childDeadline = time.Minute // it takes some six seconds
)

// fileStore keeps what Append has returned nil for in a file that outlives the
// process.
type fileStore struct {
	*gohub.MemoryStore
	mu   sync.Mutex
	file *os.File
}

func (s *fileStore) Append(ctx context.Context, batch []gohub.Message) ([]gohub.Ordered, error) {
	out, err := s.MemoryStore.Append(ctx, batch)
	if err != nil {
		return nil, err
	}
	var lines strings.Builder
	for i := range batch {
		if out[i].Err == nil && !out[i].Duplicate {
			fmt.Fprintf(&lines, "%s %d\n", batch[i].ID, out[i].Seq)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.file.WriteString(lines.String()); err != nil {
		panic(err) // MemoryStore has it already: there is no way back
	}
	if err := s.file.Sync(); err != nil {
		panic(err)
	}
	return out, nil
}

func (s *fileStore) Durable() bool { return true }

// runAsChild makes a server of this process if it is to be one.
func runAsChild() bool {
	path := os.Getenv(childStore)
	if path == "" {
		return false
	}
	if err := serveChild(path); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

// serveChild is what a service does: serve until SIGTERM, drain, exit.
func serveChild(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	hub, err := gohub.New(forTests(gohub.Config{
		Store:        &fileStore{MemoryStore: gohub.NewMemoryStore(gohub.MemoryStoreOptions{}), file: file},
		DrainTime:    childDrain,
		CloseTimeout: time.Hour, // the dead are not waited for, whatever this says
		PingInterval: time.Hour, // a client that reads late has no pong to write to a hub that is gone
	}))
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: hub.Handler(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(ln) }() // ends with Shutdown below
	fmt.Println(ln.Addr())
	<-ctx.Done()
	bounded, cancel := context.WithTimeout(context.Background(), childDeadline)
	defer cancel()
	if err := hub.Shutdown(bounded); err != nil {
		return err
	}
	return server.Shutdown(bounded)
}

// A real process with a thousand clients, some of them dead, gets SIGTERM while
// all publish. It ends in time with status 0; whatever was acked is in the
// store, which has outlived it; and its clients come back one by one.
func TestSIGTERMUnderLoad(t *testing.T) {
	const live, dead, rooms = 950, 50, 100
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store")
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childStore+"="+path)
	child.Stderr = os.Stderr
	stdout, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	exited := make(chan error, 1)
	t.Cleanup(func() {
		if t.Failed() { // where does it hang?
			_ = child.Process.Signal(syscall.SIGQUIT)
			select {
			case err := <-exited:
				t.Log("the server ended:", err)
				return
			case <-time.After(patience):
			}
		}
		_ = child.Process.Kill()
	})
	addr, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	go func() { exited <- child.Wait() }() // ends with the child, which the test ends
	w := &world{t, nil, "http://" + strings.TrimSpace(addr), &http.Client{Transport: &http.Transport{}}, new(net.Dialer).DialContext, time.Minute}

	for range dead {
		w.bare("user=dead")
	}
	users := make([]*user, live)
	for i := range users {
		users[i] = w.as(fmt.Sprint("user", i), fmt.Sprint("room", i%rooms))
	}
	var talking sync.WaitGroup
	hush := make(chan struct{})
	for i, u := range users {
		talking.Go(func() {
			for {
				select {
				case <-hush:
					return
				case <-time.After(time.Duration(1000+2*i) * time.Millisecond):
				}
				b, _ := json.Marshal(frame{"type": "publish", "id": gohub.NewID(), "room": fmt.Sprint("room", i%rooms), "body": i})
				if u.ws.Write(context.Background(), 1, b) != nil {
					return
				}
			}
		})
	}
	time.Sleep(2 * time.Second) // of ordinary traffic
	require.NoError(t, child.Process.Signal(syscall.SIGTERM))
	start := time.Now()

	// Half of the clients do as they are told, the others stay until they are closed.
	slots := make([]int64, live)
	for i, u := range users {
		slots[i] = u.expect("goaway").num("reconnect_ms")
	}
	for i, u := range users {
		if i%2 == 0 {
			talking.Go(func() {
				time.Sleep(time.Until(start.Add(time.Duration(slots[i]) * time.Millisecond)))
				_ = u.ws.Close(1000, "elsewhere")
			})
		}
	}
	select {
	case err := <-exited:
		require.NoError(t, err, "exit status")
	case <-time.After(childDeadline + 5*time.Second):
		require.FailNow(t, "it does not end")
	}
	took := time.Since(start)
	require.Less(t, took, childDeadline/2, "then it would have cut off whoever it waits for")
	close(hush)
	talking.Wait()

	stored := map[string]string{}
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	for line := range strings.Lines(string(data)) {
		id, seq, _ := strings.Cut(strings.TrimSpace(line), " ")
		require.NotContains(t, stored, id, "stored twice")
		stored[id] = seq
	}
	acked, late := 0, 0
	for i, u := range users {
		if i%2 == 1 {
			u.closes(gohub.CloseRestart)
		}
		for _, a := range u.all("ack") {
			require.Equal(t, stored[a.str("id")], fmt.Sprint(a.num("seq")), "acked, and not in the store")
			acked++
			if a.num("seq") > start.UnixMicro() {
				late++
			}
		}
	}
	require.Positive(t, late, "it takes messages while it drains")
	slices.Sort(slots)
	require.Less(t, slots[0], int64(200), "the first go at once")
	for second := range int64(2) {
		n := 0
		for _, s := range slots {
			if s/1000 == second {
				n++
			}
		}
		require.InDelta(t, live/2, n, live/8, "clients told to come back in second %d", second)
	}
	require.Less(t, slots[live-1], (childDrain / 2).Milliseconds())
	t.Logf("%d acked, %d of them while draining; %d stored; exit after %v", acked, late, len(stored), took.Round(time.Millisecond))
}
