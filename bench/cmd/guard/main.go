// Command guard compares what benchmarks allocate with a committed baseline and
// fails where it has grown. It looks at allocations and bytes an operation and
// at no time, so that a busy machine makes no difference.
//
//	go test -run='^$' -bench=. -benchmem -benchtime=1000x -cpu=1 ./... | guard -baseline baseline.txt
//
// The baseline is such an output, as benchstat reads it too.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
)

func main() {
	path := flag.String("baseline", "baseline.txt", "output of go test -bench -benchmem to compare with")
	flag.Parse()
	if err := run(*path, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "guard:", err)
		os.Exit(1)
	}
}

func run(path string, in io.Reader, out io.Writer) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	old, err := read(f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	now, err := read(in)
	if err != nil {
		return err
	}
	grown := compare(old, now)
	for _, g := range grown {
		_, _ = fmt.Fprintln(out, g)
	}
	if len(grown) > 0 {
		return fmt.Errorf("%d of %d benchmarks differ from %s: mend them, or say why and run make bench-baseline", len(grown), len(now), path)
	}
	_, _ = fmt.Fprintf(out, "%d benchmarks allocate no more than %s says\n", len(now), path)
	return nil
}

// cost is what an operation allocates.
type cost struct{ allocs, bytes int64 }

// read takes the least of each benchmark's runs: what a run has above it is
// somebody else's, such as a pool that a collection had emptied.
func read(r io.Reader) (map[string]cost, error) {
	out := map[string]cost{}
	pkg := ""
	s := bufio.NewScanner(r)
	for s.Scan() {
		line := s.Text()
		if p, ok := strings.CutPrefix(line, "pkg: "); ok {
			pkg = p
		}
		if strings.HasPrefix(line, "FAIL") || strings.HasPrefix(line, "--- FAIL") {
			return nil, errors.New("a benchmark failed: " + line)
		}
		if !strings.HasPrefix(line, "Benchmark") {
			continue
		}
		f := strings.Fields(line)
		c := cost{-1, -1}
		for i := 3; i < len(f); i++ {
			var err error
			switch f[i] {
			case "allocs/op":
				c.allocs, err = strconv.ParseInt(f[i-1], 10, 64)
			case "B/op":
				c.bytes, err = strconv.ParseInt(f[i-1], 10, 64)
			}
			if err != nil {
				return nil, fmt.Errorf("%q: %w", line, err)
			}
		}
		if c.allocs < 0 || c.bytes < 0 {
			return nil, fmt.Errorf("%q: no allocations, is -benchmem missing?", line)
		}
		name := pkg + "." + f[0]
		if before, ok := out[name]; ok {
			c = cost{min(c.allocs, before.allocs), min(c.bytes, before.bytes)}
		}
		out[name] = c
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, errors.New("there is no benchmark in it")
	}
	return out, nil
}

// spare is how many bytes an operation may have more however few it had: what
// was allocated once and is divided by the number of operations.
const spare = 16

// compare lists what has grown by more than a tenth, and what is in one only.
// Of fewer than ten allocations one more is too many.
func compare(old, now map[string]cost) (grown []string) {
	names := maps.Clone(old)
	maps.Copy(names, now)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		before, had := old[name]
		after, has := now[name]
		switch {
		case !had:
			grown = append(grown, name+": not in the baseline")
		case !has:
			grown = append(grown, name+": only in the baseline")
		case after.allocs > before.allocs+before.allocs/10:
			grown = append(grown, fmt.Sprintf("%s: %d allocations an operation, %d before", name, after.allocs, before.allocs))
		case after.bytes > before.bytes+max(before.bytes/10, spare):
			grown = append(grown, fmt.Sprintf("%s: %d bytes an operation, %d before", name, after.bytes, before.bytes))
		}
	}
	return grown
}
