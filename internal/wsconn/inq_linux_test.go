package wsconn

import (
	"net"
	"os"
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

// Descriptors that a peer on a Unix socket sends along are not taken.
func TestDescriptorsSentAlong(t *testing.T) {
	w := start(t, overUnix, options(), echo)
	p, _ := w.dial()
	held := func() int {
		t.Helper()
		fds, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(fds)
	}
	before := 0
	for i := range 50 {
		if i == 5 {
			before = held()
		}
		_, _, err := p.nc.(*net.UnixConn).WriteMsgUnix(clientText("message"), syscall.UnixRights(0, 0), nil)
		require.NoError(t, err)
		p.expect(opText, "message")
	}
	require.Less(t, held(), before+20)
}
