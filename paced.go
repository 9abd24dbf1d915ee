package gohub

import (
	"net"

	"github.com/gohub/gohub/internal/pace"
)

// PacedListener returns l for an [http.Server] that serves a hub and may be flooded:
//
//	l, err := net.Listen("tcp", ":8080")
//	...
//	server.Serve(gohub.PacedListener(l)) // or ServeTLS
//
// A hub lets what its sessions send go before new handshakes; but net/http
// reads and parses those, a burst of them in one go, before the hub knows of
// them. Behind this listener what a TCP connection brings waits until frames that
// came meanwhile have been read. That costs some microseconds a request, and
// nothing once a session has begun; other connections than TCP are as they
// were. A handler, ConnState or ConnContext that wants the [*net.TCPConn] finds
// it with NetConn, as beneath a [crypto/tls.Conn]. Time that is waited counts
// towards the server's deadlines.
func PacedListener(l net.Listener) net.Listener { return pace.Listener{Listener: l} }
