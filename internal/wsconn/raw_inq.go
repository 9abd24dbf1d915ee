//go:build linux && !386 && !s390x

package wsconn

import (
	"syscall"
	"unsafe"
)

// tcpInq is TCP_INQ (linux/tcp.h, Linux 4.18): each recvmsg tells how much is
// left to be read. Since 5.1 the peer's end counts; before, as in gVisor, the
// sweeper finds that.
const tcpInq = 36

// tellsMore has readFD know what else there is.
func tellsMore(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpInq, 1) }

// readFD reads what is there. tells: tellsMore was called; on a Unix socket it must
// not be, where room for what it tells would be filled with descriptors that
// the peer sends. more: there may be more to read, or the end.
func readFD(fd uintptr, p []byte, tells bool) (n int, more bool, err error) {
	var told struct {
		head syscall.Cmsghdr
		left int32
		_    int32
	}
	v := syscall.Iovec{Base: unsafe.SliceData(p)}
	v.SetLen(len(p))
	for {
		m := syscall.Msghdr{Iov: &v, Iovlen: 1}
		if tells {
			m.Control = (*byte)(unsafe.Pointer(&told))
			m.SetControllen(int(unsafe.Sizeof(told)))
		}
		r, _, errno := syscall.RawSyscall(syscall.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&m)), 0)
		switch errno {
		case 0:
			knows := m.Controllen > 0 && told.head.Level == syscall.IPPROTO_TCP && told.head.Type == tcpInq
			return int(r), !knows || told.left != 0, nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, false, syscall.EAGAIN
		default:
			return 0, false, errno
		}
	}
}
