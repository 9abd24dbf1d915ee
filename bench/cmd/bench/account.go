package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/gohub/gohub/bench/internal/flame"
	"github.com/gohub/gohub/bench/internal/machine"
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
	flags []string // longer than beside the peers: a profile has 100 samples a second, over the window
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
	{"joins", "floor-1", "join", joined, []string{"-rooms", "1500", "-window", "5s"}},
	{"comebacks", "", "join", joined, []string{"-rooms", "60", "-window", "5s"}},
	{"big", "floor-1", "delivery", delivered, window},
	{"tls", "", "delivery", delivered, window},
	{"tls-fanout", "", "delivery", delivered, window},
	{"acks", "", "message", sent, window},
	{"stored", "", "message", sent, window},
	{"three-nodes", "", "message", sent, window},
}

// server is gohub's name there: in a cluster, whose servers are named by what carries their
// messages, the first. Its first node is the one that is profiled.
func (a accounted) server() string {
	if p, _ := planByName(a.plan); !slices.Contains(p.servers, "gohub") {
		return p.servers[0]
	}
	return "gohub"
}

// of is the scenario with those servers alone that the account is about.
func (a accounted) of() plan {
	p, _ := planByName(a.plan)
	p.servers = []string{a.server()}
	if a.floor != "" {
		p.servers = append(p.servers, a.floor)
	}
	p.flags = slices.Concat(p.flags, a.flags)
	p.title += ", but " + strings.Join(a.flags, " ")
	return p
}

// called is what happens in the scenario, without the numbers, of which flags change some.
func (a accounted) called() string {
	p, _ := planByName(a.plan)
	what, more, _ := strings.Cut(p.title, ": ")
	if of, _, _ := strings.Cut(more, ","); p.tls && unicode.IsLetter(rune(of[0])) { // there are two
		what += ", " + of
	}
	return what
}

// account writes account.md, a row a scenario, and a flame graph of gohub for each.
func account(ctx context.Context, dir, profiles string, records []record) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	rows, err := accountRows(ctx, dir, profiles, records)
	if err != nil {
		return err
	}
	fmt.Print("\n" + rows)
	text := "# How far from the floor gohub is, and why\n\nWritten by `make bench-account`; see [benchmarks.md](../benchmarks.md#how-far-from-the-floor-and-why).\nMedians with extremes; ratios are taken within a round.\n\n" +
		origin(machine.Describe()) + "\n" + rows
	for _, a := range accounts {
		if n := noisy(of(records, a.plan)); n != "" {
			text += "\n- noisy, by the share of the machine that others used, " + a.called() + ": " + n
		}
	}
	text = strings.TrimSuffix(text, "\n") + "\n"
	return os.WriteFile(filepath.Join(dir, "account.md"), []byte(text), 0o644)
}

// accountRows are costs of gohub and of the floor, and the biggest differences by
// their profiles.
func accountRows(ctx context.Context, dir, profiles string, records []record) (string, error) {
	var b strings.Builder
	b.WriteString("| scenario | CPU: gohub, floor | ratio | writes: gohub, floor | in the kernel: gohub, floor | gohub's most beyond the floor |\n|---|---|---|---|---|---|\n")
	for _, a := range accounts {
		rs := of(records, a.plan)
		if len(good(rs, a.server())) == 0 {
			continue
		}
		each := func(digits int, unit string, f func(result.Run) float64) string {
			m := metric{of: f}
			s := spread(values(rs, a.server(), m), digits)
			if a.floor != "" {
				s += ", " + spread(values(rs, a.floor, m), digits)
			}
			return s + unit
		}
		cpu := func(r result.Run) float64 { return r.ServerCPU / max(a.units(r), 1) * 1e6 }
		ratio := "—"
		if a.floor != "" {
			ratio = spread(ratios(rs, a.server(), a.floor, metric{of: cpu}), 2)
		}
		beyond, drawn, err := a.beyond(ctx, dir, profiles, rs, cpu)
		if err != nil {
			return "", err
		}
		name := a.called()
		if drawn {
			name = fmt.Sprintf("[%s](flame-%s.svg)", name, a.plan)
		}
		fmt.Fprintf(&b, "| %s, a %s | %s | %s | %s | %s | %s |\n", name, a.unit,
			each(2, " µs", cpu), ratio,
			each(2, "", func(r result.Run) float64 { return float64(r.ServerWrites) / max(a.units(r), 1) }),
			each(0, " %", kernel.of), beyond)
	}
	return b.String(), nil
}

// beyond draws gohub's profiles and names the three things that they have most more
// of than the floor's.
func (a accounted) beyond(ctx context.Context, dir, profiles string, rs []record, cpu func(result.Run) float64) (said string, drawn bool, err error) {
	mine, err := a.stacks(ctx, profiles, rs, a.server())
	if err != nil || len(mine) == 0 {
		return "no profile", false, err
	}
	svg := flame.SVG("CPU of gohub: "+a.called(), mine)
	if err := os.WriteFile(filepath.Join(dir, "flame-"+a.plan+".svg"), svg, 0o644); err != nil {
		return "", false, err
	}
	items := perUnit(mine, rs, a.server(), cpu)
	if a.floor != "" {
		floor, err := a.stacks(ctx, profiles, rs, a.floor)
		if err != nil {
			return "", false, err
		}
		for name, v := range perUnit(floor, rs, a.floor, cpu) {
			items[name] -= v
		}
	}
	names := slices.SortedFunc(maps.Keys(items), func(x, y string) int { return cmp.Or(cmp.Compare(items[y], items[x]), cmp.Compare(x, y)) })
	var parts []string
	for _, name := range names[:min(3, len(names))] {
		if items[name] > 0 {
			parts = append(parts, fmt.Sprintf("%s %.2f µs", name, items[name]))
		}
	}
	return fmt.Sprintf("%s (of %d samples)", cmp.Or(strings.Join(parts, ", "), "nothing"), flame.Samples(mine)), true, nil
}

// stacks are those of all rounds that are quoted. A round may have no profile: the
// run said why.
func (a accounted) stacks(ctx context.Context, profiles string, rs []record, server string) (all []flame.Stack, err error) {
	for _, r := range good(rs, server) {
		path := profileOf(profiles, a.plan, server, r.Round)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		stacks, err := flame.Read(ctx, path)
		if err != nil {
			return nil, err
		}
		all = append(all, stacks...)
	}
	return all, nil
}

// perUnit spreads a server's CPU a unit over what its profiles say it went into.
func perUnit(stacks []flame.Stack, rs []record, server string, cpu func(result.Run) float64) map[string]float64 {
	each := stats.Of(values(rs, server, metric{of: cpu})).Median
	total, out := int64(0), map[string]float64{}
	items := flame.Items(stacks)
	for _, nanos := range items {
		total += nanos
	}
	for name, nanos := range items {
		out[name] = each * float64(nanos) / float64(max(total, 1))
	}
	return out
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
