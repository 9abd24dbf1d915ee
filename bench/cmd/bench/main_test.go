package main

import (
	"strings"
	"testing"

	"github.com/gohub/gohub/bench/internal/machine"
)

// Rounds of several builds, or short and long ones, are no median.
func TestRoundsOfAnotherBuildAreNotMixed(t *testing.T) {
	p, _ := planByName("rooms")
	b := func(commit string, quick bool) *runner {
		return &runner{
			settings: settings{quick: quick},
			here:     machine.Description{Commit: commit, Quick: quick},
			document: document{
				Machines: []machine.Description{{Commit: "old"}, {Commit: "new"}},
				Records:  []record{{Scenario: "joins", Of: 1}, {Scenario: "rooms", Of: 2}, {Scenario: "joins", Of: 1}},
			},
		}
	}
	if err := b("new", false).fits(p); err != nil {
		t.Error(err)
	}
	if err := b("newer", false).fits(p); err == nil || !strings.Contains(err.Error(), "commit new") {
		t.Errorf("another commit: %v", err)
	}
	if err := b("new", true).fits(p); err == nil {
		t.Error("a quick round went among whole ones")
	}
	r := b("newer", false)
	r.anew = true
	if err := r.fits(p); err != nil || len(r.Records) != 2 || r.Records[1].Scenario != "joins" {
		t.Errorf("anew: %v, %v", err, r.Records)
	}
}
