// Package process builds and runs the programs that a measurement consists of.
package process

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Build compiles a package of this module into dir and returns the program.
func Build(ctx context.Context, dir, pkg string) (string, error) {
	out := filepath.Join(dir, filepath.Base(pkg))
	cmd := exec.CommandContext(ctx, "go", "build", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "GOWORK=off") // this module has its own replace
	if b, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, b)
	}
	return out, nil
}

// Packages installs what a directory's package-lock.json names, unless that has
// been done. Nothing that the packages bring is run.
func Packages(ctx context.Context, dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json")); err == nil {
		return nil // npm writes it last
	}
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if b, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci in %s: %w\n%s", dir, err, b)
	}
	return nil
}

// A Server is one process of a server and what it listens on.
type Server struct {
	Addr, Debug string
	cmd         *exec.Cmd
	stderr      *bytes.Buffer
	ended       chan struct{}
}

// Start returns once the server answers. argv is the program and its
// arguments but for -addr and -debug. Whoever calls it stops the server.
func Start(ctx context.Context, argv []string, procs int, at Place) (*Server, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	s := &Server{Addr: ports[0], Debug: ports[1], stderr: new(bytes.Buffer), ended: make(chan struct{})}
	argv = at.Of(append(argv[:len(argv):len(argv)], "-addr", s.Addr, "-debug", s.Debug))
	s.cmd = exec.CommandContext(ctx, argv[0], argv[1:]...)
	s.cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(procs))
	s.cmd.Stderr = s.stderr
	DieWithParent(s.cmd)
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the process
		_ = s.cmd.Wait() // "signal: killed", or stderr says it
		close(s.ended)
	}()
	for waited, pause := time.Duration(0), 10*time.Millisecond; waited < 2*time.Minute; waited += pause { // it may have to fill its store first
		if s.answers(ctx) {
			return s, nil
		}
		select {
		case <-ctx.Done():
			s.Stop()
			return nil, ctx.Err()
		case <-s.ended: // another took its port meanwhile, or it does not know an argument
			return nil, fmt.Errorf("%s ended: %s", argv[0], s.stderr)
		case <-time.After(pause):
		}
		pause = min(2*pause, 100*time.Millisecond)
	}
	s.Stop()
	return nil, fmt.Errorf("%s does not answer after 2 minutes: %s", argv[0], s.stderr)
}

func (s *Server) answers(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Debug+"/debug/cpu", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", s.Addr)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// Stop ends this process, by its id, waits for it, and returns what it has
// written to standard error.
func (s *Server) Stop() string {
	_ = s.cmd.Process.Kill()
	<-s.ended
	return s.stderr.String()
}

// DieWithParent ends a child with its parent even if that is killed. The
// kernel means the thread that started it: a main that calls this stays on
// its own (runtime.LockOSThread).
func DieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// A Place says how the kernel is to run a command: through nice(1) and
// taskset(1), which then are that command.
type Place struct {
	Nice int
	Idle bool   // only when nobody else wants the processor: SCHED_IDLE, by chrt(1)
	CPU  string // the only ones to run on; empty: any
}

// Of is argv run in that place.
func (p Place) Of(argv []string) []string {
	if p.Idle {
		argv = append([]string{"chrt", "--idle", "0"}, argv...)
	}
	if p.Nice != 0 {
		argv = append([]string{"nice", "-n", strconv.Itoa(p.Nice)}, argv...)
	}
	if p.CPU != "" {
		argv = append([]string{"taskset", "-c", p.CPU}, argv...)
	}
	return argv
}

// freePorts returns loopback addresses that nobody listened on a moment ago.
func freePorts(n int) (addrs []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // all at once at the end, so that they differ
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}
