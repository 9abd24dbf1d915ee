// Command guard compares what benchmarks allocate, and how many instructions they
// take, with a committed baseline and fails where that has grown. It looks at no
// time, so that a busy machine makes no difference.
//
//	{ echo "go: $(go env GOVERSION)"
//	  go test -run='^$' -bench=. -benchmem -benchtime=1000x -cpu=1 ./...
//	  go test -run='^$' -bench=. -benchtime=500x -exec=instrs ./...; } | guard -baseline baseline.txt
//
// The baseline is such an output, as benchstat reads it too.
package main

import (
	"bufio"
	"cmp"
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
	path := flag.String("baseline", "baseline.txt", "output of go test -bench to compare with")
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
	if was, is := old.config["goarch"], now.config["goarch"]; was != is {
		_, _ = fmt.Fprintf(out, "instructions are not compared: these are %s's, those in %s are %s's\n", is, path, was)
		old.forget(instructions)
		now.forget(instructions)
	}
	grown := compare(old.costs, now.costs)
	for _, g := range grown {
		_, _ = fmt.Fprintln(out, g)
	}
	if was, is := old.config["go"], now.config["go"]; was != is {
		_, _ = fmt.Fprintf(out, "%s was made with %s and this is %s: what differs may be the compiler's\n", path, cmp.Or(was, "an unknown version of Go"), cmp.Or(is, "an unknown one"))
	}
	if len(grown) > 0 {
		return fmt.Errorf("%d of %d costs differ from %s: mend them, or say why and run make bench-baseline", len(grown), len(now.costs), path)
	}
	_, _ = fmt.Fprintf(out, "%d costs of benchmarks are no more than %s says\n", len(now.costs), path)
	return nil
}

// cost is a unit of a benchmark, such as B/op.
type cost struct{ benchmark, unit string }

const instructions = "instrs/op"

// units are what is compared, by how it is called, and how much of it an
// operation may have more however little it had: of bytes what was allocated
// once and is divided by the number of operations.
var units = map[string]struct {
	name  string
	spare float64
}{
	"allocs/op":  {"allocations", 0},
	"B/op":       {"bytes", 16},
	instructions: {"instructions", 0},
}

// measured is a file of benchmarks' results.
type measured struct {
	config map[string]string // such as goarch
	costs  map[cost]float64
}

func (m measured) forget(unit string) {
	maps.DeleteFunc(m.costs, func(c cost, _ float64) bool { return c.unit == unit })
}

// read takes the least of each benchmark's runs: what a run has above it is
// somebody else's, such as a pool that a collection had emptied.
func read(r io.Reader) (measured, error) {
	m := measured{map[string]string{}, map[cost]float64{}}
	s := bufio.NewScanner(r)
	for s.Scan() {
		line := s.Text()
		if strings.HasPrefix(line, "FAIL") || strings.HasPrefix(line, "--- FAIL") {
			return m, errors.New("a benchmark failed: " + line)
		}
		if !strings.HasPrefix(line, "Benchmark") {
			if key, value, ok := strings.Cut(line, ": "); ok {
				m.config[key] = value
			}
			continue
		}
		f, found := strings.Fields(line), false
		for i := 3; i < len(f); i++ {
			if _, ok := units[f[i]]; !ok {
				continue
			}
			v, err := strconv.ParseFloat(f[i-1], 64)
			if err != nil {
				return m, fmt.Errorf("%q: %w", line, err)
			}
			c := cost{m.config["pkg"] + "." + f[0], f[i]}
			if before, ok := m.costs[c]; ok {
				v = min(v, before)
			}
			m.costs[c], found = v, true
		}
		if !found {
			return m, fmt.Errorf("%q: nothing to compare, is -benchmem missing?", line)
		}
	}
	if err := s.Err(); err != nil {
		return m, err
	}
	if len(m.costs) == 0 {
		return m, errors.New("there is no benchmark in it")
	}
	return m, nil
}

// compare lists what has grown by more than a tenth, and what is in one only.
// Of fewer than ten allocations one more is too many.
func compare(old, now map[cost]float64) (grown []string) {
	all := maps.Clone(old)
	maps.Copy(all, now)
	sorted := slices.SortedFunc(maps.Keys(all), func(a, b cost) int {
		return cmp.Or(strings.Compare(a.benchmark, b.benchmark), strings.Compare(a.unit, b.unit))
	})
	for _, c := range sorted {
		before, had := old[c]
		after, has := now[c]
		unit := units[c.unit]
		switch {
		case !had:
			grown = append(grown, c.benchmark+": its "+unit.name+" are not in the baseline")
		case !has:
			grown = append(grown, c.benchmark+": its "+unit.name+" are only in the baseline")
		case after > before+max(before/10, unit.spare):
			grown = append(grown, fmt.Sprintf("%s: %.0f %s an operation, %.0f before", c.benchmark, after, unit.name, before))
		}
	}
	return grown
}
