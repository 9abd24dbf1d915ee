//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/auth"
	"github.com/gohub/gohub/internal/pgtest"
	"github.com/gohub/gohub/internal/redistest"
)

// Two nodes are one chat: who has logged in on one is known on the other, and
// hears there what is said here.
func TestTwoNodes(t *testing.T) { twoNodes(t, "redis://"+redistest.New(t).Addr()) }

func TestTwoNodesOnARedisCluster(t *testing.T) {
	var addrs []string
	for _, s := range redistest.NewCluster(t, 3, false).Masters {
		addrs = append(addrs, s.Addr())
	}
	twoNodes(t, "redis://"+addrs[0]+"?addr="+addrs[1]+"&addr="+addrs[2])
}

// patient is how long a test waits for a cluster, which beats every 5 s.
const patient = time.Minute

func twoNodes(t *testing.T, redis string) {
	t.Helper()
	database := pgtest.New(t).Database(t)
	one, _ := serve(t, "-postgres", database, "-redis", redis, "-node", "one")
	two, _ := serve(t, "-postgres", database, "-redis", redis, "-node", "two")

	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client := &http.Client{Jar: jar} // cookies do not tell ports apart
	res, err := client.Post(one+"login", "application/json", strings.NewReader(`{"user":"alice"}`))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusOK, res.StatusCode)

	dial := func(url string) *websocket.Conn {
		var conn *websocket.Conn
		require.Eventually(t, func() bool { // the cluster is there in a second or two
			c, _, err := websocket.Dial(t.Context(), strings.Replace(url, "http", "ws", 1)+"ws", &websocket.DialOptions{HTTPClient: client})
			if err != nil {
				return false
			}
			require.NoError(t, c.Write(t.Context(), websocket.MessageText, []byte(`{"type":"join","room":"lobby"}`)))
			for {
				_, b, err := c.Read(t.Context())
				require.NoError(t, err)
				switch {
				case bytes.Contains(b, []byte(`"joined"`)):
					conn = c
					return true
				case bytes.Contains(b, []byte(`"error"`)):
					_ = c.CloseNow()
					return false
				}
			}
		}, patient, 100*time.Millisecond)
		t.Cleanup(func() { _ = conn.CloseNow() })
		return conn
	}
	speaks, hears := dial(one), dial(two)
	require.NoError(t, speaks.Write(t.Context(), websocket.MessageText,
		[]byte(`{"type":"publish","room":"lobby","id":"0198c5e1-7a3b-7c4d-9e2f-000000000001","body":"over there"}`)))
	for {
		_, b, err := hears.Read(t.Context())
		require.NoError(t, err)
		if bytes.Contains(b, []byte("over there")) {
			break
		}
	}

	assert.Eventually(t, func() bool { // they know each other, and their sessions
		res, err := client.Get(two + "cluster.json")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		var v ringView
		return json.NewDecoder(res.Body).Decode(&v) == nil && v.Node == "two" && len(v.Nodes) == 2 && v.Nodes[0].Name == "one" &&
			v.Nodes[0].Sessions == 1 && v.Nodes[1].Sessions == 1 && len(v.Ring) == ringSlices
	}, patient, 100*time.Millisecond)
	res, err = http.Get(two + "cluster.json")
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	assert.Equal(t, http.StatusUnauthorized, res.StatusCode, "not for strangers")

	res, err = client.Post(two+"refresh", "", nil)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	assert.Less(t, res.StatusCode, 300, "a login is one on every node")
}

func TestRedisThatIsNotThere(t *testing.T) {
	database := pgtest.New(t).Database(t)
	for _, url := range []string{"redis://:secret@127.0.0.1:1", "http://:secret@x"} {
		var stderr bytes.Buffer
		assert.Equal(t, 1, run(t.Context(), []string{"-addr", "127.0.0.1:0", "-postgres", database, "-redis", url}, noEnv, io.Discard, &stderr))
		assert.Contains(t, stderr.String(), "-redis")
		assert.NotContains(t, stderr.String(), "secret")
	}
}

func TestLastingAccounts(t *testing.T) {
	pool, err := pgxpool.New(t.Context(), pgtest.New(t).Database(t))
	require.NoError(t, err)
	defer pool.Close()
	made := make(chan accounts, 4)
	for range cap(made) { // together, as nodes start
		go func() {
			acc, err := lasting(t.Context(), pool)
			assert.NoError(t, err)
			made <- acc
		}()
	}
	acc := <-made
	require.NotNil(t, acc.key)
	for range cap(made) - 1 {
		assert.True(t, acc.key.Equal((<-made).key), "one key")
	}

	ctx, logins := t.Context(), acc.logins
	_, err = logins.Get(ctx, "a")
	require.ErrorIs(t, err, auth.ErrNoFamily)
	f := auth.Family{
		ID: "a", Who: gohub.Identity{User: "u", Tenant: "t", Rooms: []string{"r*"}, Claims: map[string]any{"n": 1.5}},
		Salt: [32]byte{1}, Current: [32]byte{2}, Rotated: time.Now().UTC().Round(time.Millisecond), Expires: time.Now().UTC().Add(time.Hour).Round(time.Millisecond),
	}
	require.NoError(t, logins.Add(ctx, f))
	got, err := logins.Get(ctx, "a")
	require.NoError(t, err)
	assert.Equal(t, f, got)

	next := f
	next.Previous, next.Current = f.Current, [32]byte{3}
	swapped := make(chan bool, 8)
	for range cap(swapped) {
		go func() {
			ok, err := logins.Swap(ctx, f.Current, next)
			assert.NoError(t, err)
			swapped <- ok
		}()
	}
	n := 0
	for range cap(swapped) {
		if <-swapped {
			n++
		}
	}
	assert.Equal(t, 1, n, "of two that refresh at a time one is first")
	got, err = logins.Get(ctx, "a")
	require.NoError(t, err)
	assert.Equal(t, next, got)

	old := auth.Family{ID: "old", Who: gohub.Identity{User: "never back"}, Expires: time.Now().Add(-time.Hour)}
	other := auth.Family{ID: "other", Who: gohub.Identity{User: "v", Tenant: "t"}, Expires: f.Expires}
	for _, f := range []auth.Family{old, other, {ID: "b", Who: f.Who, Expires: f.Expires}} {
		require.NoError(t, logins.Add(ctx, f))
	}
	_, err = logins.Get(ctx, "old")
	require.ErrorIs(t, err, auth.ErrNoFamily, "it has expired, and somebody was here since")
	require.NoError(t, logins.Remove(ctx, "b"))
	require.NoError(t, logins.Remove(ctx, "b"), "gone already")
	require.NoError(t, logins.RemoveUser(ctx, "t", "u"))
	for _, id := range []string{"a", "b"} {
		_, err = logins.Get(ctx, id)
		require.ErrorIs(t, err, auth.ErrNoFamily, id)
	}
	_, err = logins.Get(ctx, "other")
	assert.NoError(t, err)
}
