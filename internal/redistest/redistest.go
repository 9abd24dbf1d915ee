//go:build unix

// Package redistest runs a real Redis for tests: a private server in a
// temporary directory on a free loopback port, which evicts nothing and writes
// nothing to disk unless asked. Only test files may import it, and programs
// that measure.
//
// [New] gives a server to one test. A guard process ends the server and removes
// its files even if who started it is killed.
package redistest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gohub/gohub/internal/freeport"
)

// patience is how long starting and stopping may take on a loaded machine.
const patience = 30 * time.Second

// A Server is a Redis of its own. Its methods are for one goroutine at a time,
// but for Addr and Do.
type Server struct {
	dir      string
	port     int
	bus      int // the port at which a Redis Cluster's servers talk; 0: it is in none
	settings []string
	cmd      *exec.Cmd     // nil: it does not run
	done     chan struct{} // closed when cmd has ended
	guard    *exec.Cmd
	alive    *os.File // the guard ends everything when this is closed
}

// ErrAbsent is what Launch gives where there is no Redis to run.
var ErrAbsent = errors.New("redistest: no redis-server on this machine")

// New gives a server to t alone, until its end. settings are as in redis.conf:
// "maxmemory 5mb", "appendonly yes". Without Redis on this machine it skips t,
// or fails it if GOHUB_REQUIRE_SERVICES=1.
func New(tb testing.TB, settings ...string) *Server {
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
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// Replica gives t a server that copies s.
func (s *Server) Replica(tb testing.TB) *Server {
	tb.Helper()
	return New(tb, fmt.Sprintf("replicaof 127.0.0.1 %d", s.port), "repl-diskless-sync-delay 0")
}

// Sentinel gives t a Redis Sentinel that watches s, under the name "hub", and
// its replicas. It alone decides that s is down, after half a second.
func (s *Server) Sentinel(tb testing.TB) *Server {
	tb.Helper()
	return New(tb, sentinel, fmt.Sprintf("sentinel monitor hub 127.0.0.1 %d 1", s.port),
		"sentinel down-after-milliseconds hub 500", "sentinel failover-timeout hub 3000")
}

// sentinel is the setting that makes a server one; Redis has none for it.
const sentinel = "# sentinel"

// Launch starts a server, for whoever calls it to close. settings are as New's.
func Launch(settings ...string) (*Server, error) {
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, ErrAbsent
	}
	dir, err := os.MkdirTemp("", "gohub-redis")
	if err != nil {
		return nil, fmt.Errorf("redistest: %w", err)
	}
	s := &Server{dir: dir, settings: append([]string{bin}, settings...)}
	err = s.watch()
	for tries := 0; err == nil; tries++ {
		s.port, err = freeport.Pick()
		if err == nil && slices.Contains(settings, clusterEnabled) {
			s.bus, err = freeport.Pick()
		}
		if err == nil {
			err = s.Start()
		}
		if err == nil {
			return s, nil
		}
		if tries < 3 && strings.Contains(s.Log(), "Address already in use") {
			err = nil // somebody was faster
		}
	}
	return nil, errors.Join(err, s.Close())
}

// watch starts the guard. It waits until the pipe that we hold is closed, by
// us or by our end, and leaves nothing behind.
func (s *Server) watch() error {
	const script = `trap : INT TERM HUP
read -r _
pid=$(cat "$1/pid" 2>/dev/null) || pid=
if [ -n "$pid" ] && [ "/proc/$pid/cwd" -ef "$1" ]; then
	kill -KILL "$pid" 2>/dev/null
	while kill -0 "$pid" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$pid/status"; do sleep 0.1; done
fi
for _ in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$1" && break; sleep 1; done`
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("redistest: %w", err)
	}
	s.guard = exec.CommandContext(context.Background(), "/bin/sh", "-c", script, "redistest-guard", s.dir)
	s.guard.Stdin = r
	s.guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is not for it
	err = s.guard.Start()
	_ = r.Close()
	if err != nil {
		_ = w.Close()
		s.guard = nil
		return fmt.Errorf("redistest: guard: %w", err)
	}
	s.alive = w
	return nil
}

// Start starts a server that does not run, and returns when it answers.
func (s *Server) Start() error {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("redistest: %w", err)
	}
	defer func() { _ = log.Close() }()
	conf := []string{"bind 127.0.0.1", "port " + strconv.Itoa(s.port), "dir " + s.dir, "daemonize no"}
	var args []string
	if slices.Contains(s.settings, sentinel) {
		args = []string{"--sentinel"}
	} else {
		conf = append(conf, "save \"\"", "appendonly no", "maxmemory-policy noeviction")
	}
	conf = append(conf, s.settings[1:]...)
	if s.bus != 0 {
		conf = append(conf, "cluster-port "+strconv.Itoa(s.bus))
	}
	path := filepath.Join(s.dir, "redis.conf")
	if err := os.WriteFile(path, []byte(strings.Join(conf, "\n")+"\n"), 0o600); err != nil {
		return fmt.Errorf("redistest: %w", err)
	}
	s.cmd = exec.CommandContext(context.Background(), s.settings[0], append([]string{path}, args...)...)
	s.cmd.Dir = s.dir
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return fmt.Errorf("redistest: %w", err)
	}
	done := make(chan struct{})
	s.done = done
	go func(cmd *exec.Cmd) { // ends with the server
		defer close(done)
		_ = cmd.Wait()
	}(s.cmd)
	if err := os.WriteFile(filepath.Join(s.dir, "pid"), []byte(strconv.Itoa(s.PID())), 0o600); err != nil {
		return fmt.Errorf("redistest: %w", err)
	}
	for deadline := time.Now().Add(patience); ; {
		if answer, err := s.Do("PING"); err == nil && answer == "+PONG" && s.isIt() {
			return nil
		}
		select {
		case <-done:
			s.cmd = nil
			return fmt.Errorf("redistest: the server ended at once:\n%s", s.Log())
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("redistest: the server does not answer:\n%s", s.Log())
		}
	}
}

// isIt reports whether it is this server that answers, and not somebody else's who
// has had the port a moment earlier.
func (s *Server) isIt() bool {
	info, err := s.Text("INFO", "server")
	return err == nil && strings.Contains(info, fmt.Sprintf("process_id:%d\r\n", s.PID()))
}

// Kill9 kills the server, as a machine's end does.
func (s *Server) Kill9() error {
	if s.cmd == nil {
		return nil
	}
	if err := s.signal(syscall.SIGKILL); err != nil {
		return err
	}
	select {
	case <-s.done:
		s.cmd = nil
		return nil
	case <-time.After(patience):
		return errors.New("redistest: the server does not end")
	}
}

// Restart kills the server and starts it again on the same port, empty unless
// its settings have it write to disk.
func (s *Server) Restart() error {
	if err := s.Kill9(); err != nil {
		return err
	}
	return s.Start()
}

// Freeze stops the server where it is: its connections stay open, and nothing
// answers. It returns when that has happened, where the system shows it (Linux).
func (s *Server) Freeze() error {
	if err := s.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); !s.isStopped(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("redistest: the server does not stop")
		}
	}
	return nil
}

func (s *Server) isStopped() bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.PID()))
	_, fields, _ := strings.Cut(string(b), ") ")
	return err != nil || strings.HasPrefix(fields, "T")
}

// Thaw ends a Freeze.
func (s *Server) Thaw() error { return s.signal(syscall.SIGCONT) }

// FlushAll makes the server forget all keys.
func (s *Server) FlushAll() error {
	_, err := s.Do("FLUSHALL")
	return err
}

func (s *Server) signal(sig syscall.Signal) error {
	if s.cmd == nil {
		return errors.New("redistest: the server does not run")
	}
	if err := s.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("redistest: %w", err)
	}
	return nil
}

// Do sends one command of plain words on a connection of its own, and gives
// the first line of the answer with its mark: "+OK", ":1", "$5".
func (s *Server) Do(words ...string) (string, error) {
	line, _, err := s.ask(words)
	return line, err
}

// Text is Do for a command that answers with a text, as INFO does.
func (s *Server) Text(words ...string) (string, error) {
	_, texts, err := s.ask(words)
	return strings.Join(texts, ""), err
}

// list is Do for a command that answers with texts.
func (s *Server) list(words ...string) ([]string, error) {
	_, texts, err := s.ask(words)
	return texts, err
}

// ask gives the first line of the answer and, if that is a text or a list of
// texts, those.
func (s *Server) ask(words []string) (line string, texts []string, err error) {
	conn, err := (&net.Dialer{Timeout: patience / 3}).DialContext(context.Background(), "tcp", s.Addr())
	if err != nil {
		return "", nil, fmt.Errorf("redistest: %w", err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience / 3))
	if _, err := fmt.Fprintf(conn, "%s\r\n", strings.Join(words, " ")); err != nil {
		return "", nil, fmt.Errorf("redistest: %w", err)
	}
	r := bufio.NewReader(conn)
	line, err = r.ReadString('\n')
	if err != nil {
		return "", nil, fmt.Errorf("redistest: %w", err)
	}
	line = strings.TrimSpace(line)
	if strings.HasPrefix(line, "-") {
		return "", nil, fmt.Errorf("redistest: %s: %s", strings.Join(words, " "), line)
	}
	count, next := 1, line
	if strings.HasPrefix(line, "*") {
		count, _ = strconv.Atoi(line[1:])
		next = ""
	}
	for range count {
		if next == "" {
			if next, err = r.ReadString('\n'); err != nil {
				return "", nil, fmt.Errorf("redistest: %w", err)
			}
			next = strings.TrimSpace(next)
		}
		if !strings.HasPrefix(next, "$") {
			break // numbers, or lists in the list: nobody asks for those
		}
		size, err := strconv.Atoi(next[1:])
		if err != nil || size < 0 {
			break
		}
		b := make([]byte, size+len("\r\n"))
		if _, err := io.ReadFull(r, b); err != nil {
			return "", nil, fmt.Errorf("redistest: %w", err)
		}
		texts, next = append(texts, string(b[:size])), ""
	}
	return line, texts, nil
}

// Close ends the server and has the guard remove its files.
func (s *Server) Close() error {
	var err error
	if s.cmd != nil {
		_ = s.Thaw() // it may be frozen
		err = s.Kill9()
	}
	if s.alive != nil {
		err = errors.Join(err, s.alive.Close(), s.guard.Wait())
		s.alive = nil
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// PID is the server's process id. It must run.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Addr is where the server listens: 127.0.0.1 and a port.
func (s *Server) Addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// Log gives the end of what the server has logged.
func (s *Server) Log() string {
	b, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	const most = 4000
	return string(b[max(0, len(b)-most):])
}
