//go:build unix

// Command localcluster runs several nodes of examples/chat on this machine, with
// a Redis and a Postgres of their own, until it is interrupted. Nothing stays.
//
//	make cluster
package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gohub/gohub/internal/freeport"
	"github.com/gohub/gohub/internal/pgtest"
	"github.com/gohub/gohub/internal/redistest"
)

func main() {
	nodes := flag.Int("nodes", 3, "how many")
	port := flag.Int("port", 8081, "of the first, on 127.0.0.1; 0: free ones")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second one ends this as it would any program
	if err := run(ctx, *nodes, *port, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "localcluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, nodes, port int, out io.Writer) (err error) {
	if nodes < 1 || nodes > 20 || port < 0 || port+nodes > 65536 {
		return errors.New("-nodes is 1 to 20, and their ports end at 65535")
	}
	dir, err := os.MkdirTemp("", "gohub-cluster")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	chat := filepath.Join(dir, "chat")
	//nolint:gosec // the output's name is ours
	if b, err := exec.CommandContext(ctx, "go", "build", "-o", chat, "github.com/gohub/gohub/examples/chat").CombinedOutput(); err != nil {
		return fmt.Errorf("build examples/chat: %w\n%s", err, b)
	}
	pg, err := pgtest.Launch() //nolint:contextcheck // it ends with Close, when the nodes have
	if err != nil {
		return fmt.Errorf("%w: see `make needs`", err)
	}
	defer func() { err = errors.Join(err, pg.Close()) }()
	redis, err := redistest.Launch() //nolint:contextcheck // the same
	if err != nil {
		return fmt.Errorf("%w: see `make needs`", err)
	}
	defer func() { err = errors.Join(err, redis.Close()) }()

	// Whatever ends first ends all; a node that was killed to see what happens
	// does not.
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	said := &lines{out: out}
	addrs, origins := make([]string, nodes), make([]string, nodes)
	for i := range addrs {
		if addrs[i], err = address(port, i); err != nil { //nolint:contextcheck // it opens a port and closes it
			return err
		}
		origins[i] = "http://" + addrs[i]
	}
	for i, addr := range addrs {
		//nolint:gosec // what we have built
		cmd := exec.CommandContext(ctx, chat, "-addr", addr, "-node", fmt.Sprintf("node-%d", i+1), "-advertise", "ws://"+addr+"/ws",
			"-origins", strings.Join(origins, ","), // the page of one is sent to another
			"-postgres", pg.URL("postgres"), "-redis", "redis://"+redis.Addr())
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it drains
		cmd.WaitDelay = 30 * time.Second
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is for us: a second signal would end it at once
		name := fmt.Sprintf("node-%d", i+1)
		r, w := io.Pipe()
		cmd.Stdout, cmd.Stderr = w, w
		if err := cmd.Start(); err != nil {
			return err
		}
		said.say(name, "http://"+addr+"/, process "+strconv.Itoa(cmd.Process.Pid))
		wg.Go(func() { // ends with the process
			defer w.Close()
			if err := cmd.Wait(); ctx.Err() == nil {
				said.say(name, fmt.Sprintf("has ended: %v. Another one in its place, from the project's directory:\n  go run ./examples/chat %s", cmp.Or(err, errors.New("by itself")), quoted(cmd.Args[1:])))
			} else if cmd.ProcessState != nil && !cmd.ProcessState.Success() {
				said.say(name, "has ended: "+cmd.ProcessState.String())
			}
		})
		wg.Go(func() { // the same
			for s := bufio.NewScanner(r); s.Scan(); {
				said.say(name, s.Text())
			}
			_, _ = io.Copy(io.Discard, r) // behind a line that is too long
		})
	}
	said.say("cluster", "Log in on one page and talk from another. `kill -9` a process, or stop everything with Ctrl-C.")
	<-ctx.Done()
	return nil
}

// quoted writes arguments for a shell; none of ours has a quote in it.
func quoted(args []string) string { return "'" + strings.Join(args, "' '") + "'" }

// address is that of the i-th node.
func address(port, i int) (string, error) {
	if port > 0 {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(port+i)), nil
	}
	free, err := freeport.Pick()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(free)), err
}

// lines writes whole lines of several processes.
type lines struct {
	mu  sync.Mutex
	out io.Writer
}

func (l *lines) say(who, what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = fmt.Fprintf(l.out, "%-8s %s\n", who, strings.TrimSpace(what))
}
