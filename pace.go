package gohub

import (
	"net"

	"github.com/gohub/gohub/internal/pace"
)

type pacedListener struct{ net.Listener }

func PaceAccept(l net.Listener) net.Listener { return pacedListener{l} }

func (l pacedListener) Accept() (net.Conn, error) {
	pace.Yield()
	return l.Listener.Accept()
}
