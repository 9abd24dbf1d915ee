package gohub_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// docs/security.md says what stops each threat, and which test shows it: one of
// Go, or one of the browser's by its title.
func TestSecurityTableNamesTestsThatExist(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("docs/security.md")
	require.NoError(t, err)
	_, table, found := strings.Cut(string(b), "\n| Threat |")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "\n\n")
	rows := strings.Split(table, "\n")[2:]
	require.Greater(t, len(rows), 20)

	inGo := declaredTests(t)
	inBrowser := map[string]bool{}
	title := regexp.MustCompile(`(?m)^test\('((?:[^'\\]|\\.)+)',`)
	require.NoError(t, filepath.WalkDir("tests/browser", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "node_modules":
			return fs.SkipDir
		case !strings.HasSuffix(path, ".test.mjs"):
			return nil
		}
		b, err := os.ReadFile(path)
		for _, m := range title.FindAllSubmatch(b, -1) {
			inBrowser[string(m[1])] = true
		}
		return err
	}))
	words := regexp.MustCompile(`"([^"]+)"`)
	for _, row := range rows {
		cells := strings.Split(strings.Trim(row, "|"), "|")
		require.Len(t, cells, 3, row)
		named := quoted.FindAllStringSubmatch(cells[2], -1)
		titles := words.FindAllStringSubmatch(cells[2], -1)
		require.NotEmpty(t, append(named, titles...), row)
		for _, m := range named {
			require.Contains(t, inGo, m[1], row)
		}
		for _, m := range titles {
			require.Contains(t, inBrowser, m[1], row)
		}
	}
}
