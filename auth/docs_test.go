package auth_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// docs/auth.md says which test shows what.
func TestDocsNameTestsThatExist(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*_test.go")
	require.NoError(t, err)
	exist := map[string]bool{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllSubmatch(b, -1) {
			exist[string(m[1])] = true
		}
	}
	b, err := os.ReadFile("../docs/auth.md")
	require.NoError(t, err)
	named := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllSubmatch(b, -1)
	require.Greater(t, len(named), 20)
	for _, m := range named {
		require.True(t, exist[string(m[1])], "%s", m[1])
	}
}
