// Package tokens is how the measured server tells tokens apart, and how those
// who attack it make some. The key is known to both, so it protects nothing.
package tokens

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"

	"github.com/gohub/gohub/auth"
)

// KeyID is the kid of the server's key.
const KeyID = "2026-11"

// New makes an Authenticator with an ES256 key called kid that is made of
// seed: the same one for the same seed. The server's is New(KeyID, KeyID).
func New(kid, seed string) (*auth.Authenticator, error) {
	scalar := sha256.Sum256([]byte(seed))
	scalar[0] = 0 // below the order of the curve
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar[:])
	if err != nil {
		return nil, err
	}
	return auth.New(auth.Config{
		Keys:   []auth.Key{{ID: kid, Algorithm: auth.ES256, Key: key}},
		Issuer: "https://login.example.com", Audience: "bench",
	})
}
