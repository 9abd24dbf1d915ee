//go:build unix

package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/internal/redistest"
)

// atHome is how long clients stay with a node that leave it only when they are told to.
const atHome = time.Hour

// still is a cluster whose clients stay where they are, and whose nodes are not
// frozen.
func still(clients int) options {
	o := ordinary()
	o.clients, o.stay = clients, atHome
	return o
}

// broken is how many connections have ended without their client's doing.
func (w *world) broken() (n int64) {
	for _, c := range w.clients {
		n += c.closes.Load()
	}
	return n
}

func (w *world) told(reply int) (n int64) {
	for _, c := range w.clients {
		n += c.replies[reply].Load()
	}
	return n
}

// Redis is away for a minute, or some seconds in make test.
func TestRedisDown(t *testing.T) {
	t.Parallel()
	down := 8 * time.Second
	if long(t) > 0 {
		down = time.Minute
	}
	o := still(48)
	o.direct = true
	w := newWorld(t, 1, o)
	w.goesOn(20)
	require.NoError(t, w.redis.Kill9())
	time.Sleep(3 * time.Second)
	var acks, told int64
	for tries := 0; tries < 5 && (tries == 0 || acks != w.acks.Load()); tries++ { // what had been ordered is stored and acked first
		acks, told = w.acks.Load(), w.told(replyUnavailable)
		time.Sleep(down - 3*time.Second)
	}
	assert.Equal(t, acks, w.acks.Load(), "acked without Redis")
	assert.Greater(t, w.told(replyUnavailable), told, "publishes are unavailable")
	w.strike(t.Context(), &fault{name: fmt.Sprint("Redis is back after ", down), forgets: true, begin: w.redis.Start})
	took := w.happened[0].recovered
	w.goesOn(20)
	assert.Zero(t, w.broken(), "connections stay")
	w.settle()
	w.judge()
	t.Logf("all nodes acked again %v after Redis was back", took)
	w.assertRecovery(took)
}

// A node dies, and those who were there and do not come back are gone in time.
func TestUsersOfADeadNodeAreGone(t *testing.T) {
	t.Parallel()
	o := ordinary()
	o.rests = true
	w := newWorld(t, 1, o)
	w.goesOn(20)
	w.aNodeDies(t.Context(), w.nodes[0])
	w.goesOn(20)
	w.settle()
	w.judge()
}

// A raw connection, for some messages.
type raw struct {
	t      *testing.T
	ws     *websocket.Conn
	frames chan frame
}

func dialRaw(w *world, x *node, user, room string) *raw {
	w.t.Helper()
	r := dialURL(w, "ws://"+*x.addr.Load()+"/ws?user="+user)
	require.Eventually(w.t, func() bool {
		r.send(map[string]any{"type": "join", "room": room, "since": 0})
		return r.expect("joined", "error").Type == "joined" // not while Redis' first generation begins
	}, patience, 100*time.Millisecond)
	return r
}

func dialURL(w *world, url string) *raw {
	w.t.Helper()
	ws, _, err := websocket.Dial(w.t.Context(), url, &websocket.DialOptions{HTTPClient: w.http})
	require.NoError(w.t, err)
	r := &raw{w.t, ws, make(chan frame, 1000)} // more than ever comes
	done := make(chan struct{})
	go func() { // ends with the connection
		defer close(done)
		read(context.Background(), ws, r.frames)
	}()
	w.t.Cleanup(func() { _ = ws.CloseNow(); <-done })
	return r
}

func (r *raw) send(v any) {
	r.t.Helper()
	b, err := json.Marshal(v)
	require.NoError(r.t, err)
	require.NoError(r.t, r.ws.Write(r.t.Context(), websocket.MessageText, b))
}

// expect reads on to a frame of one of the types.
func (r *raw) expect(types ...string) frame {
	r.t.Helper()
	for {
		select {
		case f := <-r.frames:
			require.NoError(r.t, f.closed)
			if slices.Contains(types, f.Type) {
				return f
			}
			require.NotEqual(r.t, "error", f.Type, f.Code)
		case <-time.After(patience):
			require.FailNow(r.t, "nothing comes", types)
		}
	}
}

// Nobody is left who could store or repeat it, but others have seen it.
func TestNodeAndSenderDie(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, still(0))
	room := roomName(0)
	reader := dialRaw(w, w.nodes[1], "reader", room)
	sender := dialRaw(w, w.nodes[0], "sender", room)
	w.nodes[0].pg.hold(true, toServer, toClient)
	id := gohub.NewID()
	sender.send(&publish{Type: "publish", ID: id, Room: room, Body: "last words"})
	seen := reader.expect("message")
	require.Equal(t, id, seen.ID)
	require.NoError(t, w.nodes[0].kill())
	_ = sender.ws.CloseNow()
	died := time.Now()
	w.nodes[0].pg.cut()
	require.Empty(t, w.stored(room), "it was too early")

	var stored []gohub.Message
	require.Eventually(t, func() bool {
		stored = w.stored(room)
		return len(stored) > 0
	}, 2*patience, 200*time.Millisecond, "nobody stores it")
	t.Logf("stored by a survivor after %v", time.Since(died).Round(100*time.Millisecond))
	require.Len(t, stored, 1)
	require.Equal(t, id, stored[0].ID)
	require.Equal(t, seen.Seq, stored[0].Seq)
	late := dialRaw(w, w.nodes[2], "late", room)
	require.Equal(t, seen.Seq, late.expect("message").Seq)
	late.send(&publish{Type: "publish", ID: gohub.NewID(), Room: room, Body: "the next"})
	require.Equal(t, late.expect("message").Seq, reader.expect("message").Seq, "and not shown twice")
}

// All nodes are restarted one after the other, as a deployment does it.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	o := still(90)
	o.every = time.Second
	w := newWorld(t, 1, o)
	w.goesOn(20)
	var drains [][2]time.Time
	for _, x := range w.nodes {
		began := time.Now()
		require.NoError(t, x.terminate(), "hub.Shutdown gave something up")
		drains = append(drains, [2]time.Time{began, time.Now()})
		t.Logf("%s is gone after %v", x.name, time.Since(began).Round(time.Millisecond))
		require.NoError(t, x.start())
		w.ready(x)
	}
	time.Sleep(2 * time.Second)
	assert.Zero(t, w.broken(), "nobody is cut off")
	w.settle()
	v := w.judge()
	assert.Zero(t, v.reordered+v.late)
	assert.Zero(t, w.doubled.Load())
	for i, d := range drains {
		slots := w.slots(d[0], d[1])
		assert.Greater(t, len(slots), 10, "node %d", i)
		for n, slot := range slots {
			assert.True(t, slot%(10*time.Millisecond) == 0 && (n == 0 || slot > slots[n-1]), "node %d: reconnects are spread, 10 ms each: %v", i, slots)
		}
	}
}

// The replica that takes over lacks what was ordered last.
func TestFailoverToALaggingReplica(t *testing.T) {
	o := ordinary()
	o.settings = []string{"repl-diskless-sync-delay 0"}
	w := newWorld(t, 1, o)
	line := newProxy(t, w.redis.Addr())
	host, port, err := net.SplitHostPort(line.addr())
	require.NoError(t, err)
	replica := redistest.New(t, "replicaof "+host+" "+port)
	require.Eventually(t, func() bool {
		n, err := w.redis.Do("WAIT", "1", "1000")
		return err == nil && n == ":1"
	}, patience, 10*time.Millisecond, "the replica does not follow")
	w.goesOn(20)
	line.hold(true, toClient)
	ahead := w.acks.Load()
	w.goesOn(20)
	t.Logf("%d messages acked that the replica does not know", w.acks.Load()-ahead)
	w.strike(t.Context(), &fault{name: "failover to a replica that lags", forgets: true, begin: func() error {
		if err := w.redis.Kill9(); err != nil {
			return err
		}
		if _, err := replica.Do("REPLICAOF", "NO", "ONE"); err != nil {
			return err
		}
		for _, x := range w.nodes {
			x.redis.point(replica.Addr())
		}
		return nil
	}})
	w.goesOn(20)
	w.settle()
	w.judge()
}

// One node cannot store, and another misses what it orders. That comes from the
// log; or, if Redis forgets that, from the database, for which everybody waits.
func TestUnstoredAndMissed(t *testing.T) {
	for name, flush := range map[string]bool{"log": false, "FLUSHALL": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := still(48)
			o.rooms, o.every = 5, 300*time.Millisecond // many in each
			w := newWorld(t, 1, o)
			w.goesOn(20)
			full, deaf := w.nodes[0], w.nodes[1]
			full.pg.hold(true, toServer, toClient)
			deaf.redis.hold(true, toServer, toClient)
			time.Sleep(1500 * time.Millisecond)
			if flush {
				now := time.Now()
				w.happened = []*fault{{name: "FLUSHALL", forgets: true, began: now, ended: now}}
				require.NoError(t, w.redis.FlushAll())
			}
			deaf.redis.cut()
			deaf.redis.hold(false, toServer, toClient)
			time.Sleep(4 * time.Second)
			full.pg.hold(false, toServer, toClient)
			w.goesOn(20)
			w.settle()
			w.judge()
		})
	}
}
