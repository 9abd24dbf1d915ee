//go:build unix

package redistest_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub/internal/redistest"
)

func TestCluster(t *testing.T) {
	c := redistest.NewCluster(t, 3, false)
	const key, slot = "{0}k", 13907
	_, err := c.Masters[0].Do("SET", key, "v")
	require.ErrorContains(t, err, "MOVED 13907 "+c.Masters[2].Addr())
	for _, k := range []string{key, "{0}other"} {
		_, err = c.Masters[2].Do("SET", k, "v")
		require.NoError(t, err)
	}
	require.NoError(t, c.Move(slot, c.Masters[2], c.Masters[0], func() {}))
	got, err := c.Masters[0].Do("EXISTS", key, "{0}other")
	require.NoError(t, err)
	assert.Equal(t, ":2", got)
}
