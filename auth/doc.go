// Package auth tells a hub who is connecting, by JSON Web Tokens: those of an
// identity provider, or the service's own, which it makes, too.
//
// An [Authenticator] takes a token from "Authorization: Bearer" or from an
// HttpOnly cookie, checks signature, issuer, audience and times, and makes a
// [gohub.Identity] of its claims:
//
//	a, err := auth.New(auth.Config{
//		JWKS:     "https://login.example.com/.well-known/jwks.json",
//		Issuer:   "https://login.example.com/",
//		Audience: "chat",
//	})
//	hub, err := gohub.New(gohub.Config{Authenticator: a})
//
// [Logins] are handlers for a service with users of its own: login, refresh
// and logout, with refresh tokens that are good once. [CORS] lets pages of
// other origins in, by the same list as the hub's.
//
// What a token says of itself is not believed: a key is for one algorithm, and
// a header that names another, or brings a key along, gets nowhere. What is
// wrong with a token is told to the client in a few constant words; no token,
// cookie or secret, nor a part of one, is ever logged.
//
// Signatures and JWK are those of RFC 7515 and 7517, by
// github.com/lestrrat-go/jwx; claims those of RFC 7519; what is refused
// follows RFC 8725. Refresh tokens are rotated as RFC 9700, 4.14.2, has it.
//
// docs/auth.md in the repository has the how-to.
package auth
