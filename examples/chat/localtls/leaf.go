package localtls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"sync"
	"time"
)

const (
	leafLife = 48 * time.Hour
	leafSlow = time.Hour // by how much the clock of a container may be behind
)

var serials = new(big.Int).Lsh(big.NewInt(1), 127)

// TLS is the configuration of a server on this machine. Its certificate, for
// localhost, 127.0.0.1 and ::1, is made when the first client comes, is
// nowhere but in memory, lasts two days, and is replaced when half of that is over.
func (ca *CA) TLS() *tls.Config {
	l := &leaf{ca: ca}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return l.get(time.Now()) }}
}

// leaf is the certificate of a server.
type leaf struct {
	ca *CA

	mu      sync.Mutex // guards what follows
	cert    *tls.Certificate
	replace time.Time
}

func (l *leaf) get(now time.Time) (*tls.Certificate, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cert != nil && now.Before(l.replace) {
		return l.cert, nil
	}
	cert, err := l.ca.issue(now)
	if err != nil {
		return nil, err
	}
	l.cert, l.replace = cert, now.Add(leafLife/2)
	return cert, nil
}

// issue makes a certificate for this machine.
func (ca *CA) issue(now time.Time) (*tls.Certificate, error) {
	return ca.sign(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "localhost"},
		NotBefore:   now.Add(-leafSlow),
		NotAfter:    now.Add(leafLife),
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	})
}

// sign makes a server's certificate, and its key, of a template.
func (ca *CA) sign(template *x509.Certificate) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, serials); err != nil {
		return nil, err
	}
	template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	template.BasicConstraintsValid = true
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Cert, key.Public(), ca.key)
	if err != nil {
		return nil, err
	}
	cert := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	cert.Leaf, err = x509.ParseCertificate(der)
	return cert, err
}
