package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gohub/gohub/bench/internal/flame"
	"github.com/gohub/gohub/bench/internal/result"
	"github.com/gohub/gohub/bench/internal/stats"
)

// accounted is a scenario of which the account says how far from the floor gohub
// is, and where the rest goes.
type accounted struct {
	plan  string
	floor string // empty: none can do it
	unit  string
	units func(result.Run) float64
	flags []string // longer than beside the peers: a profile has 100 samples a second
}

func joined(r result.Run) float64 {
	if r.Storm == nil {
		return 0
	}
	return float64(r.Storm.Conns)
}
func delivered(r result.Run) float64 { return float64(r.Delivered) }
func sent(r result.Run) float64      { return float64(r.Sent) }

var window = []string{"-window", "5s"}

var accounts = []accounted{
	{"fanout", "floor-64", "delivery", delivered, window},
	{"paced-fanout", "floor-1", "delivery", delivered, window},
	{"rooms", "floor-1", "message", sent, window},
	{"paced-rooms", "floor-1", "message", sent, window},
	{"joins", "floor-1", "join", joined, []string{"-rooms", "1500"}},
	{"comebacks", "", "join", joined, []string{"-rooms", "60"}},
	{"tls", "", "delivery", delivered, window},
	{"acks", "", "message", sent, window},
}

// of is the scenario with those servers alone that the account is about.
func (a accounted) of() plan {
	p, _ := planByName(a.plan)
	p.servers = []string{"gohub"}
	if a.floor != "" {
		p.servers = append(p.servers, a.floor)
	}
	p.flags = slices.Concat(p.flags, a.flags)
	p.title += ", but " + strings.Join(a.flags, " ")
	return p
}

// account is a row a scenario: costs of gohub and of the floor, and the biggest
// differences by their profiles.
func account(ctx context.Context, dir string, records []record) (string, error) {
	var b strings.Builder
	b.WriteString("| scenario | CPU: gohub, floor | ratio | reads + writes: gohub, floor | in the kernel: gohub, floor | most beyond the floor |\n|---|---|---|---|---|---|\n")
	for _, a := range accounts {
		rs := of(records, a.plan)
		if len(good(rs, "gohub")) == 0 {
			continue
		}
		each := func(digits int, unit string, f func(result.Run) float64) string {
			m := metric{of: f}
			s := spread(values(rs, "gohub", m), digits)
			if a.floor != "" {
				s += ", " + spread(values(rs, a.floor, m), digits)
			}
			return s + unit
		}
		cpu := func(r result.Run) float64 { return r.ServerCPU / max(a.units(r), 1) * 1e6 }
		ratio := "—"
		if a.floor != "" {
			ratio = spread(ratios(rs, "gohub", a.floor, metric{of: cpu}), 2)
		}
		beyond, err := a.beyond(ctx, dir, rs, cpu)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "| [%s](benchmarks/flame-%s.svg), a %s | %s | %s | %s | %s | %s |\n", a.plan, a.plan, a.unit,
			each(2, " µs", cpu), ratio,
			each(2, "", func(r result.Run) float64 { return float64(r.ServerReads+r.ServerWrites) / max(a.units(r), 1) }),
			each(0, " %", kernel.of), beyond)
	}
	return b.String(), nil
}

// beyond names the three items that gohub's profile has most more of than the
// floor's, in CPU time a unit.
func (a accounted) beyond(ctx context.Context, dir string, rs []record, cpu func(result.Run) float64) (string, error) {
	mine, samples, err := a.items(ctx, dir, rs, "gohub", cpu)
	if err != nil {
		return "", err
	}
	if a.floor != "" {
		floor, _, err := a.items(ctx, dir, rs, a.floor, cpu)
		if err != nil {
			return "", err
		}
		for name, v := range floor {
			if _, ok := mine[name]; ok {
				mine[name] -= v
			}
		}
	}
	var names []string
	for name, v := range mine {
		if v > 0 {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(x, y string) int { return cmp.Or(cmp.Compare(mine[y], mine[x]), cmp.Compare(x, y)) })
	var said []string
	for _, name := range names[:min(3, len(names))] {
		said = append(said, fmt.Sprintf("%s %.2f µs", name, mine[name]))
	}
	return fmt.Sprintf("%s (of %d samples)", strings.Join(said, ", "), samples), nil
}

// items spreads a server's CPU a unit over the items of its profiles of all rounds.
func (a accounted) items(ctx context.Context, dir string, rs []record, server string, cpu func(result.Run) float64) (map[string]float64, int, error) {
	var all []flame.Stack
	for _, r := range good(rs, server) {
		stacks, err := flame.Read(ctx, profileOf(dir, a.plan, server, r.Round))
		if err != nil {
			return nil, 0, err
		}
		all = append(all, stacks...)
	}
	if len(all) == 0 {
		return nil, 0, fmt.Errorf("%s: no profile of %s", a.plan, server)
	}
	if server == "gohub" {
		svg := flame.SVG("CPU of gohub, "+a.of().title, all)
		if err := os.WriteFile(filepath.Join(dir, "flame-"+a.plan+".svg"), svg, 0o644); err != nil {
			return nil, 0, err
		}
	}
	total, samples := int64(0), 0
	for _, s := range all {
		total += s.Nanos
		samples += int(s.Nanos / 10e6)
	}
	each := stats.Of(values(rs, server, metric{of: cpu})).Median
	out := map[string]float64{}
	for name, nanos := range flame.Items(all) {
		out[name] = each * float64(nanos) / float64(total)
	}
	return out, samples, nil
}

// profileOf is the file with a run's CPU profile.
func profileOf(dir, scenario, server string, round int) string {
	return filepath.Join(dir, fmt.Sprintf("%s-%s-%d.pprof", scenario, server, round+1))
}

// draw draws a profile beside it.
func draw(ctx context.Context, profile string) error {
	stacks, err := flame.Read(ctx, profile)
	if err != nil {
		return err
	}
	name := strings.TrimSuffix(profile, ".pprof")
	return os.WriteFile(name+".svg", flame.SVG("CPU of "+filepath.Base(name), stacks), 0o644)
}
