// Command attack does to a hub what the Internet does, and says what became of
// honest clients, of the server and of the attackers.
//
//	go run ./cmd/attack                              # everything, some minutes
//	go run ./cmd/attack -attack floods -seconds 10
//	go run ./cmd/attack -rounds 3 -o attacks.json    # medians
//
// For each attack it starts a server (cmd/gohubserver with the library's
// defaults), honest clients (cmd/load: 100 in 10 rooms, timed) and, in a
// process of their own and from addresses of their own, the attackers. They
// attack a neighbour of the server first: what honest clients feel of that is
// the machine's. It prints Markdown, and ends with status 1 when a stated
// bound is broken.
//
// Everything stays on loopback. Attackers are bounded in number and time, and
// end with this process.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/gohub/gohub/bench/internal/machine"
)

// settings are the flags.
type settings struct {
	attacks    []attack
	seconds    float64
	before     time.Duration
	idle       time.Duration
	rounds     int
	scale      float64
	pin        bool
	recommend  bool
	profile    string
	procs      int
	seed       uint64
	wire       string
	out        string
	retries    int
	noise      float64
	patience   time.Duration
	reportOnly bool

	// The attackers' process.
	role, addr string
}

func main() {
	runtime.LockOSThread() // see process.DieWithParent
	s, err := parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch {
	case err != nil:
	case s.role != "":
		err = play(ctx, s)
	default:
		err = run(ctx, s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "attack:", err)
		os.Exit(1)
	}
}

func parse() (s settings, err error) {
	var names string
	flag.StringVar(&names, "attack", "all", "which: names or groups, comma-separated; -list shows them")
	list := flag.Bool("list", false, "list the attacks")
	flag.Float64Var(&s.seconds, "seconds", 6, "how long an attack lasts; some need longer and take it")
	flag.DurationVar(&s.before, "before", 4*time.Second, "how long honest clients are timed before it")
	flag.DurationVar(&s.idle, "idle", 5*time.Second, "how long the server's CPU is looked at after it, with all traffic stopped")
	flag.IntVar(&s.rounds, "rounds", 1, "rounds; figures are then medians")
	flag.Float64Var(&s.scale, "scale", 1, "times the numbers of attackers and their pace")
	flag.BoolVar(&s.pin, "pin", runtime.NumCPU() > 1, "processor 0 is the server's alone; 1 is the honest clients', and what they leave of it the attackers': as if those were on other machines")
	flag.BoolVar(&s.recommend, "recommended", false, "a server as docs/limits.md recommends it: 50 connections and 5 handshakes a second for each address, headers of 16 KiB")
	flag.StringVar(&s.profile, "profile", "", "directory for CPU profiles of the server under each attack")
	flag.IntVar(&s.procs, "gomaxprocs", runtime.NumCPU(), "of the server")
	flag.Uint64Var(&s.seed, "seed", 1, "of what is random")
	flag.StringVar(&s.wire, "wire", "../testdata/wire/client.json", "frames to mutate")
	flag.StringVar(&s.out, "o", "", "file for all results as JSON")
	flag.IntVar(&s.retries, "retries", 1, "times a noisy run is repeated")
	flag.Float64Var(&s.noise, "noise", 0.10, "share of the machine's CPU that others may use during an attack")
	flag.DurationVar(&s.patience, "patience", 10*time.Second, "wait before each attack for the machine to fall quiet, at most")
	flag.BoolVar(&s.reportOnly, "report-only", false, "a broken bound is reported and is no failure")
	flag.StringVar(&s.role, "role", "", "internal: be the attackers of this name")
	flag.StringVar(&s.addr, "addr", "", "internal: of this server")
	flag.Parse()
	if *list {
		for _, a := range attacks {
			fmt.Printf("%-10s %-14s %s\n", a.group, a.name, a.title)
		}
		os.Exit(0)
	}
	if s.attacks, err = pick(names); err != nil {
		return s, err
	}
	if s.pin {
		if runtime.NumCPU() < 2 {
			return s, errors.New("-pin needs two processors")
		}
		s.procs = 1
	}
	if s.seconds < 1 || s.seconds > 300 || s.scale <= 0 || s.scale > 4 || s.rounds < 1 {
		return s, errors.New("-seconds is 1 to 300, -scale above 0 up to 4, -rounds at least 1")
	}
	return s, nil
}

// run plays every attack in every round: A B C A B C.
func run(ctx context.Context, s settings) error {
	dir, err := os.MkdirTemp("", "gohub-attack-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	r, err := newRunner(ctx, s, dir)
	if err != nil {
		return err
	}
	rows := map[string][]row{}
	for round := range s.rounds {
		for _, a := range s.attacks {
			x, err := r.quiet(ctx, a)
			if err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
			rows[a.name] = append(rows[a.name], x)
			fmt.Fprintf(os.Stderr, "round %d: %s\n", round+1, x.line())
		}
	}
	fmt.Print(report(s, rows))
	if s.out != "" {
		if err := save(s.out, rows); err != nil {
			return err
		}
	}
	if broken := brokenBounds(s, rows); len(broken) > 0 {
		fmt.Printf("\nBroken bounds:\n\n- %s\n", strings.Join(broken, "\n- "))
		if !s.reportOnly {
			return fmt.Errorf("%d bounds broken", len(broken))
		}
	}
	return nil
}

func save(path string, rows map[string][]row) error {
	doc, err := json.MarshalIndent(struct {
		Machine machine.Description `json:"machine"`
		Attacks map[string][]row    `json:"attacks"`
	}{machine.Describe(), rows}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Clean(path), append(doc, '\n'), 0o644)
}
