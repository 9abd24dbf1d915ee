//go:build unix && (!linux || 386 || s390x)

package wsconn

import "syscall"

// tellsMore does nothing: readFD never knows what else there is.
func tellsMore(uintptr) {}

// readFD reads what is there. more: there may be more to read, or the end.
func readFD(fd uintptr, p []byte, _ bool) (n int, more bool, err error) {
	for {
		n, err := syscall.Read(int(fd), p) //nolint:gosec // a file descriptor
		if err != syscall.EINTR {
			return n, n > 0, err
		}
	}
}
