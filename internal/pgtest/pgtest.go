//go:build unix

// Package pgtest runs a real Postgres for tests: a private cluster in a
// temporary directory on a free loopback port, with fsync on as in earnest.
// Only test files may import it, and programs that measure.
//
// One server serves all tests of a binary, each in a database of its own
// ([Shared], [Server.Database]); tests that break their server start their own
// ([New]). TestMain wraps its M in [Main], which stops the shared one. A program
// starts and ends one with [Launch] and [Server.Close]. A guard process stops the
// servers and removes their files even if who started them is killed.
package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gohub/gohub/internal/freeport"
)

// patience is how long starting and stopping may take on a loaded machine.
const patience = 60 * time.Second

// A Server is a Postgres of its own. Its methods are for one goroutine at a
// time, but for URL and Database.
type Server struct {
	bin   string // the directory of the server's programs
	dir   string
	port  int
	creds *syscall.Credential // nil: ours
	cmd   *exec.Cmd           // nil: it does not run
	done  chan struct{}       // closed when cmd has ended
	guard *exec.Cmd
	alive *os.File // the guard ends everything when this is closed
	dbs   atomic.Int64
}

var shared struct {
	mu     sync.Mutex
	server *Server
}

// Shared gives the server that all tests of this binary use, started for the
// first. Without Postgres on this machine it skips t, or fails it if
// GOHUB_REQUIRE_SERVICES=1.
func Shared(tb testing.TB) *Server {
	tb.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.server == nil {
		shared.server = start(tb)
	}
	return shared.server
}

// New gives a server to t alone, until its end. settings are as on the
// server's command line: "max_connections=20".
func New(tb testing.TB, settings ...string) *Server {
	tb.Helper()
	s := start(tb, settings...)
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// A TestingM is a *testing.M, or what goleak.VerifyTestMain takes for one.
type TestingM interface{ Run() int }

// Main wraps m so that the shared server ends when the tests have run.
func Main(m TestingM) TestingM { return mainer{m} }

type mainer struct{ m TestingM }

func (m mainer) Run() int {
	code := m.m.Run()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.server == nil {
		return code
	}
	if err := shared.server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	shared.server = nil
	return code
}

// find gives the newest directory of server programs on this machine.
func find() (bin string, found bool) {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	slices.SortFunc(dirs, func(a, b string) int { return version(b) - version(a) })
	if path, err := exec.LookPath("postgres"); err == nil {
		dirs = append(dirs, path)
	}
	for _, path := range dirs {
		dir := filepath.Dir(path)
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err == nil {
			return dir, true
		}
	}
	return "", false
}

func version(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return n
}

// credentials are whom the server runs as when we are root, which it refuses.
func credentials() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil //nolint:nilnil // as ourselves
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, fmt.Errorf("pgtest: a user to run Postgres as: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("pgtest: user %s: %w", u.Username, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("pgtest: user %s: %w", u.Username, err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

func start(tb testing.TB, settings ...string) *Server {
	tb.Helper()
	s, err := Launch(settings...)
	switch {
	case errors.Is(err, ErrAbsent) && os.Getenv("GOHUB_REQUIRE_SERVICES") != "1":
		tb.Skip(err)
	case errors.Is(err, ErrAbsent):
		tb.Fatalf("%v, and GOHUB_REQUIRE_SERVICES=1", err)
	case err != nil:
		tb.Fatal(err)
	}
	return s
}

// ErrAbsent is what Launch gives where there is no Postgres to run.
var ErrAbsent = errors.New("pgtest: no Postgres server on this machine")

// Launch starts a server, for whoever calls it to close. settings are as New's.
func Launch(settings ...string) (*Server, error) {
	bin, found := find()
	if !found {
		return nil, ErrAbsent
	}
	s := &Server{bin: bin}
	err := s.create(settings)
	for tries := 0; err == nil; tries++ {
		if s.port, err = freeport.Pick(); err == nil {
			err = s.Start()
		}
		if err == nil {
			return s, nil
		}
		if tries < 3 && strings.Contains(s.Log(), "could not bind") {
			err = nil // somebody was faster
		}
	}
	return nil, errors.Join(err, s.Close())
}

// create makes the cluster's files.
func (s *Server) create(settings []string) (err error) {
	if s.creds, err = credentials(); err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp("", "gohub-pg"); err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	if s.creds != nil {
		if err := os.Chown(s.dir, int(s.creds.Uid), int(s.creds.Gid)); err != nil {
			return fmt.Errorf("pgtest: %w", err)
		}
	}
	if err := s.watch(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	initdb := s.program(ctx, "initdb", "-D", s.data(), "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale", "--no-instructions",
		"--no-sync") // its thousand files; what the server writes is synced
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("pgtest: initdb in %s (its parents must be open to the server's user): %w\n%s", s.dir, err, out)
	}
	conf, err := os.OpenFile(filepath.Join(s.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	all := append([]string{
		"listen_addresses='127.0.0.1'",
		fmt.Sprintf("unix_socket_directories='%s'", s.dir),
		"fsync=on", "max_connections=60", "shared_buffers='256MB'", "max_wal_size='2GB'", "timezone='UTC'",
	}, settings...)
	_, err = conf.WriteString(strings.Join(all, "\n") + "\n")
	return errors.Join(err, conf.Close())
}

// watch starts the guard. It waits until the pipe that we hold is closed, by
// us or by our end, and leaves nothing behind.
func (s *Server) watch() error {
	const script = `trap : INT TERM HUP
read -r _
pid=$(head -n1 "$1/data/postmaster.pid" 2>/dev/null) || pid=
if [ -n "$pid" ] && [ "/proc/$pid/cwd" -ef "$1/data" ]; then
	all="$pid $(cat /proc/"$pid"/task/*/children 2>/dev/null)"
	kill -KILL $all 2>/dev/null
	while kill -0 "$pid" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$pid/status"; do sleep 0.1; done
fi
for _ in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$1" && break; sleep 1; done`
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	s.guard = exec.CommandContext(context.Background(), "/bin/sh", "-c", script, "pgtest-guard", s.dir)
	s.guard.Stdin, s.guard.Stderr = r, nil
	s.guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is not for it
	err = s.guard.Start()
	_ = r.Close()
	if err != nil {
		_ = w.Close()
		s.guard = nil
		return fmt.Errorf("pgtest: guard: %w", err)
	}
	s.alive = w
	return nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// program is a program of Postgres, as its user.
func (s *Server) program(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "PG") }), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.creds, Setpgid: true}
	return cmd
}

// Start starts a server that does not run, and returns when it answers.
func (s *Server) Start() error {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	defer func() { _ = log.Close() }()
	s.cmd = s.program(context.Background(), "postgres", "-D", s.data(), "-p", strconv.Itoa(s.port))
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return fmt.Errorf("pgtest: %w", err)
	}
	done := make(chan struct{})
	s.done = done
	go func(cmd *exec.Cmd) { // ends with the server
		defer close(done)
		_ = cmd.Wait()
	}(s.cmd)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		// By its own directory: at the port somebody else's server may answer, who
		// has had it a moment earlier.
		ready := s.program(ctx, "pg_isready", "-q", "-h", s.dir, "-p", strconv.Itoa(s.port))
		if ready.Run() == nil {
			return nil
		}
		select {
		case <-done:
			s.cmd = nil
			return fmt.Errorf("pgtest: the server ended at once:\n%s", s.Log())
		case <-ctx.Done():
			return fmt.Errorf("pgtest: the server does not answer:\n%s", s.Log())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop stops the server: with what is under way cut off and nothing written
// (immediate), or with clients told and a checkpoint (fast).
func (s *Server) Stop(immediate bool) error {
	sig := syscall.SIGINT
	if immediate {
		sig = syscall.SIGQUIT
	}
	return s.end(func() error { return s.signal(sig) })
}

// Kill9 kills all processes of the server at once, as a machine's end does.
func (s *Server) Kill9() error {
	return s.end(func() error {
		// Stopped first, so that it does not start new ones meanwhile.
		if err := s.halt(); err != nil {
			return err
		}
		children := s.children()
		for _, pid := range children {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if err := s.signal(syscall.SIGKILL); err != nil {
			return err
		}
		// A new server is refused while one of them holds the shared memory.
		return until("a process of the server does not end", func() bool { return !slices.ContainsFunc(children, runs) })
	})
}

// halt stops the server's first process, and returns when that has happened: what
// it was doing until then may have been to start another one.
func (s *Server) halt() error {
	if err := s.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	return until("the server does not stop", func() bool { return strings.ContainsAny(state(s.PID()), "TZX") })
}

func until(or string, done func() bool) error {
	for deadline := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("pgtest: " + or)
		}
	}
	return nil
}

func (s *Server) end(how func() error) error {
	if s.cmd == nil {
		return nil
	}
	if err := how(); err != nil {
		return err
	}
	select {
	case <-s.done:
		s.cmd = nil
		return nil
	case <-time.After(patience):
		return fmt.Errorf("pgtest: the server does not end:\n%s", s.Log())
	}
}

// Freeze stops all processes of the server where they are: its connections
// stay open, and nothing answers.
func (s *Server) Freeze() error {
	if err := s.halt(); err != nil {
		return err
	}
	for _, pid := range s.children() {
		_ = syscall.Kill(pid, syscall.SIGSTOP) // it may just have ended
	}
	return nil
}

// Thaw ends a Freeze.
func (s *Server) Thaw() error {
	for _, pid := range s.children() {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	return s.signal(syscall.SIGCONT)
}

// signal signals the server's first process.
func (s *Server) signal(sig syscall.Signal) error {
	if s.cmd == nil {
		return errors.New("pgtest: the server does not run")
	}
	if err := s.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	return nil
}

// children are the server's other processes, one a connection among them.
func (s *Server) children() (pids []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.cmd.Process.Pid))
	for _, path := range lists {
		b, _ := os.ReadFile(path)
		for f := range bytes.FieldsSeq(b) {
			if n, err := strconv.Atoi(string(f)); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}

// runs tells whether a process is there, dead ones that nobody has waited for
// aside.
func runs(pid int) bool { return !strings.ContainsAny(state(pid), "ZX") }

// state is the letter that Linux has for what a process does, such as T if it is
// stopped; X also if there is none.
func state(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, fields, found := strings.Cut(string(b), ") ")
	if err != nil || !found {
		return "X"
	}
	return fields[:1]
}

// Close stops the server if it runs, and has the guard remove its files.
func (s *Server) Close() error {
	err := s.end(func() error {
		_ = s.Thaw() // it may be frozen
		return s.signal(syscall.SIGQUIT)
	})
	if s.alive != nil {
		err = errors.Join(err, s.alive.Close(), s.guard.Wait())
		s.alive = nil
	}
	if _, statErr := os.Stat(s.dir); statErr == nil && s.dir != "" {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}

// PID is the process id of the server's first process, the parent of the
// others. The server must run.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Addr is where the server listens: 127.0.0.1 and a port.
func (s *Server) Addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// URL names a database of the server for its superuser.
func (s *Server) URL(database string) string {
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Host: s.Addr(), Path: database, RawQuery: "sslmode=disable"}
	return u.String()
}

// Database makes a fresh database and gives its URL. It stays until the server
// ends.
func (s *Server) Database(tb testing.TB) string {
	tb.Helper()
	name := fmt.Sprintf("t%d", s.dbs.Add(1))
	s.SQL(tb, "create database "+name)
	return s.URL(name)
}

// SQL runs a statement as the superuser, in the database "postgres", and gives
// its output: values alone, with | between columns.
func (s *Server) SQL(tb testing.TB, sql string) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	psql := s.program(ctx, "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", s.URL("postgres"), "-c", sql)
	out, err := psql.CombinedOutput()
	if err != nil {
		tb.Fatalf("pgtest: %s: %v\n%s", sql, err, out)
	}
	return strings.TrimSpace(string(out))
}

// Log gives the end of what the server has logged.
func (s *Server) Log() string {
	b, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	const most = 4000
	return string(b[max(0, len(b)-most):])
}
