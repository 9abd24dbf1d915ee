package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/gohub/gohub/bench/internal/chart"
	"github.com/gohub/gohub/bench/internal/machine"
	"github.com/gohub/gohub/bench/internal/stats"
)

// report writes tables.md, with a table for each scenario of the document, and
// a chart for each figure that is drawn, into dir.
func report(dir string, d document) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("# Tables of the comparison with peers\n\nWritten by `make bench-peers`; see [benchmarks.md](../benchmarks.md) for what they mean.\nMedians with extremes; ratios are taken within a round. " +
		"—: was not measured, or has no such thing. Bold in the first table: less than every other in each round.\n\n")
	b.WriteString(invocations(d))
	b.WriteString("\n" + summary(d.Records))
	var errs []error
	for _, p := range plans {
		records := of(d.Records, p.name)
		if len(records) == 0 {
			continue
		}
		b.WriteString(table(p, records))
		b.WriteString(mixed(records))
		for _, m := range p.chart {
			errs = append(errs, os.WriteFile(filepath.Join(dir, p.name+".svg"), bars(p, m, records), 0o644))
		}
	}
	for _, g := range growing {
		if svg := lines(g, d.Records); svg != nil {
			errs = append(errs, os.WriteFile(filepath.Join(dir, g.name+".svg"), svg, 0o644))
		}
	}
	errs = append(errs, os.WriteFile(filepath.Join(dir, "tables.md"), []byte(b.String()), 0o644))
	return errors.Join(errs...)
}

// invocations are where, when and of which commit the rounds were run.
func invocations(d document) string {
	var b strings.Builder
	for i, m := range d.Machines {
		rounds, scenarios := 0, 0
		for _, p := range plans {
			if n := len(roundsOf(of(d.Records, p.name), i+1)); n > 0 {
				rounds, scenarios = rounds+n, scenarios+1
			}
		}
		fmt.Fprintf(&b, "- run %d: commit %s; %d rounds in %d scenarios\n", i+1, strings.Trim(origin(m), "- \n"), rounds, scenarios)
	}
	return b.String()
}

// roundsOf are those of an invocation, counted from 1.
func roundsOf(records []record, invocation int) (out []int) {
	for _, r := range records {
		if r.Of == invocation && !slices.Contains(out, r.Round+1) {
			out = append(out, r.Round+1)
		}
	}
	return out
}

// mixed says which rounds of a table are of which invocation, where they are of
// several.
func mixed(records []record) string {
	var parts []string
	seen := map[int]bool{}
	for _, r := range records {
		if !seen[r.Of] && r.Of > 0 {
			seen[r.Of] = true
			rounds := roundsOf(records, r.Of)
			parts = append(parts, fmt.Sprintf("%d–%d of run %d", slices.Min(rounds), slices.Max(rounds), r.Of))
		}
	}
	if len(parts) < 2 {
		return ""
	}
	return "- rounds " + strings.Join(parts, ", ") + "\n"
}

func origin(m machine.Description) string {
	return fmt.Sprintf("- %s, %s: %d × %s, Linux %s, %s\n", m.Commit, m.Time.Format("2006-01-02 15:04"), m.Cores, m.CPU, m.Kernel, m.Go)
}

func of(records []record, scenario string) (out []record) {
	for _, r := range records {
		if r.Scenario == scenario {
			out = append(out, r)
		}
	}
	return out
}

// columns of the summary: variants of a peer are where the peer itself is not
// measured.
var columns = [][]string{
	{"gohub", "redis"},
	{"centrifuge", "centrifuge-history", "centrifuge-redis-history"},
	{"centrifuge-tuned", "centrifuge-tuned-history"},
	{"gws"},
	{"gorilla"},
	{"gorilla-tuned"},
	{"melody"},
	{"coder"},
	{"socketio", "socketio-recovery"},
	{"floor-1"},
	{"floor-64", "floor-8"},
}

// summary is a row a scenario with the figure that says most: less is better in
// all of them. The least of a row is bold, floors aside, if it is that in each round.
func summary(records []record) string {
	var b strings.Builder
	b.WriteString("| median, less is better |")
	for _, c := range columns {
		b.WriteString(" " + c[0] + " |")
	}
	b.WriteString(" rounds |\n|---|" + strings.Repeat("---|", len(columns)+1) + "\n")
	for _, p := range peerPlans {
		rs := of(records, p.name)
		if len(rs) == 0 {
			continue
		}
		m := telling(p)
		fmt.Fprintf(&b, "| [%s](#%s): %s |", p.name, anchor(p), m.name)
		best := ahead(rs, m)
		for _, c := range columns {
			text := none
			for _, name := range c {
				v := values(rs, name, m)
				if len(v) == 0 {
					continue
				}
				text = number(stats.Of(v).Median, m.digits)
				if name == best {
					text = "**" + text + "**"
				}
				break
			}
			b.WriteString(" " + text + " |")
		}
		b.WriteString(" " + rounds(rs) + " |\n")
	}
	return b.String()
}

// ahead is the server whose figure is less than every other's, floors aside, in each
// round that both have; none if there is no such, or but one round.
func ahead(records []record, m metric) string {
	names := slices.DeleteFunc(served(records), func(name string) bool {
		return kindOf(name) == chart.Floor || len(values(records, name, m)) == 0
	})
	for _, name := range names {
		if len(names) > 1 && !slices.ContainsFunc(names, func(other string) bool {
			by := ratios(records, name, other, m)
			return other != name && (len(by) < 2 || slices.Max(by) >= 1)
		}) {
			return name
		}
	}
	return ""
}

// rounds is over how many of them the servers' figures are.
func rounds(records []record) string {
	var n []int
	for _, name := range served(records) {
		n = append(n, len(good(records, name)))
	}
	if slices.Min(n) == slices.Max(n) {
		return strconv.Itoa(n[0])
	}
	return fmt.Sprintf("%d–%d", slices.Min(n), slices.Max(n))
}

// telling is the figure that is drawn, or the one that ratios are of.
func telling(p plan) metric {
	if len(p.chart) > 0 {
		return p.chart[0]
	}
	if i := slices.IndexFunc(p.metrics, func(m metric) bool { return m.ratio }); i >= 0 {
		return p.metrics[i]
	}
	return p.metrics[0]
}

// anchor is what readers of Markdown make of a table's heading.
func anchor(p plan) string {
	var b strings.Builder
	for _, r := range strings.ToLower("(" + p.name + ") " + p.title) {
		switch {
		case r == ' ':
			b.WriteByte('-')
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			b.WriteRune(r)
		}
	}
	return b.String()
}

func kindOf(server string) chart.Kind {
	switch {
	case server == "gohub" || server == "redis" || server == "memory":
		return chart.Ours
	case strings.HasPrefix(server, "floor"):
		return chart.Floor
	}
	return chart.Peer
}

func bars(p plan, m metric, records []record) []byte {
	var out []chart.Bar
	for _, name := range served(records) {
		if v := values(records, name, m); len(v) > 0 {
			s := stats.Of(v)
			out = append(out, chart.Bar{Name: name, Kind: kindOf(name), Median: s.Median, Min: s.Min, Max: s.Max})
		}
	}
	return chart.Bars(p.title, m.name, m.digits, out)
}

// grown is a figure at each step of a growth curve.
type grown struct {
	name, title string
	steps       []step
	of          metric
}

// step is a plan by what stands at the axis.
type step struct{ at, plan string }

var growing = []grown{
	{"members", "fan-out at 50,000 deliveries a second, by members of the room", []step{{"100", "members-100"}, {"1000", "members-1000"}, {"10000", "members-10000"}}, perMillion},
	{"rooms", "5,000 messages a second in rooms of 4, by rooms", []step{{"50", "rooms-50"}, {"500", "rooms-500"}, {"4500", "rooms-4500"}}, perMessage},
	{"connections", "memory of idle connections, by connections", []step{{"1000", "connections-1000"}, {"10000", "idle"}, {"19000", "idle-19k"}}, resident[1]},
}

// lines is nil where nothing was measured.
func lines(g grown, records []record) []byte {
	var steps []string
	for _, s := range g.steps {
		steps = append(steps, s.at)
	}
	first := served(of(records, g.steps[0].plan)) // later ones may have more
	if len(first) == 0 {
		return nil
	}
	var out []chart.Line
	for _, name := range first {
		l := chart.Line{Name: name, Kind: kindOf(name)}
		for _, s := range g.steps {
			v := values(of(records, s.plan), name, g.of)
			if len(v) == 0 {
				l.Values = append(l.Values, math.NaN())
				continue
			}
			l.Values = append(l.Values, stats.Of(v).Median)
		}
		out = append(out, l)
	}
	return chart.Lines(g.title, g.of.name, g.of.digits, steps, out)
}
