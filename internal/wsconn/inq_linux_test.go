package wsconn

import "syscall"

func inq(fd uintptr) int {
	on, _ := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, 36) // TCP_INQ
	return on
}
