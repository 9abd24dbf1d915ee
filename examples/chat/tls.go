package main

import (
	"crypto/tls"
	"fmt"
	"net"

	"github.com/gohub/gohub/examples/chat/localtls"
)

// tlsConfig is what the flags ask for; nil: plain HTTP. The advice is for a
// person at a terminal.
func tlsConfig(conf config) (c *tls.Config, advice string, err error) {
	switch {
	case conf.cert != "":
		pair, err := tls.LoadX509KeyPair(conf.cert, conf.key)
		if err != nil {
			return nil, "", fmt.Errorf("-cert and -key: %w", err)
		}
		return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}, "", nil
	case !conf.tls:
		return nil, "", nil
	}
	ca, err := localtls.Find()
	if err != nil {
		return nil, "", fmt.Errorf("-tls: %w", err)
	}
	advice = "Browsers warn of the certificate until they trust the CA that made it, " + ca.File +
		".\n`chat trust` has them do so, and says what it changes.\n"
	if ca.Mkcert {
		advice = "The certificate is of mkcert's CA. If browsers warn of it: `mkcert -install`.\n"
	}
	return ca.TLS(), advice, nil
}

// isLocal tells whether a certificate for this machine alone will do for who
// connects to an address.
func isLocal(addr string) bool {
	host, _, _ := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return host == "" || host == "localhost" || ip.Equal(net.IPv4(127, 0, 0, 1)) || ip.Equal(net.IPv6loopback) || ip.IsUnspecified()
}
