package gohub_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// with gives w for clients that send further headers.
func (w *world) with(header http.Header) *world {
	other := *w
	other.http = &http.Client{Transport: addsHeader{w.http.Transport, header}}
	return &other
}

type addsHeader struct {
	http.RoundTripper
	header http.Header
}

func (a addsHeader) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	maps.Copy(r.Header, a.header)
	return a.RoundTripper.RoundTrip(r)
}

// from gives w for clients at another address of this machine.
func (w *world) from(ip string) *world {
	w.t.Helper()
	if runtime.GOOS != "linux" {
		w.t.Skip("only Linux has all of 127.0.0.0/8 on its loopback")
	}
	other := *w
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	transport := &http.Transport{DialContext: dialer.DialContext}
	w.t.Cleanup(transport.CloseIdleConnections)
	other.http = &http.Client{Transport: transport}
	return &other
}

// forwarded gives w for clients of a proxy that says where they come from.
func (w *world) forwarded(lines ...string) *world {
	return w.with(http.Header{"X-Forwarded-For": lines})
}

// refused tries to connect and expects to be refused; it returns Retry-After.
func (w *world) refused(query string, status int, code string) time.Duration {
	w.t.Helper()
	_, res, err := websocket.Dial(context.Background(), w.url+"/?"+query, &websocket.DialOptions{HTTPClient: w.http})
	require.Error(w.t, err)
	require.NotNil(w.t, res, "%v", err)
	require.Equal(w.t, status, res.StatusCode)
	require.Equal(w.t, "application/problem+json", res.Header.Get("Content-Type"))
	var p map[string]any
	b, err := io.ReadAll(res.Body)
	require.NoError(w.t, err)
	require.NoError(w.t, json.Unmarshal(b, &p))
	require.Equal(w.t, code, p["code"])
	if res.Header.Get("Retry-After") == "" {
		return 0
	}
	seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
	require.NoError(w.t, err)
	return time.Duration(seconds) * time.Second
}

// places waits until so many connections are counted, over all and by address.
func (w *world) places(conns, byAddress int) {
	w.t.Helper()
	require.EventuallyWithT(w.t, func(c *assert.CollectT) {
		n, m := gohub.Places(w.t, w.hub)
		assert.Equal(c, [2]int{conns, byAddress}, [2]int{n, m})
	}, patience, time.Millisecond)
}

func TestMaxConns(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{MaxConns: 2})
	for range 5 { // those that come to nothing take no place
		w.refused("", http.StatusUnauthorized, "unauthorized")
		rec := get(w.hub.Handler(), "/?user=alice", handshake)
		require.Equal(t, http.StatusNotImplemented, rec.Code, "cannot be hijacked")
	}
	alice := w.as("alice", "r")
	bob := w.as("bob", "r")
	w.places(2, 0)
	require.Positive(t, w.refused("user=carol", http.StatusServiceUnavailable, "busy"))
	ticket, ok := w.negotiate("user=alice")["ticket"].(string)
	require.True(t, ok, "a session can renew its ticket")
	require.Equal(t, "refreshed", alice.ask(frame{"type": "refresh", "ticket": ticket}, "refreshed")["type"])
	require.NoError(t, bob.ws.CloseNow())
	w.places(1, 0)
	w.as("carol", "r")
	w.refused("user=bob", http.StatusServiceUnavailable, "busy")
	require.Equal(t, "ack", alice.say("r", "still here")["type"])
}

func TestMaxConnsPerIP(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	var mu sync.Mutex
	w := start(t, gohub.Config{MaxConnsPerIP: 2, Logger: slog.New(slog.NewTextHandler(locked{&mu, &log}, nil))})
	two, three := w.from("127.0.0.2"), w.from("127.0.0.3")
	two.refused("", http.StatusUnauthorized, "unauthorized")
	alice := two.as("alice")
	two.as("alice")
	w.places(0, 2)
	for _, user := range []string{"alice", "bob"} { // whoever it is
		require.Positive(t, two.refused("user="+user, http.StatusTooManyRequests, "rate_limited"))
	}
	two.negotiate("user=alice")
	three.as("alice")
	three.as("bob")
	three.refused("user=bob", http.StatusTooManyRequests, "rate_limited")

	// A header from nobody who is trusted changes nothing, and is told once.
	for range 3 {
		two.forwarded("198.51.100.7").refused("user=bob", http.StatusTooManyRequests, "rate_limited")
	}
	mu.Lock()
	require.Equal(t, 1, strings.Count(log.String(), "TrustedProxies"), log.String())
	mu.Unlock()

	require.NoError(t, alice.ws.Close(websocket.StatusNormalClosure, ""))
	w.places(0, 3)
	two.as("bob")
	two.refused("user=carol", http.StatusTooManyRequests, "rate_limited")
}

// locked makes a writer safe for concurrent use.
type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func TestTrustedProxies(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{MaxConnsPerIP: 1, TrustedProxies: []string{"127.0.0.9", "127.0.1.0/24"}})
	proxy := w.from("127.0.0.9")
	full := func(lines ...string) {
		t.Helper()
		proxy.forwarded(lines...).refused("user=bob", http.StatusTooManyRequests, "rate_limited")
	}
	proxy.forwarded("198.51.100.7").as("alice")
	full("198.51.100.7")
	full("1.1.1.1, 198.51.100.7")              // the client's own invention
	full("127.0.0.9, 198.51.100.7, 127.0.1.5") // by way of another proxy
	full("1.1.1.1", "198.51.100.7")            // in two lines
	full("::ffff:198.51.100.7")
	full("198.51.100.7:4711")
	proxy.forwarded("198.51.100.8").as("alice")
	proxy.forwarded("2001:db8:1:2::1").as("alice")
	full("[2001:db8:1:2:ffff::99]:80")
	proxy.forwarded("2001:db8:1:3::1").as("alice")
	proxy.forwarded("198.51.100.9, nonsense").as("alice") // the proxy itself
	full("198.51.100.10, nonsense")

	stranger := w.from("127.0.0.2")
	stranger.forwarded("198.51.100.100").as("mallory")
	for i := range 3 {
		stranger.forwarded(fmt.Sprint("198.51.100.", 101+i)).refused("user=mallory", http.StatusTooManyRequests, "rate_limited")
	}
	proxy.forwarded("198.51.100.101").as("victim") // whose address was not used up
}

// handshake is the header of a WebSocket handshake.
var handshake = http.Header{
	"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
	"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
}

// rated asks a hub's handler from an address; a handshake that is let through
// ends in 501, as a recorder cannot be hijacked.
func rated(h http.Handler, ip string, upgrade bool) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/?user=alice", nil)
	r.RemoteAddr = ip + ":4711"
	if upgrade {
		maps.Copy(r.Header, handshake)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec
}

func TestHandshakeRatePerIP(t *testing.T) {
	virtual(t, func(t *testing.T) {
		asked := 0
		w := startVirtual(t, gohub.Config{HandshakeRatePerIP: 10, Authenticator: gohub.AuthenticatorFunc(
			func(r *http.Request) (gohub.Identity, error) { asked++; return byQuery(r) })})
		burst := func(ip string) (allowed int) {
			t.Helper()
			for ; ; allowed++ {
				rec := rated(w.hub.Handler(), ip, allowed%2 == 0)
				if rec.Code == http.StatusTooManyRequests {
					p := isProblem(t, rec, http.StatusTooManyRequests, "rate_limited")
					require.Equal(t, "1", rec.Header().Get("Retry-After"))
					require.LessOrEqual(t, p["retry_ms"], 100.0)
					require.Equal(t, allowed, asked, "the Authenticator is not asked")
					asked = 0
					return allowed
				}
				require.Contains(t, []int{http.StatusOK, http.StatusNotImplemented}, rec.Code)
			}
		}
		require.Equal(t, 20, burst("192.0.2.1"), "a burst is twice the rate")
		require.Zero(t, burst("192.0.2.1"))
		require.Equal(t, 20, burst("192.0.2.2"), "a budget is an address's own")
		require.Equal(t, 20, burst("[2001:db8:1:2::1]"))
		require.Zero(t, burst("[2001:db8:1:2::2]"), "a /64 is one address")
		pass(time.Second)
		require.Equal(t, 10, burst("192.0.2.1"))
		for range 50 {
			require.Zero(t, burst("192.0.2.1"), "being refused costs nothing")
		}
		pass(100 * time.Millisecond)
		require.Equal(t, 1, burst("192.0.2.1"))
		pass(time.Hour)
		require.Equal(t, 20, burst("192.0.2.1"), "a long rest gives no more")
	})
}

func TestHandshakeRate(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{HandshakeRate: 10, HandshakeRatePerIP: 2})
		through := func(ip string, tries int) (n int) {
			for range tries {
				if rated(w.hub.Handler(), ip, true).Code != http.StatusTooManyRequests {
					n++
				}
			}
			return n
		}
		require.Equal(t, 4, through("192.0.2.1", 1000), "a flooder takes no more than its own part")
		total := 4
		for i := range 20 {
			total += through(fmt.Sprint("192.0.3.", i), 1)
		}
		require.Equal(t, 20, total, "twice the rate over all")
		isProblem(t, rated(w.hub.Handler(), "192.0.4.1", false), http.StatusTooManyRequests, "rate_limited")
		pass(time.Second)
		for i := range 20 {
			total += through(fmt.Sprint("192.0.5.", i), 1)
		}
		require.Equal(t, 30, total)

		alone := startVirtual(t, gohub.Config{HandshakeRate: 1})
		require.Equal(t, 2, func() (n int) {
			for i := range 10 {
				if rated(alone.hub.Handler(), fmt.Sprint("192.0.2.", i), true).Code != http.StatusTooManyRequests {
					n++
				}
			}
			return n
		}())
	})
}

// The same through sockets: refused before the upgrade, with whole seconds to
// wait.
func TestHandshakeRateOverHTTP(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]gohub.Config{
		"over all":   {HandshakeRate: 0.01},
		"an address": {HandshakeRatePerIP: 0.01},
	} {
		w := start(t, cfg)
		w.as("alice")
		retry := w.refused("user=bob", http.StatusTooManyRequests, "rate_limited")
		require.LessOrEqual(t, retry, 100*time.Second, name)
		require.Greater(t, retry, 100*time.Second-patience, name)
	}
}

func TestRequireOrigin(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{RequireOrigin: true, Origins: []string{"https://example.com"}})
	w.refused("user=alice", http.StatusForbidden, "forbidden")
	require.NotEmpty(t, w.negotiate("user=alice")["ticket"], "browsers send none with a GET to their own host")
	w.with(http.Header{"Origin": {w.url}}).as("alice") // the hub's own host
	w.with(http.Header{"Origin": {"https://example.com"}}).as("alice")
	w.with(http.Header{"Origin": {"https://evil.org"}}).refused("user=alice", http.StatusForbidden, "forbidden")
	w.with(http.Header{"Origin": {""}}).refused("user=alice", http.StatusForbidden, "forbidden")
	start(t, gohub.Config{}).as("alice") // nobody needs one by default
}

// However a session ends, or does not come to be, its place is given back
// once: what is counted is always what is connected.
func TestPlacesAreReleasedOnce(t *testing.T) {
	virtual(t, func(t *testing.T) {
		const conns = 100
		auth := func(r *http.Request) (gohub.Identity, error) {
			if r.URL.Query().Get("user") == "panic" {
				panic("in the Authenticator")
			}
			return byQueryExpiring(r)
		}
		w := startVirtual(t, gohub.Config{
			MaxConns: conns, MaxConnsPerIP: conns, MaxQueue: 8 << 10, PingInterval: time.Hour,
			Authenticator: gohub.AuthenticatorFunc(auth),
		})
		counted := func(after string) {
			t.Helper()
			pass(2 * time.Second) // CloseTimeout is one
			live := w.hub.Stats().Sessions
			n, m := gohub.Places(t, w.hub)
			require.Equal(t, [2]int{live, live}, [2]int{n, m}, "after %s", after)
		}
		bad := func(change func(r *http.Request)) {
			r := httptest.NewRequest(http.MethodGet, "/?user=alice", nil)
			maps.Copy(r.Header, handshake)
			change(r)
			w.hub.Handler().ServeHTTP(httptest.NewRecorder(), r)
		}
		ways := map[string]func(i int){
			"closed by the client": func(int) { require.NoError(t, w.as("alice").ws.Close(1000, "")) },
			"cut by the client":    func(int) { require.NoError(t, w.as("alice").ws.CloseNow()) },
			"kicked":               func(int) { w.as("kicked"); w.hub.Kick("", "kicked", "") },
			"replaced":             func(int) { w.dial("user=bob&device=phone"); w.dial("user=bob&device=phone") },
			"expired":              func(int) { w.dial("user=alice&life=1ms") },
			"protocol errors": func(int) {
				u := w.as("alice")
				for range 3 {
					u.text("?")
				}
				u.closes(gohub.CloseProtocolError)
			},
			"too big a frame": func(int) {
				_, err := w.bare("user=alice").nc.Write([]byte{0x80 | opBinary, 0x80 | 127, 0, 0, 0, 0, 0, 1, 0, 1})
				require.NoError(t, err)
			},
			"not WebSocket": func(int) { w.bare("user=alice").write(0xff, []byte("x")) },
			"a slow reader": func(i int) {
				_ = w.bare(fmt.Sprint("user=slow-", i))
				synctest.Wait()
				s := w.hub.Sessions("", fmt.Sprint("slow-", i))[0]
				require.NoError(t, w.hub.Join(s.ID(), "r"))
				for range 20 {
					w.post(gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "bot", Body: []byte(`"` + strings.Repeat("x", 4000) + `"`)})
				}
				pass(20 * time.Second) // WriteTimeout
			},
			"not authenticated":      func(int) { _, _, err := w.handshake(""); require.Error(t, err) },
			"a bad ticket":           func(int) { _, _, err := w.handshake("ticket=x"); require.Error(t, err) },
			"cannot be hijacked":     func(int) { bad(func(*http.Request) {}) },
			"Authenticator panicked": func(int) { require.Panics(t, func() { bad(func(r *http.Request) { r.URL.RawQuery = "user=panic" }) }) },
			"no such version": func(int) {
				require.GreaterOrEqual(t, w.get("user=alice", http.Header{
					"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"7"},
				}), 400)
			},
			"negotiated": func(int) { w.negotiate("user=alice") },
			"one that stays": func(i int) {
				if w.hub.Stats().Sessions < 20 {
					w.as(fmt.Sprint("stays-", i))
				}
			},
		}
		for name, way := range ways {
			way(0)
			counted(name)
		}
		names := make([]string, 0, len(ways))
		for name := range ways {
			names = append(names, name)
		}
		for i := range 60 {
			name := names[rand.IntN(len(names))]
			ways[name](i + 1)
			if rand.IntN(3) == 0 {
				counted(name)
			}
		}
		counted("all of it")
		for i := w.hub.Stats().Sessions; i < conns; i++ {
			w.as("filler")
		}
		_, status, err := w.handshake("user=alice")
		require.Error(t, err)
		require.Equal(t, http.StatusServiceUnavailable, status)
		require.NoError(t, w.hub.Shutdown(t.Context()))
		synctest.Wait()
		n, m := gohub.Places(t, w.hub)
		require.Equal(t, [2]int{0, 0}, [2]int{n, m}, "after the shutdown")
	})
}

// get sends a GET and returns the status.
func (w *world) get(query string, header http.Header) int {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.url+"/?"+query, nil)
	require.NoError(w.t, err)
	maps.Copy(req.Header, header)
	res, err := w.http.Do(req)
	require.NoError(w.t, err)
	require.NoError(w.t, res.Body.Close())
	return res.StatusCode
}
