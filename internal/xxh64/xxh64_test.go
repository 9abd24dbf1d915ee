package xxh64_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub/internal/xxh64"
)

func TestPublished(t *testing.T) {
	for in, want := range map[string]uint64{
		"":    0xef46db3751d8e999,
		"a":   0xd24ec4f1a98c6e5b,
		"abc": 0x44bc2cf5ad770999,
		"Nobody inspects the spammish repetition": 0xfbcea83c8a378bf1,
	} {
		require.Equal(t, want, xxh64.Sum(in), "%q", in)
	}
}

// Each length takes another way through the function. The sums of all of them
// were folded with github.com/cespare/xxhash/v2 v2.3.0 into the one below.
func TestLengths(t *testing.T) {
	in := make([]byte, 300)
	for i := range in {
		in[i] = byte(i*7 + 3)
	}
	var all strings.Builder
	for n := range len(in) + 1 {
		fmt.Fprintf(&all, "%016x", xxh64.Sum(string(in[:n])))
	}
	require.Equal(t, uint64(0xdf35938b336e4346), xxh64.Sum(all.String()))
}
