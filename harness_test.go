package gohub_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/internal/atrest"
)

func TestMain(m *testing.M) {
	if runAsChild() {
		return
	}
	goleak.VerifyTestMain(atrest.M(m, goleak.Find))
}

// patience is how long a test waits for what must come; what must not come is
// shown by something later that does. In virtual time it is the world's wait.
const patience = 30 * time.Second

// byQuery authenticates by ?user=&device=&tenant=&name=&login=&rooms=&rooms=&claim=.
func byQuery(r *http.Request) (gohub.Identity, error) {
	q := r.URL.Query()
	if q.Get("user") == "" {
		return gohub.Identity{}, gohub.Errorf(gohub.CodeUnauthorized, "who are you?")
	}
	who := gohub.Identity{User: q.Get("user"), Device: q.Get("device"), Tenant: q.Get("tenant"), Name: q.Get("name"), Login: q.Get("login"), Rooms: q["rooms"]}
	if c := q.Get("claim"); c != "" {
		who.Claims = map[string]any{"claim": strings.Clone(c)}
	}
	return who, nil
}

type world struct {
	t    *testing.T
	hub  *gohub.Hub
	url  string
	http *http.Client                                                      // what clients connect with
	raw  func(ctx context.Context, network, addr string) (net.Conn, error) // what http dials with
	wait time.Duration                                                     // patience, if it is another one
}

// start runs a hub behind a real HTTP server until the test ends.
func start(t *testing.T, cfg gohub.Config) *world {
	t.Helper()
	if cfg.CloseTimeout == 0 {
		cfg.CloseTimeout = patience // or who is stopped for a second is cut off without a close code
	}
	hub, err := gohub.New(forTests(cfg))
	require.NoError(t, err)
	ready(t, hub, cfg.Broker)
	srv := httptest.NewServer(hub.Handler())
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		over := hub.Ready()
		if err := hub.Shutdown(ctx); !errors.Is(over, gohub.ErrClosed) { // else it was the test's
			require.NoError(t, err)
		}
		client.CloseIdleConnections()
		srv.Close()
	})
	return &world{t, hub, srv.URL, client, new(net.Dialer).DialContext, 0}
}

// forTests fills in what most tests want.
func forTests(cfg gohub.Config) gohub.Config {
	if cfg.Authenticator == nil && !cfg.AllowAnonymous {
		cfg.Authenticator = gohub.AuthenticatorFunc(byQuery)
	}
	if cfg.RateLimiter == nil {
		cfg.RateLimiter = gohub.NewRateLimiter(gohub.Rate{})
	}
	if cfg.CloseTimeout == 0 {
		cfg.CloseTimeout = time.Second
	}
	if cfg.DrainTime == 0 {
		cfg.DrainTime = -1
	}
	if cfg.FirstFrameTimeout == 0 {
		cfg.FirstFrameTimeout = -1
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// frame is one frame from the server, decoded.
type frame map[string]any

func (f frame) str(k string) string { s, _ := f[k].(string); return s }
func (f frame) num(k string) int64  { n, _ := f[k].(float64); return int64(n) }

// user is a client under test.
type user struct {
	t       *testing.T
	name    string
	ws      *websocket.Conn
	welcome frame
	wait    time.Duration

	mu     sync.Mutex
	log    []frame // everything received and not yet expected
	closed *websocket.CloseError
	end    error
	news   chan struct{}
}

func (w *world) dial(query string) *user {
	w.t.Helper()
	u := w.knock(query)
	u.welcome = u.expect("welcome")
	return u
}

// knock is dial, up to the answer to the handshake.
func (w *world) knock(query string) *user {
	w.t.Helper()
	ws, _, err := w.handshake(query)
	require.NoError(w.t, err)
	ws.SetReadLimit(-1)
	u := &user{t: w.t, name: query, ws: ws, wait: cmp.Or(w.wait, patience), news: make(chan struct{}, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		u.read()
	}()
	w.t.Cleanup(func() { _ = ws.CloseNow(); <-done })
	return u
}

// handshake tries to connect, and returns the HTTP status.
func (w *world) handshake(query string) (ws *websocket.Conn, status int, err error) {
	ws, res, err := websocket.Dial(context.Background(), w.url+"/?"+query, &websocket.DialOptions{
		HTTPClient:   w.http,
		Subprotocols: []string{"gohub.v1"},
	})
	if err != nil && res != nil {
		_ = res.Body.Close()
	}
	if res != nil {
		status = res.StatusCode
	}
	return ws, status, err
}

// as connects a user and joins rooms.
func (w *world) as(name string, rooms ...string) *user {
	w.t.Helper()
	u := w.dial("user=" + name)
	for _, r := range rooms {
		u.join(r)
	}
	return u
}

func (u *user) read() {
	for {
		typ, p, err := u.ws.Read(context.Background())
		u.mu.Lock()
		if err != nil {
			u.end = err
			if code := websocket.CloseStatus(err); code != -1 {
				u.closed = &websocket.CloseError{Code: code}
			}
		} else {
			var f frame
			if typ == websocket.MessageBinary {
				n := int(p[1])<<8 | int(p[2])
				if json.Unmarshal(p[3:3+n], &f) == nil {
					f["binary"] = string(p[3+n:])
				}
			} else if json.Unmarshal(p, &f) != nil {
				f = frame{"type": "not json", "text": string(p)}
			}
			u.log = append(u.log, f)
		}
		u.mu.Unlock()
		select {
		case u.news <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// until waits for the first frame that fits, takes it out of the log and
// returns it.
func (u *user) until(what string, fits func(frame) bool) frame {
	u.t.Helper()
	deadline := time.After(u.wait)
	for {
		u.mu.Lock()
		for i, f := range u.log {
			if fits(f) {
				u.log = append(u.log[:i:i], u.log[i+1:]...)
				u.mu.Unlock()
				return f
			}
		}
		end := u.end
		u.mu.Unlock()
		if end != nil {
			require.FailNow(u.t, "connection ended", "%s waited for %s: %v; has %v", u.name, what, end, u.log)
		}
		select {
		case <-u.news:
		case <-deadline:
			u.mu.Lock()
			defer u.mu.Unlock()
			require.FailNow(u.t, "nothing came", "%s waited for %s; has %v", u.name, what, u.log)
		}
	}
}

// expect waits for a frame of a type, with fields given as key, value pairs.
func (u *user) expect(typ string, fields ...any) frame {
	u.t.Helper()
	return u.until(fmt.Sprint(typ, fields), func(f frame) bool {
		if f["type"] != typ {
			return false
		}
		for i := 0; i < len(fields); i += 2 {
			if fmt.Sprint(f[fields[i].(string)]) != fmt.Sprint(fields[i+1]) {
				if n, ok := f[fields[i].(string)].(float64); !ok || fmt.Sprint(int64(n)) != fmt.Sprint(fields[i+1]) {
					return false
				}
			}
		}
		return true
	})
}

// closes waits for the connection to end with a close code.
func (u *user) closes(code int) {
	u.t.Helper()
	deadline := time.After(u.wait)
	for {
		u.mu.Lock()
		end, ce := u.end, u.closed
		u.mu.Unlock()
		if end != nil {
			require.NotNil(u.t, ce, "%s ended without a close code: %v", u.name, end)
			require.Equal(u.t, code, int(ce.Code))
			return
		}
		select {
		case <-u.news:
		case <-deadline:
			require.FailNow(u.t, "still open", "%s waited for close %d", u.name, code)
		}
	}
}

// messages takes what messages of a room are in the log.
func (u *user) messages(room string) []frame {
	return u.take(func(f frame) bool { return f["type"] == "message" && f["room"] == room })
}

// take takes out of the log all that fits.
func (u *user) take(fits func(frame) bool) []frame {
	u.mu.Lock()
	defer u.mu.Unlock()
	var taken []frame
	kept := u.log[:0]
	for _, f := range u.log {
		if fits(f) {
			taken = append(taken, f)
			continue
		}
		kept = append(kept, f)
	}
	u.log = kept
	return taken
}

// all takes the frames of a type out of the log.
func (u *user) all(typ string) []frame {
	return u.take(func(f frame) bool { return f["type"] == typ })
}

// collect waits for n messages of a room.
func (u *user) collect(room string, n int) []frame {
	u.t.Helper()
	ms := make([]frame, 0, n)
	for range n {
		ms = append(ms, u.until(fmt.Sprintf("message %d of %d in %s", len(ms)+1, n, room), func(f frame) bool {
			return f["type"] == "message" && f["room"] == room
		}))
	}
	return ms
}

func (u *user) send(f frame) {
	u.t.Helper()
	b, err := json.Marshal(f)
	require.NoError(u.t, err)
	u.text(string(b))
}

func (u *user) text(s string) {
	u.t.Helper()
	require.NoError(u.t, u.ws.Write(context.Background(), websocket.MessageText, []byte(s)))
}

func (u *user) ask(f frame, answer string) frame {
	u.t.Helper()
	ref := gohub.NewID()
	f["ref"] = ref
	u.send(f)
	return u.until(answer+" or error", func(a frame) bool {
		return a["ref"] == ref && (a["type"] == answer || a["type"] == "error")
	})
}

// fails sends a command with a ref and expects an error.
func (u *user) fails(code string, f frame) frame {
	u.t.Helper()
	e := u.ask(f, "error")
	require.Equal(u.t, code, e["code"], "%v", e)
	return e
}

func (u *user) join(room string, since ...int64) frame {
	u.t.Helper()
	c := frame{"type": "join", "room": room}
	if len(since) > 0 {
		c["since"] = since[0]
	}
	f := u.ask(c, "joined")
	require.Equal(u.t, "joined", f["type"], "%v", f)
	return f
}

func (u *user) leave(room string) {
	u.t.Helper()
	f := u.ask(frame{"type": "leave", "room": room}, "left")
	require.Equal(u.t, "left", f["type"], "%v", f)
}

// session is the id that "welcome" told.
func (u *user) session() string { return u.welcome.str("session") }

// publish sends a message and returns its id at once.
func (u *user) publish(room string, body any, more ...any) string {
	u.t.Helper()
	f := frame{"type": "publish", "id": gohub.NewID(), "body": body}
	if room != "" {
		f["room"] = room
	}
	for i := 0; i < len(more); i += 2 {
		f[more[i].(string)] = more[i+1]
	}
	u.send(f)
	return f.str("id")
}

// say publishes and waits for the ack.
func (u *user) say(room string, body any, more ...any) frame {
	u.t.Helper()
	id := u.publish(room, body, more...)
	return u.until("ack of "+id, func(f frame) bool {
		return f["id"] == id && (f["type"] == "ack" || f["type"] == "error")
	})
}

// sync returns once everything sent to u before has arrived.
func (u *user) sync() {
	u.t.Helper()
	u.ask(frame{"type": "ping"}, "pong")
}

// fill publishes n messages in a room from the program, with their numbers
// from 0 as bodies, and returns their seqs.
func (w *world) fill(room string, n int) []int64 {
	w.t.Helper()
	seqs := make([]int64, n)
	for i := range seqs {
		seqs[i] = w.post(gohub.Message{Room: gohub.RoomID{Name: room}, Sender: "writer", Body: fmt.Append(nil, i)})
	}
	return seqs
}

// post publishes from the program and returns the seq.
func (w *world) post(m gohub.Message) int64 {
	w.t.Helper()
	if m.Body == nil {
		m.Body = []byte(`"posted"`)
	}
	m, err := w.hub.Publish(context.Background(), m)
	require.NoError(w.t, err)
	return m.Seq
}

// present is Hub.Presence.
func (w *world) present(room gohub.RoomID, cursor string, limit int) gohub.PresencePage {
	w.t.Helper()
	page, err := w.hub.Presence(context.Background(), room, cursor, limit)
	require.NoError(w.t, err)
	return page
}

// seqsOf and bodiesOf pick from messages.
func seqsOf(ms []frame) []int64 {
	s := make([]int64, len(ms))
	for i, m := range ms {
		s[i] = m.num("seq")
	}
	return s
}

func bodiesOf(ms []frame) []any {
	s := make([]any, len(ms))
	for i, m := range ms {
		s[i] = m["body"]
	}
	return s
}
