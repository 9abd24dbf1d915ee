// Command instrs runs a test program under valgrind and says of each of its
// benchmarks how many instructions an operation takes, in place of how long.
// The processor is valgrind's, so that the count is the same on a busy machine,
// and on another one with the same valgrind, to a few percent. Which valgrind, and
// whether its processor has AVX2, for which Go has other code, stand before the results.
//
//	go test -run='^$' -bench=. -benchtime=500x -exec=instrs ./...
//
// Benchmarks must loop with b.Loop: what is counted is what lies between the
// timer's start and its stop.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/cpu"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: go test -exec=instrs ...")
		os.Exit(2)
	}
	if os.Args[1] == features {
		fmt.Println("avx2: " + map[bool]string{true: "yes", false: "no"}[cpu.X86.HasAVX2])
		return
	}
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "instrs:", err)
		os.Exit(1)
	}
}

// features is the argument with which this program, itself under valgrind, says
// what valgrind's processor has.
const features = "-features"

func run(argv []string, out io.Writer) error {
	dir, err := os.MkdirTemp("", "gohub-instrs-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	processor, err := describe()
	if err != nil {
		return err
	}
	cmd := valgrind(append([]string{
		"--tool=callgrind", "--callgrind-out-file=" + filepath.Join(dir, "counts"),
		"--dump-after=" + starts, "--dump-before=" + stops,
	}, argv...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w\n%s%s", err, &stdout, &stderr)
	}
	counts, err := read(dir)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(out, processor); err != nil {
		return err
	}
	return rewrite(&stdout, counts, out)
}

// valgrind runs a program with one thread and no collection, so that nobody else's
// work is counted. It says that its processor has rdtscp, and stumbles over it where
// the real one has not.
func valgrind(args ...string) *exec.Cmd {
	cmd := exec.Command("valgrind", append([]string{"-q", "--vgdb=no"}, args...)...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=off", "GODEBUG=asyncpreemptoff=1,cpu.rdtscp=off")
	return cmd
}

// describe says whose counts these are, in lines of the benchmarks' format.
func describe() (string, error) {
	version, err := exec.Command("valgrind", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("valgrind --version: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	var stderr bytes.Buffer
	cmd := valgrind("--tool=none", self, features)
	cmd.Stderr = &stderr
	has, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, &stderr)
	}
	return "valgrind: " + strings.TrimPrefix(strings.TrimSpace(string(version)), "valgrind-") + "\n" + string(has), nil
}

// Where valgrind writes down what it has counted since it last did.
const (
	starts = "testing.(*B).StartTimer"
	stops  = "testing.(*B).StopTimer"
)

// read gives the instructions between each start of the timer and a stop that
// is next: of the benchmarks in their order.
func read(dir string) (counts []int64, err error) {
	started := false
	for i := 1; ; i++ {
		f, err := os.Open(filepath.Join(dir, "counts."+strconv.Itoa(i)))
		if errors.Is(err, os.ErrNotExist) {
			return counts, nil
		}
		if err != nil {
			return nil, err
		}
		why, n, err := dump(f)
		_ = f.Close()
		if err != nil {
			return nil, err
		}
		if started && strings.Contains(why, stops) {
			counts = append(counts, n)
		}
		started = strings.Contains(why, starts)
	}
}

// dump is one file of callgrind's: what it was written for, and the sum.
func dump(r io.Reader) (why string, n int64, err error) {
	n = -1
	s := bufio.NewScanner(r)
	for s.Scan() {
		if v, ok := strings.CutPrefix(s.Text(), "desc: Trigger: "); ok {
			why = v
		}
		if v, ok := strings.CutPrefix(s.Text(), "totals: "); ok {
			if n, err = strconv.ParseInt(v, 10, 64); err != nil {
				return "", 0, err
			}
		}
	}
	if why == "" || n < 0 {
		return "", 0, errors.Join(s.Err(), errors.New("this is not what callgrind writes"))
	}
	return why, n, s.Err()
}

// rewrite is the benchmarks' output with counts for times.
func rewrite(in io.Reader, counts []int64, out io.Writer) error {
	var lines []string
	seen := 0
	s := bufio.NewScanner(in)
	for s.Scan() {
		line := s.Text()
		if f := strings.Fields(line); len(f) > 3 && strings.HasPrefix(line, "Benchmark") && strings.Contains(line, " ns/op") {
			n, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				return fmt.Errorf("%q: %w", line, err)
			}
			if seen < len(counts) {
				line = fmt.Sprintf("%s\t%d\t%.1f instrs/op", f[0], n, float64(counts[seen])/float64(n))
			}
			seen++
		}
		lines = append(lines, line)
	}
	// A benchmark without b.Loop has more windows than one, and so has one of whose parts none is picked.
	if seen != len(counts) {
		return fmt.Errorf("%d benchmarks and %d windows in which the timer ran: is one without b.Loop?\n%s", seen, len(counts), strings.Join(lines, "\n"))
	}
	for _, line := range lines {
		_, _ = fmt.Fprintln(out, line)
	}
	return s.Err()
}
