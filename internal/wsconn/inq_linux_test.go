package wsconn

import (
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func inq(fd uintptr) int {
	on, _ := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, 36) // TCP_INQ
	return on
}

// canTell reports whether this kernel has TCP_INQ.
func canTell(t *testing.T) bool {
	t.Helper()
	if runtime.GOARCH == "386" || runtime.GOARCH == "s390x" {
		return false // raw_noinq.go
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	defer func() { _ = syscall.Close(fd) }()
	return syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, 36, 1) == nil
}
