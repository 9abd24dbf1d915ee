package hubtest

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Expectations refuse types and fields that no frame has: these are those that
// docs/protocol.md has.
func TestAllOfTheProtocolMayBeExpected(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/protocol.md")
	require.NoError(t, err)
	_, frames, found := strings.Cut(string(page), "\n## 5. Server frames\n")
	require.True(t, found)
	frames, _, _ = strings.Cut(frames, "\n## 7.") // errors are 6
	seen := []string{}
	for _, block := range strings.Split(frames, "```json\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		f, err := decodeAny([]byte(block))
		require.NoError(t, err, block)
		fields := f.(map[string]any)
		typ := fields["type"].(string)
		seen = append(seen, typ)
		for name := range fields {
			_, err := wanted(typ, []any{name, 0})
			require.NoError(t, err, block)
		}
	}
	slices.Sort(seen)
	require.Equal(t, types, slices.Compact(seen))
}
