package wsconn

import (
	"net"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whoever sends a long frame writes the first 64 KiB of it: the rest is its own
// goroutine's, which makes room for others between pieces.
func TestSendWritesNoMoreThanAPart(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that it does not run meanwhile
	w := start(t, overTCP, options(), echo)
	p, s := w.dial()
	require.NoError(t, p.nc.(*net.TCPConn).SetReadBuffer(4<<20))
	long := text(filler(300 << 10))
	for range 10 { // it does all the same where this goroutine is stopped for long
		s.Send(long, false, nil)
		left := s.Waiting()
		p.expect(opText, filler(300<<10))
		if left == len(long)-joinSize {
			return
		}
		eventually(t, "it has ended", func() bool { return s.Waiting() == 0 })
	}
	t.Fatal("never was the rest left")
}
