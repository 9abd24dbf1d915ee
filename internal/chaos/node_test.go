//go:build unix

package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/cluster/redis"
	"github.com/gohub/gohub/internal/atrest"
	"github.com/gohub/gohub/internal/pgtest"
	"github.com/gohub/gohub/store/postgres"
)

// childNode, in the environment, makes this binary a node: a nodeConfig.
const childNode = "GOHUB_TEST_CHAOS_NODE"

const (
	tenant = "acme"
	// replayLimit is low, so that clients which were away have to page back.
	replayLimit = 20
	// drainTime is longer than clients take to go elsewhere, however busy the
	// machine: no node is waited for when they have.
	drainTime = 20 * time.Second
)

type nodeConfig struct{ Name, Redis, Postgres string }

func TestMain(m *testing.M) {
	if text := os.Getenv(childNode); text != "" {
		if err := serveNode(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(atrest.M(pgtest.Main(m), goleak.Find))
}

// serveNode is a node's process. It prints where it serves and does so until it
// is told to stop, or its parent is gone.
func serveNode(text string) error {
	var o nodeConfig
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("node", o.Name)
	pool, err := pgxpool.New(ctx, o.Postgres)
	if err != nil {
		return err
	}
	defer pool.Close()
	store, err := postgres.New(ctx, pool, postgres.Options{Logger: logger})
	if err != nil {
		return err
	}
	client, err := rueidis.NewClient(redis.Defaults(rueidis.ClientOption{InitAddress: []string{o.Redis}, ForceSingleClient: true}))
	if err != nil {
		return err
	}
	defer client.Close()
	broker, err := redis.New(ctx, client, redis.Options{Node: o.Name, Logger: logger})
	if err != nil {
		return err
	}
	hub, err := gohub.New(gohub.Config{
		Node: o.Name, Store: store, Broker: broker, Logger: logger,
		Authenticator: gohub.AuthenticatorFunc(func(r *http.Request) (gohub.Identity, error) {
			q := r.URL.Query()
			return gohub.Identity{User: q.Get("user"), Device: q.Get("device"), Tenant: tenant}, nil
		}),
		RateLimiter:  gohub.NewRateLimiter(gohub.Rate{}),
		ReplayLimit:  replayLimit,
		PingInterval: 5 * time.Second,
		DrainTime:    drainTime,
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	var handshakes atomic.Int64 // that have been dealt with
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		hub.Handler().ServeHTTP(w, r)
		handshakes.Add(1)
	})
	mux.HandleFunc("GET /handshakes", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(handshakes.Load())
	})
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if hub.Ready() != nil || hub.Health() != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /sessions", func(w http.ResponseWriter, r *http.Request) {
		devices := []string{}
		for _, c := range hub.Sessions(tenant, r.URL.Query().Get("user")) {
			devices = append(devices, c.Identity().Device)
		}
		_ = json.NewEncoder(w).Encode(devices)
	})
	mux.HandleFunc("GET /presence", func(w http.ResponseWriter, r *http.Request) {
		page, err := hub.Presence(r.Context(), gohub.RoomID{Tenant: tenant, Name: r.URL.Query().Get("room")}, "", 1000)
		if err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_ = json.NewEncoder(w).Encode(page.Users)
	})
	mux.HandleFunc("GET /everybody", func(w http.ResponseWriter, r *http.Request) {
		all, failed := map[string][]string{}, false
		var mu sync.Mutex // guards both
		var wg sync.WaitGroup
		for _, room := range r.URL.Query()["room"] {
			wg.Go(func() {
				page, err := hub.Presence(r.Context(), gohub.RoomID{Tenant: tenant, Name: room}, "", 1000)
				mu.Lock()
				defer mu.Unlock()
				failed = failed || err != nil
				for _, u := range page.Users {
					all[room] = append(all[room], u.User)
				}
			})
		}
		wg.Wait()
		if failed {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_ = json.NewEncoder(w).Encode(all)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(l) }() // ends with the process
	fmt.Println(l.Addr())
	go func() { // ends with the process
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(2)
	}()
	<-ctx.Done()
	end, cancel := context.WithTimeout(context.Background(), 3*drainTime)
	defer cancel()
	err = hub.Shutdown(end)
	_ = server.Close()
	return err
}

// A node is a process, or the place where one was.
type node struct {
	name      string
	n         int
	redis, pg *proxy
	config    string
	log       string // a file
	addr      atomic.Pointer[string]
	acks      atomic.Int64 // that clients got from here
	fresh     atomic.Int64 // when the newest publish was sent that is acked, in ns since 1970
	cmd       *exec.Cmd    // nil: it does not run
	stdin     io.Closer
	thaw      func() error // it is frozen
}

func newNode(tb testing.TB, n int, redisAddr, database string, direct bool) *node {
	tb.Helper()
	x := &node{name: fmt.Sprint("node", n), n: n, redis: newProxy(tb, redisAddr)}
	cfg, err := pgxpool.ParseConfig(database)
	require.NoError(tb, err)
	x.pg = newProxy(tb, net.JoinHostPort(cfg.ConnConfig.Host, strconv.Itoa(int(cfg.ConnConfig.Port))))
	url := fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable&pool_max_conns=6", x.pg.addr(), cfg.ConnConfig.Database)
	if !direct {
		redisAddr = x.redis.addr()
	}
	b, err := json.Marshal(nodeConfig{x.name, redisAddr, url})
	require.NoError(tb, err)
	x.config = childNode + "=" + string(b)
	x.log = filepath.Join(tb.TempDir(), x.name)
	tb.Cleanup(func() {
		if x.cmd != nil {
			_ = x.kill()
		}
		x.tell(tb)
	})
	return x
}

// tell shows what a node has complained about if the test has failed, and fails
// it for a data race.
func (x *node) tell(tb testing.TB) {
	b, err := os.ReadFile(x.log)
	if err != nil {
		return
	}
	text := string(b)
	for _, bad := range []string{"DATA RACE", "panic:", "fatal error:"} {
		if i := strings.Index(text, bad); i >= 0 {
			tb.Errorf("%s: %s", x.name, text[i:min(len(text), i+6000)])
		}
	}
	if tb.Failed() {
		const most = 6_000
		tb.Logf("%s has logged:\n%s", x.name, quiet(text)[max(0, len(quiet(text))-most):])
	}
}

// start starts a process, and returns when it serves.
func (x *node) start() error {
	log, err := os.OpenFile(x.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), x.config)
	cmd.Stderr = log
	stdin, err := cmd.StdinPipe() // the child ends with it, should this process die
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	addr, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		_ = cmd.Wait()
		return fmt.Errorf("%s does not start: %w", x.name, err)
	}
	x.cmd, x.stdin = cmd, stdin
	x.addr.Store(new(strings.TrimSpace(addr)))
	return nil
}

// kill ends the process without a word.
func (x *node) kill() error {
	if x.thaw != nil {
		defer func() { _ = x.thaw(); x.thaw = nil }()
	}
	err := x.cmd.Process.Kill()
	_ = x.cmd.Wait()
	_ = x.stdin.Close()
	x.cmd = nil
	return err
}

// terminate asks the process to end, and waits for it.
func (x *node) terminate() error {
	if err := x.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err := x.cmd.Wait()
	_ = x.stdin.Close()
	x.cmd = nil
	if err != nil {
		return fmt.Errorf("%s: %w", x.name, err)
	}
	return nil
}

// freeze stops the process where it is, until thaw or the end of this process.
func (x *node) freeze() error {
	cmd := exec.Command("/bin/sh", "-c", `trap : INT TERM HUP; kill -STOP "$1"; echo; read -r _; kill -CONT "$1"`, "freeze", strconv.Itoa(x.cmd.Process.Pid))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is not for it
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if _, err = bufio.NewReader(out).ReadString('\n'); err == nil {
		x.awaitStop()
	}
	x.thaw = func() error {
		_ = in.Close()
		return cmd.Wait()
	}
	return err
}

// awaitStop waits until all threads of the process have stopped: some run on for
// a moment on a busy machine.
func (x *node) awaitStop() {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", x.cmd.Process.Pid))
		if err != nil || len(threads) == 0 {
			time.Sleep(100 * time.Millisecond) // this system does not say
			return
		}
		if !slices.ContainsFunc(threads, func(path string) bool {
			b, err := os.ReadFile(path)
			_, state, _ := strings.Cut(string(b), ") ")
			return err == nil && !strings.HasPrefix(state, "T")
		}) {
			return
		}
	}
}

// get asks one of the node's pages for JSON.
func (x *node) get(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+*x.addr.Load()+path, nil)
	if err != nil {
		return err
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s%s: %s", x.name, path, res.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(into)
}

// quiet leaves out the lines that say that something is not possible now: there
// are many of them.
func quiet(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.Contains(line, `"not possible right now"`) && !strings.Contains(line, `"room cannot be repaired yet"`) {
			b.WriteString(line)
		}
	}
	return b.String()
}
