// Package localtls gives a development server a certificate that the browsers
// of this machine accept: of mkcert's CA, if there is one, or else of a CA of
// its own, which can vouch for this machine and for nothing else. It changes
// no trust by itself: see [Plan].
package localtls

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// A CA signs the certificates that [CA.TLS] makes.
type CA struct {
	// Cert is its certificate, and File where that is, in PEM.
	Cert *x509.Certificate
	File string
	// Mkcert tells that it is mkcert's: trusted, or not, by `mkcert -install`.
	Mkcert bool

	key crypto.Signer
}

// Find finds mkcert's CA, where mkcert itself looks for it: in $CAROOT, or in
// the directory that `mkcert -CAROOT` names by default. If it is not there, or
// there without its key, Find returns the CA of this package, which it makes if
// there is none: in gohub-chat/local-ca of the user's configuration directory,
// for nobody else to read.
func Find() (*CA, error) {
	ca, err := mkcert()
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return ca, err
	}
	return own(time.Now())
}

// mkcert loads its CA. fs.ErrNotExist: it has none here, or one that cannot sign.
func mkcert() (*CA, error) {
	dir := os.Getenv("CAROOT")
	asked := dir != ""
	if !asked {
		if dir = mkcertDir(); dir == "" {
			return nil, fs.ErrNotExist
		}
	}
	ca, err := load(filepath.Join(dir, "rootCA.pem"), filepath.Join(dir, "rootCA-key.pem"), time.Now())
	if err != nil {
		if asked { // so silence would hide a mistake
			return nil, fmt.Errorf("CAROOT: %w", noFallback{err})
		}
		return nil, err
	}
	ca.Mkcert = true
	return ca, nil
}

// noFallback hides that a file does not exist.
type noFallback struct{ error }

// mkcertDir is mkcert's own default; empty: this user has no home.
func mkcertDir() string {
	var dir string
	switch home, _ := os.UserHomeDir(); {
	case runtime.GOOS == "windows":
		dir = os.Getenv("LocalAppData")
	case os.Getenv("XDG_DATA_HOME") != "":
		dir = os.Getenv("XDG_DATA_HOME")
	case home == "":
	case runtime.GOOS == "darwin":
		dir = filepath.Join(home, "Library", "Application Support")
	default:
		dir = filepath.Join(home, ".local", "share")
	}
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "mkcert")
}

// load reads a CA that can sign at the time now.
func load(certFile, keyFile string, now time.Time) (*CA, error) {
	cert, err := readPEM(certFile, x509.ParseCertificate)
	if err != nil {
		return nil, err
	}
	private, err := readPEM(keyFile, x509.ParsePKCS8PrivateKey)
	if err != nil {
		return nil, err
	}
	key, ok := private.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s: a %T cannot sign", keyFile, private)
	}
	public, ok := cert.PublicKey.(interface {
		Equal(other crypto.PublicKey) bool
	})
	switch {
	case !ok || !public.Equal(key.Public()):
		return nil, fmt.Errorf("%s is not the key of %s", keyFile, certFile)
	case !cert.IsCA:
		return nil, fmt.Errorf("%s is no CA", certFile)
	case now.Before(cert.NotBefore) || now.After(cert.NotAfter):
		return nil, fmt.Errorf("%s: %w: from %s to %s", certFile, errExpired, cert.NotBefore.Format(time.DateOnly), cert.NotAfter.Format(time.DateOnly))
	}
	return &CA{Cert: cert, File: certFile, key: key}, nil
}

var errExpired = errors.New("not valid now")

// readPEM parses a file's first block. What parsing a key says does not name
// its bytes.
func readPEM[T any](file string, parse func(der []byte) (T, error)) (v T, err error) {
	b, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		return v, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return v, fmt.Errorf("%s is not PEM", file)
	}
	if v, err = parse(block.Bytes); err != nil {
		return v, fmt.Errorf("%s: %w", file, err)
	}
	return v, nil
}
