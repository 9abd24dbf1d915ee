package frameworks

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/internal/atrest"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	gin.SetMode(gin.ReleaseMode)
	gin.DefaultWriter = io.Discard
	middleware.DefaultLogger = middleware.RequestLogger(&middleware.DefaultLogFormatter{Logger: log.New(io.Discard, "", 0)})
	goleak.VerifyTestMain(atrest.M(m, goleak.Find))
}

var routers = map[string]func(hub *gohub.Hub) http.Handler{
	"net/http": NetHTTP, "chi": Chi, "echo": Echo, "gin": Gin, "gorilla": Gorilla,
}

// logs collects what is logged.
type logs struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// A site is a server with a hub on it.
type site struct {
	t      *testing.T
	url    string // of the hub
	client *http.Client
	hub    logs // what the hub logged
	server logs // what net/http logged
}

func serve(t *testing.T, mount func(hub *gohub.Hub) http.Handler) *site {
	t.Helper()
	return serveWith(t, gohub.Config{}, mount)
}

func serveWith(t *testing.T, cfg gohub.Config, mount func(hub *gohub.Hub) http.Handler) *site {
	t.Helper()
	s := &site{t: t, client: &http.Client{Transport: &http.Transport{DisableCompression: true}}}
	cfg.DrainTime = -1
	cfg.Logger = slog.New(slog.NewTextHandler(&s.hub, nil))
	hub, err := NewHub(cfg)
	require.NoError(t, err)
	srv := httptest.NewUnstartedServer(mount(hub))
	srv.Config.ErrorLog = log.New(&s.server, "", 0)
	srv.Config.ReadTimeout = time.Minute
	srv.Start()
	s.url = srv.URL + "/api/ws"
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, hub.Shutdown(ctx))
		s.client.CloseIdleConnections()
		srv.Close()
	})
	return s
}

// header is what a browser sends, of what matters here.
func header(user, origin string) http.Header {
	h := http.Header{"Accept-Encoding": {"gzip, deflate, br"}}
	if user != "" {
		h.Set("Cookie", "user="+user)
	}
	if origin != "" {
		h.Set("Origin", origin)
	}
	return h
}

// An answer is an HTTP response, read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (s *site) read(res *http.Response) answer {
	s.t.Helper()
	defer res.Body.Close()
	from := io.Reader(res.Body)
	if res.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(res.Body)
		require.NoError(s.t, err)
		from = z
	}
	b, err := io.ReadAll(from)
	require.NoError(s.t, err)
	return answer{res.StatusCode, res.Header, b}
}

// handshake returns no connection when it is refused.
func (s *site) handshake(h http.Header) (*websocket.Conn, answer) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	ws, res, err := websocket.Dial(ctx, s.url, &websocket.DialOptions{
		HTTPClient: s.client, HTTPHeader: h, Subprotocols: []string{"gohub.v1"},
	})
	if err != nil {
		require.NotNil(s.t, res, "%v", err)
		return nil, s.read(res)
	}
	s.t.Cleanup(func() { _ = ws.CloseNow() })
	return ws, answer{status: res.StatusCode, header: res.Header}
}

// get is a plain GET, as negotiate is.
func (s *site) get(url string, h http.Header) answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, url, nil)
	require.NoError(s.t, err)
	r.Header = h
	res, err := s.client.Do(r)
	require.NoError(s.t, err)
	return s.read(res)
}

// isProblem checks what a refusal must look like, whatever is in between.
func (s *site) isProblem(a answer, status int, code string) (detail string) {
	s.t.Helper()
	require.Equal(s.t, status, a.status, "%s", a.body)
	require.Equal(s.t, "application/problem+json", a.header.Get("Content-Type"))
	var p struct {
		Status       int
		Code, Detail string
	}
	require.NoError(s.t, json.Unmarshal(a.body, &p), "%s", a.body)
	require.Equal(s.t, status, p.Status)
	require.Equal(s.t, code, p.Code)
	return p.Detail
}

func (s *site) refused(h http.Header, status int, code string) (detail string) {
	s.t.Helper()
	ws, a := s.handshake(h)
	require.Nil(s.t, ws)
	return s.isProblem(a, status, code)
}

func exchange(t *testing.T, ws *websocket.Conn, say map[string]any, want string) map[string]any {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if say != nil {
		p, err := json.Marshal(say)
		require.NoError(t, err)
		require.NoError(t, ws.Write(ctx, websocket.MessageText, p))
	}
	for {
		_, p, err := ws.Read(ctx)
		require.NoError(t, err, "waiting for %s", want)
		var f map[string]any
		require.NoError(t, json.Unmarshal(p, &f))
		if f["type"] == want {
			return f
		}
		require.NotEqual(t, "error", f["type"], "%v", f)
	}
}

// works goes through all that a client does.
func (s *site) works() {
	t := s.t
	t.Helper()
	a := s.get(s.url, header("alice", ""))
	require.Equal(t, http.StatusOK, a.status, "%s", a.body)
	var n struct{ URL, Ticket string }
	require.NoError(t, json.Unmarshal(a.body, &n), "%s", a.body)
	require.Equal(t, "ws"+strings.TrimPrefix(s.url, "http"), n.URL)
	require.NotEmpty(t, n.Ticket)

	ws, a := s.handshake(header("alice", strings.TrimSuffix(s.url, "/api/ws")))
	require.NotNil(t, ws, "%s", a.body)
	require.Empty(t, a.header.Get("Content-Encoding"))
	require.Equal(t, "gohub.v1", ws.Subprotocol())
	require.Equal(t, "alice", exchange(t, ws, nil, "welcome")["user"])
	exchange(t, ws, map[string]any{"type": "join", "ref": 1, "room": "r"}, "joined")
	id := gohub.NewID()
	say := map[string]any{"type": "publish", "id": id, "room": "r", "body": strings.Repeat("x", 10_000)}
	require.Equal(t, id, exchange(t, ws, say, "ack")["id"])

	require.Equal(t, "log in first", s.refused(header("", ""), http.StatusUnauthorized, "unauthorized"))
	s.refused(header("alice", "https://evil.example"), http.StatusForbidden, "forbidden")
	s.isProblem(s.get(s.url, header("", "")), http.StatusUnauthorized, "unauthorized")

	require.NoError(t, ws.Close(websocket.StatusNormalClosure, ""))
	require.Empty(t, s.server.String(), "net/http has something to say")
	require.NotContains(t, s.hub.String(), "level=ERROR")
}

// fails shows that nothing hangs where a connection cannot be had, and that
// the log says why.
func (s *site) fails(writer string) {
	t := s.t
	t.Helper()
	require.Equal(t, http.StatusOK, s.get(s.url, header("alice", "")).status, "negotiate needs no connection")
	require.Contains(t, s.refused(header("alice", ""), http.StatusNotImplemented, "internal"), "log")
	require.Contains(t, s.hub.String(), "level=ERROR")
	require.Contains(t, s.hub.String(), "writer="+writer)
	require.Contains(t, s.hub.String(), "Unwrap")
	require.NotContains(t, s.server.String(), "panic")
	s.refused(header("", ""), http.StatusUnauthorized, "unauthorized") // refusals need none
}

func TestRouters(t *testing.T) {
	for name, mount := range routers {
		t.Run(name, func(t *testing.T) { serve(t, mount).works() })
	}
}

// unwraps and hides are the two kinds of middleware that services write
// themselves.
type (
	unwraps struct{ http.ResponseWriter }
	hides   struct{ http.ResponseWriter }
)

func (u unwraps) Unwrap() http.ResponseWriter { return u.ResponseWriter }

func around(wrap func(http.ResponseWriter) http.ResponseWriter) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(wrap(w), r) })
	}
}

func timeout(next http.Handler) http.Handler { return http.TimeoutHandler(next, patience, "") }

func TestMiddleware(t *testing.T) {
	unwrapping := around(func(w http.ResponseWriter) http.ResponseWriter { return unwraps{w} })
	hiding := around(func(w http.ResponseWriter) http.ResponseWriter { return hides{w} })
	for name, m := range map[string]struct {
		wrap   func(http.Handler) http.Handler
		writer string // whose writer is in the way; empty: none
	}{
		"chi's Logger":    {middleware.Logger, ""},
		"chi's Recoverer": {middleware.Recoverer, ""},
		"chi's Compress":  {middleware.Compress(5), ""},
		"chi's WrapResponseWriter": {func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(middleware.NewWrapResponseWriter(w, r.ProtoMajor), r)
			})
		}, ""},
		"StripSlashes":    {middleware.StripSlashes, ""},
		"its own, Unwrap": {unwrapping, ""},
		"several": {func(next http.Handler) http.Handler {
			return unwrapping(middleware.Logger(middleware.Compress(5)(unwrapping(next))))
		}, ""},
		"MaxBytesHandler":          {func(next http.Handler) http.Handler { return http.MaxBytesHandler(next, 1) }, ""},
		"CrossOriginProtection":    {http.NewCrossOriginProtection().Handler, ""},
		"TimeoutHandler":           {timeout, "*http.timeoutWriter"},
		"TimeoutHandler, unwraps":  {func(next http.Handler) http.Handler { return timeout(unwrapping(next)) }, "*http.timeoutWriter"},
		"its own, without Unwrap":  {hiding, "frameworks.hides"},
		"below one that unwraps":   {func(next http.Handler) http.Handler { return hiding(unwrapping(next)) }, "frameworks.hides"},
		"below chi's Compress too": {func(next http.Handler) http.Handler { return hiding(middleware.Compress(5)(next)) }, "frameworks.hides"},
	} {
		t.Run(name, func(t *testing.T) {
			for router, mount := range routers {
				t.Run(router, func(t *testing.T) {
					s := serve(t, func(hub *gohub.Hub) http.Handler { return m.wrap(mount(hub)) })
					if m.writer == "" {
						s.works()
						return
					}
					s.fails(m.writer)
				})
			}
		})
	}
}

// gin's writer holds a status back, and tells only those who see that it is gin's.
func TestInsideOfGin(t *testing.T) {
	serve(t, func(hub *gohub.Hub) http.Handler {
		inner := around(func(w http.ResponseWriter) http.ResponseWriter { return unwraps{w} })(hub.Handler())
		g := gin.New()
		g.Any("/api/ws", gin.WrapH(sessions(inner)))
		return g
	}).works()
}
