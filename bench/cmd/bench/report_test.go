package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

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
		if len(b.Records) != round {
			t.Fatalf("%d records before round %d", len(b.Records), round)
		}
		b.Records = append(b.Records, record{Scenario: "paced-fanout", Server: "gohub", Round: round, Run: run(cpu), Noisy: round == 1, Noise: 0.4})
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
		"### (paced-fanout)", "| [paced-fanout](#paced-fanout-paced-fan-out-1-room--1000-at-80-broadcasts-a-second-nothing-to-batch): server CPU-s per million | **3.00** | — |", "| — | 2 |", "| 3.00 (2.00–4.00) |", "were quiet: gohub 40 % in round 2",
	} {
		if !strings.Contains(string(tables), want) {
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
