package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const baseline = `go: go1.26.1
goos: linux
goarch: amd64
pkg: example.org/hub
BenchmarkSubmit    	    2000	      9000 ns/op	     700 B/op	       3 allocs/op
BenchmarkSubmit    	    2000	      4000 ns/op	     640 B/op	       3 allocs/op
BenchmarkSend      	    2000	      4000 ns/op	 100.5 MB/s	       0 B/op	       0 allocs/op
BenchmarkPage      	    2000	     90000 ns/op	   10000 B/op	      50 allocs/op
PASS
ok  	example.org/hub	1.2s
valgrind: 3.19.0
avx2: yes
pkg: example.org/hub
BenchmarkSubmit	500	2440.6 instrs/op
PASS
`

func TestGuard(t *testing.T) {
	t.Setenv("GOHUB_REQUIRE_SERVICES", "") // as in make test, which is another test's
	path := filepath.Join(t.TempDir(), "baseline.txt")
	if err := os.WriteFile(path, []byte(baseline), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change []string // of the baseline: what is replaced by what
		want   string   // in the error or what is printed with one; empty: no error
		says   string   // and in what is printed without one
	}{
		"the same":             {nil, "", ""},
		"slower":               {[]string{"4000 ns/op", "900000 ns/op"}, "", ""},
		"one noisy run":        {[]string{"700 B/op	       3", "9000 B/op	       30"}, "", ""},
		"an allocation more":   {[]string{"3 allocs", "4 allocs"}, "BenchmarkSubmit: 4 allocations an operation, 3 before", ""},
		"from none to one":     {[]string{"0 allocs/op\nBenchmarkPage", "1 allocs/op\nBenchmarkPage"}, "BenchmarkSend: 1 allocations", ""},
		"a tenth more of many": {[]string{"50 allocs", "55 allocs"}, "", ""},
		"more than that":       {[]string{"50 allocs", "56 allocs"}, "BenchmarkPage: 56 allocations", ""},
		"some bytes":           {[]string{" 0 B/op", " 16 B/op"}, "", ""},
		"more bytes":           {[]string{"10000 B/op", "11001 B/op"}, "BenchmarkPage: 11001 bytes an operation, 10000 before", ""},
		"fewer":                {[]string{"50 allocs", "5 allocs"}, "", ""},
		"gone":                 {[]string{"BenchmarkSend", "BenchmarkOther"}, "BenchmarkSend: its bytes are only in the baseline", ""},
		"a tenth more work":    {[]string{"2440.6", "2684.0"}, "", ""},
		"more work":            {[]string{"2440.6", "2685.0"}, "BenchmarkSubmit: 2685 instructions an operation, 2441 before", ""},
		"uncounted":            {[]string{"BenchmarkSubmit	500	2440.6 instrs/op", ""}, "BenchmarkSubmit: its instructions are only in the baseline", ""},
		"another processor":    {[]string{"2440.6", "9999", "amd64", "arm64"}, "", "the architecture is arm64 here, and amd64 in the baseline"},
		"but no more garbage":  {[]string{"2440.6", "9999", "amd64", "arm64", "3 allocs", "4 allocs"}, "4 allocations", ""},
		"another compiler":     {[]string{"2440.6", "9999", "go1.26.1", "go1.27.0"}, "", "NOT COMPARED: the instructions of 1 benchmarks, only what they allocate: Go is go1.27 here, and go1.26 in the baseline"},
		"which allocates more": {[]string{"3 allocs", "4 allocs", "go1.26.1", "go1.27.0"}, "was made with go1.26.1 and this is go1.27.0", ""},
		"that of today":        {[]string{"2440.6", "9999", "go1.26.1", "devel go1.27-3a1f"}, "", "Go is devel go1.27-3a1f here"},
		"a patch of it":        {[]string{"2440.6", "9999", "go1.26.1", "go1.26.9"}, "BenchmarkSubmit: 9999 instructions", ""},
		"another valgrind":     {[]string{"2440.6", "9999", "3.19.0", "3.25.1"}, "", "valgrind is 3.25.1 here, and 3.19.0 in the baseline"},
		"an old processor":     {[]string{"2440.6", "9999", "avx2: yes", "avx2: no"}, "", "AVX2 is no here, and yes in the baseline"},
		"not counted at all":   {[]string{"valgrind: 3.19.0\navx2: yes\n", "", "BenchmarkSubmit	500	2440.6 instrs/op", ""}, "", "valgrind is unknown here"},
		"in another package":   {[]string{"example.org/hub", "example.org/other"}, "are not in the baseline", ""},
		"failed":               {[]string{"PASS", "FAIL"}, "a benchmark failed:\nFAIL", ""},
		"without -benchmem":    {[]string{" 640 B/op	       3 allocs/op", ""}, "is -benchmem missing?", ""},
		"nothing":              {[]string{"Benchmark", "Test"}, "there is no benchmark in it", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			err := run(path, strings.NewReader(strings.NewReplacer(c.change...).Replace(baseline)), &out)
			if c.want == "" {
				if err != nil || !strings.Contains(out.String(), c.says) {
					t.Fatalf("%v\n%s\nwant %q", err, out.String(), c.says)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error()+out.String(), c.want) {
				t.Fatalf("%v\n%s\nwant %q", err, out.String(), c.want)
			}
		})
	}
}

// make test lets no other Go pass, which somebody who has it can mend, but any
// patch of it, and any processor.
func TestGuardWhereServicesAreRequired(t *testing.T) {
	path := filepath.Join(t.TempDir(), "baseline.txt")
	if err := os.WriteFile(path, []byte(baseline), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOHUB_REQUIRE_SERVICES", "1")
	for name, c := range map[string]struct {
		change []string
		want   string // in the error; empty: none
		says   string
	}{
		"another compiler": {[]string{"go1.26.1", "go1.27.0"}, "of go1.26 and this is go1.27", "NOT COMPARED"},
		"an unknown one":   {[]string{"go: go1.26.1\n", ""}, "is of go1.26 and this is an unknown one", "NOT COMPARED"},
		"a patch":          {[]string{"go1.26.1", "go1.26.9"}, "", "7 costs"},
		"an old processor": {[]string{"avx2: yes", "avx2: no"}, "", "and 1 were NOT COMPARED"},
		"another valgrind": {[]string{"3.19.0", "3.25.1"}, "", "and 1 were NOT COMPARED"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			err := run(path, strings.NewReader(strings.NewReplacer(c.change...).Replace(baseline)), &out)
			if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) || !strings.Contains(out.String(), c.says) {
				t.Fatalf("%v\n%s", err, out.String())
			}
		})
	}
}

// Whatever a package says until it has failed is the reason.
func TestWhyABenchmarkFailed(t *testing.T) {
	for name, c := range map[string]struct{ said, want string }{
		"a check": {
			"pkg: example.org/hub\nBenchmarkSubmit \t--- FAIL: BenchmarkSubmit\n    submit_test.go:12: 3 messages: want 4\nFAIL\nexit status 1\nFAIL\texample.org/hub\t0.1s\nFAIL\n",
			"submit_test.go:12: 3 messages: want 4",
		},
		"valgrind": {
			"instrs: exit status 1\npkg: example.org/hub\nvex amd64->IR: unhandled instruction bytes: 0xC5\nFAIL\texample.org/hub\t0.1s\nFAIL\n",
			"instrs: exit status 1\nvex amd64->IR: unhandled instruction bytes: 0xC5\n",
		},
		"a panic":        {"BenchmarkSubmit \tpanic: boom\n\ngoroutine 1 [running]:\nFAIL\texample.org/hub\t0.1s\n", "panic: boom\n\ngoroutine 1 [running]:"},
		"cut off":        {"--- FAIL: BenchmarkSubmit\n    submit_test.go:12: boom\n", "submit_test.go:12: boom"},
		"what was there": {"FAIL\texample.org/hub\t0.1s\n", "a benchmark failed:\nFAIL\texample.org/hub\t0.1s"}, // without what the other package said
	} {
		t.Run(name, func(t *testing.T) {
			said := strings.ReplaceAll(baseline, "PASS\nok", "a note\nPASS\nok")
			_, err := read(strings.NewReader(said[:strings.Index(said, "valgrind:")] + c.said))
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "a note") || strings.Contains(err.Error(), "B/op") {
				t.Fatalf("%v\nwant %q", err, c.want)
			}
		})
	}
}
