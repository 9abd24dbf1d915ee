package main

import (
	"strings"
	"testing"

	"github.com/gohub/gohub/bench/internal/result"
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
