//go:build unix

package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/hubtest"
	"github.com/gohub/gohub/internal/redistest"
)

const (
	stormRooms    = 3
	stormUnderWay = 4 // publishes of a client
)

func stormRoom(n int) string { return fmt.Sprint("room", n) }

// A storm is clients on two hubs that publish to the same rooms, read them all
// and repeat what fails, while something happens to Redis. None may lose its
// connection. In the end each must have, room by room, what is stored.
type storm struct {
	t       *testing.T
	store   gohub.Store
	clients []*stormClient
	over    atomic.Bool
	end     chan struct{}    // closed when heads is there
	heads   map[string]int64 // the last seq of each room
	wg      sync.WaitGroup
}

func startStorm(t *testing.T, s *redistest.Server) *storm {
	t.Helper()
	return startStormOn(t, func(prefix string) *Broker { return broker(t, s, prefix) })
}

func startStormOn(t *testing.T, broker func(prefix string) *Broker) *storm {
	t.Helper()
	st := &storm{t: t, store: newSlowStore(), end: make(chan struct{}), heads: map[string]int64{}}
	p := prefix()
	runs(t, broker(p), new(recorder))() // begins a generation soon
	for h := range 2 {
		b := broker(p)
		patient(b)
		hub, err := gohub.New(hubtest.Config(t, gohub.Config{
			Node: fmt.Sprint("hub", h), Store: st.store, Broker: b,
			Authenticator: gohub.AuthenticatorFunc(func(r *http.Request) (gohub.Identity, error) {
				return gohub.Identity{User: r.URL.Query().Get("user")}, nil
			}),
		}))
		require.NoError(t, err)
		require.Eventually(t, func() bool { return isLeased(b) }, patience, time.Millisecond)
		srv := httptest.NewServer(hub.Handler())
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			assert.NoError(t, hub.Shutdown(ctx))
			srv.Close()
		})
		for i := range 3 {
			c := &stormClient{st: st, name: fmt.Sprintf("user%d%d", h, i), url: srv.URL, acked: map[string]int64{}, last: map[string]int64{}, view: map[string][]stormFrame{}, joined: make(chan struct{}), drained: make(chan struct{})}
			st.clients = append(st.clients, c)
			st.wg.Go(c.run)
		}
	}
	for _, c := range st.clients {
		select {
		case <-c.joined:
		case <-time.After(patience):
			require.FailNow(t, "a client could not join")
		}
	}
	return st
}

// goesOn waits until every client has had n more acks.
func (st *storm) goesOn(n int64) {
	st.t.Helper()
	began := time.Now()
	wants := make([]int64, len(st.clients))
	for i, c := range st.clients {
		wants[i] = c.acks.Load() + n
	}
	for i, c := range st.clients {
		require.Eventually(st.t, func() bool { return c.acks.Load() >= wants[i] }, patience, time.Millisecond, c.name)
	}
	st.t.Logf("every client was acked %d times after %v", n, time.Since(began).Round(time.Millisecond))
}

// judge ends the storm and compares.
func (st *storm) judge() {
	st.t.Helper()
	st.over.Store(true)
	for _, c := range st.clients {
		<-c.drained
	}
	var all [stormRooms][]gohub.Message // what is stored, and as all is acked, all there will be
	for n := range all {
		room := stormRoom(n)
		for more := true; more; {
			var ms []gohub.Message
			var err error
			ms, more, err = st.store.History(st.t.Context(), gohub.Query{Room: gohub.RoomID{Name: room}, After: st.heads[room], Limit: 1000})
			require.NoError(st.t, err)
			if all[n] = append(all[n], ms...); len(ms) > 0 {
				st.heads[room] = ms[len(ms)-1].Seq
			}
		}
	}
	close(st.end)
	st.wg.Wait()
	acks, replaced := 0, 0
	for n, stored := range all {
		id := gohub.RoomID{Name: stormRoom(n)}
		for _, c := range st.clients {
			got := c.view[id.Name]
			want := stored
			if !assert.Len(st.t, got, len(want), "%s in %s", c.name, id) {
				for i := range min(len(got), len(want)) {
					if got[i].ID != want[i].ID || got[i].Seq != want[i].Seq {
						st.t.Logf("first difference at %d: got %d %s %s, stored %d %s %s", i, got[i].Seq, got[i].ID, got[i].Body, want[i].Seq, want[i].ID, want[i].Body)
						break
					}
				}
				continue
			}
			for i := range want {
				if got[i].ID != want[i].ID || got[i].Seq != want[i].Seq {
					st.t.Errorf("%s in %s, message %d: got %d %s, stored is %d %s", c.name, id, i, got[i].Seq, got[i].ID, want[i].Seq, want[i].ID)
					break
				}
			}
		}
		at := map[string]int64{}
		for _, m := range stored {
			assert.Zero(st.t, at[m.ID], "stored twice")
			at[m.ID] = m.Seq
		}
		for _, c := range st.clients {
			for key, seq := range c.acked {
				if room, id, _ := cutKey(key); room == stormRoom(n) {
					acks++
					assert.Equal(st.t, at[id], seq, "acked by %s", c.name)
				}
			}
		}
	}
	for _, c := range st.clients {
		replaced += c.replaced
		for _, p := range c.problems {
			st.t.Errorf("%s: %s", c.name, p)
		}
	}
	st.t.Logf("%d acked, all stored once, in one order for all; %d seen again at a higher seq", acks, replaced)
}

// stormFrame is what goes either way, as far as it matters here.
type stormFrame struct {
	Type    string          `json:"type"`
	Ref     int             `json:"ref,omitempty"` // of a join: its room's number, from 1
	ID      string          `json:"id,omitempty"`
	Room    string          `json:"room,omitempty"`
	Seq     int64           `json:"seq,omitempty"`
	Body    json.RawMessage `json:"body,omitempty"`
	Retry   bool            `json:"retry,omitempty"`
	Code    string          `json:"code,omitempty"`
	RetryMS int64           `json:"retry_ms,omitempty"`
	Since   *int64          `json:"since,omitempty"`
}

func cutKey(key string) (room, id string, ok bool) {
	return key[:len(stormRoom(0))], key[len(stormRoom(0)):], true
}

// A stormClient does what docs/protocol.md asks for, on one connection.
type stormClient struct {
	st      *storm
	name    string
	url     string
	acks    atomic.Int64
	joined  chan struct{}
	drained chan struct{} // all that it has published is acked, or it has given up

	// Of run alone, and of judge when that has ended.
	sent     int
	outbox   []*stormFrame
	acked    map[string]int64 // room and id → seq
	last     map[string]int64
	view     map[string][]stormFrame
	replaced int
	problems []string
}

func (c *stormClient) problem(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

func (c *stormClient) run() {
	drained := sync.OnceFunc(func() { close(c.drained) })
	defer drained()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, c.url+"?user="+c.name, &websocket.DialOptions{Subprotocols: []string{"gohub.v1"}})
	if err != nil {
		c.problem("%v", err)
		return
	}
	defer func() { _ = ws.CloseNow() }()
	ws.SetReadLimit(-1)
	frames := make(chan stormFrame, 64)
	go func() { // ends with the connection
		defer close(frames)
		for {
			var f stormFrame
			_, b, err := ws.Read(ctx)
			if err != nil || json.Unmarshal(b, &f) != nil {
				return
			}
			frames <- f
		}
	}()
	defer func() {
		_ = ws.CloseNow()
		for range frames {
		}
	}()
	send := func(f *stormFrame) {
		b, err := json.Marshal(f)
		if err == nil {
			err = ws.Write(ctx, websocket.MessageText, b)
		}
		if err != nil {
			c.problem("the connection broke: %v", err)
		}
	}
	var joins [stormRooms]*stormFrame
	for n := range joins {
		joins[n] = &stormFrame{Type: "join", Ref: n + 1, Room: stormRoom(n), Since: new(int64)}
		send(joins[n])
	}
	rooms := 0
	var again []*stormFrame // at retryAt
	var retry <-chan time.Time
	deadline := time.After(4 * time.Minute)
	for {
		for rooms == stormRooms && len(c.outbox) < stormUnderWay && !c.st.over.Load() {
			send(c.next())
		}
		if c.st.over.Load() && len(c.outbox) == 0 {
			break
		}
		select {
		case f, ok := <-frames:
			if !ok {
				c.problem("the connection has ended")
				return
			}
			switch f.Type {
			case "joined":
				if rooms++; rooms == stormRooms {
					close(c.joined)
				}
			case "message":
				c.take(f)
			case "ack":
				c.ack(f)
			case "error":
				var failed *stormFrame
				if f.Ref > 0 {
					failed = joins[f.Ref-1]
				} else if i := slices.IndexFunc(c.outbox, func(o *stormFrame) bool { return o.ID == f.ID }); i >= 0 {
					failed = c.outbox[i]
					failed.Retry = true
				}
				if f.RetryMS == 0 || f.Code == "internal" || failed == nil {
					c.problem("error %s for %q", f.Code, f.ID)
					continue
				}
				again = append(again, failed)
				if retry == nil {
					retry = time.After(100 * time.Millisecond) // sooner than asked for
				}
			}
		case <-retry:
			for _, f := range again {
				send(f)
			}
			again, retry = nil, nil
		case <-deadline:
			c.problem("%d publishes are not answered", len(c.outbox))
			return
		}
	}
	drained()
	c.settle(frames, deadline)
}

// settle reads on to the end of all rooms, and a little further: nothing may come
// twice.
func (c *stormClient) settle(frames chan stormFrame, deadline <-chan time.Time) {
	end := c.st.end
	var calm <-chan time.Time
	for {
		if end == nil && calm == nil && !c.behind() {
			calm = time.After(200 * time.Millisecond)
		}
		select {
		case f, ok := <-frames:
			if !ok {
				c.problem("the connection has ended")
				return
			}
			if f.Type == "message" {
				c.take(f)
			}
		case <-end:
			end = nil
		case <-calm:
			return
		case <-deadline:
			c.problem("has not got to the end")
			return
		}
	}
}

// behind reports whether it has not had the last message of a room.
func (c *stormClient) behind() bool {
	for room, head := range c.st.heads {
		if c.last[room] < head {
			return true
		}
	}
	return false
}

func (c *stormClient) next() *stormFrame {
	f := &stormFrame{Type: "publish", ID: gohub.NewID(), Room: stormRoom(c.sent % stormRooms), Body: fmt.Appendf(nil, "%q", fmt.Sprint(c.name, " ", c.sent))}
	c.sent++
	c.outbox = append(c.outbox, f)
	return f
}

func (c *stormClient) ack(f stormFrame) {
	c.outbox = slices.DeleteFunc(c.outbox, func(o *stormFrame) bool { return o.ID == f.ID })
	key := f.Room + f.ID
	if seq, again := c.acked[key]; again && seq != f.Seq {
		c.problem("acked at %d and at %d: %s", seq, f.Seq, f.ID)
	}
	c.acked[key] = f.Seq
	c.acks.Add(1)
}

// take adds a message to what the client has. One that comes again, at a
// higher seq, replaces the first copy.
func (c *stormClient) take(f stormFrame) {
	if f.Seq <= c.last[f.Room] {
		c.problem("%s: was shown %d after %d", f.Room, f.Seq, c.last[f.Room])
		return
	}
	c.last[f.Room] = f.Seq
	view := c.view[f.Room]
	if i := slices.IndexFunc(view, func(o stormFrame) bool { return o.ID == f.ID }); i >= 0 {
		view = slices.Delete(view, i, i+1)
		c.replaced++
	}
	c.view[f.Room] = append(view, f)
}

func TestFaults(t *testing.T) {
	faults := []struct {
		name string
		do   func(s *redistest.Server) error
		n    int // how often
	}{
		{"kill -9 and restart", func(s *redistest.Server) error { return s.Restart() }, 2},
		{"down for two seconds", func(s *redistest.Server) error {
			err := s.Kill9()
			time.Sleep(2 * time.Second)
			return errors.Join(err, s.Start())
		}, 1},
		{"frozen for three seconds", func(s *redistest.Server) error {
			err := s.Freeze()
			time.Sleep(3 * time.Second)
			return errors.Join(err, s.Thaw())
		}, 1},
		{"FLUSHALL", func(s *redistest.Server) error { return s.FlushAll() }, 1},
		{"SCRIPT FLUSH", func(s *redistest.Server) error {
			_, err := s.Do("SCRIPT", "FLUSH")
			return err
		}, 1},
		{"CLIENT KILL of subscriptions", func(s *redistest.Server) error {
			_, err := s.Do("CLIENT", "KILL", "TYPE", "pubsub")
			return err
		}, 2},
		{"CLIENT KILL of all", func(s *redistest.Server) error {
			_, err := s.Do("CLIENT", "KILL", "TYPE", "pubsub")
			_, err2 := s.Do("CLIENT", "KILL", "TYPE", "normal")
			return errors.Join(err, err2)
		}, 2},
	}
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel() // it waits, most of the time
			s := redistest.New(t)
			st := startStorm(t, s)
			for range f.n {
				st.goesOn(30)
				require.NoError(t, f.do(s))
				st.goesOn(20)
			}
			st.judge()
		})
	}
}

// A server that keeps its data comes back with the generation it had, and
// perhaps without the last second: that it does not know the scripts gives it
// away.
func TestRestartOfAServerThatPersists(t *testing.T) {
	t.Parallel() // it only waits
	s := redistest.New(t, "appendonly yes", "appendfsync everysec")
	st := startStorm(t, s)
	st.goesOn(30)
	require.NoError(t, s.Restart())
	st.goesOn(20)
	st.judge()
}
