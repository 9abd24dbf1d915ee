package gohub_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

func TestUserSessionsAreCapped(t *testing.T) {
	w := start(t, gohub.Config{MaxSessionsPerUser: 2})
	first, second := w.as("alice", "r"), w.as("alice", "r")
	bob := w.as("bob", "r")
	third := w.as("alice", "r")
	first.closes(gohub.CloseSessionReplaced)
	fourth := w.as("alice", "r")
	second.closes(gohub.CloseSessionReplaced)
	for _, u := range []*user{third, fourth, bob} {
		require.Equal(t, "ack", u.say("r", 1)["type"])
	}
	// A moment after the goodbye they are off the list, too.
	require.Eventually(t, func() bool { return len(w.hub.Sessions("", "alice")) == 2 }, patience, time.Millisecond)
}

func TestSingleSessionOfAUser(t *testing.T) {
	w := start(t, gohub.Config{MaxSessionsPerUser: 1})
	phone := w.dial("user=alice&device=phone")
	laptop := w.dial("user=alice&device=laptop")
	phone.closes(gohub.CloseSessionReplaced)
	again := w.dial("user=alice&device=laptop")
	laptop.closes(gohub.CloseSessionReplaced)
	again.sync()
}

// The same device counts once: what it replaces makes room for itself.
func TestReplacedDeviceLeavesTheOthersAlone(t *testing.T) {
	w := start(t, gohub.Config{MaxSessionsPerUser: 2})
	phone, laptop := w.dial("user=alice&device=phone"), w.dial("user=alice&device=laptop")
	for range 5 {
		next := w.dial("user=alice&device=phone")
		phone.closes(gohub.CloseSessionReplaced)
		phone = next
	}
	laptop.sync()
	phone.sync()
}

func TestFirstFrameTimeout(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{FirstFrameTimeout: 10 * time.Second, PingInterval: time.Second})
		silent, listener, talker := w.as("silent"), w.as("listener"), w.as("talker")
		require.NoError(t, w.hub.Join(listener.session(), "r"))
		talker.sync()
		pass(9 * time.Second)
		require.False(t, silent.isClosed(), "its pongs show that it lives")
		pass(2 * time.Second)
		silent.closes(gohub.CloseHeartbeatTimeout)
		pass(time.Hour)
		listener.sync()
		talker.sync()
	})
}

// Pings, pongs and pieces of messages are spent for as messages are.
func TestFloodsWithoutMessages(t *testing.T) {
	for name, flood := range map[string][]byte{
		"pings":  clientFrame(0x80|opPing, nil),
		"pongs":  clientFrame(0x80|opPong, []byte("unasked")),
		"pieces": clientFrame(opPiece, nil),
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				w := startVirtual(t, gohub.Config{RateLimiter: gohub.NewRateLimiter(gohub.Rate{Frames: 10})})
				b := w.bare("user=mallory")
				go func() { // ends with the connection
					if name == "pieces" {
						b.flood(1, clientFrame(opText, nil))
					}
					b.flood(1000, flood)
				}()
				_, code := b.rest()
				require.Equal(t, gohub.CloseRateLimited, code)
			})
		})
	}
}

// Who asks for much pays for much: long answers cost frames of the rate.
func TestLongAnswersArePaidFor(t *testing.T) {
	virtual(t, func(t *testing.T) {
		store := gohub.NewMemoryStore(gohub.MemoryStoreOptions{})
		w := startVirtual(t, gohub.Config{Store: store, RateLimiter: gohub.NewRateLimiter(gohub.Rate{Frames: 10}), ReplayLimit: 20, JoinReplay: -1})
		var lists []gohub.Watermark
		for i := range 1000 {
			lists = append(lists, gohub.Watermark{Room: gohub.RoomID{Name: fmt.Sprint("room", i)}, User: "alice", Listing: gohub.ListJoin})
		}
		_, err := store.Advance(t.Context(), lists)
		require.NoError(t, err)
		for range 20 { // 1 MB in all
			w.post(gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "bot", Body: []byte(`"` + strings.Repeat("x", 50_000) + `"`)})
		}
		for name, c := range map[string]struct {
			ask    frame
			answer string
			cost   int
		}{
			"nothing": {frame{"type": "ping"}, "pong", 0},
			"rooms":   {frame{"type": "rooms"}, "rooms", 1000/100 + 80_000/65_536},
			"history": {frame{"type": "history", "room": "r"}, "history", 1_000_000 / 65_536},
			"replay":  {frame{"type": "join", "room": "r", "since": 0}, "joined", 1_000_000 / 65_536},
		} {
			alice := w.as("alice", "r")
			pass(time.Minute) // a burst of 20
			require.Equal(t, c.answer, alice.ask(c.ask, c.answer)["type"], name)
			n := 1 // with the one that was asked
			var refused frame
			for ; ; n++ {
				if refused = alice.ask(frame{"type": "ping"}, "pong"); refused["type"] == "error" {
					break
				}
			}
			require.InDelta(t, 20-c.cost, n, 1, name)
			require.Equal(t, "rate_limited", refused["code"])
		}

		// And when it is owed more than a burst, retry_ms says when it is paid.
		alice := w.as("alice", "r")
		pass(time.Minute)
		for range 2 {
			require.Equal(t, "history", alice.ask(frame{"type": "history", "room": "r"}, "history")["type"])
		}
		refused := alice.ask(frame{"type": "ping"}, "pong")
		require.Equal(t, "rate_limited", refused["code"])
		pass(time.Duration(refused.num("retry_ms")) * time.Millisecond)
		alice.sync()
	})
}

// A client may ask for as many pages as it likes without reading them: the
// hub makes the next one when the last is nearly out.
func TestHistoryPagesWaitForAClientThatDoesNotRead(t *testing.T) {
	virtual(t, func(t *testing.T) {
		store := &countingStore{Store: gohub.NewMemoryStore(gohub.MemoryStoreOptions{})}
		w := startVirtual(t, gohub.Config{Store: store, WriteTimeout: time.Hour, PingInterval: time.Hour})
		body := []byte(`"` + strings.Repeat("x", 10_000) + `"`)
		for range 100 {
			w.post(gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "bot", Body: body})
		}
		mallory := w.bare("user=mallory")
		mallory.text(`{"type":"join","room":"r"}`)
		for { // up to the last replayed message
			f, err := mallory.frame()
			require.NoError(t, err)
			if f["type"] == "message" {
				break
			}
		}
		pages := store.pages.Load()
		go mallory.flood(50, clientFrame(0x80|opText, []byte(`{"type":"history","room":"r","limit":200}`))) // ends with the connection
		pass(time.Minute)
		require.LessOrEqual(t, store.pages.Load()-pages, int64(1))
	})
}

type countingStore struct {
	gohub.Store
	pages atomic.Int64
}

func (s *countingStore) History(ctx context.Context, q gohub.Query) ([]gohub.Message, bool, error) {
	s.pages.Add(1)
	return s.Store.History(ctx, q)
}

// A healthy client on a slow line is not taken for dead during a long replay,
// though the hub reads none of its pongs meanwhile.
func TestSlowReplayIsNoSilence(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := startVirtual(t, gohub.Config{PingInterval: time.Second, WriteTimeout: 10 * time.Second})
		body := []byte(`"` + strings.Repeat("x", 10_000) + `"`)
		for range 100 {
			w.post(gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "bot", Body: body})
		}
		b := w.bare("user=alice")
		b.text(`{"type":"join","room":"r","since":0}`)
		for n := 0; n < 100; {
			f, err := b.frame()
			require.NoError(t, err)
			require.NotEqual(t, "opcode 8", f["type"])
			if f["type"] == "message" {
				n++
				time.Sleep(200 * time.Millisecond) // 50 KB/s: 20 s in all
			}
		}
	})
}

// churnFor is how long TestReconnectingAtRandom goes on.
func churnFor(t *testing.T) time.Duration {
	if s := os.Getenv("GOHUB_CHURN"); s != "" {
		d, err := time.ParseDuration(s)
		require.NoError(t, err)
		return d
	}
	if testing.Short() {
		return 2 * time.Second
	}
	return 30 * time.Second
}

const (
	churnUsers = 100
	churnRooms = 10
	churnIn    = 3 // rooms of a session
)

// 200 sessions of 100 users come and go at random while their rooms are busy:
// by closing, by breaking, by being replaced by a newer one of the same
// device. On no connection is anything seen twice or out of order; nothing is
// missed; nothing reaches a session after the one that replaced it was
// welcomed; and at the end presence is exactly who is there.
func TestReconnectingAtRandom(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), churnFor(t))
	defer cancel()

	var published [churnRooms][]int64
	var busy sync.WaitGroup
	for r := range churnRooms {
		busy.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				published[r] = append(published[r], w.post(gohub.Message{Room: gohub.RoomID{Name: fmt.Sprint("room", r)}, Sender: "bot"}))
				wait(ctx, 100*time.Millisecond)
			}
		})
	}
	roamers := make([]*roamer, 2*churnUsers)
	for i := range roamers {
		r := &roamer{t: t, w: w, began: began, query: fmt.Sprintf("user=user%d&device=d%d", i/2, i%2), seen: map[string][]int64{}}
		for k := range churnIn {
			r.rooms = append(r.rooms, fmt.Sprint("room", (i/2+k*3)%churnRooms))
		}
		roamers[i] = r
		busy.Go(func() { r.roam(ctx) })
	}
	busy.Wait()

	// Everybody is connected; presence is exact, counted by hand.
	require.Eventually(t, func() bool { return w.hub.Stats().Sessions == len(roamers) }, patience, 10*time.Millisecond,
		"a ghost, or somebody is missing: %v", w.hub.Stats())
	for room := range churnRooms {
		name := fmt.Sprint("room", room)
		expect := map[string]int{}
		for i, r := range roamers {
			if slices.Contains(r.rooms, name) {
				expect[fmt.Sprintf("user%d", i/2)]++
			}
		}
		got := map[string]int{}
		page := w.present(gohub.RoomID{Name: name}, "", 1000)
		for _, u := range page.Users {
			got[u.User] = u.Sessions
		}
		require.Equal(t, expect, got)
		require.Equal(t, len(expect), page.Count)
	}
	all := func(name string) []int64 { // of a room
		var room int
		_, err := fmt.Sscanf(name, "room%d", &room)
		require.NoError(t, err)
		return published[room]
	}
	replaced, connections := int64(0), int64(0)
	for _, r := range roamers {
		for _, name := range r.rooms {
			r.await(name, all(name)[len(all(name))-1])
		}
		r.leave()
		replaced += r.replaced
		connections += r.connections
		for _, name := range r.rooms {
			seen := r.seen[name]
			slices.Sort(seen)
			seen = slices.Compact(seen) // two connections may have had the same one
			require.Equal(t, all(name), seen, "%s missed something in %s", r.query, name)
		}
	}
	var n gohub.Totals
	require.Eventually(t, func() bool { // it is counted when it has left, and its rooms before
		n = w.hub.Totals()
		ended := int64(0)
		for _, sessions := range n.SessionsClosed {
			ended += sessions
		}
		return w.hub.Stats() == gohub.Stats{} && ended == connections
	}, patience, 10*time.Millisecond)
	require.Equal(t, connections, n.SessionsOpened)
	require.GreaterOrEqual(t, n.SessionsClosed[gohub.CloseSessionReplaced], replaced, "some had broken without the hub's knowing")
	t.Logf("%d connections, %d of them replaced, %d deliveries", connections, replaced, n.Deliveries)
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// A roamer is one device whose connection changes all the time.
type roamer struct {
	t     *testing.T
	w     *world
	began time.Time // time is counted from here as the broker does: a wall clock that steps changes nothing
	query string
	rooms []string

	mu   sync.Mutex // guards what follows
	seen map[string][]int64

	now                   *leg
	connections, replaced int64
}

// A leg is one connection of a roamer.
type leg struct {
	ws    *websocket.Conn
	until atomic.Int64 // µs: when its successor was welcomed; 0: none yet
	done  chan struct{}
	code  websocket.StatusCode
	ready chan struct{} // every room is joined
}

func (r *roamer) roam(ctx context.Context) {
	for {
		old := r.now
		r.connect()
		if old != nil {
			<-old.done
			if old.code == websocket.StatusCode(gohub.CloseSessionReplaced) {
				r.replaced++
			}
		}
		if wait(ctx, time.Duration(rand.Int64N(int64(time.Second)))); ctx.Err() != nil {
			<-r.now.ready
			return
		}
		switch rand.IntN(4) {
		case 0: // the line breaks
			_ = r.now.ws.CloseNow()
			<-r.now.done
		case 1: // a tab is closed
			_ = r.now.ws.Close(websocket.StatusNormalClosure, "")
			<-r.now.done
		default: // the old connection is still there when the new one comes
		}
	}
}

// connect opens a connection and resumes all rooms on it.
func (r *roamer) connect() {
	ws, _, err := r.w.handshake(r.query)
	if err != nil {
		r.t.Error(err)
		return
	}
	ws.SetReadLimit(-1)
	l := &leg{ws: ws, done: make(chan struct{}), ready: make(chan struct{})}
	old := r.now
	r.now = l
	r.connections++
	_, _, err = ws.Read(context.Background()) // welcome
	if err != nil {
		r.t.Error(err)
	}
	if old != nil {
		old.until.Store(r.began.Add(time.Since(r.began)).UnixMicro())
	}
	go func() { // ends with the connection
		defer close(l.done)
		r.read(l)
	}()
	for _, room := range r.rooms {
		cmd := frame{"type": "join", "room": room, "ref": 1, "since": 0}
		r.mu.Lock()
		if s := r.seen[room]; len(s) > 0 {
			cmd["since"] = slices.Max(s)
		}
		r.mu.Unlock()
		b, _ := json.Marshal(cmd)
		if err := ws.Write(context.Background(), websocket.MessageText, b); err != nil {
			r.t.Error(err)
		}
	}
}

func (r *roamer) read(l *leg) {
	last := map[string]int64{}
	joined := 0
	for {
		_, p, err := l.ws.Read(context.Background())
		if err != nil {
			l.code = websocket.CloseStatus(err)
			return
		}
		var f frame
		if err := json.Unmarshal(p, &f); err != nil {
			r.t.Error(err)
			return
		}
		switch f["type"] {
		case "joined":
			if f["truncated"] == true {
				r.t.Errorf("%s: truncated", r.query)
			}
			if joined++; joined == len(r.rooms) {
				close(l.ready)
			}
		case "message":
			room, seq := f.str("room"), f.num("seq")
			if seq <= last[room] {
				r.t.Errorf("%s: %d after %d on one connection", r.query, seq, last[room])
			}
			if until := l.until.Load(); until > 0 && seq > until {
				r.t.Errorf("%s: a message for a session that was replaced %d µs before", r.query, seq-until)
			}
			last[room] = seq
			r.mu.Lock()
			r.seen[room] = append(r.seen[room], seq)
			r.mu.Unlock()
		case "error":
			r.t.Errorf("%s: %v", r.query, f)
		}
	}
}

// await waits for a message that may still be on its way.
func (r *roamer) await(room string, seq int64) {
	r.t.Helper()
	require.Eventually(r.t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return slices.Contains(r.seen[room], seq)
	}, patience, time.Millisecond, "%s: the last of %s", r.query, room)
}

func (r *roamer) leave() {
	_ = r.now.ws.CloseNow()
	<-r.now.done
}
