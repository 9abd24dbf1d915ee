//go:build unix && !linux

package wsconn

import "syscall"

const rawReads = true

func writeFD(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Write(int(fd), p)
		if err != syscall.EINTR {
			return n, err
		}
	}
}

// goneFD looks whether the next read would find the end, without reading.
func goneFD(fd uintptr) bool {
	var p [1]byte
	for {
		n, _, err := syscall.Recvfrom(int(fd), p[:], syscall.MSG_PEEK)
		if err != syscall.EINTR {
			return n == 0 && err == nil || err != nil && err != syscall.EAGAIN
		}
	}
}
