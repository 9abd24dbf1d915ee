// Command bench runs gohub and the floors it is measured against side by
// side, each in a process of its own, in turns, and prints medians, spreads
// and ratios as Markdown.
//
//	go run ./cmd/bench                          # everything, 5 rounds, about an hour
//	go run ./cmd/bench -scenario a2,c -rounds 3
//	go run ./cmd/bench -quick                   # one short round
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gohub/gohub/bench/internal/machine"
	"github.com/gohub/gohub/bench/internal/process"
	"github.com/gohub/gohub/bench/internal/result"
)

// settings are the flags.
type settings struct {
	scenarios []string
	servers   []string // nil: as the plan says
	rounds    int
	retries   int
	noise     float64
	patience  time.Duration
	procs     int
	nice      int
	pin       bool
	profile   string
	out       string
	report    string
	account   string
	resume    bool
	anew      bool
	quick     bool
	within    time.Duration // 0: as long as it takes
	began     time.Time
	window    time.Duration
	warm      time.Duration
	loadArgs  []string
}

// record is one run in its place.
type record struct {
	Scenario string     `json:"scenario"`
	Server   string     `json:"server"`
	Round    int        `json:"round"`
	Of       int        `json:"of,omitempty"` // the how manieth invocation of document.Machines, from 1; 0: not said
	Attempts int        `json:"attempts"`     // more than one: others used too much CPU in the earlier ones
	Noise    float64    `json:"noise"`        // share of the machine that others used
	Noisy    bool       `json:"noisy"`        // above the limit in every attempt; the quietest is kept
	Error    string     `json:"error,omitempty"`
	Failed   []string   `json:"failed,omitempty"` // what earlier attempts failed with
	Run      result.Run `json:"run"`
}

func main() {
	runtime.LockOSThread() // see process.DieWithParent
	s := parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse() settings {
	s := settings{began: time.Now()}
	scenarios := flag.String("scenario", strings.Join(names(floorPlans), ","), "which, in order; \"peers\": "+strings.Join(names(peerPlans), ","))
	only := flag.String("servers", "", "only these, in order; default: each scenario's own")
	flag.IntVar(&s.rounds, "rounds", 5, "rounds of every server in turn")
	flag.BoolVar(&s.quick, "quick", false, "one short round: does it run at all")
	flag.IntVar(&s.retries, "retries", 3, "times a noisy run is repeated")
	flag.Float64Var(&s.noise, "noise", 0.10, "share of the machine's CPU that others may use in a window")
	flag.DurationVar(&s.patience, "patience", 20*time.Second, "wait before each run for the machine to fall quiet, at most")
	flag.IntVar(&s.nice, "nice", 0, "scheduling priority of server and load; below 0 needs root and hurts others")
	flag.IntVar(&s.procs, "gomaxprocs", runtime.NumCPU(), "of the server")
	flag.DurationVar(&s.within, "within", 0, "begin no round that would not be over so long after the start; 0: as long as it takes")
	flag.BoolVar(&s.pin, "pin", false, "server on processor 0 and load on 1: else they may get in each other's way on one while the other idles")
	flag.Func("program", "`name=path` of another build of gohubserver, to be named in -servers", func(v string) error {
		name, path, ok := strings.Cut(v, "=")
		if !ok || name == "" || path == "" {
			return errors.New("want name=path")
		}
		servers = append(servers, server{name: name, cmd: []string{path}})
		return nil
	})
	flag.StringVar(&s.profile, "profile", "", "directory for CPU profiles of the servers and flame graphs of them; costs them about 1 %")
	flag.StringVar(&s.account, "account", "", "directory for an account of how far gohub is from the floor and why, a table and flame graphs; nothing else is run, and the profiles are kept only where -profile says")
	flag.StringVar(&s.out, "o", "", "file for all results as JSON; rounds that are in it already are kept, and these come after them")
	flag.BoolVar(&s.resume, "resume", false, "the rounds in -o count among -rounds: the same command goes on where it was stopped, with the same build of gohub")
	flag.BoolVar(&s.anew, "anew", false, "the rounds in -o of the scenarios that are run are dropped first")
	flag.StringVar(&s.report, "report", "", "directory for tables and charts of what is in the file -o; with -scenario \"\" nothing is run first")
	flag.DurationVar(&s.window, "window", 0, "measured window; default: the scenario's")
	flag.DurationVar(&s.warm, "warm", 0, "traffic before it; default: the scenario's")
	flag.Usage = func() {
		_, _ = fmt.Fprintln(flag.CommandLine.Output(), "bench [flags] [-- flags for cmd/load]")
		flag.PrintDefaults()
	}
	flag.Parse()
	s.loadArgs = flag.Args()
	for name := range strings.SplitSeq(*scenarios, ",") {
		switch name {
		case "":
		case "peers":
			s.scenarios = append(s.scenarios, names(peerPlans)...)
		default:
			s.scenarios = append(s.scenarios, name)
		}
	}
	if *only != "" {
		s.servers = strings.Split(*only, ",")
	}
	if s.account != "" {
		s.scenarios = nil
		for _, a := range accounts {
			s.scenarios = append(s.scenarios, a.plan)
		}
	}
	if s.quick {
		s.rounds, s.retries, s.patience, s.window, s.warm = 1, 0, 0, 2*time.Second, time.Second
	}
	return s
}

func run(ctx context.Context, s settings) error {
	dir, err := os.MkdirTemp("", "gohub-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if s.account != "" && s.profile == "" {
		s.profile = filepath.Join(dir, "profiles")
	}
	b := &runner{settings: s, dir: dir, programs: map[string]string{}, here: machine.Describe()}
	b.here.Quick = s.quick
	var ran []record // of this invocation: there are profiles of these
	if err := b.restore(); err != nil {
		return err
	}
	for _, name := range s.scenarios {
		p, ok := planByName(name)
		if !ok {
			return fmt.Errorf("no scenario %q", name)
		}
		if i := slices.IndexFunc(accounts, func(a accounted) bool { return a.plan == name }); s.account != "" && i >= 0 {
			p = accounts[i].of()
		}
		if s.servers != nil {
			p.servers = s.servers
		}
		if len(s.loadArgs) > 0 {
			p.title += " — changed by " + strings.Join(s.loadArgs, " ")
		}
		if err := errors.Join(b.fits(p), b.prepare(ctx, p)); err != nil {
			return err
		}
		records, err := b.scenario(ctx, p)
		ran = append(ran, records...)
		if len(records) > 0 {
			fmt.Print(table(p, records))
		}
		if err != nil {
			return err
		}
	}
	if s.account != "" {
		return account(ctx, s.account, s.profile, ran)
	}
	if s.report != "" {
		return report(s.report, b.document)
	}
	return nil
}

func names(of []plan) (out []string) {
	for _, p := range of {
		if !p.heavy {
			out = append(out, p.name)
		}
	}
	return out
}

// runner keeps what the scenarios share.
type runner struct {
	settings
	dir      string
	programs map[string]string // package to built program
	document
	here      machine.Description // this invocation
	described bool                // it is in document
}

// document is what -o holds.
type document struct {
	Machines []machine.Description `json:"machines"` // of each invocation
	Records  []record              `json:"records"`
}

// restore reads what -o holds already.
func (b *runner) restore() error {
	if b.out == "" {
		return nil
	}
	doc, err := os.ReadFile(b.out)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(doc, &b.document)
	}
	if err != nil {
		return fmt.Errorf("-o %s: %w", b.out, err)
	}
	return nil
}

// fits drops a scenario's rounds in -o, where that is asked for; else those that come now
// must be of the same commit, and as long, to be in one median with them.
func (b *runner) fits(p plan) error {
	if b.anew {
		b.Records = slices.DeleteFunc(b.Records, func(r record) bool { return r.Scenario == p.name })
		return nil
	}
	for _, r := range of(b.Records, p.name) {
		if r.Of == 0 {
			continue
		}
		if m := b.Machines[r.Of-1]; m.Commit != b.here.Commit || m.Quick != b.quick {
			return fmt.Errorf("-o %s: its rounds of %s are of commit %s (quick: %t) and not of %s (quick: %t): name another file, or drop them with -anew",
				b.out, p.name, m.Commit, m.Quick, b.here.Commit, b.quick)
		}
	}
	return nil
}

// prepare builds what a plan needs and has not been built yet.
func (b *runner) prepare(ctx context.Context, p plan) error {
	need := []string{"./cmd/load"}
	for _, name := range p.servers {
		s, ok := serverByName(name)
		if !ok {
			return fmt.Errorf("no server %q", name)
		}
		need = append(need, s.pkg)
		if s.npm != "" && b.programs[s.npm] == "" {
			if err := process.Packages(ctx, s.npm); err != nil {
				return err
			}
			b.programs[s.npm] = "installed"
		}
	}
	for _, pkg := range need {
		if pkg == "" || b.programs[pkg] != "" {
			continue
		}
		program, err := process.Build(ctx, b.dir, pkg)
		if err != nil {
			return err
		}
		b.programs[pkg] = program
	}
	return nil
}

// scenario runs the servers in turns: A B C, B C A, C A B. A round that is cut short is
// left out.
func (b *runner) scenario(ctx context.Context, p plan) (records []record, err error) {
	frame, first := 0, 0 // of the plan's first server, for the floors to copy; the round
	for _, r := range b.Records {
		if r.Scenario == p.name {
			first = max(first, r.Round+1)
		}
	}
	longest := time.Duration(len(p.servers)) * 6 * time.Second // of a round: a guess until there was one
	last := first + b.rounds
	if b.resume {
		last = b.rounds
	}
	for round := first; round < last; round++ {
		began := time.Now()
		if b.within > 0 && began.Add(longest).After(b.began.Add(b.within)) {
			fmt.Fprintf(os.Stderr, "%s: %d rounds, no time for more\n", p.name, round-first)
			break
		}
		b.describe()
		var turn []record
		for i := range p.servers {
			name := p.servers[(i+round-first)%len(p.servers)] // nobody always comes after the same one
			r := b.quiet(ctx, p, name, round, frame)
			if frame == 0 && name == p.servers[0] {
				frame = r.Run.FrameBytes
			}
			if err := ctx.Err(); err != nil {
				return records, err
			}
			r.Of = len(b.Machines)
			turn = append(turn, r)
		}
		records, b.Records = append(records, turn...), append(b.Records, turn...)
		if err := b.save(); err != nil {
			return records, err
		}
		longest = max(longest, time.Since(began))
	}
	return records, nil
}

// describe notes when and with what this invocation began.
func (b *runner) describe() {
	if !b.described {
		b.described = true
		b.Machines = append(b.Machines, b.here)
	}
}

// quiet repeats a run that others disturbed and keeps the quietest.
func (b *runner) quiet(ctx context.Context, p plan, name string, round, frame int) record {
	var best record
	var failed []string
	for attempt := range b.retries + 1 {
		r := record{Scenario: p.name, Server: name, Round: round}
		began := time.Now()
		machine.AwaitQuiet(ctx, b.patience, b.noise)
		profile := ""
		if b.profile != "" {
			profile = profileOf(b.profile, p.name, name, round)
		}
		run, err := b.once(ctx, p, name, profile+fresh, frame)
		r.Run = run
		if err != nil {
			r.Error = err.Error()
			failed = append(failed, r.Error)
		}
		if run.Seconds > 0 {
			r.Noise = run.OtherCPU / (max(run.Seconds, run.Elapsed) * float64(max(run.Cores, 1)))
		}
		if s := run.Slow; s != nil && s.Seconds > 0 {
			r.Noise = max(r.Noise, s.OtherCPU/(s.Seconds*float64(max(run.Cores, 1))))
		}
		if s := run.Stalled; s != nil && s.Seconds > 0 {
			r.Noise = max(r.Noise, s.OtherCPU/(s.Seconds*float64(max(run.Cores, 1))))
		}
		if s := run.Stopped; s != nil && s.Seconds > 0 {
			r.Noise = max(r.Noise, s.OtherCPU/(s.Seconds*float64(max(run.Cores, 1))))
		}
		r.Noisy = r.Noise > b.noise
		fmt.Fprintf(os.Stderr, "%s %-17s round %d, %.1f s: %s\n", p.name, name, round+1, time.Since(began).Seconds(), line(p, r))
		if attempt == 0 || best.Error != "" || r.Error == "" && r.Noise < best.Noise {
			best = r
			if profile != "" && r.Error == "" { // that of the run which counts
				if err := os.Rename(profile+fresh, profile); err != nil {
					fmt.Fprintln(os.Stderr, "bench: no profile:", err)
				} else if b.account == "" { // which draws all rounds as one
					if err := draw(ctx, profile); err != nil {
						fmt.Fprintln(os.Stderr, "bench: no flame graph:", err)
					}
				}
			}
		}
		if profile != "" {
			_ = os.Remove(profile + fresh) // if it has not got its name
		}
		best.Attempts, best.Failed = attempt+1, failed
		if best.Error == "" && !best.Noisy || ctx.Err() != nil {
			break
		}
	}
	return best
}

// fresh ends the name of a file that may not be whole, or of a profile whose run
// may not be the quietest.
const fresh = ".new"

// places are where a plan's server and load run.
func (b *runner) places(p plan) (server, client process.Place) {
	server.Nice, client.Nice = b.nice, b.nice
	if b.pin || p.pin {
		server.CPU, client.CPU = "0", "1"
	}
	return server, client
}

func (b *runner) once(ctx context.Context, p plan, name, profile string, frame int) (result.Run, error) {
	s, _ := serverByName(name) // prepare has checked
	argv := slices.Clone(s.cmd)
	if s.pkg != "" {
		argv = []string{b.programs[s.pkg]}
	}
	server, client := b.places(p)
	procs := b.procs
	if server.CPU != "" {
		procs = 1 // as Go's runtime sets it there by itself
	}
	k, err := keep(cmp.Or(s.store, p.store), b.dir) //nolint:contextcheck // the database ends with remove
	if err != nil {
		return result.Run{}, err
	}
	defer k.remove()
	if p.fill > 0 {
		k.args = append(k.args, "-fill", fmt.Sprint(p.fill))
	}
	if p.tls {
		cert, key, err := process.Certificate(b.dir)
		if err != nil {
			return result.Run{}, err
		}
		k.args = append(k.args, "-cert", cert, "-key", key)
	}
	j, err := process.Start(ctx, slices.Concat(argv, s.args, k.args), procs, server)
	if err != nil {
		return result.Run{}, err
	}
	defer j.Stop()
	args := []string{"-scenario", cmp.Or(p.load, p.name), "-dialect", cmp.Or(s.dialect, "gohub"), "-addr", j.Addr, "-debug", j.Debug, "-frame", fmt.Sprint(frame), "-store", fmt.Sprint(k.pid), "-redis", fmt.Sprint(k.redis)}
	for range k.nodes - 1 {
		j, err := process.Start(ctx, slices.Concat(argv, s.args, k.args), procs, server)
		if err != nil {
			return result.Run{}, err
		}
		defer j.Stop()
		args = append(args, "-node", j.Addr+","+j.Debug)
	}
	if p.tls {
		args = append(args, "-tls")
	}
	args = append(args, p.flags...)
	if b.window > 0 {
		args = append(args, "-window", b.window.String())
	}
	if b.warm > 0 {
		args = append(args, "-warm", b.warm.String())
	}
	if b.profile != "" {
		if err := os.MkdirAll(b.profile, 0o755); err != nil {
			return result.Run{}, err
		}
		args = append(args, "-profile", profile)
	}
	return load(ctx, b.programs["./cmd/load"], append(args, b.loadArgs...), client)
}

// save writes everything so far.
func (b *runner) save() error {
	if b.out == "" {
		return nil
	}
	var doc bytes.Buffer
	doc.WriteString(`{"machines":[`)
	err := linewise(&doc, b.Machines)
	doc.WriteString(`],"records":[`)
	err = errors.Join(err, linewise(&doc, b.Records))
	doc.WriteString("]}\n")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(b.out), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(b.out+fresh, doc.Bytes(), 0o644); err != nil {
		return err
	}
	return os.Rename(b.out+fresh, b.out)
}

// linewise writes values one a line, so that a diff of the file can be read.
func linewise[T any](to *bytes.Buffer, values []T) error {
	for i, v := range values {
		if i > 0 {
			to.WriteByte(',')
		}
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		to.WriteByte('\n')
		to.Write(b)
	}
	return nil
}
