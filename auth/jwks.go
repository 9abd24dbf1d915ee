package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwk"

	"github.com/gohub/gohub"
)

const (
	fetchFresh  = 10 * time.Minute // older keys are fetched again, behind the back of whom they serve
	fetchAgain  = 30 * time.Second // no two fetches begin closer to each other
	fetchStale  = 24 * time.Hour   // older keys are not used
	fetchTime   = 5 * time.Second
	fetchBytes  = 256 << 10
	fetchKeys   = 100
	fetchMost   = 1000 // requests that wait for one; more are turned away
	fetchHeader = 16 << 10
)

// A remote is the keys of an identity provider, fetched when they are needed.
//
// A token that names an unknown key may mean that the provider has a new one,
// so it has them fetched; but anybody can make such a token. Hence fetchAgain:
// until it has passed, what the last fetch did not bring is unknown, whoever
// asks. Nothing is kept for a name that is unknown.
type remote struct {
	url    string
	client *http.Client
	log    *slog.Logger

	mu      sync.Mutex // guards what follows
	keys    []*verifier
	fetched time.Time     // when keys were
	next    time.Time     // no fetch begins before
	flight  chan struct{} // closed when the fetch under way has ended; nil: none is
	waiting int
}

func newRemote(at string, client *http.Client, log *slog.Logger) (*remote, error) {
	u, err := url.Parse(at)
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !isLocal(u.Hostname())) {
		return nil, errors.New("auth: Config.JWKS is no https:// URL: whoever can change the answer on its way can sign in as anybody")
	}
	c := http.Client{Transport: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: fetchHeader,
	}}
	if client != nil {
		c = *client
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if c.Timeout <= 0 || c.Timeout > fetchTime {
		c.Timeout = fetchTime
	}
	return &remote{url: at, client: &c, log: log.With("jwks", u.Host)}, nil
}

func isLocal(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// find gives the keys for a token that names alg and kid, and whether any key
// has that kid. It waits for a fetch only if nothing that is known will do.
func (r *remote) find(ctx context.Context, alg, kid string) (fit []*verifier, known bool, refusal *gohub.Error) {
	r.mu.Lock()
	fit, known = r.match(alg, kid)
	now := time.Now()
	if (!known || now.Sub(r.fetched) >= fetchFresh) && r.flight == nil && !now.Before(r.next) {
		r.flight, r.next = make(chan struct{}), now.Add(fetchAgain)
		go r.fetch(r.flight) //nolint:contextcheck // for all who wait; ends within fetchTime
	}
	flight, usable := r.flight, r.usable()
	switch {
	case known && (flight == nil || now.Sub(r.fetched) < 2*fetchFresh || r.waiting >= fetchMost):
		r.mu.Unlock()
		return fit, true, nil
	case flight == nil && usable:
		r.mu.Unlock()
		return nil, false, nil
	case flight == nil || r.waiting >= fetchMost:
		r.mu.Unlock()
		return nil, false, errKeysAway
	}
	r.waiting++
	r.mu.Unlock()
	cancelled := false
	select {
	case <-flight:
	case <-ctx.Done():
		cancelled = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting--
	if fit, known = r.match(alg, kid); !known && (cancelled || !r.usable()) {
		return nil, false, errKeysAway
	}
	return fit, known, nil
}

// usable says whether there are keys that are not too old; mu is held.
func (r *remote) usable() bool { return r.keys != nil && time.Since(r.fetched) < fetchStale }

// match is matching for keys that are usable; mu is held.
func (r *remote) match(alg, kid string) ([]*verifier, bool) {
	if !r.usable() {
		return nil, false
	}
	return matching(r.keys, alg, kid)
}

// fetch gets the keys anew, and keeps the old ones if that fails.
func (r *remote) fetch(flight chan struct{}) {
	keys, err := r.get()
	if err != nil {
		r.log.Warn("the keys for tokens could not be fetched", "err", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.keys, r.fetched = keys, time.Now()
	}
	r.flight = nil
	close(flight)
}

func (r *remote) get() ([]*verifier, error) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return nil, errors.New("the URL cannot be asked for")
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := r.client.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // its URL may have a password in it
		}
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer's status is %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, fetchBytes+1))
	switch {
	case err != nil:
		return nil, err
	case len(body) > fetchBytes:
		return nil, fmt.Errorf("the answer has more than %d bytes", fetchBytes)
	}
	return parseJWKS(body)
}

// parseJWKS reads a JWK set (RFC 7517). Keys that are of no use are passed
// over; that there is none left is an error.
func parseJWKS(body []byte) ([]*verifier, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, errors.New("the answer is no JWK set")
	}
	if len(set.Keys) > fetchKeys {
		return nil, fmt.Errorf("the answer has %d keys: the most is %d", len(set.Keys), fetchKeys)
	}
	var keys []*verifier
	for _, raw := range set.Keys {
		if v := parseJWK(raw); v != nil {
			keys = append(keys, v)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the answer has no key that can be used")
	}
	return keys, nil
}

// parseJWK reads one key; nil: it is none for checking tokens.
func parseJWK(raw []byte) *verifier {
	k, err := jwk.ParseKey(raw)
	if err != nil || k.KeyUsage() != "" && k.KeyUsage() != "sig" {
		return nil
	}
	// What everybody can fetch proves nothing if it is a secret or a private key.
	if private, err := jwk.IsPrivateKey(k); err != nil || private {
		return nil
	}
	// The algorithm is the key's own, or follows from its type.
	alg := Algorithm(k.Algorithm().String())
	switch k.(type) {
	case jwk.ECDSAPublicKey:
		if alg == "" {
			alg = ES256
		}
	case jwk.OKPPublicKey:
		if alg == "" || alg == "Ed25519" { // RFC 9864
			alg = EdDSA
		}
	case jwk.RSAPublicKey:
		if alg == "" {
			alg = RS256
		}
	default:
		return nil
	}
	var public any
	if k.Raw(&public) != nil {
		return nil
	}
	v, err := Key{ID: k.KeyID(), Algorithm: alg, Key: public}.verifier()
	if err != nil {
		return nil
	}
	return v
}
