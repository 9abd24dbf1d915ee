package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/gohub/gohub/bench/internal/result"
	"github.com/gohub/gohub/bench/internal/stats"
)

// table is a scenario as Markdown: a row a server, a column a figure as
// "median (min–max)", and for some its ratio to the floor of the same round.
func table(p plan, records []record) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n### (%s) %s\n\n%s| server |", p.name, p.title, windows(records))
	for _, m := range p.metrics {
		fmt.Fprintf(&b, " %s |", m.name)
		if m.ratio {
			fmt.Fprintf(&b, " ÷ %s |", p.floor)
		}
	}
	b.WriteString(" rounds | cores: server, database, load, others |\n|---|")
	for _, m := range p.metrics {
		b.WriteString("---|")
		if m.ratio {
			b.WriteString("---|")
		}
	}
	b.WriteString("---|---|\n")
	for _, name := range served(records) {
		fmt.Fprintf(&b, "| %s |", name)
		for _, m := range p.metrics {
			b.WriteString(" " + spread(values(records, name, m), m.digits) + " |")
			if m.ratio {
				b.WriteString(" " + spread(ratios(records, name, p.floor, m), 2) + " |")
			}
		}
		fmt.Fprintf(&b, " %d | %s |\n", len(good(records, name)), cores(records, name))
	}
	b.WriteString("\n")
	for _, n := range p.notes {
		b.WriteString("- " + n + "\n")
	}
	b.WriteString(remarks(p, records))
	return b.String()
}

// windows says how long was measured, and who took much longer.
func windows(records []record) string {
	i := slices.IndexFunc(records, func(r record) bool { return r.Error == "" && r.Run.Window > 0 })
	if i < 0 {
		return ""
	}
	meant := records[i].Run
	var long []string
	for _, name := range served(records) {
		v := values(records, name, metric{of: func(r result.Run) float64 { return r.Seconds }})
		if stats.Of(v).Max > 2*meant.Window {
			long = append(long, name+" "+spread(v, 1))
		}
	}
	text := fmt.Sprintf("Window %g s after %g s of traffic", meant.Window, meant.Warm)
	if long != nil {
		text += "; it ends when the server has said what it used, which busy ones do late: " + strings.Join(long, ", ")
	}
	return text + ".\n\n"
}

// served are the servers in the order of their first run.
func served(records []record) (out []string) {
	seen := map[string]bool{}
	for _, r := range records {
		if !seen[r.Server] {
			seen[r.Server] = true
			out = append(out, r.Server)
		}
	}
	return out
}

// values are a figure of each run that has it.
func values(records []record, server string, m metric) (out []float64) {
	for _, r := range good(records, server) {
		if v := m.of(r.Run); !math.IsNaN(v) {
			out = append(out, v)
		}
	}
	return out
}

// enough quiet rounds are quoted alone; with fewer, noisy ones count as well.
const enough = 3

// good are the runs of a server that are quoted: the quiet ones, if there are
// enough of them, or else all that did not fail.
func good(records []record, server string) (all []record) {
	var quiet []record
	all = whole(records, server)
	for _, r := range all {
		if !r.Noisy {
			quiet = append(quiet, r)
		}
	}
	if len(quiet) >= enough {
		return quiet
	}
	return all
}

// whole are the runs of a server that did not fail.
func whole(records []record, server string) (out []record) {
	for _, r := range records {
		if r.Server == server && r.Error == "" {
			out = append(out, r)
		}
	}
	return out
}

// ratios are taken within a round: both sides saw about the same machine. Where
// no round was quiet for both, all count.
func ratios(records []record, server, floor string, m metric) (out []float64) {
	by := m.by
	if by == nil {
		by = m.of
	}
	divide := func(of, floors []record) (out []float64) {
		base := map[int]float64{}
		for _, r := range floors {
			base[r.Round] = by(r.Run)
		}
		for _, r := range of {
			if v := m.of(r.Run); base[r.Round] > 0 && !math.IsNaN(v) {
				out = append(out, v/base[r.Round])
			}
		}
		return out
	}
	if out = divide(good(records, server), good(records, floor)); len(out) > 0 {
		return out
	}
	return divide(whole(records, server), whole(records, floor))
}

// none stands where there is no figure.
const none = "—"

func number(v float64, digits int) string {
	switch {
	case math.IsNaN(v):
		return none
	case math.IsInf(v, 1):
		return "never"
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}

func spread(v []float64, digits int) string {
	if len(v) == 0 {
		return none
	}
	f := func(x float64) string { return number(x, digits) }
	s := stats.Of(v)
	if len(v) == 1 {
		return f(s.Median)
	}
	return fmt.Sprintf("%s (%s–%s)", f(s.Median), f(s.Min), f(s.Max))
}

// cores says how busy each side was in the window: a load generator near a
// whole core would be what is measured.
func cores(records []record, server string) string {
	var s, d, l, o []float64
	for _, r := range good(records, server) {
		if t := max(r.Run.Seconds, r.Run.Elapsed); t > 0 {
			s = append(s, r.Run.ServerCPU/t)
			d = append(d, (r.Run.StoreCPU+r.Run.RedisCPU)/t)
			l = append(l, r.Run.LoadCPU/t)
			o = append(o, r.Run.OtherCPU/t)
		}
	}
	if len(s) == 0 {
		return none
	}
	return fmt.Sprintf("%.2f, %.2f, %.2f, %.2f", stats.Of(s).Median, stats.Of(d).Median, stats.Of(l).Median, stats.Of(o).Median)
}

// remarks are targets and everything that makes figures doubtful.
func remarks(p plan, records []record) string {
	var b strings.Builder
	for _, m := range p.metrics {
		if m.target != "" {
			fmt.Fprintf(&b, "- target, %s: %s\n", m.name, m.target)
		}
	}
	if n := noisy(records); n != "" {
		b.WriteString("- noisy, by the share of the machine that others used, and counted only where fewer than three rounds were quiet: " + n + "\n")
	}
	for _, r := range records {
		at := fmt.Sprintf("- %s, round %d: ", r.Server, r.Round+1)
		for _, f := range r.Failed {
			if r.Error == "" {
				b.WriteString(at + "repeated, an attempt failed: " + f + "\n")
			}
		}
		if r.Error != "" {
			b.WriteString(at + "failed: " + r.Error + "\n")
			continue
		}
		if w := r.Run.Whole; w != nil {
			if w.Delivered != w.Expected {
				fmt.Fprintf(&b, "%s%d deliveries of %d expected\n", at, w.Delivered, w.Expected)
			}
			if r.Run.Acked > 0 && w.Acked != w.Sent {
				fmt.Fprintf(&b, "%s%d acks of %d publishes\n", at, w.Acked, w.Sent)
			}
			if w.Amiss > 0 {
				fmt.Fprintf(&b, "%s%d connections with more or fewer messages than were sent in their room\n", at, w.Amiss)
			}
			if w.Closed > 0 {
				fmt.Fprintf(&b, "%s%d connections closed by the server\n", at, w.Closed)
			}
		}
		if r.Run.Errors > 0 {
			fmt.Fprintf(&b, "%s%d error frames\n", at, r.Run.Errors)
		}
		if r.Run.Late.P99 > 2 {
			fmt.Fprintf(&b, "%sload sent late, which is in the latencies: p99 %.1f ms behind schedule\n", at, r.Run.Late.P99)
		}
		if p := r.Run.Paced; p != nil && p.Seconds > 0 {
			fmt.Fprintf(&b, "%sat half the pace: cores %.2f, %.2f, %.2f; load sent late, p99 %.1f ms behind schedule\n",
				at, p.ServerCPU/p.Seconds, p.StoreCPU/p.Seconds, p.LoadCPU/p.Seconds, p.Late.P99)
		}
		if r.Run.Slow != nil {
			b.WriteString(at + "the slow member: " + r.Run.Slow.End + "\n")
		}
		for _, n := range r.Run.Notes {
			b.WriteString(at + n + "\n")
		}
	}
	return b.String()
}

// noisy lists the rounds in which others used more than they might, by server.
func noisy(records []record) string {
	var out []string
	for _, name := range served(records) {
		var rounds []string
		for _, r := range records {
			if r.Server == name && r.Noisy {
				rounds = append(rounds, fmt.Sprintf("%.0f %% in round %d", r.Noise*100, r.Round+1))
			}
		}
		if len(rounds) > 0 {
			out = append(out, name+" "+strings.Join(rounds, ", "))
		}
	}
	return strings.Join(out, "; ")
}

// line is a run in progress reports.
func line(p plan, r record) string {
	if r.Error != "" {
		return "failed: " + r.Error
	}
	var parts []string
	for _, m := range p.metrics {
		parts = append(parts, m.name+" "+number(m.of(r.Run), m.digits))
	}
	return fmt.Sprintf("%s (others %.0f %%)", strings.Join(parts, ", "), r.Noise*100)
}
