package main

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gohub/gohub/bench/internal/result"
)

func TestRoundsOfSeveralInvocationsMakeOneReport(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "new", "peers.json")
	run := func(cpu float64) result.Run { return result.Run{Seconds: 1, Delivered: 1e6, ServerCPU: cpu} }
	for round, cpu := range []float64{2, 4} {
		b := &runner{settings: settings{out: out}}
		if err := b.restore(); err != nil {
			t.Fatal(err)
		}
		if len(b.Records) != 2*round {
			t.Fatalf("%d records before round %d", len(b.Records), round)
		}
		b.describe()
		b.Machines[round].Commit, b.Machines[round].Time = fmt.Sprintf("abc%d", round), time.Date(2026, 11, 28, round, 0, 0, 0, time.UTC)
		b.Records = append(b.Records,
			record{Scenario: "paced-fanout", Server: "gohub", Round: round, Of: round + 1, Run: run(cpu), Noisy: round == 1, Noise: 0.4},
			record{Scenario: "paced-fanout", Server: "gws", Round: round, Of: round + 1, Run: run(2 * cpu)})
		if err := b.save(); err != nil {
			t.Fatal(err)
		}
	}
	b := &runner{settings: settings{out: out}}
	if err := b.restore(); err != nil {
		t.Fatal(err)
	}
	if err := report(dir, b.document); err != nil {
		t.Fatal(err)
	}
	tables, err := os.ReadFile(filepath.Join(dir, "tables.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"### (paced-fanout)", "| [paced-fanout](#paced-fanout-paced-fan-out-1-room--1000-at-80-broadcasts-a-second-nothing-to-batch): server CPU-s per million | **3.00** | — | — | 6.00 |", "| — | 2 |",
		"- rounds 1–1 of run 1, 2–2 of run 2\n", "| 3.00 (2.00–4.00) |", "were quiet: gohub 40 % in round 2",
	} {
		if !strings.Contains(string(tables), want) {
			t.Errorf("no %q in\n%s", want, tables)
		}
	}
	for _, want := range []string{"- run 1: commit abc0, 2026-11-28 00:00: [^\n]+; 1 rounds in 1 scenarios\n", "- run 2: commit abc1, 2026-11-28 01:00: [^\n]+; 1 rounds in 1 scenarios\n"} {
		if !regexp.MustCompile(want).Match(tables) {
			t.Errorf("no %q in\n%s", want, tables)
		}
	}
	svg, err := os.ReadFile(filepath.Join(dir, "paced-fanout.svg"))
	if err != nil || !strings.Contains(string(svg), "gohub 3.00 (2.00 to 4.00)") {
		t.Errorf("%v\n%s", err, svg)
	}
	if _, err := os.Stat(filepath.Join(dir, "members.svg")); err == nil {
		t.Error("a chart of what was not measured")
	}
}

// Bold is what holds in every round: the median alone may be the machine's.
func TestOnlyWhatIsAheadInEachRoundIsBold(t *testing.T) {
	m := metric{of: cpuPerMillion, digits: 1}
	records := func(of map[string][]float64) (out []record) {
		for _, name := range slices.Sorted(maps.Keys(of)) {
			for round, cpu := range of[name] {
				out = append(out, record{Scenario: "fanout", Server: name, Round: round, Run: result.Run{Seconds: 1, Delivered: 1e6, ServerCPU: cpu}})
			}
		}
		return out
	}
	for name, c := range map[string]struct {
		of   map[string][]float64
		want string
	}{
		"in each":                {map[string][]float64{"gohub": {1, 3, 5}, "gws": {2, 4, 6}, "floor-1": {.1, .1, .1}}, "gohub"},
		"another is":             {map[string][]float64{"gohub": {3, 3}, "gws": {2, 2}, "coder": {3, 3}}, "gws"},
		"but in one":             {map[string][]float64{"gohub": {1, 1, 5}, "gws": {2, 2, 4}}, ""},
		"equal in one":           {map[string][]float64{"gohub": {1, 2}, "gws": {2, 2}}, ""},
		"not of a third":         {map[string][]float64{"gohub": {1, 1}, "gws": {2, 2}, "coder": {2, .5}}, ""},
		"one round":              {map[string][]float64{"gohub": {1}, "gws": {2}}, ""},
		"nobody else":            {map[string][]float64{"gohub": {1, 1}, "floor-1": {2, 2}}, ""},
		"of who has no figure":   {map[string][]float64{"gohub": {math.NaN(), math.NaN()}, "gws": {2, 2}}, ""},
		"ahead of who has a few": {map[string][]float64{"gohub": {1, 1, 1}, "gws": {2, math.NaN(), 2}}, "gohub"},
	} {
		if got := ahead(records(c.of), m); got != c.want {
			t.Errorf("%s: %q is ahead, want %q", name, got, c.want)
		}
	}
	if text := summary(records(map[string][]float64{"gohub": {1, 1, 5}, "gws": {2, 2, 4}})); strings.Contains(text, "**") {
		t.Errorf("bold:\n%s", text)
	}
}

func TestGrowthIsOfPlansThatExist(t *testing.T) {
	for _, g := range growing {
		for _, n := range g.steps {
			if _, ok := planByName(n.plan); !ok {
				t.Errorf("no plan %s", n.plan)
			}
		}
	}
}

// The same command goes on where it was stopped, and at the end does nothing.
func TestResume(t *testing.T) {
	p := plan{name: "paced-fanout", servers: []string{"gohub"}}
	b := &runner{settings: settings{rounds: 2, resume: true}}
	for round := range 2 {
		b.Records = append(b.Records, record{Scenario: p.name, Server: "gohub", Round: round})
	}
	if records, err := b.scenario(t.Context(), p); err != nil || len(records) != 0 {
		t.Errorf("%d records, %v", len(records), err)
	}
}
