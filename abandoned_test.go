package gohub_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// A slowDoor is a hub that holds up whoever comes with "slow" in the query, as
// if it was stopped meanwhile; with "gone" as well until the client is.
type slowDoor struct {
	*world
	goOn    chan struct{} // lets one in
	came    chan net.Conn // the connection of one who was slow
	handled chan struct{} // one who was slow has been dealt with
}

func startSlow(t *testing.T, cfg gohub.Config) *slowDoor {
	t.Helper()
	d := &slowDoor{goOn: make(chan struct{}), came: make(chan net.Conn, 10), handled: make(chan struct{}, 10)}
	cfg.Authenticator = gohub.AuthenticatorFunc(func(r *http.Request) (gohub.Identity, error) {
		if r.URL.Query().Has("slow") {
			<-d.goOn
		}
		if r.URL.Query().Has("gone") {
			<-r.Context().Done()
		}
		return byQuery(r)
	})
	hub, err := gohub.New(forTests(cfg))
	require.NoError(t, err)
	type connKey struct{}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		slow := r.URL.Query().Has("slow")
		if slow {
			d.came <- r.Context().Value(connKey{}).(net.Conn)
		}
		hub.Handler().ServeHTTP(w, r)
		if slow {
			d.handled <- struct{}{}
		}
	}))
	srv.Config.ConnContext = func(ctx context.Context, nc net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, nc)
	}
	srv.Start()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, hub.Shutdown(ctx))
		srv.Close()
	})
	d.world = &world{t, hub, srv.URL, client, new(net.Dialer).DialContext, 0}
	return d
}

// giveUp knocks, and is gone before it is let in.
func (d *slowDoor) giveUp(query string) {
	d.t.Helper()
	nc, err := d.raw(d.t.Context(), "tcp", d.url[len("http://"):])
	require.NoError(d.t, err)
	_, err = nc.Write([]byte("GET /?slow&gone&" + query + " HTTP/1.1\r\nHost: hub.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"))
	require.NoError(d.t, err)
	require.NoError(d.t, nc.Close())
}

// opened shows that so many sessions have begun. They do so once the handshake
// has been dealt with; no more can when the hub has ended.
func (d *slowDoor) opened(n int64) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(d.t, d.hub.Shutdown(ctx))
	require.Equal(d.t, n, d.hub.Totals().SessionsOpened)
}

// A handshake that its client has given up on, and that is answered late, is
// nobody's session, and ends nobody's.
func TestAbandonedHandshake(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("whether a client is gone is not known here")
	}
	t.Run("one hub", func(t *testing.T) {
		t.Parallel()
		d := startSlow(t, gohub.Config{MaxSessionsPerUser: 1})
		d.giveUp("user=bob")
		d.giveUp(phone)
		alice, bob := d.dial(phone), d.dial("user=bob")
		for range 2 {
			d.goOn <- struct{}{}
			<-d.handled
		}
		alice.sync()
		bob.sync()
		d.opened(2)
	})
	t.Run("two hubs", func(t *testing.T) {
		t.Parallel()
		hubs, dirs := startSlowPair(t)
		hubs[0].giveUp(phone)
		alice := hubs[1].dial(phone)
		hubs[0].goOn <- struct{}{}
		<-hubs[0].handled
		alice.sync()
		dirs[0].set(func() { require.Zero(t, dirs[0].asked, "it is not even claimed") })
		hubs[0].opened(0)
	})
	// The client gives up while its session is claimed, which fails.
	t.Run("during the claim", func(t *testing.T) {
		t.Parallel()
		hubs, dirs := startSlowPair(t)
		g := make(gate)
		dirs[0].set(func() {
			dirs[0].before = func(c gohub.Claim) error { _ = g.wait(c); return gohub.ErrUnavailable }
		})
		go func() { hubs[0].goOn <- struct{}{} }() // ends with the next line
		late := hubs[0].bare(phone + "&slow")
		alice := hubs[1].dial(phone)
		require.NoError(t, late.nc.Close())
		_, err := (<-hubs[0].came).Read(make([]byte, 1)) // nobody else reads there yet
		require.ErrorIs(t, err, io.EOF)
		close(g)
		<-hubs[0].handled
		alice.sync()
		hubs[0].opened(0)
	})
}

func startSlowPair(t *testing.T) (hubs [2]*slowDoor, dirs [2]*dirLink) {
	t.Helper()
	store, broker, dir := gohub.NewMemoryStore(gohub.MemoryStoreOptions{}), gohub.NewMemoryBroker(), gohub.NewMemoryDirectory()
	for i := range hubs {
		dirs[i] = &dirLink{Directory: dir.Node()}
		hubs[i] = startSlow(t, gohub.Config{Node: []string{"a", "b"}[i], Store: store, Broker: &link{Broker: broker}, Directory: dirs[i]})
	}
	return hubs, dirs
}
