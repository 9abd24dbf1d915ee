package wsconn

import (
	"syscall"
	"unsafe"
)

const rawReads = true

// The sockets are non-blocking, so these return at once; RawSyscall spares
// telling the scheduler that the thread might block.

func writeFD(fd uintptr, p []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, syscall.EAGAIN
		default:
			return 0, errno
		}
	}
}

// goneFD looks for the end of what the peer sends behind whatever it has sent,
// without taking anything.
func goneFD(fd uintptr) bool {
	const (
		pollErr   = 0x8
		pollHup   = 0x10
		pollRdHup = 0x2000 // the peer has closed its side
	)
	p := struct {
		fd              int32
		events, revents int16
	}{fd: int32(fd), events: pollRdHup} //nolint:gosec // a file descriptor
	var now syscall.Timespec // does not wait
	for {
		_, _, errno := syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
		if errno != syscall.EINTR {
			return errno == 0 && p.revents&(pollErr|pollHup|pollRdHup) != 0
		}
	}
}
