package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gohub/gohub/bench/internal/machine"
	"github.com/gohub/gohub/bench/internal/stats"
)

// The bounds beside each attack's heap.
const (
	mostRatio = 2.0  // honest p99 during the attack ÷ without it
	mostIdle  = 0.02 // of one core, with no traffic
)

// ratio is how many times as long the honest clients' p99 is as it was without
// the attack, with this machine idle or, if that is longer, as busy as the
// attackers make it.
func (x row) ratio() float64 {
	return x.During.Latency.P99 / max(x.Before.Latency.P99, x.Beside.Latency.P99, 0.001)
}

// ofIdle is the same beside an idle machine alone.
func (x row) ofIdle() float64 {
	return x.During.Latency.P99 / max(x.Before.Latency.P99, 0.001)
}

// lost is what honest clients did not get: deliveries and acks.
func (x row) lost() int64 {
	w := x.Whole.Whole
	if w == nil {
		return 0
	}
	return max(0, w.Expected-w.Delivered) + max(0, w.Sent-w.Acked)
}

func (x row) closed() int {
	if x.Whole.Whole == nil {
		return 0
	}
	return x.Whole.Whole.Closed
}

// line is a row for who watches.
func (x row) line() string {
	return fmt.Sprintf("%-10s p50 %.2f→%.2f→%.2f ms, p99 %.2f→%.2f→%.2f ms (as read %.2f→%.2f→%.2f); heap %d MiB, RSS %d MiB; cores %.2f, noise %.0f %%; idle %.1f %%; goroutines %d→%d, sessions %d→%d in %.1f s; honest lost %d, closed %d\n    %s",
		x.Attack, x.Before.Latency.P50, x.Beside.Latency.P50, x.During.Latency.P50, x.Before.Latency.P99, x.Beside.Latency.P99, x.During.Latency.P99,
		x.Before.Read.P99, x.Beside.Read.P99, x.During.Read.P99,
		x.HeapPeak/mib, x.RSSPeak/mib, x.ServerCPU, 100*x.Noise, 100*x.IdleCPU,
		x.Goroutines[0], x.Goroutines[1], x.Sessions[0], x.Sessions[1], x.Settled, x.lost(), x.closed(), x.fates())
}

// fates is what became of the attackers.
func (x row) fates() string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(x.Outcome.Counts)) {
		parts = append(parts, fmt.Sprintf("%s: %d", k, x.Outcome.Counts[k]))
	}
	return strings.Join(parts, ", ")
}

// report is Markdown.
func report(s settings, rows map[string][]row) string {
	var b strings.Builder
	m := machine.Describe()
	fmt.Fprintf(&b, "%s, %d × %s, Linux %s, %s, commit %s; rounds %d, %g s an attack or what it needs.\n\n",
		m.Time.Format("2006-01-02"), m.Cores, m.CPU, m.Kernel, m.Go, m.Commit, s.rounds, s.seconds)
	b.WriteString("| attack | honest p50, ms: before, neighbour attacked, attacked | p99, ms | ratio to the worse | to before | p99 as read | heap peak / cap, MiB | RSS peak, MiB | server cores | idle CPU after | sessions, goroutines before → after | noise |\n" +
		"|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, a := range s.attacks {
		xs := rows[a.name]
		of := func(f func(row) float64) stats.Spread {
			var v []float64
			for _, x := range xs {
				v = append(v, f(x))
			}
			return stats.Of(v)
		}
		med := func(format string, f func(row) float64) string { return fmt.Sprintf(format, of(f).Median) }
		spread := func(format string, f func(row) float64) string {
			v := of(f)
			if v.N < 2 {
				return fmt.Sprintf(format, v.Median)
			}
			return fmt.Sprintf(format+" ("+format+"–"+format+")", v.Median, v.Min, v.Max)
		}
		last := xs[len(xs)-1]
		fmt.Fprintf(&b, "| %s: %s | %s, %s, %s | %s, %s, %s | %s | %s | %s, %s, %s | %s / %d | %s | %s | %s | %d → %d, %d → %d | %s |\n",
			a.name, a.title,
			med("%.2f", func(x row) float64 { return x.Before.Latency.P50 }),
			med("%.2f", func(x row) float64 { return x.Beside.Latency.P50 }),
			med("%.2f", func(x row) float64 { return x.During.Latency.P50 }),
			med("%.2f", func(x row) float64 { return x.Before.Latency.P99 }),
			spread("%.2f", func(x row) float64 { return x.Beside.Latency.P99 }),
			spread("%.2f", func(x row) float64 { return x.During.Latency.P99 }),
			spread("%.1f", row.ratio), spread("%.1f", row.ofIdle),
			med("%.2f", func(x row) float64 { return x.Before.Read.P99 }),
			med("%.2f", func(x row) float64 { return x.Beside.Read.P99 }),
			med("%.2f", func(x row) float64 { return x.During.Read.P99 }),
			spread("%.0f", func(x row) float64 { return float64(x.HeapPeak) / mib }), a.heap/mib,
			med("%.0f", func(x row) float64 { return float64(x.RSSPeak) / mib }),
			med("%.2f", func(x row) float64 { return x.ServerCPU }),
			spread("%.1f %%", func(x row) float64 { return 100 * x.IdleCPU }),
			last.Sessions[0], last.Sessions[1], last.Goroutines[0], last.Goroutines[1],
			med("%.0f %%", func(x row) float64 { return 100 * x.Noise }))
	}
	b.WriteString("\n| attack | what became of the attackers, in the last round |\n|---|---|\n")
	for _, a := range s.attacks {
		xs := rows[a.name]
		fmt.Fprintf(&b, "| %s | %s |\n", a.name, xs[len(xs)-1].fates())
	}
	return b.String()
}

// brokenBounds names them. Of several rounds the median counts for times, and
// any round for what must never be.
func brokenBounds(s settings, rows map[string][]row) (broken []string) {
	for _, a := range s.attacks {
		xs := rows[a.name]
		median := func(f func(row) float64) float64 {
			var v []float64
			for _, x := range xs {
				v = append(v, f(x))
			}
			return stats.Of(v).Median
		}
		say := func(format string, args ...any) {
			broken = append(broken, a.name+": "+fmt.Sprintf(format, args...))
		}
		if r := median(row.ratio); r > mostRatio {
			say("honest p99 is %.1f times as long; %g is allowed", r, mostRatio)
		}
		if v := median(func(x row) float64 { return x.IdleCPU }); v > mostIdle {
			say("%.1f %% of a core afterwards; %g %% is allowed", 100*v, 100*mostIdle)
		}
		for i, x := range xs {
			if did, all := x.Outcome.Counts[a.done], int64(s.scale*float64(a.times)); did < all && !s.recommend {
				say("round %d: it was not the attack that it says: %s: %d, not %d", i+1, a.done, did, all)
			}
			if x.HeapPeak > a.heap {
				say("round %d: the heap had %d MiB; %d are allowed", i+1, x.HeapPeak/mib, a.heap/mib)
			}
			if x.Goroutines[1] > x.Goroutines[0]+spareRoutines {
				say("round %d: %d goroutines before, %d after", i+1, x.Goroutines[0], x.Goroutines[1])
			}
			if x.Sessions[1] != x.Sessions[0] {
				say("round %d: %d sessions before, %d after", i+1, x.Sessions[0], x.Sessions[1])
			}
			if x.lost() > 0 || x.closed() > 0 {
				say("round %d: honest clients lost %d deliveries and acks, and %d connections", i+1, x.lost(), x.closed())
			}
			for k, n := range x.Outcome.Counts {
				if strings.HasPrefix(k, surprise) {
					say("round %d: %s (%d times)", i+1, k, n)
				}
			}
		}
	}
	return broken
}
