package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func dumps(t *testing.T, windows ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i, w := range windows {
		why, sum, _ := strings.Cut(w, " ")
		text := fmt.Sprintf("version: 1\ndesc: Trigger: --dump-x=testing.(*B).%s\n\nfn=(1) f\n+1 5\ntotals: %s\n", why, sum)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("counts.", i+1)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const printed = "goos: linux\npkg: example.org/hub\nBenchmarkA    \t 500\t  100 ns/op\t 3 B/op\nBenchmarkB/b=1 \t 1000\t 7 ns/op\nPASS\n"

func TestCountsTakeTheTimesPlace(t *testing.T) {
	// The timer of B starts twice, and stops again when it has stopped.
	dir := dumps(t, "StartTimer 9999", "StopTimer 5000", "StartTimer 8888", "StartTimer 7777", "StopTimer 2500", "StopTimer 66")
	counts, err := read(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := rewrite(strings.NewReader(printed), counts, &out); err != nil {
		t.Fatal(err)
	}
	want := "goos: linux\npkg: example.org/hub\nBenchmarkA\t500\t10.0 instrs/op\nBenchmarkB/b=1\t1000\t2.5 instrs/op\nPASS\n"
	if out.String() != want {
		t.Fatalf("%s\nwant\n%s", out.String(), want)
	}
}

func TestWindowsThatAreNoBenchmarkAreNotGuessedAt(t *testing.T) {
	for _, n := range []int{1, 3} {
		err := rewrite(strings.NewReader(printed), make([]int64, n), new(strings.Builder))
		if err == nil || !strings.Contains(err.Error(), "without b.Loop") {
			t.Errorf("%d windows for two benchmarks: %v", n, err)
		}
	}
}

func TestNotADump(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "counts.1"), []byte("oops\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := read(dir); err == nil {
		t.Fatal("read")
	}
}
