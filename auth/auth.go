package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/internal/seldom"
)

// Config says which tokens are taken, and how claims become an identity. One
// of Keys and JWKS is needed, and Issuer and Audience. [New] reads it once.
type Config struct {
	// Keys check tokens. The first one that can, signs those of
	// [Authenticator.Issue] and [Logins]: to rotate, put the new key in front
	// and take the old one out when its last token has expired.
	Keys []Key
	// JWKS is where an identity provider publishes its keys:
	// "https://login.example.com/.well-known/jwks.json". http:// is for
	// addresses of this machine only. The keys are fetched when the first token
	// needs them, and again when they are 10 minutes old or a token names one
	// that is not known, but never twice in 30 seconds, and one at a time. While the
	// provider cannot be reached, what was fetched last serves for a day. A
	// fetch may take 5 seconds and 256 KiB and follows no redirect. An RSA key
	// without "alg" is taken for RS256; secrets (kty "oct") are not taken.
	JWKS string
	// Client fetches JWKS; its redirects are turned off, and its Timeout is 5
	// seconds at most. Defaults to one that keeps no connections.
	Client *http.Client

	// Issuer is what a token's iss must be. Required.
	Issuer string
	// Audience is what a token's aud must be, or have among others. Required,
	// unless AnyAudience.
	Audience string
	// AnyAudience takes tokens whoever they are for: for issuers that say so
	// in no aud. Any other service that gets a user's token of this issuer
	// can then act as that user here.
	AnyAudience bool
	// Leeway is by how much clocks may differ: tokens are taken so much before
	// nbf and after exp. Defaults to 30 s. -1: none.
	Leeway time.Duration
	// MaxToken is how many bytes a token may have; larger ones are not looked
	// at. Defaults to 8,192, at least 256.
	MaxToken int

	// Cookie is the cookie that a token may come in. Defaults to
	// "__Host-gohub", or "gohub" if Insecure. "-": none, only the header
	// Authorization counts.
	Cookie string
	// Insecure is for development without TLS: the cookies of [Logins] are
	// then sent over plain HTTP, and any page on another port or subdomain of
	// the same site can plant its own.
	Insecure bool

	// Claims says which claim is what. Its zero value is for tokens of Issue.
	Claims ClaimNames
	// Map, if set, is given all the claims of a good token, and the identity
	// made of them, to change as it likes: user ids of another alphabet, roles
	// that become rooms, claims inside of others. It may refuse, with an
	// [*gohub.Error]; any other error is 401. The claims must not be changed.
	Map func(claims map[string]any, who *gohub.Identity) error

	// Logger takes what an operator should know. No token, cookie or secret
	// is ever logged, nor any part of one. Defaults to slog.Default().
	Logger *slog.Logger
}

// ClaimNames says which claim of a token is what of an identity. The claim for
// User must be a string, those of the others may be absent. "-": not read.
type ClaimNames struct {
	User   string // defaults to "sub"
	Name   string // defaults to "name"
	Device string // defaults to "device"
	Tenant string // defaults to "tenant"
	Login  string // what gohub.Hub.Revoke may name; defaults to "sid"
	Rooms  string // a list of strings, as gohub.ListedRooms takes it; defaults to "rooms"
	// Keep names claims that Identity.Claims shall have. Each costs its size
	// for every session.
	Keep []string
}

// An Authenticator checks tokens. It is a [gohub.Authenticator]. All methods
// are safe for concurrent use.
type Authenticator struct {
	cfg    Config
	keys   []*verifier
	signer *Key    // nil: none of the keys can
	remote *remote // nil: no JWKS
	warned seldom.Line
}

// New makes an Authenticator. An error names the field of cfg that cannot be.
// Nothing is fetched yet.
func New(cfg Config) (*Authenticator, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	a := &Authenticator{}
	seen := make(map[string]bool)
	for i, k := range cfg.Keys {
		v, err := k.verifier()
		if err != nil {
			return nil, fmt.Errorf("auth: Config.Keys[%d]: %w", i, err)
		}
		if k.ID != "" && seen[k.ID] {
			return nil, fmt.Errorf("auth: Config.Keys[%d]: its ID %q is another's already", i, k.ID)
		}
		seen[k.ID] = true
		a.keys = append(a.keys, v)
		if a.signer == nil && k.signs() {
			a.signer = &k
		}
	}
	switch {
	case cfg.JWKS != "":
		r, err := newRemote(cfg.JWKS, cfg.Client, cfg.Logger)
		if err != nil {
			return nil, err
		}
		a.remote = r
	case len(cfg.Keys) == 0:
		return nil, errors.New("auth: Config has no Keys and no JWKS: no token could be checked")
	}
	switch {
	case cfg.Issuer == "":
		return nil, errors.New("auth: Config.Issuer is empty: say whose tokens are taken")
	case cfg.Audience == "" && !cfg.AnyAudience:
		return nil, errors.New("auth: Config.Audience is empty: say whom tokens must be for, or AnyAudience")
	case cfg.Audience != "" && cfg.AnyAudience:
		return nil, errors.New("auth: Config has an Audience and AnyAudience: only one can be")
	}
	switch {
	case cfg.Leeway == 0:
		cfg.Leeway = 30 * time.Second
	case cfg.Leeway == -1:
		cfg.Leeway = 0
	case cfg.Leeway < 0:
		return nil, fmt.Errorf("auth: Config.Leeway is %v: the least is 0, as -1", cfg.Leeway)
	}
	switch {
	case cfg.MaxToken == 0:
		cfg.MaxToken = 8 << 10
	case cfg.MaxToken < 256:
		return nil, fmt.Errorf("auth: Config.MaxToken is %d: the least is 256", cfg.MaxToken)
	}
	switch {
	case cfg.Cookie == "-":
		cfg.Cookie = ""
	case cfg.Cookie == "" && cfg.Insecure:
		cfg.Cookie = "gohub"
	case cfg.Cookie == "":
		cfg.Cookie = hostPrefix + "gohub"
	case (&http.Cookie{Name: cfg.Cookie}).Valid() != nil: //nolint:gosec // it is never set
		return nil, fmt.Errorf("auth: Config.Cookie is %q: no cookie can be called that", cfg.Cookie)
	}
	cfg.Claims = cfg.Claims.resolve()
	a.cfg = cfg
	return a, nil
}

// hostPrefix makes browsers refuse a cookie that is not Secure, or that another
// host of the same site has set.
const hostPrefix = "__Host-"

// Authenticate finds the token of a request, in "Authorization: Bearer" or else
// in the cookie, and checks it. Two of either kind are none. Every error is an
// [*gohub.Error] that the client may see: unauthorized, unavailable while the
// keys cannot be fetched, or the one that Config.Map has returned.
func (a *Authenticator) Authenticate(r *http.Request) (gohub.Identity, error) {
	token, refusal := a.token(r)
	if refusal != nil {
		return gohub.Identity{}, refusal
	}
	return a.Verify(r.Context(), token)
}

// Verify checks a token that has come some other way, as Authenticate does.
// ExpiresAt of the identity is the token's end and the leeway.
func (a *Authenticator) Verify(ctx context.Context, token string) (gohub.Identity, error) {
	claims, expires, refusal := a.claims(ctx, token)
	if refusal != nil {
		return gohub.Identity{}, refusal
	}
	who, err := a.identity(ctx, claims)
	if err != nil {
		return gohub.Identity{}, err
	}
	who.ExpiresAt = expires
	return who, nil
}

// token finds a request's token.
func (a *Authenticator) token(r *http.Request) (string, *gohub.Error) {
	values := r.Header["Authorization"]
	if len(values) > 1 {
		return "", errTwoTokens
	}
	if len(values) == 1 {
		// Another scheme is somebody else's: a proxy's password, perhaps.
		if scheme, token, _ := strings.Cut(values[0], " "); strings.EqualFold(scheme, "Bearer") {
			return strings.TrimLeft(token, " "), nil
		}
	}
	if a.cfg.Cookie == "" {
		return "", errNoToken
	}
	return oneCookie(r, a.cfg.Cookie)
}

// oneCookie is the value of a cookie. There are two of a name when another
// host of the site has planted one, and nothing tells which.
func oneCookie(r *http.Request, name string) (string, *gohub.Error) {
	switch cookies := r.CookiesNamed(name); len(cookies) {
	case 0:
		return "", errNoToken
	case 1:
		return cookies[0].Value, nil
	}
	return "", errTwoTokens
}

// Issue makes a token for who, signed with the first of Config.Keys that can,
// which the Authenticator takes for as long as life, and the leeway. ExpiresAt of who
// is not looked at; of its Claims those in ClaimNames.Keep are in the token. What Map
// makes of claims is not undone.
func (a *Authenticator) Issue(who gohub.Identity, life time.Duration) (string, error) {
	if a.signer == nil {
		return "", errors.New("auth: none of Config.Keys has a private part: no token can be signed")
	}
	claims := a.cfg.Claims.claims(who)
	now := time.Now()
	claims["iss"] = a.cfg.Issuer
	if a.cfg.Audience != "" {
		claims["aud"] = a.cfg.Audience
	}
	claims["iat"] = now.Unix()
	claims["exp"] = now.Add(life).Unix()
	claims["jti"] = gohub.NewID()
	return a.signer.sign(claims)
}
