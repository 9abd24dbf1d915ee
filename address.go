package gohub

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"net/netip"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
)

// forwardedFor is the one header looked at. Forwarded (RFC 7239) is not: a
// proxy that sets the one passes the other on as the client wrote it.
const forwardedFor = "X-Forwarded-For"

// proxies are the addresses whose X-Forwarded-For is believed.
type proxies []netip.Prefix

func parseProxies(list []string) (proxies, error) {
	var p proxies
	for _, s := range list {
		prefix, err := netip.ParsePrefix(s)
		if err != nil {
			var a netip.Addr
			a, err = netip.ParseAddr(s)
			prefix = netip.PrefixFrom(a, a.BitLen())
		}
		// Addresses are compared without their zone, and as IPv4 where they can
		// be: an entry that could never match is a mistake.
		if err != nil || strings.Contains(s, "%") || prefix.Addr().Is4In6() {
			return nil, fmt.Errorf("gohub: Config.TrustedProxies has %q: a proxy is 192.0.2.1, 2001:db8::1, or a prefix such as 10.0.0.0/8", s)
		}
		p = append(p, prefix)
	}
	return p, nil
}

func (p proxies) contains(a netip.Addr) bool {
	return slices.ContainsFunc(p, func(n netip.Prefix) bool { return n.Contains(a) })
}

// client is the address that a request comes from: the peer's, or, as long as
// that is a trusted proxy, the one which that proxy says it got it from. What
// stands left of the first address that is not a proxy may be anybody's
// invention. The zero Addr: the peer has none, as over a Unix socket.
func (p proxies) client(r *http.Request) netip.Addr {
	at, ok := parseAddr(r.RemoteAddr)
	if !ok || !p.contains(at) {
		return at
	}
	lines := r.Header[forwardedFor]
	for _, line := range slices.Backward(lines) { // several lines are one list
		for more := true; more; {
			entry := line
			if i := strings.LastIndexByte(line, ','); i >= 0 {
				line, entry = line[:i], line[i+1:]
			} else {
				more = false
			}
			// An entry that is no address ends the walk, an empty one too: it
			// says that the proxy does not know, so that what is left of it
			// has no one to vouch for it.
			next, ok := parseAddr(textproto.TrimString(entry))
			if !ok {
				return at
			}
			if at = next; !p.contains(at) {
				return at
			}
		}
	}
	return at
}

// parseAddr reads an address with or without a port, as net/http and proxies
// write it: 192.0.2.1, 192.0.2.1:80, 2001:db8::1, [2001:db8::1] or
// [2001:db8::1]:80. A zone is dropped, and IPv4 in IPv6 becomes IPv4.
func parseAddr(s string) (netip.Addr, bool) {
	port := ""
	inner, bracketed := strings.CutPrefix(s, "[")
	if bracketed {
		if s, port, bracketed = strings.Cut(inner, "]"); !bracketed {
			return netip.Addr{}, false
		}
	} else if i := strings.IndexByte(s, ':'); i >= 0 && i == strings.LastIndexByte(s, ':') {
		s, port = s[:i], s[i:]
	}
	if port != "" {
		if _, err := strconv.ParseUint(port[1:], 10, 16); err != nil || port[0] != ':' {
			return netip.Addr{}, false
		}
	}
	s, _, _ = strings.Cut(s, "%")
	a, err := netip.ParseAddr(s)
	if err != nil || bracketed && !a.Is6() {
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}

// An addrKey is what counts as one address: one of IPv4, or the 2⁶⁴ of an
// IPv6 /64, which is the least that one customer gets and hands out at will.
// The zero key stands for all peers without an address.
type addrKey struct {
	net uint64
	v6  bool
}

func keyOf(a netip.Addr) addrKey {
	switch {
	case a.Is4():
		b := a.As4()
		return addrKey{uint64(binary.BigEndian.Uint32(b[:])), false}
	case a.Is6():
		b := a.As16()
		return addrKey{binary.BigEndian.Uint64(b[:8]), true}
	}
	return addrKey{}
}
