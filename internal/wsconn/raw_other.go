//go:build !unix

package wsconn

import "errors"

// rawReads is false where a socket cannot be tried without waiting; reads and
// writes then go through net.Conn, each write in a goroutine.
const rawReads = false

var errNoRaw = errors.New("not supported")

func tellsMore(uintptr)                               {}
func readFD(uintptr, []byte, bool) (int, bool, error) { return 0, false, errNoRaw }
func writeFD(uintptr, []byte) (int, error)            { return 0, errNoRaw }

// goneFD knows nothing.
func goneFD(uintptr) bool { return false }
