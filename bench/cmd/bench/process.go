package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/gohub/gohub/bench/internal/result"
)

// build compiles a package of this module into dir and returns the program.
func build(ctx context.Context, dir, pkg string) (string, error) {
	out := filepath.Join(dir, filepath.Base(pkg))
	cmd := exec.CommandContext(ctx, "go", "build", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "GOWORK=off") // this module has its own replace
	if b, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, b)
	}
	return out, nil
}

// job is one process of the server and what it listens on.
type job struct {
	cmd         *exec.Cmd
	addr, debug string
	stderr      *bytes.Buffer
}

// startServer returns once the server answers. Whoever calls it stops the job.
func startServer(ctx context.Context, argv []string, procs int, at place) (*job, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	j := &job{addr: ports[0], debug: ports[1], stderr: new(bytes.Buffer)}
	argv = at.of(append(argv[:len(argv):len(argv)], "-addr", j.addr, "-debug", j.debug))
	j.cmd = exec.CommandContext(ctx, argv[0], argv[1:]...)
	j.cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(procs))
	j.cmd.Stderr = j.stderr
	dieWithParent(j.cmd)
	if err := j.cmd.Start(); err != nil {
		return nil, err
	}
	for range 100 {
		if j.answers(ctx) {
			return j, nil
		}
		select {
		case <-ctx.Done():
			j.stop()
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	j.stop()
	return nil, fmt.Errorf("%s does not answer after 10 s: %s", argv[0], j.stderr)
}

func (j *job) answers(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+j.debug+"/debug/cpu", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", j.addr)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// stop ends this process, by its id, and waits for it.
func (j *job) stop() {
	_ = j.cmd.Process.Kill()
	_ = j.cmd.Wait() // "signal: killed"
}

// load plays a scenario against a server and returns what it said.
func load(ctx context.Context, program string, args []string, at place) (r result.Run, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute) // its own limit is below
	defer cancel()
	argv := at.of(append([]string{program}, args...))
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=2")
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	dieWithParent(cmd)
	runErr := cmd.Run()
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return r, errors.Join(runErr, fmt.Errorf("load said %.200q, %.500s", out.String(), stderr.String()))
	}
	if r.Error != "" {
		return r, errors.New(r.Error)
	}
	return r, runErr
}

// dieWithParent ends a child with the runner even if that is killed. The
// kernel means the thread that started it: main stays on its own.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// A place says how the kernel is to run a command: through nice(1) and
// taskset(1), which then are that command.
type place struct {
	nice int
	cpu  string // the only ones to run on; empty: any
}

func (p place) of(argv []string) []string {
	if p.nice != 0 {
		argv = append([]string{"nice", "-n", strconv.Itoa(p.nice)}, argv...)
	}
	if p.cpu != "" {
		argv = append([]string{"taskset", "-c", p.cpu}, argv...)
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
