// Package origin reads Origin headers and the lists of origins that programs
// configure, the same way for WebSocket handshakes and for plain HTTP.
package origin

import (
	"net/url"
	"strings"
)

// Any in a list stands for all origins.
const Any = "*"

// ValidEntry says whether an entry of a list is one that can match: Any,
// scheme://host or scheme://*.host, with a port where it has one.
func ValidEntry(s string) bool {
	if s == Any {
		return true
	}
	u, err := url.Parse(s)
	return err == nil && u.Scheme != "" && u.Host != "" && u.Path == "" && u.RawQuery == "" && u.User == nil && u.Fragment == "" &&
		u.Host != "*." && !strings.Contains(strings.TrimPrefix(u.Host, "*."), "*")
}

// Parse reads the values of a request's Origin header: one of scheme://host
// and nothing else. Others, such as "null" and two at once, are nobody's.
// Both results are in lower case.
func Parse(values []string) (origin, host string, ok bool) {
	if len(values) != 1 {
		return "", "", false
	}
	origin = strings.ToLower(values[0])
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || origin != u.Scheme+"://"+u.Host { // no path, nor anything else
		return "", "", false
	}
	return origin, u.Host, true
}

// Listed says whether an origin that Parse gave is one of a list of valid
// entries.
func Listed(origin string, list []string) bool {
	for _, o := range list {
		if o == Any || origin == strings.ToLower(o) {
			return true
		}
		scheme, domain, wild := strings.Cut(strings.ToLower(o), "://*.")
		if !wild {
			continue
		}
		rest, ok := strings.CutPrefix(origin, scheme+"://")
		if !ok {
			continue
		}
		if sub, ok := strings.CutSuffix(rest, "."+domain); ok && sub != "" {
			return true
		}
	}
	return false
}
