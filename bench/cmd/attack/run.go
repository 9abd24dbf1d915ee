package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gohub/gohub/bench/internal/debug"
	"github.com/gohub/gohub/bench/internal/machine"
	"github.com/gohub/gohub/bench/internal/process"
	"github.com/gohub/gohub/bench/internal/result"
)

// row is one attack in one round.
type row struct {
	Attack  string     `json:"attack"`
	Before  result.Run `json:"before"` // the honest clients
	Beside  result.Run `json:"beside"` // while a neighbour of their server is attacked
	During  result.Run `json:"during"`
	Whole   result.Run `json:"whole"`
	Outcome outcome    `json:"outcome"` // the attackers

	HeapPeak  int64   `json:"heap_inuse_peak"` // bytes
	AllocPeak int64   `json:"heap_alloc_peak"`
	RSSPeak   int64   `json:"rss_peak"`
	ServerCPU float64 `json:"server_cores_during"`
	Noise     float64 `json:"noise"`      // share of the machine that others used: not the server, the attackers, the honest clients
	Noisy     bool    `json:"noisy"`      // too much, in every attempt; the quietest is kept
	IdleCPU   float64 `json:"idle_share"` // of one core, after it, without traffic
	Settled   float64 `json:"settled_s"`  // until sessions and goroutines were back

	Sessions   [2]int `json:"sessions"`   // before and after
	Goroutines [2]int `json:"goroutines"` // the same
}

// runner keeps what the attacks share.
type runner struct {
	settings
	server, load, self string
}

func newRunner(ctx context.Context, s settings, dir string) (r *runner, err error) {
	r = &runner{settings: s}
	if r.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if r.server, err = process.Build(ctx, dir, "./cmd/gohubserver"); err != nil {
		return nil, err
	}
	r.load, err = process.Build(ctx, dir, "./cmd/load")
	return r, err
}

const (
	honestRooms   = 10
	honestMembers = 10
	honestSources = 10  // addresses, 127.0.0.1 and up
	honestRate    = 100 // publishes a second over all rooms, ten deliveries each
	settleMost    = 20 * time.Second
	spareRoutines = 10 // what may be left of goroutines: net/http's own, the runtime's
)

// quiet repeats a run that others disturbed and keeps the quietest.
func (r *runner) quiet(ctx context.Context, a attack) (best row, err error) {
	for attempt := range r.retries + 1 {
		machine.AwaitQuiet(ctx, r.patience, r.noise)
		x, err := r.once(ctx, a)
		if err != nil {
			return x, err
		}
		x.Noisy = x.Noise > r.noise
		if attempt == 0 || x.Noise < best.Noise {
			best = x
		}
		if !best.Noisy {
			break
		}
	}
	return best, nil
}

// once plays one attack against a fresh server, and before that against a
// neighbour of it.
func (r *runner) once(ctx context.Context, a attack) (x row, err error) {
	x.Attack = a.name
	s, err := r.start(ctx, a)
	if err != nil {
		return x, err
	}
	defer func() {
		if said := s.Stop(); err != nil && said != "" {
			err = fmt.Errorf("%w; the server said %.2000s", err, said)
		}
	}()
	h, err := r.honest(ctx, s)
	if err != nil {
		return x, fmt.Errorf("honest clients: %w", err)
	}
	defer h.stop()
	if x.Before, err = h.after(ctx, r.before); err != nil {
		return x, err
	}
	beside, err := r.beside(ctx, a, s, h)
	if err != nil {
		return x, fmt.Errorf("beside: %w", err)
	}
	w := watch(s)
	profiled := r.profiled(a, s)
	during, err := r.under(ctx, a, s, s, h)
	peak := w.end()
	if err2 := profiled(); err2 != nil && err == nil {
		return x, err2
	}
	if err != nil {
		return x, err
	}
	x.Beside, x.During, x.Outcome = beside.felt, during.felt, during.outcome
	x.HeapPeak, x.AllocPeak, x.RSSPeak = peak.HeapInuse, peak.HeapAlloc, max(peak.RSS, during.now.RSSPeak)
	x.ServerCPU = float64(during.now.Total()-during.was.Total()) / 1e9 / during.now.at.Sub(during.was.at).Seconds()
	x.Noise = max(beside.noise, during.noise)
	x.Sessions[0], x.Goroutines[0] = during.was.Sessions, during.was.Goroutines

	if x.Whole, err = h.ask("stop"); err != nil {
		return x, err
	}
	return x, r.after(ctx, s, during.was, &x)
}

// start starts a server for the attack.
func (r *runner) start(ctx context.Context, a attack) (*process.Server, error) {
	mode := "-defaults"
	if r.recommend {
		mode = "-recommended"
	}
	return process.Start(ctx, append([]string{r.server, mode}, a.server...), r.procs, r.place(process.Place{}, "0"))
}

// stage is one attack, and what the honest clients felt of it.
type stage struct {
	felt     result.Run
	outcome  outcome
	was, now look // the honest clients' server
	noise    float64
}

// beside attacks a neighbour of s, on the same processor. That costs whatever
// the attackers and the kernel take of this machine, and nothing within s.
func (r *runner) beside(ctx context.Context, a attack, s *process.Server, h *honest) (x stage, err error) {
	neighbour, err := r.start(ctx, a)
	if err != nil {
		return x, err
	}
	if _, err = h.after(ctx, time.Second); err == nil { // it has begun
		x, err = r.under(ctx, a, neighbour, s, h)
	}
	if said := neighbour.Stop(); err != nil {
		return x, fmt.Errorf("%w; the server said %.2000s", err, said)
	}
	_, err = h.after(ctx, time.Second) // the kernel has tidied up
	return x, err
}

// under attacks the target, which is s or a neighbour of it.
func (r *runner) under(ctx context.Context, a attack, target, s *process.Server, h *honest) (x stage, err error) {
	var targetWas int64
	if target != s {
		targetWas = r.used(target)
	}
	if x.was, err = r.look(s); err != nil {
		return x, err
	}
	if x.outcome, err = r.attackers(ctx, a, target); err != nil {
		return x, fmt.Errorf("attackers: %w", err)
	}
	if x.felt, err = h.ask("window"); err != nil {
		return x, err
	}
	if x.now, err = r.look(s); err != nil {
		return x, err
	}
	others := float64(x.now.busy-x.was.busy-(x.now.Total()-x.was.Total()))/1e9 - x.outcome.CPU - x.felt.LoadCPU
	if target != s {
		others -= float64(r.used(target)-targetWas) / 1e9
	}
	x.noise = max(0, others) / x.now.at.Sub(x.was.at).Seconds() / float64(runtime.NumCPU())
	return x, nil
}

// place pins a process where -pin wants it.
func (r *runner) place(p process.Place, cpu string) process.Place {
	if r.pin {
		p.CPU = cpu
	}
	return p
}

// profiled has the server profile itself from now on; the returned function
// waits for it.
func (r *runner) profiled(a attack, s *process.Server) func() error {
	if r.profile == "" {
		return func() error { return nil }
	}
	done := make(chan error, 1)
	go func() { done <- saveProfile(r.profile, a, s, max(r.seconds, a.least.Seconds())) }() // ends with the profile
	return func() error { return <-done }
}

func saveProfile(dir string, a attack, s *process.Server, seconds float64) error {
	c := http.Client{Timeout: time.Duration(seconds+30) * time.Second, Transport: debugClient.Transport}
	res, err := c.Get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%.0f", s.Debug, max(1, seconds)))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	f, err := os.Create(filepath.Join(dir, a.name+".pprof"))
	if err != nil {
		return err
	}
	_, err = io.Copy(f, res.Body)
	return errors.Join(err, f.Close())
}

// after waits for the server to come to rest, and sees how much it does then.
func (r *runner) after(ctx context.Context, s *process.Server, was look, x *row) error {
	began := time.Now()
	var now look
	var err error
	for {
		if now, err = r.look(s); err != nil {
			return err
		}
		if now.Sessions <= was.Sessions && now.Goroutines <= was.Goroutines+spareRoutines || time.Since(began) > settleMost {
			break
		}
		if !pause(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
	x.Settled = time.Since(began).Seconds()
	x.Sessions[1], x.Goroutines[1] = now.Sessions, now.Goroutines
	pause(ctx, 200*time.Millisecond)
	if now, err = r.look(s); err != nil {
		return err
	}
	pause(ctx, r.idle)
	then, err := r.look(s)
	if err != nil {
		return err
	}
	x.IdleCPU = float64(then.Total()-now.Total()) / 1e9 / then.at.Sub(now.at).Seconds()
	return ctx.Err()
}

// look is a moment of the server.
type look struct {
	debug.Mem
	Sessions int
	busy     int64 // the machine's CPU, ns
	at       time.Time
}

func (r *runner) look(s *process.Server) (l look, err error) {
	l.at = time.Now()
	if err = get(s, "/debug/stats", &l); err != nil {
		return l, err
	}
	if err = get(s, "/debug/mem?gc=0", &l.Mem); err != nil {
		return l, err
	}
	l.busy, err = machine.Busy()
	return l, err
}

// used is a server's CPU, ns; 0 if it does not say.
func (r *runner) used(s *process.Server) int64 {
	var c debug.CPU
	_ = get(s, "/debug/cpu", &c)
	return c.Total()
}

// debugClient keeps no connection: each would be two goroutines of the server.
var debugClient = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func get(s *process.Server, path string, v any) error { return getBy(debugClient, s, path, v) }

func getBy(c *http.Client, s *process.Server, path string, v any) error {
	res, err := c.Get("http://" + s.Debug + path)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(v)
}

// watcher asks the server for its memory ten times a second, over one
// connection: asking must not be what honest clients feel.
type watcher struct {
	quit chan struct{}
	wg   sync.WaitGroup
	peak debug.Heap // the goroutine's own until end
}

func watch(s *process.Server) *watcher {
	w := &watcher{quit: make(chan struct{})}
	w.wg.Go(func() {
		c := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{}}
		defer c.CloseIdleConnections()
		for {
			var m debug.Heap
			if getBy(c, s, "/debug/heap", &m) == nil {
				w.peak.HeapAlloc = max(w.peak.HeapAlloc, m.HeapAlloc)
				w.peak.HeapInuse = max(w.peak.HeapInuse, m.HeapInuse)
				w.peak.RSS = max(w.peak.RSS, m.RSS)
			}
			select {
			case <-w.quit:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	return w
}

func (w *watcher) end() debug.Heap {
	close(w.quit)
	w.wg.Wait()
	return w.peak
}

// attackers runs them in a process of their own, to its end.
func (r *runner) attackers(ctx context.Context, a attack, s *process.Server) (o outcome, err error) {
	argv := r.place(process.Place{Idle: true}, "1").Of([]string{
		r.self, "-role", a.name, "-addr", s.Addr, "-wire", r.wire,
		"-seconds", fmt.Sprint(r.seconds), "-scale", fmt.Sprint(r.scale), "-seed", strconv.FormatUint(r.seed, 10),
	})
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	process.DieWithParent(cmd)
	if err := cmd.Run(); err != nil {
		return o, fmt.Errorf("%w: %.2000s", err, stderr.String())
	}
	return o, json.Unmarshal(out.Bytes(), &o)
}

// honest is cmd/load, answering.
type honest struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

func (r *runner) honest(ctx context.Context, s *process.Server) (*honest, error) {
	argv := r.place(process.Place{}, "1").Of([]string{
		// The attackers share its processor, so that when it comes to send is theirs to decide.
		r.load, "-ask", "-arrivals", "-from-send", "-scenario", "b2", "-addr", s.Addr, "-debug", s.Debug,
		"-rooms", strconv.Itoa(honestRooms), "-members", strconv.Itoa(honestMembers), "-senders", strconv.Itoa(honestMembers),
		"-rate", strconv.Itoa(honestRate), "-warm", "1s", "-timeout", "10m", "-sources", strconv.Itoa(honestSources),
	})
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = os.Stderr
	process.DieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	h := &honest{cmd, in, json.NewDecoder(bufio.NewReader(out))}
	if _, err := h.answer(); err != nil { // they have joined
		h.stop()
		return nil, err
	}
	return h, nil
}

func (h *honest) ask(what string) (result.Run, error) {
	if _, err := io.WriteString(h.in, what+"\n"); err != nil {
		return result.Run{}, fmt.Errorf("honest clients: %w", err)
	}
	return h.answer()
}

// after lets some time pass, and says what came in it alone.
func (h *honest) after(ctx context.Context, d time.Duration) (x result.Run, err error) {
	if _, err = h.ask("window"); err != nil {
		return x, err
	}
	if !pause(ctx, d) {
		return x, ctx.Err()
	}
	return h.ask("window")
}

func (h *honest) answer() (x result.Run, err error) {
	if err := h.out.Decode(&x); err != nil {
		return x, fmt.Errorf("honest clients: %w", err)
	}
	if x.Error != "" {
		return x, errors.New(strings.TrimSpace("honest clients: " + x.Error))
	}
	return x, nil
}

// stop ends it and waits.
func (h *honest) stop() {
	_ = h.in.Close()
	kill := time.AfterFunc(5*time.Second, func() { _ = h.cmd.Process.Kill() })
	defer kill.Stop()
	_ = h.cmd.Wait()
}
