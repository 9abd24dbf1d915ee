package main

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime/pprof"
	"strings"
	"syscall"
	"testing"

	"github.com/gohub/gohub/bench/internal/result"
)

// profiled writes a CPU profile with some samples in it.
func profiled(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := pprof.StartCPUProfile(f); err != nil {
		t.Fatal(err)
	}
	for end := used(t) + 150e6; used(t) < end; {
		_ = spin()
	}
	pprof.StopCPUProfile()
}

func used(t *testing.T) int64 {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return u.Utime.Nano()
}

// spin touches no memory: the race detector would be in the profile.
//
//go:noinline
func spin() (sum int) {
	for i := range 1_000_000 {
		sum ^= sum<<1 + i
	}
	return sum
}

func TestAccount(t *testing.T) {
	dir, profiles := filepath.Join(t.TempDir(), "out"), t.TempDir()
	profiled(t, profileOf(profiles, "fanout", "gohub", 0))
	for _, name := range []string{profileOf(profiles, "fanout", "gohub", 1), profileOf(profiles, "fanout", "floor-64", 0), profileOf(profiles, "comebacks", "gohub", 0)} {
		if err := os.Link(profileOf(profiles, "fanout", "gohub", 0), name); err != nil {
			t.Fatal(err)
		}
	}
	rec := func(scenario, server string, round int, r result.Run) record {
		return record{Scenario: scenario, Server: server, Round: round, Run: r}
	}
	err := account(t.Context(), dir, profiles, []record{
		rec("fanout", "gohub", 0, result.Run{Seconds: 1, ServerCPU: 4, ServerUser: 1, Delivered: 1e6, ServerWrites: 5e5}),
		rec("fanout", "floor-64", 0, result.Run{Seconds: 1, ServerCPU: 1, Delivered: 1e6, ServerWrites: 2e6}),
		rec("fanout", "gohub", 1, result.Run{Seconds: 1, ServerCPU: 6, ServerUser: 3, Delivered: 1e6, ServerWrites: 5e5}),
		rec("fanout", "floor-64", 1, result.Run{Seconds: 1, ServerCPU: 1, Delivered: 1e6, ServerWrites: 2e6}), // and it has no profile
		rec("comebacks", "gohub", 0, result.Run{Seconds: 1, ServerCPU: 1, Storm: &result.Storm{Conns: 1e4}}),
		rec("acks", "gohub", 0, result.Run{Seconds: 1, ServerCPU: 1, Sent: 1e5}),
		{Scenario: "tls", Server: "gohub", Error: "failed"},
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "account.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`\| \[fan-out flat out\]\(flame-fanout\.svg\), a delivery \| 5\.00 \(4\.00–6\.00\), 1\.00 \(1\.00–1\.00\) µs \| 5\.00 \(4\.00–6\.00\) \| 0\.50 \(0\.50–0\.50\), 2\.00 \(2\.00–2\.00\) \| 62 \(50–75\), 100 \(100–100\) % \| gohub/bench/cmd/bench \d\.\d\d µs(, [^,|]+ \d\.\d\d µs)* \(of [1-9]\d+ samples\) \|\n`,
		`\| \[reconnect storm\]\(flame-comebacks\.svg\), a join \| 100\.00 µs \| — \| 0\.00 \| 100 % \| gohub/bench/cmd/bench \d+\.\d\d µs`,
		`\| publish to ack, a message \| 10\.00 µs \|.* \| no profile \|\n`,
	} {
		if !regexp.MustCompile(want).Match(text) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "TLS") {
		t.Error("a row of what failed")
	}
	svg, err := os.ReadFile(filepath.Join(dir, "flame-fanout.svg"))
	if err != nil || !strings.Contains(string(svg), "CPU of gohub: fan-out flat out<") || !strings.Contains(string(svg), "cmd/bench.spin") {
		t.Errorf("%v\n%s", err, svg)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 3 {
		t.Errorf("%v, want account.md and two pictures: %v", files, err)
	}
}
