//go:build unix

package redis

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/hubtest"
	"github.com/gohub/gohub/internal/redistest"
)

// routed are three hubs, "n0" to "n2", behind servers of their own. Users are
// who the query says.
type routed struct {
	t       *testing.T
	brokers []*Broker
	hubs    []*gohub.Hub
	url     []string
	client  *http.Client
	conns   []*websocket.Conn
}

// threeHubs has them take each other for absent after a while. Until then nobody's
// sessions belong elsewhere because one has been kept from its beats.
func threeHubs(t *testing.T, s *redistest.Server, absent time.Duration) *routed {
	t.Helper()
	c := &routed{t: t, client: &http.Client{Transport: &http.Transport{}}}
	p, store := prefix(), gohub.NewMemoryStore(gohub.MemoryStoreOptions{})
	for i := range 3 {
		srv := httptest.NewUnstartedServer(nil)
		url := "ws://" + srv.Listener.Addr().String() + "/"
		b := quickly(t, s, p)
		b.t.absent, b.t.silent = absent, 20*time.Second
		hub, err := gohub.New(hubtest.Config(t, gohub.Config{
			Node: fmt.Sprint("n", i), URL: url, Broker: b, Store: store, CloseTimeout: time.Second,
			DrainTime: []time.Duration{-1, patience, -1}[i],
			Authenticator: gohub.AuthenticatorFunc(func(r *http.Request) (gohub.Identity, error) {
				q := r.URL.Query()
				return gohub.Identity{User: strings.Clone(q.Get("user")), Login: strings.Clone(q.Get("login"))}, nil
			}),
		}))
		require.NoError(t, err)
		srv.Config.Handler = hub.Handler()
		srv.Start()
		t.Cleanup(srv.Close)
		t.Cleanup(func() { c.shutdown(i) })
		c.brokers, c.hubs, c.url = append(c.brokers, b), append(c.hubs, hub), append(c.url, url)
	}
	t.Cleanup(c.client.CloseIdleConnections)
	for _, b := range c.brokers {
		wantNames(t, b, "n0 n1 n2")
	}
	hear(t, c.brokers...)
	return c
}

func (c *routed) shutdown(i int) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(c.t, c.hubs[i].Shutdown(ctx))
}

// userOf is somebody whose sessions belong to a node, among those named.
func (c *routed) userOf(owner int, of ...int) string {
	c.t.Helper()
	var ring gohub.Ring
	var all []gohub.RingNode
	for _, i := range of {
		all = append(all, gohub.RingNode{Name: fmt.Sprint("n", i)})
	}
	require.NoError(c.t, ring.Set(all...))
	for i := range 1000 {
		user := fmt.Sprint("user", i)
		if name, _ := ring.Lookup("/" + user); name == fmt.Sprint("n", owner) {
			return user
		}
	}
	c.t.Fatal("nobody belongs there")
	return ""
}

// dial connects and tells at which node it has arrived, and the status.
func (c *routed) dial(url string) (node string, status int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	ws, resp, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: c.client})
	if err != nil {
		require.NotNil(c.t, resp, err)
		return "", resp.StatusCode
	}
	c.conns = append(c.conns, ws)
	c.t.Cleanup(func() { _ = ws.CloseNow() })
	_, b, err := ws.Read(ctx)
	require.NoError(c.t, err)
	var welcome struct{ Node string }
	require.NoError(c.t, json.Unmarshal(b, &welcome))
	return welcome.Node, resp.StatusCode
}

// negotiate asks a node for a URL with a ticket in it.
func (c *routed) negotiate(at int, query string) (url, ticket string) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, strings.Replace(c.url[at], "ws", "http", 1)+"?"+query, nil)
	require.NoError(c.t, err)
	resp, err := c.client.Do(r)
	require.NoError(c.t, err)
	defer func() { _ = resp.Body.Close() }()
	require.Equal(c.t, http.StatusOK, resp.StatusCode)
	var n struct{ URL, Ticket string }
	require.NoError(c.t, json.NewDecoder(resp.Body).Decode(&n))
	return n.URL, n.Ticket
}

func TestRouting(t *testing.T) {
	c := threeHubs(t, redistest.New(t), 10*time.Second)
	t.Run("the owner's clients", func(t *testing.T) {
		for owner := range 3 {
			user := c.userOf(owner, 0, 1, 2)
			for at := range 3 {
				node, _ := c.dial(c.url[at] + "?user=" + user)
				assert.Equal(t, fmt.Sprint("n", owner), node)
				url, ticket := c.negotiate(at, "user="+user)
				assert.Equal(t, c.url[owner], url)
				node, _ = c.dial(url + "?ticket=" + ticket)
				assert.Equal(t, fmt.Sprint("n", owner), node)
				_, status := c.dial(url + "?ticket=" + ticket)
				assert.Equal(t, http.StatusUnauthorized, status, "once")
			}
		}
	})
	user := c.userOf(1, 0, 1, 2)
	t.Run("who was sent", func(t *testing.T) {
		node, _ := c.dial(c.url[0] + "?from=n2&user=" + user)
		assert.Equal(t, "n0", node)
	})
	t.Run("a ticket elsewhere", func(t *testing.T) {
		_, ticket := c.negotiate(0, "user="+user)
		for _, at := range []int{2, 1} {
			_, status := c.dial(c.url[at] + "?ticket=" + ticket)
			assert.Equal(t, http.StatusUnauthorized, status)
		}
	})
	t.Run("a ticket from before a revocation", func(t *testing.T) {
		node, _ := c.dial(c.url[1] + "?login=l1&user=" + user)
		require.Equal(t, "n1", node)
		url, ticket := c.negotiate(0, "login=l1&user="+user)
		require.Equal(t, c.url[1], url)
		require.NoError(t, c.hubs[2].Revoke(t.Context(), gohub.Revocation{User: user, Login: "l1"}))
		require.Eventually(t, func() bool {
			for _, s := range c.hubs[1].Sessions("", user) {
				if s.Identity().Login == "l1" {
					return false
				}
			}
			return true
		}, patience, time.Millisecond, "the order has arrived")
		_, status := c.dial(url + "?ticket=" + ticket)
		assert.Equal(t, http.StatusUnauthorized, status)
	})
	t.Run("nothing in Redis that opens a door", func(t *testing.T) {
		_, ticket := c.negotiate(0, "user="+user)
		cl := c.brokers[0].client
		keys, err := cl.Do(t.Context(), cl.B().Keys().Pattern(c.brokers[0].keys[0].ticket("*")).Build()).AsStrSlice()
		require.NoError(t, err)
		require.NotEmpty(t, keys)
		for _, k := range keys {
			assert.NotContains(t, k, ticket)
			v, err := cl.Do(t.Context(), cl.B().Get().Key(k).Build()).ToString()
			require.NoError(t, err)
			assert.NotContains(t, v, ticket)
			ms, err := cl.Do(t.Context(), cl.B().Pttl().Key(k).Build()).AsInt64()
			require.NoError(t, err)
			assert.LessOrEqual(t, ms, int64(30_000))
			assert.Positive(t, ms)
		}
	})
	t.Run("a node drains", func(t *testing.T) {
		done := make(chan struct{})
		go func() { defer close(done); c.shutdown(1) }() // takes the time that clients have to go
		for _, at := range []int{0, 2} {
			wantNames(t, c.brokers[at], "n0 n2")
		}
		select {
		case <-done:
			t.Error("it was out of the ring when it had ended")
		default:
		}
		for _, ws := range c.conns {
			_ = ws.CloseNow()
		}
		<-done
		for _, owner := range []int{0, 2} {
			user := c.userOf(owner, 0, 2)
			for _, at := range []int{0, 2} {
				node, _ := c.dial(c.url[at] + "?user=" + user)
				assert.Equal(t, fmt.Sprint("n", owner), node)
			}
		}
		_, status := c.dial(c.url[1] + "?user=" + user)
		assert.Equal(t, http.StatusServiceUnavailable, status)
	})
}

// While Redis is away every node serves whoever comes, and takes the tickets
// that it gave itself.
func TestRoutingWithoutRedis(t *testing.T) {
	s := redistest.New(t)
	c := threeHubs(t, s, 2*time.Second)
	user := c.userOf(1, 0, 1, 2)
	lentURL, lent := c.negotiate(0, "user="+user)
	require.Equal(t, c.url[1], lentURL)
	require.NoError(t, s.Kill9())
	for range 2 {
		node, _ := c.dial(c.url[0] + "?user=" + user)
		assert.Equal(t, "n0", node)
		url, ticket := c.negotiate(0, "user="+user)
		assert.Equal(t, c.url[0], url)
		node, _ = c.dial(url + "?ticket=" + ticket)
		assert.Equal(t, "n0", node)
		require.Eventually(t, func() bool { return c.brokers[0].Nodes() == nil }, patience, time.Millisecond) // then once more
	}
	_, status := c.dial(lentURL + "?ticket=" + lent)
	assert.Equal(t, http.StatusServiceUnavailable, status)
	require.NoError(t, s.Start())
	for _, b := range c.brokers {
		wantNames(t, b, "n0 n1 n2")
	}
	require.Eventually(t, func() bool { node, _ := c.dial(c.url[0] + "?user=" + user); return node == "n1" }, patience, 10*time.Millisecond)
	_, status = c.dial(lentURL + "?ticket=" + lent)
	assert.Equal(t, http.StatusUnauthorized, status, "Redis has lost it")
}
