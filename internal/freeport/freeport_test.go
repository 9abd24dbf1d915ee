package freeport_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub/internal/freeport"
)

func TestPick(t *testing.T) {
	seen := map[int]bool{}
	for range 50 {
		port, err := freeport.Pick()
		require.NoError(t, err)
		require.Less(t, port, 32_768, "the system gives it to others")
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
		require.NoError(t, err)
		defer l.Close()
		require.False(t, seen[port], "somebody listens there")
		seen[port] = true
	}
}
