package wsconn

import (
	"net"
	"syscall"
)

// Gone reports whether the peer is known to be gone: it has closed its side, or
// the connection is broken. A client that does so before anything was said has
// given up, as one does that has waited too long.
//
// On Linux a peer that has closed its side is known to have done so however
// much it had sent before. On other Unix systems it is once all of that has been
// read, so not under TLS, which says goodbye first; elsewhere nothing is known. Nor
// is it anywhere of a peer whose network went away without a word.
func (c *Conn) Gone() bool {
	nc := c.nc
	for {
		if s, ok := nc.(syscall.Conn); ok {
			raw, err := s.SyscallConn()
			gone := false
			if err == nil {
				err = raw.Control(func(fd uintptr) { gone = goneFD(fd) })
			}
			return gone || err != nil
		}
		outer, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return false
		}
		nc = outer.NetConn()
	}
}
