package localtls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

const (
	caLife = 2 * 365 * 24 * time.Hour
	// caSpare is what must be left of it: whoever trusts a CA today should not
	// be asked again tomorrow.
	caSpare = 7 * 24 * time.Hour
)

// ownDir is where the CA of this package is.
func ownDir() (string, error) {
	config, err := os.UserConfigDir()
	return filepath.Join(config, "gohub-chat", "local-ca"), err
}

// Made gives the CA of this package by its certificate alone, for taking it out
// of stores: whatever has become of its key, and however soon it ends. It makes
// none. fs.ErrNotExist: there is none.
func Made() (*CA, error) {
	dir, err := ownDir()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "ca.pem")
	cert, err := readPEM(file, x509.ParseCertificate)
	if err != nil {
		return nil, err
	}
	return &CA{Cert: cert, File: file}, nil
}

// own is the CA of this package, made if there is none or it is about to end.
func own(now time.Time) (*CA, error) {
	dir, err := ownDir()
	if err != nil {
		return nil, err
	}
	certFile, keyFile := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca-key.pem")
	for range 2 {
		ca, err := load(certFile, keyFile, now.Add(caSpare))
		switch {
		case err == nil:
			return ca, private(keyFile)
		case errors.Is(err, errExpired):
			if err := os.RemoveAll(dir); err != nil {
				return nil, err
			}
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
		// Another process may be doing the same: then its CA is the one.
		if err := create(dir, now); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	return load(certFile, keyFile, now.Add(caSpare))
}

// private refuses a key that others on this machine can read: they could be
// any server here to whoever trusts the CA.
func private(keyFile string) error {
	info, err := os.Stat(keyFile)
	if err != nil || runtime.GOOS == "windows" { // whose modes say nothing
		return err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s has mode %o: others can read the key of a CA that your browsers may trust. First `chat trust -remove`, then remove its directory, and trust the new CA", keyFile, info.Mode().Perm())
	}
	return nil
}

// create makes a CA in dir, whole or not at all: a directory is renamed.
// fs.ErrExist: there is one.
func create(dir string, now time.Time) error {
	cert, key, err := newCA(now)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(filepath.Dir(dir), ".new-") // 0700
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temp) }()
	for name, block := range map[string]*pem.Block{
		"ca.pem":     {Type: "CERTIFICATE", Bytes: cert},
		"ca-key.pem": {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(filepath.Join(temp, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return os.Rename(temp, dir) // which fails on a directory that has something in it
}

// newCA makes a CA that can vouch for this machine only: should its key get
// lost, it is of no use for any other host, nor for mail or code.
func newCA(now time.Time) (der []byte, key *ecdsa.PrivateKey, err error) {
	key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, serials)
	if err != nil {
		return nil, nil, err
	}
	host, _ := os.Hostname()
	template := &x509.Certificate{
		SerialNumber: serial,
		// A name of its own, so that it can be found in a store and taken out.
		Subject: pkix.Name{
			Organization: []string{"gohub example chat"},
			CommonName:   strings.TrimSpace("gohub chat on "+host) + " " + rand.Text()[:8],
		},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(caLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true, // it makes no other CAs
		KeyUsage:              x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},

		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         []string{"localhost"},
		PermittedIPRanges: []*net.IPNet{
			{IP: net.IPv4(127, 0, 0, 1).To4(), Mask: net.CIDRMask(32, 32)},
			{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)},
		},
	}
	der, err = x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return der, key, err
}
