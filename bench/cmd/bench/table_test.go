package main

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gohub/gohub/bench/internal/result"
	"github.com/gohub/gohub/bench/internal/stats"
)

func TestRatiosAreTakenWithinARound(t *testing.T) {
	rec := func(server string, round int, cpu float64) record {
		return record{Server: server, Round: round, Run: result.Run{Seconds: 1, Delivered: 1e6, ServerCPU: cpu}}
	}
	records := []record{
		rec("hub", 0, 2), rec("floor", 0, 1),
		rec("hub", 1, 30), rec("floor", 1, 10), // a slow moment for both
		{Server: "hub", Round: 2, Error: "failed"},
		rec("floor", 2, 1),
	}
	m := metric{name: "cpu", of: cpuPerMillion, digits: 1, ratio: true, target: "≤1.3"}
	got := ratios(records, "hub", "floor", m)
	if len(got) != 2 || got[0] != 2 || got[1] != 3 {
		t.Errorf("ratios %v", got)
	}
	m.by = func(r result.Run) float64 { return perS(r.Delivered, r) }
	if got := ratios(records, "hub", "floor", m); len(got) != 2 || got[0] != 2e-6 || got[1] != 30e-6 {
		t.Errorf("ratios by another figure %v", got)
	}
	m.by = nil
	text := table(plan{name: "x", floor: "floor", metrics: []metric{m}}, records)
	for _, want := range []string{"| hub | 16.0 (2.0–30.0) | 2.50 (2.00–3.00) |", "| floor | 1.0 (1.0–10.0) |", "failed: failed", "≤1.3"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestNoisyRoundsCountOnlyWhereFewAreQuiet(t *testing.T) {
	var records []record
	add := func(noisy bool, cpu float64) {
		records = append(records, record{Server: "hub", Round: len(records), Noisy: noisy, Run: result.Run{Seconds: 1, Delivered: 1e6, ServerCPU: cpu}})
	}
	m := metric{of: cpuPerMillion}
	add(false, 1)
	add(true, 9)
	add(false, 2)
	if got := values(records, "hub", m); len(got) != 3 {
		t.Errorf("with two quiet rounds %v are quoted, want all", got)
	}
	add(false, 3)
	if got := values(records, "hub", m); len(got) != 3 || got[0] != 1 || got[1] != 2 || got[2] != 3 {
		t.Errorf("with three quiet rounds %v are quoted, want those", got)
	}
}

func TestPlansNameServersThatExist(t *testing.T) {
	for _, p := range plans {
		for _, name := range p.servers {
			if _, ok := serverByName(name); !ok {
				t.Errorf("%s: no server %q", p.name, name)
			}
		}
	}
}

func TestWhatIsMissingIsNotTheLeast(t *testing.T) {
	run := func(peak int64, gone float64, acks int) result.Run {
		return result.Run{RSSPeak: peak, Ack: stats.Latency{P50: 7, N: acks}, Stalled: &result.Stalled{Members: 2, GoneAfter: gone, RSSBefore: 1e6, RSSMax: peak}}
	}
	records := []record{
		{Server: "hub", Round: 0, Run: run(9e6, 5, 1)},
		{Server: "hub", Round: 1, Run: run(0, 0, 0)}, // it did not answer, let nobody go and acked nothing
		{Server: "hub", Round: 2, Run: run(9e6, 6, 1)},
		{Server: "other", Round: 0, Run: run(0, 0, 0)},
		{Server: "other", Round: 2, Run: run(0, 0, 1)},
	}
	p := plan{floor: "hub", metrics: []metric{peak, {name: "ack", of: ackP50, ratio: true}, slowOnes[3], slowOnes[4], joins[0]}}
	text := table(p, records)
	for _, want := range []string{
		"| hub | 9 (9–9) | 7 (7–7) | 1.00 (1.00–1.00) | 6.0 (5.0–never) | 8 (8–8) | — |",
		"| other | — | 7 | 1.00 | never (never–never) | — | — |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if got := line(p, records[3]); !strings.Contains(got, "peak RSS MB —") || !strings.Contains(got, "never") {
		t.Error(got)
	}
	for _, m := range slices.Concat(slowOnes, joins, missed, resident, []metric{median, tail, peak}) {
		if got := m.of(result.Run{}); !math.IsNaN(got) {
			t.Errorf("%s of nothing is %v", m.name, got)
		}
	}
}

func TestWindowsAreSaid(t *testing.T) {
	records := []record{
		{Server: "hub", Run: result.Run{Seconds: 2.1, Window: 2, Warm: 1}},
		{Server: "slow", Run: result.Run{Seconds: 4.5, Window: 2, Warm: 1}},
	}
	if text := table(plan{title: "x"}, records[:1]); !strings.Contains(text, "x\n\nWindow 2 s after 1 s of traffic.\n\n| server |") {
		t.Error(text)
	}
	if text := windows(records); !strings.Contains(text, "which busy ones do late: slow 4.5.\n") || strings.Contains(text, "hub") {
		t.Error(text)
	}
	if text := windows([]record{{Server: "idle"}, {Server: "failed", Error: "x", Run: result.Run{Window: 2}}}); text != "" {
		t.Error(text)
	}
}

func TestAPlanIsPinned(t *testing.T) {
	for name, pinned := range map[string]bool{"quiet-room": true, "fanout": false} {
		p, _ := planByName(name)
		if server, client := (&runner{}).places(p); (server.CPU == "0" && client.CPU == "1") != pinned {
			t.Errorf("%s: server on %q, load on %q", name, server.CPU, client.CPU)
		}
	}
	if server, client := (&runner{settings: settings{pin: true}}).places(plan{}); server.CPU != "0" || client.CPU != "1" {
		t.Error("-pin does not pin")
	}
}
