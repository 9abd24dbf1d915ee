package auth

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/gohub/gohub"
)

// What clients are told. None says more of a token than what is wrong with
// it, and all are constant, so that none can end up in a log with a part of
// the token.
var (
	errNoToken   = refused("no token: log in first")
	errTwoTokens = refused("more than one token")
	errTooLarge  = refused("the token is too large")
	errMalformed = refused("the token is malformed")
	errKey       = refused("the token's key is unknown")
	errAlgorithm = refused("the token's algorithm is not its key's")
	errSignature = refused("the token's signature is wrong")
	errKind      = refused("this is another kind of token")
	errExpired   = refused("the token has expired")
	errEarly     = refused("the token is not valid yet")
	errIssuer    = refused("the token is another issuer's")
	errAudience  = refused("the token is for another audience")
	errClaims    = refused("a claim of the token cannot be used here")
	errUser      = refused("the token's user id cannot be used here")

	errKeysAway = &gohub.Error{Code: gohub.CodeUnavailable, Message: "the keys for tokens cannot be had right now", RetryAfter: fetchAgain}
)

func refused(why string) *gohub.Error {
	return &gohub.Error{Code: gohub.CodeUnauthorized, Message: why}
}

// segment is how a token's parts are written: RFC 7515, appendix C, and
// nothing else for the same bytes.
var segment = base64.RawURLEncoding.Strict()

// A header is what is read of a token's. All else in it, such as jku, x5u, x5c
// and jwk, which bring keys along, is ignored.
type header struct {
	Alg  string          `json:"alg"`
	Kid  string          `json:"kid,omitempty"`
	Typ  string          `json:"typ,omitempty"`
	Crit json.RawMessage `json:"crit,omitempty"`
}

// A parsed token is one whose signature has not been looked at yet.
type parsed struct {
	header    header
	payload   string // base64
	signed    string // what the signature is for
	signature []byte
}

// parse takes a compact JWS apart.
func parse(token string) (parsed, *gohub.Error) {
	var p parsed
	head, rest, ok := strings.Cut(token, ".")
	payload, sig, more := strings.Cut(rest, ".")
	if !ok || !more || strings.ContainsAny(token, "\r\n") { // which base64 passes over
		return p, errMalformed
	}
	raw, err := segment.DecodeString(head)
	if err != nil || json.Unmarshal(raw, &p.header) != nil {
		return p, errMalformed
	}
	if p.signature, err = segment.DecodeString(sig); err != nil {
		return p, errMalformed
	}
	p.payload, p.signed = payload, token[:len(head)+1+len(payload)]
	if p.header.Crit != nil { // it must be understood, RFC 7515 4.1.11, and nothing is
		return p, errMalformed
	}
	// An issuer signs other things, too: logout tokens, proofs of possession.
	switch strings.TrimPrefix(strings.ToLower(p.header.Typ), "application/") {
	case "", "jwt", "at+jwt":
		return p, nil
	}
	return p, errKind
}

// claims gives the claims of a token that is good at this time.
func (a *Authenticator) claims(ctx context.Context, token string) (map[string]any, time.Time, *gohub.Error) {
	if len(token) > a.cfg.MaxToken {
		return nil, time.Time{}, errTooLarge
	}
	p, refusal := parse(token)
	if refusal != nil {
		return nil, time.Time{}, refusal
	}
	keys, refusal := a.keysFor(ctx, p.header)
	if refusal != nil {
		return nil, time.Time{}, refusal
	}
	good := false
	for _, k := range keys {
		if good = k.check.Verify([]byte(p.signed), p.signature, k.public) == nil; good {
			break
		}
	}
	if !good {
		return nil, time.Time{}, errSignature
	}
	raw, err := segment.DecodeString(p.payload)
	if err != nil || !utf8.Valid(raw) { // else two byte strings could be one claim
		return nil, time.Time{}, errMalformed
	}
	var claims map[string]any
	if json.Unmarshal(raw, &claims) != nil {
		return nil, time.Time{}, errMalformed
	}
	expires, refusal := a.valid(claims)
	return claims, expires, refusal
}

// keysFor finds the keys that may check a token with such a header.
func (a *Authenticator) keysFor(ctx context.Context, h header) ([]*verifier, *gohub.Error) {
	fit, known := matching(a.keys, h.Alg, h.Kid)
	if len(fit) > 0 && (h.Kid != "" || a.remote == nil) {
		return fit, nil
	}
	if a.remote != nil && !(known && h.Kid != "") {
		more, found, err := a.remote.find(ctx, h.Alg, h.Kid)
		if err != nil && len(fit) == 0 {
			return nil, err
		}
		fit, known = append(fit, more...), known || found
	}
	switch {
	case len(fit) > 0:
		return fit, nil
	case known:
		return nil, errAlgorithm
	}
	return nil, errKey
}

// valid checks the claims that say when, by whom and for whom. A token is
// taken until expires, which has the leeway in it.
func (a *Authenticator) valid(claims map[string]any) (expires time.Time, refusal *gohub.Error) {
	now := time.Now()
	exp, ok := numericDate(claims["exp"])
	if !ok {
		return expires, errMalformed // a token without an end is none
	}
	expires = exp.Add(a.cfg.Leeway)
	if !now.Before(expires) {
		return expires, errExpired
	}
	if v, has := claims["nbf"]; has {
		nbf, ok := numericDate(v)
		if !ok {
			return expires, errMalformed
		}
		if now.Add(a.cfg.Leeway).Before(nbf) {
			return expires, errEarly
		}
	}
	if iss, _ := claims["iss"].(string); iss != a.cfg.Issuer {
		return expires, errIssuer
	}
	if !a.cfg.AnyAudience && !isFor(claims["aud"], a.cfg.Audience) {
		return expires, errAudience
	}
	return expires, nil
}

// numericDate reads seconds since 1970, up to the year 6325.
func numericDate(v any) (time.Time, bool) {
	const most = 1 << 37
	sec, ok := v.(float64)
	if !ok || sec < 0 {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(min(sec, most) * 1000)), true
}

// isFor says whether aud, one string or several, names who.
func isFor(aud any, who string) bool {
	switch aud := aud.(type) {
	case string:
		return aud == who
	case []any:
		return slices.Contains(aud, any(who))
	}
	return false
}

// sign makes a token of claims.
func (k Key) sign(claims map[string]any) (string, error) {
	signer, err := jws.NewSigner(jwa.SignatureAlgorithm(k.Algorithm))
	if err != nil {
		return "", err
	}
	head, err := json.Marshal(header{Alg: string(k.Algorithm), Kid: k.ID, Typ: "JWT"})
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	b.WriteString(segment.EncodeToString(head))
	b.WriteByte('.')
	b.WriteString(segment.EncodeToString(payload))
	sig, err := signer.Sign(b.Bytes(), k.Key)
	if err != nil {
		return "", fmt.Errorf("auth: signing with the %v: %w", k, err)
	}
	b.WriteByte('.')
	b.WriteString(segment.EncodeToString(sig))
	return b.String(), nil
}
