package gohub_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// limitRow is a line of the table in docs/limits.md.
type limitRow struct{ limit, setBy, value, beyond, shownBy string }

// limitRows reads the table.
func limitRows(t *testing.T) (rows []limitRow) {
	t.Helper()
	text, err := os.ReadFile("docs/limits.md")
	require.NoError(t, err)
	_, table, found := strings.Cut(string(text), "\n| Limit |")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "\n\n")
	for _, line := range strings.Split(table, "\n")[2:] {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		require.Len(t, cells, 5, line)
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
			require.NotEmpty(t, cells[i], line)
		}
		rows = append(rows, limitRow{cells[0], cells[1], cells[2], cells[3], cells[4]})
	}
	return rows
}

var quoted = regexp.MustCompile("`([^`]+)`")

// declaredTests has the names of all tests and fuzz targets below here.
func declaredTests(t *testing.T) map[string]bool {
	t.Helper()
	tests := make(map[string]bool)
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(b, -1) {
			tests[string(m[1])] = true
		}
		return err
	}))
	return tests
}

func TestLimitsTableNamesTestsThatExist(t *testing.T) {
	t.Parallel()
	tests := declaredTests(t)
	for _, row := range limitRows(t) {
		named := quoted.FindAllStringSubmatch(row.shownBy, -1)
		require.NotEmpty(t, named, row.limit)
		for _, m := range named {
			require.Contains(t, tests, m[1], row.limit)
		}
	}
}

// Every number that a program can set is a limit, and is in the table with
// its default; and what the table names can be set.
func TestLimitsTableHasEveryField(t *testing.T) {
	t.Parallel()
	resolved, err := gohub.Resolved(gohub.Config{AllowAnonymous: true})
	require.NoError(t, err)
	fields := map[string]bool{}   // that exist
	numbers := map[string]int64{} // with their defaults
	for _, v := range []any{resolved, gohub.Rate{Frames: 100, Bytes: 1 << 20}, gohub.Identity{}, gohub.MemoryStoreOptions{
		PerRoom: 10_000, Bytes: 64 << 20, Rows: 250_000,
	}} {
		s := reflect.ValueOf(v)
		for i := range s.NumField() {
			name := s.Type().Name() + "." + s.Type().Field(i).Name
			fields[name] = true
			switch f := s.Field(i); {
			case f.CanInt():
				numbers[name] = f.Int()
			case f.CanFloat():
				numbers[name] = int64(f.Float())
			}
		}
	}
	require.Contains(t, numbers, "Config.PingInterval")
	delete(numbers, "Config.Weight") // a share, and no limit
	listed := map[string]bool{}
	for _, row := range limitRows(t) {
		for _, m := range quoted.FindAllStringSubmatch(row.setBy, -1) {
			if !strings.Contains(m[1], ".") {
				continue
			}
			require.Contains(t, fields, m[1], row.limit)
			if want, isNumber := numbers[m[1]]; isNumber && !listed[m[1]] {
				require.Equal(t, want, leadingNumber(t, row.value), "%s: %s", m[1], row.value)
			}
			listed[m[1]] = true
		}
	}
	for name := range numbers {
		require.Contains(t, listed, name)
	}
}

// leadingNumber reads "none", "1,024", "64 MiB" or "25 s" at the beginning.
func leadingNumber(t *testing.T, s string) int64 {
	t.Helper()
	if s == "none" {
		return 0
	}
	m := regexp.MustCompile(`^([\d,]+)(?: (KiB|MiB|min|s|ms)\b)?`).FindStringSubmatch(s)
	require.NotNil(t, m, s)
	n, err := strconv.ParseInt(strings.ReplaceAll(m[1], ",", ""), 10, 64)
	require.NoError(t, err)
	unit := map[string]int64{"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "s": int64(time.Second), "ms": int64(time.Millisecond), "min": int64(time.Minute)}
	return n * unit[m[2]]
}
