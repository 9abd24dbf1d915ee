package gohub

import (
	"net"

	"github.com/gohub/gohub/internal/pace"
)

// PaceAccept is l, whose Accept lets frames that have come be read before it
// goes on to the next of many new connections. Without it a burst of them holds
// up the messages of all sessions for as long as it takes to answer the last.
//
//	l, err := net.Listen("tcp", ":8080")
//	…
//	err = server.Serve(gohub.PaceAccept(l)) // or ServeTLS
//
// It refuses nobody and waits for no time of its own: about 2 µs after each
// 150 µs, so that a process still accepts as many a second as before. What the
// hub does for its sessions is paced without it.
func PaceAccept(l net.Listener) net.Listener { return pacedListener{l} }

type pacedListener struct{ net.Listener }

func (l pacedListener) Accept() (net.Conn, error) {
	pace.Yield()
	return l.Listener.Accept()
}
