package gohub

import (
	"net/http"
	"net/netip"
	"net/textproto"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseAddr(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"192.0.2.1":                   "192.0.2.1",
		"192.0.2.1:443":               "192.0.2.1",
		"2001:db8::1":                 "2001:db8::1",
		"[2001:db8::1]":               "2001:db8::1",
		"[2001:db8::1]:443":           "2001:db8::1",
		"::1":                         "::1",
		"::ffff:192.0.2.1":            "192.0.2.1",
		"[::ffff:192.0.2.1]:80":       "192.0.2.1",
		"::ffff:c000:201":             "192.0.2.1",
		"fe80::1%eth0":                "fe80::1",
		"[fe80::1%eth0]:80":           "fe80::1",
		"":                            "",
		"@":                           "",
		"pipe":                        "",
		"unknown":                     "",
		"_hidden":                     "",
		"example.com":                 "",
		"192.0.2":                     "",
		"192.0.2.256":                 "",
		"192.0.2.1:":                  "",
		"192.0.2.1:http":              "",
		"192.0.2.1:65536":             "",
		"192.0.2.1:-1":                "",
		"192.0.2.1/24":                "",
		" 192.0.2.1":                  "",
		"[192.0.2.1]":                 "",
		"[192.0.2.1]:80":              "",
		"[2001:db8::1":                "",
		"2001:db8::1]":                "",
		"[2001:db8::1]80":             "",
		"[2001:db8::1]:":              "",
		"[]":                          "",
		"[":                           "",
		":":                           "",
		"%":                           "",
		"\"192.0.2.1\"":               "",
		"for=192.0.2.1":               "",
		"192.0.2.1 198.51.100.1":      "",
		"0:0:0:0:0:0:0:0:0":           "",
		strings.Repeat("1", 1000):     "",
		"[" + strings.Repeat(":", 99): "",
	} {
		got, ok := parseAddr(s)
		require.Equal(t, want != "", ok, "%q: %v", s, got)
		if ok {
			require.Equal(t, netip.MustParseAddr(want), got, "%q", s)
		}
	}
}

func TestWhatCountsAsOneAddress(t *testing.T) {
	t.Parallel()
	key := func(s string) addrKey {
		a, ok := parseAddr(s)
		require.True(t, ok, s)
		return keyOf(a)
	}
	for _, same := range [][2]string{
		{"192.0.2.1", "192.0.2.1:999"},
		{"192.0.2.1", "::ffff:192.0.2.1"},
		{"2001:db8:1:2::", "2001:db8:1:2:ffff:ffff:ffff:ffff"},
		{"2001:db8:1:2::1", "[2001:db8:1:2:a:b:c:d%eth0]:80"},
	} {
		require.Equal(t, key(same[0]), key(same[1]), "%v", same)
	}
	for _, other := range [][2]string{
		{"192.0.2.1", "192.0.2.2"},
		{"2001:db8:1:2::", "2001:db8:1:3::"},
		{"2001:db8:1:2::", "2001:db8:0:2::"},
		{"192.0.2.1", "::c000:201"}, // the long deprecated IPv4-compatible form
		{"0.0.0.0", "::"},
		{"0.0.0.1", "0:0:0:1::"},
	} {
		require.NotEqual(t, key(other[0]), key(other[1]), "%v", other)
	}
	require.Equal(t, addrKey{}, keyOf(netip.Addr{}))
}

func TestClientAddress(t *testing.T) {
	t.Parallel()
	trusted, err := parseProxies([]string{"10.0.0.0/8", "192.0.2.9", "2001:db8:ffff::/48", "fe80::1"})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		peer  string
		lines []string
		want  string
	}{
		"no proxy":                          {"203.0.113.5:80", nil, "203.0.113.5"},
		"a header of nobody trusted":        {"203.0.113.5:80", []string{"198.51.100.7"}, "203.0.113.5"},
		"a proxy that says nothing":         {"10.1.2.3:80", nil, "10.1.2.3"},
		"one proxy":                         {"10.1.2.3:80", []string{"198.51.100.7"}, "198.51.100.7"},
		"an exact address":                  {"192.0.2.9:80", []string{"198.51.100.7"}, "198.51.100.7"},
		"the address beside it":             {"192.0.2.8:80", []string{"198.51.100.7"}, "192.0.2.8"},
		"what the client wrote itself":      {"10.1.2.3:80", []string{"1.1.1.1, 198.51.100.7"}, "198.51.100.7"},
		"also if it names a proxy":          {"10.1.2.3:80", []string{"1.1.1.1, 10.0.0.1, 198.51.100.7"}, "198.51.100.7"},
		"two proxies":                       {"10.1.2.3:80", []string{"1.1.1.1, 198.51.100.7, 10.0.0.1"}, "198.51.100.7"},
		"spaces, or none":                   {"10.1.2.3:80", []string{" 1.1.1.1,198.51.100.7 ,\t10.0.0.1 "}, "198.51.100.7"},
		"two lines are one list":            {"10.1.2.3:80", []string{"1.1.1.1, 198.51.100.7", "10.0.0.1"}, "198.51.100.7"},
		"the last line comes last":          {"10.1.2.3:80", []string{"1.1.1.1", "198.51.100.7"}, "198.51.100.7"},
		"nothing but proxies":               {"10.1.2.3:80", []string{"10.0.0.2, 10.0.0.1"}, "10.0.0.2"},
		"with a port":                       {"10.1.2.3:80", []string{"198.51.100.7:4711, 10.0.0.1:80"}, "198.51.100.7"},
		"IPv6":                              {"10.1.2.3:80", []string{"2001:db8::7"}, "2001:db8::7"},
		"IPv6 in brackets":                  {"10.1.2.3:80", []string{"[2001:db8::7]"}, "2001:db8::7"},
		"IPv6 with a port":                  {"10.1.2.3:80", []string{"[2001:db8::7]:4711"}, "2001:db8::7"},
		"an IPv6 proxy":                     {"[2001:db8:ffff::1]:80", []string{"198.51.100.7, 2001:db8:ffff:1::2"}, "198.51.100.7"},
		"a proxy with a zone":               {"[fe80::1%eth0]:80", []string{"198.51.100.7"}, "198.51.100.7"},
		"a proxy as IPv4 in IPv6":           {"[::ffff:10.1.2.3]:80", []string{"198.51.100.7, ::ffff:10.0.0.1"}, "198.51.100.7"},
		"a peer that is a bare address":     {"10.1.2.3", []string{"198.51.100.7"}, "198.51.100.7"},
		"malformed: the proxy is it":        {"10.1.2.3:80", []string{"198.51.100.7, unknown"}, "10.1.2.3"},
		"malformed behind another proxy":    {"10.1.2.3:80", []string{"198.51.100.7, bogus, 10.0.0.1"}, "10.0.0.1"},
		"malformed left of the client":      {"10.1.2.3:80", []string{"bogus, 198.51.100.7"}, "198.51.100.7"},
		"an empty entry vouches for no one": {"10.1.2.3:80", []string{"198.51.100.7, "}, "10.1.2.3"},
		"nor does an empty line":            {"10.1.2.3:80", []string{"198.51.100.7", ""}, "10.1.2.3"},
		"no comma, two addresses":           {"10.1.2.3:80", []string{"1.1.1.1 198.51.100.7"}, "10.1.2.3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &http.Request{RemoteAddr: c.peer, Header: http.Header{forwardedFor: c.lines}}
			require.Equal(t, netip.MustParseAddr(c.want), trusted.client(r))
		})
	}
	for _, peer := range []string{"", "@", "pipe"} {
		r := &http.Request{RemoteAddr: peer, Header: http.Header{forwardedFor: {"198.51.100.7"}}}
		require.Zero(t, trusted.client(r), "a peer without an address")
	}
}

// Whatever a header holds: the answer is the peer, or it is in the header and
// all to the right of it are proxies.
func FuzzForwardedFor(f *testing.F) {
	f.Add("198.51.100.7", "10.0.0.1")
	f.Add("1.1.1.1, 198.51.100.7", "")
	f.Add("[2001:db8::7]:80, unknown", "10.0.0.1:80,,::ffff:10.0.0.2")
	f.Add("fe80::1%a,b", "[::1")
	trusted, err := parseProxies([]string{"10.0.0.0/8", "2001:db8:ffff::/48"})
	require.NoError(f, err)
	peer := netip.MustParseAddr("10.1.2.3")
	f.Fuzz(func(t *testing.T, first, second string) {
		r := &http.Request{RemoteAddr: "10.1.2.3:80", Header: http.Header{forwardedFor: {first, second}}}
		want := peer
		entries := strings.Split(first+","+second, ",")
		for i := len(entries) - 1; i >= 0 && trusted.contains(want); i-- {
			a, ok := parseAddr(textproto.TrimString(entries[i]))
			if !ok {
				break
			}
			require.True(t, a.IsValid() && a.Zone() == "" && !a.Is4In6(), "%v", a)
			want = a
		}
		require.Equal(t, want, trusted.client(r), "%q, %q", first, second)

		// And nobody is believed who is not trusted.
		r.RemoteAddr = "203.0.113.5:80"
		require.Equal(t, netip.MustParseAddr("203.0.113.5"), trusted.client(r))
		require.Equal(t, peer, proxies(nil).client(&http.Request{RemoteAddr: "10.1.2.3:80", Header: r.Header}))
	})
}
