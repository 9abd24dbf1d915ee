// Command load plays a scenario against a server that speaks gohub.v1 and says
// on standard output, as JSON, what the server needed for it.
//
// One thread reads all sockets through epoll, counts frames by their headers
// and times a sample of them, so that the server is what is measured. The
// server's CPU and memory come from its own /debug endpoints.
//
//	load -addr 127.0.0.1:9001 -debug 127.0.0.1:9002 -scenario a2
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/gohub/gohub/bench/internal/result"
)

// options are what is not the scenario's.
type options struct {
	addr, debug string
	path        string
	name        string
	profile     string
	frame       int
	sources     int
	slowMax     time.Duration
	timeout     time.Duration
	ask         bool
	arrivals    bool
	fromSend    bool
	store       int
	redis       int
	nodes       []node // the other ones of a cluster
	tls         bool
	dialect     spoken
}

// A node is a server and its /debug endpoints.
type node struct{ addr, debug string }

func main() {
	o, s := parse()
	time.AfterFunc(o.timeout, func() { // whatever hangs
		fail(result.Run{Scenario: o.name}, fmt.Errorf("not done after %s", o.timeout))
	})
	debug.SetGCPercent(-1)        // what grows is bounded, and a collection would be timed as latency
	debug.SetMemoryLimit(4 << 30) // but for TLS, which leaves garbage
	runtime.LockOSThread()
	if err := sharpTimers(); err != nil {
		fail(result.Run{Scenario: o.name}, err)
	}

	r, err := play(o, s)
	if err != nil {
		fail(r, err)
	}
	if !o.ask {
		print(r)
	}
}

func parse() (options, scenario) {
	var o options
	flag.StringVar(&o.addr, "addr", "127.0.0.1:9001", "server, an IPv4 loopback address and port")
	flag.StringVar(&o.debug, "debug", "127.0.0.1:9002", "server's /debug endpoints")
	flag.StringVar(&o.path, "path", "/ws", "path of the WebSocket")
	flag.StringVar(&o.name, "scenario", "a2", strings.Join(slices.Sorted(maps.Keys(scenarios)), ", ")+": what the flags below start from")
	flag.StringVar(&o.profile, "profile", "", "file for a CPU profile of the server over the window")
	flag.IntVar(&o.frame, "frame", 0, "payload bytes of a message frame, told to a floor server (?frame=)")
	flag.IntVar(&o.sources, "sources", 1, "loopback addresses to connect from, 127.0.0.1 and up; one has 28,000 ports")
	flag.DurationVar(&o.slowMax, "slow-max", 90*time.Second, "e: how long the slow member may hang on")
	flag.DurationVar(&o.timeout, "timeout", 4*time.Minute, "give up after")
	flag.BoolVar(&o.tls, "tls", false, "connect with TLS")
	o.dialect = dialects["gohub"]
	flag.Func("dialect", strings.Join(slices.Sorted(maps.Keys(dialects)), ", ")+": what the server speaks", func(s string) (err error) {
		var ok bool
		if o.dialect, ok = dialects[s]; !ok {
			err = errors.New("no such dialect")
		}
		return err
	})
	flag.BoolVar(&o.ask, "ask", false, "open loop: go on until standard input ends, and answer each of its lines: window, stop")
	flag.BoolVar(&o.arrivals, "arrivals", false, "messages are timed until the kernel has them for their reader, and not until this process comes to read them")
	flag.BoolVar(&o.fromSend, "from-send", false, "open loop: latency counts from when a publish left, not from when it was due: where others on this processor keep this process from sending on time")
	flag.IntVar(&o.store, "store", 0, "process id of the database server, whose CPU is told, and which scenario stopped stops; 0: none")
	flag.IntVar(&o.redis, "redis", 0, "process id of the Redis, whose CPU is told; 0: none")
	flag.Func("node", "`address,debug` of another server of a cluster: the members of a room are spread over all", func(s string) error {
		addr, debug, ok := strings.Cut(s, ",")
		if !ok {
			return errors.New("want address,debug")
		}
		o.nodes = append(o.nodes, node{addr, debug})
		return nil
	})
	var f scenario
	flag.IntVar(&f.Rooms, "rooms", 0, "rooms")
	flag.IntVar(&f.Members, "members", 0, "connections in each room")
	flag.IntVar(&f.Senders, "senders", 0, "members of each room that publish")
	flag.IntVar(&f.InFlight, "inflight", 0, "closed loop: publishes of a sender on their way")
	flag.Float64Var(&f.Rate, "rate", 0, "open loop: publishes a second over all rooms; 0: closed loop")
	flag.IntVar(&f.Body, "body", 0, "bytes of a body")
	flag.IntVar(&f.Sample, "sample", 0, "connections whose messages are timed; -1: all")
	flag.IntVar(&f.Stalled, "stalled", 0, "members that stop reading")
	flag.IntVar(&f.AtOnce, "at-once", 0, "connections that are opened at a time")
	flag.IntVar(&f.Missed, "missed", 0, "messages in each room while everybody is away")
	flag.DurationVar(&f.Warm, "warm", 0, "traffic before the window")
	flag.DurationVar(&f.Window, "window", 0, "measured window")
	flag.Parse()

	s, ok := scenarios[o.name]
	if !ok {
		fail(result.Run{Scenario: o.name}, fmt.Errorf("no scenario %q", o.name))
	}
	if s.AtOnce == 0 {
		s.AtOnce = 16
	}
	flag.Visit(func(given *flag.Flag) {
		switch given.Name {
		case "rooms":
			s.Rooms = f.Rooms
		case "members":
			s.Members = f.Members
		case "senders":
			s.Senders = f.Senders
		case "inflight":
			s.InFlight = f.InFlight
		case "rate":
			s.Rate = f.Rate
		case "body":
			s.Body = f.Body
		case "sample":
			s.Sample = f.Sample
		case "stalled":
			s.Stalled = f.Stalled
		case "at-once":
			s.AtOnce = f.AtOnce
		case "missed":
			s.Missed = f.Missed
		case "warm":
			s.Warm = f.Warm
		case "window":
			s.Window = f.Window
		}
	})
	if o.arrivals && o.tls {
		fail(result.Run{Scenario: o.name}, errors.New("-arrivals: not with -tls, whose records are not read from the socket here"))
	}
	if err := s.check(); err != nil {
		fail(result.Run{Scenario: o.name}, err)
	}
	return o, s
}

// play runs one scenario from the first connection to the last message.
func play(o options, s scenario) (result.Run, error) {
	r := result.Run{Scenario: o.name, Cores: runtime.NumCPU()}
	if addr, err := netip.ParseAddrPort(o.addr); err != nil || !addr.Addr().IsLoopback() || !addr.Addr().Is4() {
		return r, fmt.Errorf("-addr %s: want an IPv4 loopback address and port", o.addr)
	}
	l, err := newLoop(o.dialect)
	if err != nil {
		return r, err
	}
	l.arrivals = o.arrivals
	b := &bench{options: o, scenario: s, loop: l, run: &r}
	b.nodes = append([]node{{o.addr, o.debug}}, o.nodes...)
	switch {
	case o.ask:
		err = b.asked()
	case s.Idle:
		err = b.idle()
	case s.Slow:
		err = b.slow()
	case s.Stalled > 0:
		err = b.stalled()
	case s.Storm:
		err = b.storm()
	case s.Missed > 0:
		err = b.comeBack()
	case s.Half:
		err = b.durable()
	case s.Stop:
		err = b.stopped()
	case s.Replay:
		err = b.replay()
	default:
		err = b.traffic()
	}
	if l.lastError != "" {
		r.Notes = append(r.Notes, "last error or close frame: "+l.lastError)
	}
	return r, err
}

func print(r result.Run) {
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func fail(r result.Run, err error) {
	r.Error = err.Error()
	print(r)
	fmt.Fprintln(os.Stderr, "load:", err)
	os.Exit(1)
}
