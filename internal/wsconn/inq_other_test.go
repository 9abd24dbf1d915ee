//go:build !linux

package wsconn

func inq(uintptr) int { return 0 }
