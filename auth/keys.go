package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
)

// An Algorithm is how a key signs (RFC 7518). Those below are all there are.
type Algorithm string

// The algorithms, and the Go types of their keys. ES256 is the one to choose.
const (
	HS256 Algorithm = "HS256" // []byte of at least 32; whoever can check tokens can make them
	ES256 Algorithm = "ES256" // *ecdsa.PublicKey or *ecdsa.PrivateKey on P-256
	EdDSA Algorithm = "EdDSA" // ed25519.PublicKey or ed25519.PrivateKey
	RS256 Algorithm = "RS256" // *rsa.PublicKey or *rsa.PrivateKey of at least 2048 bits
	PS256 Algorithm = "PS256" // the same
)

// leastRSA is what RFC 7518 asks for, in bits.
const leastRSA = 2048

// A Key checks the tokens that name its ID and its Algorithm, and no others:
// what a token says of its algorithm selects nothing. With a private part, or
// as a secret, it signs, too.
//
// However it is printed or logged, a Key shows its ID and Algorithm alone.
type Key struct {
	// ID is the kid of the tokens that it is for. Tokens without one are
	// checked with all keys of their algorithm.
	ID string
	// Algorithm is what it signs with. Required.
	Algorithm Algorithm
	// Key is a value of one of the types that the Algorithm names.
	Key any
}

// Format prints the key without its secret.
func (k Key) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "%s key %q", k.Algorithm, k.ID) }

// MarshalText is Format for encoders and loggers.
func (k Key) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%s key %q", k.Algorithm, k.ID), nil
}

// A verifier is a Key made ready.
type verifier struct {
	id     string
	alg    Algorithm
	public any
	check  jws.Verifier
}

// verifier checks that k can be used, and says why not.
func (k Key) verifier() (*verifier, error) {
	v := &verifier{id: k.ID, alg: k.Algorithm}
	want := ""
	switch k.Algorithm {
	case HS256:
		want = "[]byte"
		if secret, ok := k.Key.([]byte); ok {
			if len(secret) < 32 {
				return nil, fmt.Errorf("its secret has %d bytes: the least is 32", len(secret))
			}
			v.public = secret
		}
	case ES256:
		want = "*ecdsa.PublicKey or *ecdsa.PrivateKey"
		public, _ := k.Key.(*ecdsa.PublicKey)
		if private, ok := k.Key.(*ecdsa.PrivateKey); ok && private != nil {
			public = &private.PublicKey
		}
		if public != nil {
			if public.Curve != elliptic.P256() {
				return nil, errors.New("its curve is not P-256")
			}
			if _, err := public.ECDH(); err != nil {
				return nil, errors.New("its point is not on the curve")
			}
			v.public = public
		}
	case EdDSA:
		want = "ed25519.PublicKey or ed25519.PrivateKey"
		public, _ := k.Key.(ed25519.PublicKey)
		if private, ok := k.Key.(ed25519.PrivateKey); ok && len(private) == ed25519.PrivateKeySize {
			public, _ = private.Public().(ed25519.PublicKey)
		}
		if len(public) == ed25519.PublicKeySize {
			v.public = public
		}
	case RS256, PS256:
		want = "*rsa.PublicKey or *rsa.PrivateKey"
		public, _ := k.Key.(*rsa.PublicKey)
		if private, ok := k.Key.(*rsa.PrivateKey); ok && private != nil {
			public = &private.PublicKey
		}
		if public != nil && public.N != nil {
			if bits := public.N.BitLen(); bits < leastRSA {
				return nil, fmt.Errorf("it has %d bits: the least is %d", bits, leastRSA)
			}
			v.public = public
		}
	default:
		return nil, fmt.Errorf("its Algorithm is %q: HS256, ES256, EdDSA, RS256 and PS256 are known", string(k.Algorithm))
	}
	if v.public == nil {
		return nil, fmt.Errorf("its Key is a %T that cannot be used: %s needs a %s", k.Key, k.Algorithm, want)
	}
	check, err := jws.NewVerifier(jwa.SignatureAlgorithm(k.Algorithm))
	v.check = check
	return v, err
}

// signs tells whether tokens can be made with k.
func (k Key) signs() bool {
	switch k.Key.(type) {
	case []byte, *ecdsa.PrivateKey, ed25519.PrivateKey, *rsa.PrivateKey:
		return true
	}
	return false
}

// mostTried bounds the work for a token without a kid.
const mostTried = 8

// matching gives the keys that may check a token which names alg and kid, and
// whether any key has that kid at all.
func matching(keys []*verifier, alg, kid string) (fit []*verifier, known bool) {
	for _, k := range keys {
		if kid != "" && k.id != kid {
			continue
		}
		known = true
		if string(k.alg) == alg && len(fit) < mostTried {
			fit = append(fit, k)
		}
	}
	return fit, known
}
