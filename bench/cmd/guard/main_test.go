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
pkg: example.org/hub
BenchmarkSubmit	500	2440.6 instrs/op
PASS
`

func TestGuard(t *testing.T) {
	path := filepath.Join(t.TempDir(), "baseline.txt")
	if err := os.WriteFile(path, []byte(baseline), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change []string // of the baseline: what is replaced by what
		want   string   // in the error or what is printed; empty: no error
	}{
		"the same":             {nil, ""},
		"slower":               {[]string{"4000 ns/op", "900000 ns/op"}, ""},
		"one noisy run":        {[]string{"700 B/op	       3", "9000 B/op	       30"}, ""},
		"an allocation more":   {[]string{"3 allocs", "4 allocs"}, "BenchmarkSubmit: 4 allocations an operation, 3 before"},
		"from none to one":     {[]string{"0 allocs/op\nBenchmarkPage", "1 allocs/op\nBenchmarkPage"}, "BenchmarkSend: 1 allocations"},
		"a tenth more of many": {[]string{"50 allocs", "55 allocs"}, ""},
		"more than that":       {[]string{"50 allocs", "56 allocs"}, "BenchmarkPage: 56 allocations"},
		"some bytes":           {[]string{" 0 B/op", " 16 B/op"}, ""},
		"more bytes":           {[]string{"10000 B/op", "11001 B/op"}, "BenchmarkPage: 11001 bytes an operation, 10000 before"},
		"fewer":                {[]string{"50 allocs", "5 allocs"}, ""},
		"gone":                 {[]string{"BenchmarkSend", "BenchmarkOther"}, "BenchmarkSend: its bytes are only in the baseline"},
		"a tenth more work":    {[]string{"2440.6", "2684.0"}, ""},
		"more work":            {[]string{"2440.6", "2685.0"}, "BenchmarkSubmit: 2685 instructions an operation, 2441 before"},
		"uncounted":            {[]string{"BenchmarkSubmit	500	2440.6 instrs/op", ""}, "BenchmarkSubmit: its instructions are only in the baseline"},
		"another processor":    {[]string{"2440.6", "9999", "amd64", "arm64"}, ""},
		"but no more garbage":  {[]string{"2440.6", "9999", "amd64", "arm64", "3 allocs", "4 allocs"}, "4 allocations"},
		"another compiler":     {[]string{"2440.6", "9999", "go1.26.1", "go1.27.0"}, "was made with go1.26.1 and this is go1.27.0"},
		"in another package":   {[]string{"example.org/hub", "example.org/other"}, "are not in the baseline"},
		"failed":               {[]string{"PASS", "FAIL"}, "a benchmark failed"},
		"without -benchmem":    {[]string{" 640 B/op	       3 allocs/op", ""}, "is -benchmem missing?"},
		"nothing":              {[]string{"Benchmark", "Test"}, "there is no benchmark in it"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			err := run(path, strings.NewReader(strings.NewReplacer(c.change...).Replace(baseline)), &out)
			if c.want == "" {
				if err != nil {
					t.Fatalf("%v\n%s", err, out.String())
				}
				return
			}
			if err == nil || !strings.Contains(err.Error()+out.String(), c.want) {
				t.Fatalf("%v\n%s\nwant %q", err, out.String(), c.want)
			}
		})
	}
}
