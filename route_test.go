package gohub_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// nodes are hubs of one cluster, each behind a server of its own: "n0", "n1"
// and so on, over a MemoryDirectory.
type nodes struct {
	t      *testing.T
	hubs   []*gohub.Hub
	url    []string // ws://
	client *http.Client
	asked  atomic.Int64 // how often an Authenticator was
}

// served makes n nodes; change may change what each is like before it is made.
func served(t *testing.T, n int, change func(i int, cfg *gohub.Config)) *nodes {
	t.Helper()
	c := &nodes{t: t, client: &http.Client{Transport: &http.Transport{}}}
	dir, broker, store := gohub.NewMemoryDirectory(), gohub.NewMemoryBroker(), gohub.NewMemoryStore(gohub.MemoryStoreOptions{})
	for i := range n {
		srv := httptest.NewUnstartedServer(nil)
		cfg := gohub.Config{
			Node: fmt.Sprint("n", i), URL: "ws://" + srv.Listener.Addr().String() + "/",
			Directory: unhurriedDirectory{dir.Node()}, Broker: broker, Store: store, Origins: []string{"https://page.example"},
			Authenticator: gohub.AuthenticatorFunc(func(r *http.Request) (gohub.Identity, error) {
				c.asked.Add(1)
				return byQuery(r)
			}),
		}
		if change != nil {
			change(i, &cfg)
		}
		hub, err := gohub.New(forTests(cfg))
		require.NoError(t, err)
		srv.Config.Handler = hub.Handler()
		srv.Start()
		t.Cleanup(srv.Close)
		t.Cleanup(func() { c.shutdown(hub) })
		c.hubs = append(c.hubs, hub)
		c.url = append(c.url, "ws://"+srv.Listener.Addr().String()+"/")
	}
	t.Cleanup(c.client.CloseIdleConnections)
	return c
}

// unhurriedDirectory gives and takes a ticket though the hub has not
// got the time to wait for it: in a test in real time it may just have been stopped.
type unhurriedDirectory struct{ gohub.Directory }

func (d unhurriedDirectory) PutTicket(ctx context.Context, id string, b []byte, life time.Duration) error {
	return d.Directory.PutTicket(context.WithoutCancel(ctx), id, b, life)
}

func (d unhurriedDirectory) TakeTicket(ctx context.Context, id string) ([]byte, error) {
	return d.Directory.TakeTicket(context.WithoutCancel(ctx), id)
}

func (c *nodes) shutdown(hub *gohub.Hub) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(c.t, hub.Shutdown(ctx))
}

// userOf is somebody whose sessions belong to node i of those with weight 1
// that are named.
func (c *nodes) userOf(owner int, of ...int) string {
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

// dial connects and tells at which node it has arrived.
func (c *nodes) dial(to string, opts *websocket.DialOptions) (node string, status int) {
	c.t.Helper()
	if opts == nil {
		opts = &websocket.DialOptions{}
	}
	if opts.HTTPClient == nil {
		opts.HTTPClient = c.client
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	ws, resp, err := websocket.Dial(ctx, to, opts)
	if err != nil {
		require.NotNil(c.t, resp, err)
		return "", resp.StatusCode
	}
	c.t.Cleanup(func() { _ = ws.CloseNow() })
	_, b, err := ws.Read(ctx)
	require.NoError(c.t, err)
	var welcome struct{ Node string }
	require.NoError(c.t, json.Unmarshal(b, &welcome))
	return welcome.Node, resp.StatusCode
}

type negotiated struct{ URL, Ticket, Node string }

func (n negotiated) at(url string) string { return url + "?ticket=" + n.Ticket }

// negotiate asks node i; origin is the page's.
func (c *nodes) negotiate(i int, query, origin string) (n negotiated) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, "http"+strings.TrimPrefix(c.url[i], "ws")+"?"+query, nil)
	require.NoError(c.t, err)
	if origin != "" {
		r.Header.Set("Origin", origin)
	}
	resp, err := c.client.Do(r)
	require.NoError(c.t, err)
	defer func() { _ = resp.Body.Close() }()
	require.Equal(c.t, http.StatusOK, resp.StatusCode)
	require.NoError(c.t, json.NewDecoder(resp.Body).Decode(&n))
	return n
}

// stay does not follow a redirect.
var stay = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// location is where node i sends a handshake, or nil.
func (c *nodes) location(i int, query string, header http.Header) *url.URL {
	c.t.Helper()
	ws, resp, err := websocket.Dial(c.t.Context(), c.url[i]+"?"+query, &websocket.DialOptions{HTTPHeader: header, HTTPClient: stay})
	if err == nil {
		_ = ws.CloseNow()
		return nil
	}
	require.NotNil(c.t, resp, err)
	if resp.StatusCode != http.StatusTemporaryRedirect {
		require.Empty(c.t, resp.Header.Get("Location"))
		return nil
	}
	require.Equal(c.t, "no-store", resp.Header.Get("Cache-Control"))
	require.True(c.t, resp.Close, "whoever wanted a WebSocket asks for nothing else here")
	u, err := resp.Location()
	require.NoError(c.t, err)
	return u
}

func TestDialLandsOnTheOwner(t *testing.T) {
	t.Parallel()
	c := served(t, 3, nil)
	for owner := range 3 {
		user := c.userOf(owner, 0, 1, 2)
		for at := range 3 {
			asked := c.asked.Load()
			node, _ := c.dial(c.url[at]+"?user="+user+"&x=%26", nil)
			assert.Equal(t, fmt.Sprint("n", owner), node, "%s at n%d", user, at)
			assert.Equal(t, asked+1, c.asked.Load(), "the owner takes the ticket")
		}
	}
	u := c.location(0, "user="+c.userOf(1, 0, 1, 2)+"&x=%26&x=2&ticket=", nil)
	require.NotNil(t, u)
	assert.Equal(t, "http", u.Scheme)
	assert.Equal(t, "ws://"+u.Host+"/", c.url[1])
	assert.Equal(t, "n0", u.Query().Get("from"))
	assert.Equal(t, []string{"&", "2"}, u.Query()["x"], "what the program's own handlers read goes along")
	assert.Len(t, u.Query()["ticket"], 1)
}

// Clients do not give another host what they have for the first.
func TestRedirectsWorkAcrossHosts(t *testing.T) {
	t.Parallel()
	c := served(t, 2, func(i int, cfg *gohub.Config) {
		cfg.Authenticator = gohub.AuthenticatorFunc(func(r *http.Request) (gohub.Identity, error) {
			user, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			if !ok {
				return gohub.Identity{}, gohub.Errorf(gohub.CodeUnauthorized, "who are you?")
			}
			return gohub.Identity{User: user}, nil
		})
		if i == 1 {
			cfg.URL = strings.Replace(cfg.URL, "127.0.0.1", "localhost", 1)
		}
	})
	node, _ := c.dial(c.url[0], &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + c.userOf(1, 0, 1)}}})
	assert.Equal(t, "n1", node)
}

func TestRoutingStaysOut(t *testing.T) {
	t.Parallel()
	t.Run("of browsers", func(t *testing.T) {
		t.Parallel()
		c := served(t, 2, nil)
		user := c.userOf(1, 0, 1)
		require.NotNil(t, c.location(0, "user="+user, nil))
		assert.Nil(t, c.location(0, "user="+user, http.Header{"Origin": {"https://page.example"}}))
		assert.Nil(t, c.location(0, "user="+user, http.Header{"Origin": {"null"}}))
	})
	t.Run("of those who were sent here", func(t *testing.T) {
		t.Parallel()
		c := served(t, 2, nil)
		user := c.userOf(1, 0, 1)
		node, _ := c.dial(c.url[0]+"?from=n1&user="+user, nil)
		assert.Equal(t, "n0", node)
	})
	t.Run("of those who are nobody", func(t *testing.T) {
		t.Parallel()
		c := served(t, 2, nil)
		_, status := c.dial(c.url[0], nil)
		assert.Equal(t, http.StatusUnauthorized, status)
	})
	t.Run("of hubs that say so", func(t *testing.T) {
		t.Parallel()
		c := served(t, 2, func(i int, cfg *gohub.Config) {
			if i == 0 {
				cfg.Route = gohub.NoRouting
			}
		})
		assert.Nil(t, c.location(0, "user="+c.userOf(1, 0, 1), nil))
		assert.NotNil(t, c.location(1, "user="+c.userOf(0, 0, 1), nil), "another may")
	})
	t.Run("of hubs without a URL", func(t *testing.T) {
		t.Parallel()
		c := served(t, 3, func(i int, cfg *gohub.Config) {
			if i == 0 {
				cfg.URL = ""
			}
		})
		for i := range 3 {
			assert.Nil(t, c.location(0, "user="+c.userOf(i, 0, 1, 2), nil))
		}
		var ring gohub.Ring
		require.NoError(t, ring.Set(gohub.RingNode{Name: "n1"}, gohub.RingNode{Name: "n2"}))
		for i := range 30 {
			user := fmt.Sprint("user", i)
			node, _ := ring.Lookup("/" + user)
			assert.Equal(t, node == "n2", c.location(1, "user="+user, nil) != nil, "nor is anybody sent to them")
		}
	})
	t.Run("of the way to where they are", func(t *testing.T) {
		t.Parallel()
		c := served(t, 2, func(_ int, cfg *gohub.Config) { cfg.URL = "wss://balancer.example/ws" })
		for i := range 2 {
			assert.Nil(t, c.location(0, "user="+c.userOf(i, 0, 1), nil))
		}
	})
}

// Views of a cluster differ while it changes: two nodes that each take the
// other for the owner do not send a client in circles.
func TestLoopShield(t *testing.T) {
	t.Parallel()
	views := [2]fixedNodes{}
	c := served(t, 2, func(i int, cfg *gohub.Config) {
		views[i].Directory = cfg.Directory
		cfg.Directory = &views[i]
	})
	for i := range views {
		other := gohub.Node{Name: fmt.Sprint("n", 1-i), ID: "of nobody", URL: c.url[1-i]}
		views[i].nodes.Store(&[]gohub.Node{other})
	}
	hops := 0
	follow := &http.Client{CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if hops++; hops > 3 {
			return http.ErrUseLastResponse
		}
		q := r.URL.Query()
		q.Del("ticket") // as of a version that gives none: the user is in the query
		r.URL.RawQuery = q.Encode()
		return nil
	}}
	node, status := c.dial(c.url[0]+"?user=alice", &websocket.DialOptions{HTTPClient: follow})
	assert.Equal(t, http.StatusSwitchingProtocols, status)
	assert.Equal(t, "n1", node)
	assert.Equal(t, 1, hops)
}

// fixedNodes is a Directory with a view of its own.
type fixedNodes struct {
	gohub.Directory
	nodes atomic.Pointer[[]gohub.Node]
}

func (f *fixedNodes) Nodes() []gohub.Node {
	if n := f.nodes.Load(); n != nil {
		return *n
	}
	return nil
}

func TestRouteFunction(t *testing.T) {
	t.Parallel()
	c := served(t, 3, func(_ int, cfg *gohub.Config) {
		cfg.Route = func(r *http.Request, who gohub.Identity) string {
			if who.User == "admin" {
				return ""
			}
			return r.URL.Query().Get("team")
		}
	})
	for owner := range 3 {
		team := "/" + c.userOf(owner, 0, 1, 2)
		for _, user := range []string{"alice", "bob"} {
			node, _ := c.dial(c.url[0]+"?user="+user+"&team="+team, nil)
			assert.Equal(t, fmt.Sprint("n", owner), node)
		}
		node, _ := c.dial(c.url[owner]+"?user=admin&team="+team, nil)
		assert.Equal(t, fmt.Sprint("n", owner), node)
	}
}

func TestWeightInTheRing(t *testing.T) {
	t.Parallel()
	c := served(t, 2, func(i int, cfg *gohub.Config) { cfg.Weight = 1 + 3*i })
	away := 0
	for i := range 100 {
		if c.location(0, fmt.Sprint("user=u", i), nil) != nil {
			away++
		}
	}
	assert.Greater(t, away, 65)
	_, err := gohub.New(gohub.Config{AllowAnonymous: true, Weight: 1001})
	require.ErrorContains(t, err, "Weight")
}

func TestNegotiateNamesTheOwner(t *testing.T) {
	t.Parallel()
	c := served(t, 3, nil)
	const page = "https://page.example"
	for owner := range 3 {
		user := c.userOf(owner, 0, 1, 2)
		n := c.negotiate(0, "user="+user, page)
		assert.Equal(t, c.url[owner], n.URL)
		assert.Equal(t, fmt.Sprint("n", owner), n.Node)
		node, _ := c.dial(n.at(n.URL), &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {page}}})
		assert.Equal(t, n.Node, node)
		_, status := c.dial(n.at(n.URL), &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {page}}})
		assert.Equal(t, http.StatusUnauthorized, status, "once")
	}
}

// A ticket for another node is as good as one of its own, and no better.
func TestTicketForAnotherNode(t *testing.T) {
	t.Parallel()
	c := served(t, 3, nil)
	user := c.userOf(1, 0, 1, 2)
	get := func(query, origin string) negotiated {
		n := c.negotiate(0, "user="+user+query, origin)
		require.Equal(t, c.url[1], n.URL)
		return n
	}
	t.Run("at the wrong node", func(t *testing.T) {
		n := get("", "")
		for _, i := range []int{2, 0} {
			_, status := c.dial(n.at(c.url[i]), nil)
			assert.Equal(t, http.StatusUnauthorized, status)
		}
	})
	t.Run("from another page", func(t *testing.T) {
		n := get("", "https://page.example")
		_, status := c.dial(n.at(n.URL), nil)
		assert.Equal(t, http.StatusUnauthorized, status)
	})
	t.Run("after a revocation", func(t *testing.T) {
		for i := range 3 { // by whichever node
			n := get("&login=l1", "")
			other := get("&login=l2", "")
			require.NoError(t, c.hubs[i].Revoke(t.Context(), gohub.Revocation{User: user, Login: "l1"}))
			_, status := c.dial(n.at(n.URL), nil)
			assert.Equal(t, http.StatusUnauthorized, status)
			node, _ := c.dial(other.at(other.URL), nil)
			assert.Equal(t, "n1", node, "another login")
			n = get("&login=l1", "")
			node, _ = c.dial(n.at(n.URL), nil)
			assert.Equal(t, "n1", node, "a new login")
		}
	})
	t.Run("says all", func(t *testing.T) {
		n := get("&device=phone&name=A%20B&login=l&rooms=r&rooms=s&claim=c", "")
		c.dial(n.at(n.URL), nil)
		var got gohub.Identity
		for _, s := range c.hubs[1].Sessions("", user) {
			if s.Identity().Device == "phone" {
				got = s.Identity()
			}
		}
		assert.Equal(t, gohub.Identity{User: user, Device: "phone", Name: "A B", Login: "l", Rooms: []string{"r", "s"}, Claims: map[string]any{"claim": "c"}}, got)
	})
}

// What opens no room at all must not come to open all of them.
func TestNoRoomsStayNone(t *testing.T) {
	t.Parallel()
	c := served(t, 2, func(_ int, cfg *gohub.Config) {
		cfg.Authenticator = gohub.AuthenticatorFunc(func(r *http.Request) (gohub.Identity, error) {
			who, err := byQuery(r)
			who.Rooms = []string{}
			who.ExpiresAt = time.Now().Add(time.Hour)
			return who, err
		})
	})
	user := c.userOf(1, 0, 1)
	c.dial(c.url[0]+"?user="+user, nil)
	require.Len(t, c.hubs[1].Sessions("", user), 1)
	who := c.hubs[1].Sessions("", user)[0].Identity()
	assert.NotNil(t, who.Rooms)
	assert.Empty(t, who.Rooms)
	assert.WithinDuration(t, time.Now().Add(time.Hour), who.ExpiresAt, time.Minute)
}

// What cannot be carried, or changes when it is, stays where it is.
func TestIdentityThatCannotTravel(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*gohub.Identity){
		"claims": func(who *gohub.Identity) { who.Claims = map[string]any{"f": func() {}} },
		"tenant": func(who *gohub.Identity) { who.Tenant = "a\xff" },
		"claim":  func(who *gohub.Identity) { who.Claims = map[string]any{"role": "a\xff"} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := served(t, 2, func(_ int, cfg *gohub.Config) {
				cfg.Route = func(*http.Request, gohub.Identity) string { return "/" + "user" }
				cfg.Authenticator = gohub.AuthenticatorFunc(func(r *http.Request) (gohub.Identity, error) {
					who, err := byQuery(r)
					change(&who)
					return who, err
				})
			})
			for i := range 2 {
				node, _ := c.dial(c.url[i]+"?user=alice", nil)
				assert.Equal(t, fmt.Sprint("n", i), node)
				assert.Equal(t, c.url[i], c.negotiate(i, "user=alice", "").URL)
			}
		})
	}
}

// Behind one URL any node may get the ticket.
func TestTicketsBehindALoadBalancer(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"ws://balancer.example/", ""} {
		c := served(t, 3, func(_ int, cfg *gohub.Config) { cfg.URL = url })
		for at := range 3 {
			n := c.negotiate(0, "user=alice", "")
			if url != "" {
				assert.Equal(t, url, n.URL)
			}
			node, _ := c.dial(n.at(c.url[at]), nil)
			assert.Equal(t, fmt.Sprint("n", at), node)
			_, status := c.dial(n.at(c.url[0]), nil)
			assert.Equal(t, http.StatusUnauthorized, status, "once")
		}
	}
}

// A hub that drains is out of the ring at once, and while it still answers
// sends those who come to where they belong now.
func TestDrainingRoutesAway(t *testing.T) {
	t.Parallel()
	c := served(t, 3, func(i int, cfg *gohub.Config) {
		if i == 1 {
			cfg.DrainTime = time.Hour
		}
	})
	user := c.userOf(1, 0, 1, 2)
	node, _ := c.dial(c.url[0]+"?user="+user, nil) // and stays
	require.Equal(t, "n1", node)
	done := make(chan struct{})
	go func() { // ends when the session does, with this test at the latest
		defer close(done)
		assert.NoError(t, c.hubs[1].Shutdown(context.Background()))
	}()
	require.Eventually(t, func() bool { return len(c.hubs[0].Nodes()) == 2 }, patience, time.Millisecond)
	next := 0
	if c.userOf(2, 0, 2) == user || c.location(0, "user="+user, nil) != nil {
		next = 2
	}
	for at := range 3 {
		node, _ := c.dial(c.url[at]+"?user="+user, nil)
		assert.Equal(t, fmt.Sprint("n", next), node, "at n%d", at)
		n := c.negotiate(at, "user="+user, "")
		assert.Equal(t, c.url[next], n.URL)
	}
	_, status := c.dial(c.url[1]+"?from=n0&user="+user, nil)
	assert.Equal(t, http.StatusServiceUnavailable, status, "who has been sent already")
	_, status = c.dial(c.url[1]+"?user="+user, &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"https://page.example"}}})
	assert.Equal(t, http.StatusServiceUnavailable, status)
	c.hubs[1].Kick("", user, "")
	<-done
}

// A session renews itself where it is, whichever node is asked for the ticket
// and wherever it would be sent to now.
func TestRefreshWithATicketFromAnotherNode(t *testing.T) {
	t.Parallel()
	c := served(t, 3, nil)
	for at := range 3 {
		for owner := range 3 {
			user := c.userOf(owner, 0, 1, 2)
			w := &world{t, c.hubs[at], "http" + strings.TrimPrefix(c.url[at], "ws"), c.client, nil, 0}
			s := w.dial("from=n0&user=" + user)
			for asked := range 3 {
				claim := fmt.Sprint("new", asked)
				n := c.negotiate(asked, "claim="+claim+"&user="+user, "")
				require.Equal(t, c.url[owner], n.URL)
				s.send(frame{"type": "refresh", "ref": 1, "ticket": n.Ticket})
				s.expect("refreshed")
				claims := []any{}
				for _, c := range c.hubs[at].Sessions("", user) {
					claims = append(claims, c.Identity().Claims["claim"])
				}
				require.Contains(t, claims, claim)
				s.send(frame{"type": "refresh", "ref": 2, "ticket": n.Ticket})
				require.Equal(t, "unauthorized", s.expect("error")["code"], "once")
			}
			n := c.negotiate(0, "user=mallory", "")
			s.send(frame{"type": "refresh", "ref": 3, "ticket": n.Ticket})
			require.Equal(t, "forbidden", s.expect("error")["code"])
		}
	}
}

// virtualNodes are two nodes of one cluster, in virtual time.
func virtualNodes(t *testing.T) []*world {
	t.Helper()
	hubs := make([]*world, 2)
	for i, dir := range directories(2) {
		hubs[i] = startVirtual(t, gohub.Config{
			Node: fmt.Sprint("n", i), URL: fmt.Sprintf("ws://n%d/", i), Directory: dir,
			Authenticator: gohub.AuthenticatorFunc(byQueryExpiring),
		})
	}
	return hubs
}

// A ticket ends with the token it was given for, elsewhere too.
func TestTicketForAnotherNodeEnds(t *testing.T) {
	virtual(t, func(t *testing.T) {
		hubs, user := virtualNodes(t), (&nodes{t: t}).userOf(1, 0, 1)
		var tickets []string
		for range 2 {
			n := hubs[0].negotiate("life=2s&user=" + user)
			require.Equal(t, "ws://n1/", n["url"])
			tickets = append(tickets, "ticket="+n["ticket"].(string))
		}
		pass(2*time.Second - time.Millisecond)
		hubs[1].dial(tickets[0])
		pass(time.Millisecond)
		hubs[1].refused(tickets[1], http.StatusUnauthorized, "unauthorized")
	})
}

// A user who asks without end does not fill the Directory.
func TestTicketsInTheDirectoryAreBounded(t *testing.T) {
	virtual(t, func(t *testing.T) {
		hubs, c := virtualNodes(t), &nodes{t: t}
		user, other := c.userOf(1, 0, 1), c.userOf(0, 0, 1)
		for range 100 {
			require.Equal(t, "ws://n1/", hubs[0].negotiate("user=" + user)["url"])
		}
		n := hubs[0].negotiate("user=" + user)
		require.Equal(t, "ws://n0/", n["url"])
		require.Equal(t, "n0", hubs[0].dial("ticket=" + n["ticket"].(string)).welcome["node"])
		sent := func(w *world, user string) bool {
			r, rec := httptest.NewRequest(http.MethodGet, "/?user="+user, nil), httptest.NewRecorder()
			maps.Copy(r.Header, handshake)
			w.hub.Handler().ServeHTTP(rec, r)
			return rec.Code == http.StatusTemporaryRedirect
		}
		require.False(t, sent(hubs[0], user))
		require.True(t, sent(hubs[1], other))
	})
}

// failingTickets is a Directory that lists nodes and cannot be reached else.
type failingTickets struct {
	gohub.Directory
	fails atomic.Bool
}

func (f *failingTickets) PutTicket(ctx context.Context, id string, b []byte, life time.Duration) error {
	if f.fails.Load() {
		return gohub.ErrUnavailable
	}
	return f.Directory.PutTicket(ctx, id, b, life)
}

func (f *failingTickets) TakeTicket(ctx context.Context, id string) ([]byte, error) {
	if f.fails.Load() {
		return nil, gohub.ErrUnavailable
	}
	return f.Directory.TakeTicket(ctx, id)
}

func TestDirectoryDown(t *testing.T) {
	t.Parallel()
	dirs := [2]failingTickets{}
	c := served(t, 2, func(i int, cfg *gohub.Config) {
		dirs[i].Directory = cfg.Directory
		cfg.Directory = &dirs[i]
	})
	user := c.userOf(1, 0, 1)
	lent := c.negotiate(0, "user="+user, "")
	for i := range dirs {
		dirs[i].fails.Store(true)
	}
	node, _ := c.dial(c.url[0]+"?user="+user, nil)
	assert.Equal(t, "n0", node)
	n := c.negotiate(0, "user="+user, "")
	assert.Equal(t, c.url[0], n.URL)
	node, _ = c.dial(n.at(n.URL), nil)
	assert.Equal(t, "n0", node)
	_, status := c.dial(lent.at(lent.URL), nil)
	assert.Equal(t, http.StatusServiceUnavailable, status, "nobody knows whether it is good")
	_, status = c.dial(c.url[1]+"?ticket=made-up", nil)
	assert.Equal(t, http.StatusUnauthorized, status, "what is no ticket is not asked for")
}

func BenchmarkRoute(b *testing.B) {
	dir := gohub.NewMemoryDirectory()
	for _, routed := range []bool{false, true} {
		b.Run(fmt.Sprint("routed=", routed), func(b *testing.B) {
			cfg := gohub.Config{AllowAnonymous: true, Node: "self", URL: "ws://self/"}
			if routed {
				cfg.Directory = dir.Node()
				for i := range 10 {
					name := fmt.Sprint("n", i)
					dir.Node().Serve(nil, gohub.Node{Name: name, ID: name, URL: "ws://" + name + "/"})
				}
			}
			hub, err := gohub.New(forTests(cfg))
			require.NoError(b, err)
			defer func() { _ = hub.Shutdown(context.Background()) }()
			r := httptest.NewRequest(http.MethodGet, "/ws?a=b", nil)
			who := gohub.Identity{User: "alice"}
			b.ReportAllocs()
			for b.Loop() {
				gohub.Elsewhere(hub, r, who)
			}
		})
	}
}

// said is a Directory that remembers what its hub says of itself.
// stuckTickets is a Directory that does not answer where tickets are concerned.
type stuckTickets struct{ gohub.Directory }

func (stuckTickets) PutTicket(ctx context.Context, _ string, _ []byte, _ time.Duration) error {
	<-ctx.Done()
	return fmt.Errorf("%w: %w", gohub.ErrUnavailable, ctx.Err())
}

func (stuckTickets) TakeTicket(ctx context.Context, _ string) ([]byte, error) {
	<-ctx.Done()
	return nil, fmt.Errorf("%w: %w", gohub.ErrUnavailable, ctx.Err())
}

// A Directory that does not answer holds nobody up for longer than a second.
func TestNobodyWaitsLongForTickets(t *testing.T) {
	virtual(t, func(t *testing.T) {
		dirs := directories(2)
		hubs := make([]*world, 2)
		for i := range hubs {
			hubs[i] = startVirtual(t, gohub.Config{Node: fmt.Sprint("n", i), URL: fmt.Sprintf("ws://n%d/", i), Directory: stuckTickets{dirs[i]}})
		}
		user := (&nodes{t: t}).userOf(1, 0, 1)
		for name, upgrade := range map[string]bool{"/?user=" + user: false, "/?ticket=n" + strings.Repeat("A", 26): true} {
			began := time.Now()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, name, nil)
			if upgrade {
				r.Header.Set("Upgrade", "websocket")
			}
			w := httptest.NewRecorder()
			hubs[0].hub.Handler().ServeHTTP(w, r)
			require.Equal(t, time.Second, time.Since(began), name)
			require.Equal(t, upgrade, w.Code == http.StatusServiceUnavailable, "%s: %d", name, w.Code)
		}
		began := time.Now()
		hubs[0].dial("user=" + user)
		require.Equal(t, time.Second, time.Since(began), "stays here")
	})
}

type said struct {
	gohub.Directory
	mu  sync.Mutex // guards all
	all []string
}

func (d *said) Serve(l gohub.Listener, self gohub.Node) {
	d.add(map[bool]string{false: "here", true: "leaving"}[self.Leaving])
	d.Directory.Serve(l, self)
}

func (d *said) Leave(ctx context.Context, l gohub.Listener) {
	d.add("gone")
	d.Directory.Leave(ctx, l)
}

func (d *said) add(s string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := len(d.all); n > 0 && d.all[n-1] == s {
		return // only the number of sessions was another one
	}
	d.all = append(d.all, s)
}

func (d *said) so() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.all)
}

// Others learn how many sessions a hub has, and need no new ring for it.
func TestNodesSayHowManySessionsTheyHave(t *testing.T) {
	virtual(t, func(t *testing.T) {
		dir := gohub.NewMemoryDirectory()
		w := startVirtual(t, gohub.Config{Node: "a", Directory: dir.Node()})
		other := startVirtual(t, gohub.Config{Node: "b", Directory: dir.Node()})
		require.Zero(t, other.hub.Nodes()[0].Sessions)
		w.as("alice")
		w.as("bob")
		pass(6 * time.Second)
		nodes := other.hub.Nodes()
		require.Len(t, nodes, 2)
		require.Equal(t, "a", nodes[0].Name)
		require.Equal(t, 2, nodes[0].Sessions)
		require.Zero(t, nodes[1].Sessions)
		require.Equal(t, nodes[0].ID, w.hub.Node().ID)
		require.NoError(t, w.hub.Shutdown(t.Context()))
		require.Len(t, other.hub.Nodes(), 1)
	})
	w := start(t, gohub.Config{Node: "alone"})
	require.Equal(t, []gohub.Node{w.hub.Node()}, w.hub.Nodes())
}

// A hub that cannot store for a while is out of the ring, and comes back. When
// it shuts down, that is the last that is said of it.
func TestNotReadyIsOutOfTheRing(t *testing.T) {
	virtual(t, func(t *testing.T) {
		store, dir := newSlowStore(), &said{Directory: gohub.NewMemoryDirectory().Node()}
		w := startVirtual(t, gohub.Config{Store: store, MaxPending: 2, Directory: dir, DrainTime: 10 * time.Second})
		alice := w.as("alice", "r", "s")
		full := func(d time.Duration) {
			store.hold()
			for _, room := range []string{"r", "s"} {
				alice.publish(room, 1)
			}
			alice.sync()
			require.Error(t, w.hub.Ready())
			pass(d)
			store.release()
			pass(2 * time.Second)
			require.NoError(t, w.hub.Ready())
		}
		full(1900 * time.Millisecond)
		require.Equal(t, []string{"here"}, dir.so(), "it was short")
		full(10 * time.Second)
		require.Equal(t, []string{"here", "leaving", "here"}, dir.so())
		require.NoError(t, w.hub.Shutdown(t.Context()))
		pass(time.Minute)
		require.Equal(t, []string{"here", "leaving", "here", "leaving", "gone"}, dir.so())
	})
}
