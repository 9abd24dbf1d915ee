// Command guard compares what benchmarks allocate, and how many instructions they
// take, with a committed baseline and fails where that has grown. It looks at no
// time, so that a busy machine makes no difference. Where instructions cannot be
// compared it says so; with GOHUB_REQUIRE_SERVICES=1, as in make test, it fails if
// Go is the reason.
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
	"go/version"
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
	left, why := 0, otherProcessor(old.config, now.config)
	if why != "" {
		left = old.forget(instructions)
		now.forget(instructions)
		_, _ = fmt.Fprintf(out, "NOT COMPARED: the instructions of %d benchmarks, only what they allocate: %s. Where they are compared, see docs/decisions/0025-guard.md\n", left, why)
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
	if was, is := minor(old.config["go"]), minor(now.config["go"]); was != is && os.Getenv("GOHUB_REQUIRE_SERVICES") == "1" {
		return fmt.Errorf("%s is of %s and this is %s: with a new Go run make bench-baseline", path, cmp.Or(was, "an unknown version of Go"), cmp.Or(is, "an unknown one"))
	}
	_, _ = fmt.Fprintf(out, "%d costs of benchmarks are no more than %s says\n", len(now.costs), path)
	if left > 0 {
		_, _ = fmt.Fprintf(out, "and %d were NOT COMPARED\n", left)
	}
	return nil
}

// minor is a version of Go without the patch.
func minor(v string) string { return cmp.Or(version.Lang(v), v) }

// otherProcessor says what makes instructions incomparable: other code, or
// another processor of valgrind's.
func otherProcessor(was, is map[string]string) string {
	for _, of := range []struct {
		key, name string
		same      func(string) string
	}{
		{"goarch", "the architecture", nil},
		{"go", "Go", minor},
		{"valgrind", "valgrind", nil},
		{"avx2", "AVX2", nil},
	} {
		a, b := was[of.key], is[of.key]
		if of.same != nil {
			a, b = of.same(a), of.same(b)
		}
		if a != b {
			return fmt.Sprintf("%s is %s here, and %s in the baseline", of.name, cmp.Or(b, "unknown"), cmp.Or(a, "unknown"))
		}
	}
	return ""
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
	config map[string]string // by keys, the last of each
	costs  map[cost]float64
}

// forget leaves a unit out, and says how many costs that were.
func (m measured) forget(unit string) int {
	before := len(m.costs)
	maps.DeleteFunc(m.costs, func(c cost, _ float64) bool { return c.unit == unit })
	return before - len(m.costs)
}

// keys are the lines of benchmarks' results that tell where they are from.
var keys = []string{"go", "goos", "goarch", "pkg", "cpu", "valgrind", "avx2"}

// read takes the least of each benchmark's runs: what a run has above it is
// somebody else's, such as a pool that a collection had emptied.
func read(r io.Reader) (measured, error) {
	m := measured{map[string]string{}, map[cost]float64{}}
	var said []string // of the package so far, that is no result: why it fails, if it does
	failed, empty := false, ""
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		line := s.Text()
		if key, value, ok := strings.Cut(line, ": "); ok && slices.Contains(keys, key) {
			m.config[key] = value
			continue
		}
		if strings.HasPrefix(line, "ok  \t") {
			said = nil
			continue
		}
		if strings.HasPrefix(line, "Benchmark") {
			found, err := m.take(line)
			if err != nil {
				return m, err
			}
			if found {
				continue
			}
			empty = cmp.Or(empty, line) // or it failed
		}
		said = append(said, line)
		failed = failed || strings.HasPrefix(line, "FAIL") || strings.Contains(line, "--- FAIL")
		if strings.HasPrefix(line, "FAIL\t") {
			break // that is all of the package
		}
	}
	switch {
	case s.Err() != nil:
		return m, s.Err()
	case failed:
		return m, errors.New("a benchmark failed:\n" + strings.Join(said, "\n"))
	case empty != "":
		return m, fmt.Errorf("%q: nothing to compare, is -benchmem missing?", empty)
	case len(m.costs) == 0:
		return m, errors.New("there is no benchmark in it")
	}
	return m, nil
}

// take takes a result and says whether there was something to compare in it.
func (m measured) take(line string) (found bool, err error) {
	f := strings.Fields(line)
	for i := 3; i < len(f); i++ {
		if _, ok := units[f[i]]; !ok {
			continue
		}
		v, err := strconv.ParseFloat(f[i-1], 64)
		if err != nil {
			return false, fmt.Errorf("%q: %w", line, err)
		}
		c := cost{m.config["pkg"] + "." + f[0], f[i]}
		if before, ok := m.costs[c]; ok {
			v = min(v, before)
		}
		m.costs[c], found = v, true
	}
	return found, nil
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
