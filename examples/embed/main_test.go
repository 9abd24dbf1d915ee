package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/internal/atrest"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// asProgram, when set, makes the test binary the program itself.
const asProgram = "EMBED_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	slog.SetDefault(slog.New(slog.DiscardHandler))
	goleak.VerifyTestMain(atrest.M(m, goleak.Find))
}

// start runs the service until the test ends or calls stop; ended then gives
// the error that run returns.
func start(t *testing.T) (base string, stop func(), ended <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	addr, result := make(chan string, 1), make(chan error, 1)
	go func() {
		result <- run(ctx, "127.0.0.1:0", func(a net.Addr) { addr <- a.String() })
		close(result)
	}()
	t.Cleanup(func() {
		cancel()
		for range result { // until it is closed
		}
	})
	select {
	case a := <-addr:
		return "http://" + a, cancel, result
	case err := <-result:
		require.FailNow(t, "does not serve", "%v", err)
		return "", nil, nil
	}
}

// browser is a client with cookies.
func browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	c := &http.Client{Jar: jar, Transport: &http.Transport{}, Timeout: patience}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func get(t *testing.T, c *http.Client, target string) (status int, body string) {
	t.Helper()
	res, err := c.Get(target)
	require.NoError(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(b)
}

func post(t *testing.T, c *http.Client, target string, form url.Values) (status int, body string) {
	t.Helper()
	res, err := c.PostForm(target, form)
	require.NoError(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(b)
}

// connect does the handshake; a refusal is its status and its problem's code.
func connect(t *testing.T, c *http.Client, target, origin string) (ws *websocket.Conn, status int, code string) {
	t.Helper()
	header := http.Header{}
	if origin != "" {
		header.Set("Origin", origin)
	}
	dialer := &http.Client{Jar: c.Jar, Transport: c.Transport} // without the timeout, which would be the session's
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ws, res, err := websocket.Dial(ctx, target, &websocket.DialOptions{
		HTTPClient: dialer, HTTPHeader: header, Subprotocols: []string{"gohub.v1"},
	})
	if err == nil {
		t.Cleanup(func() { _ = ws.CloseNow() })
		return ws, res.StatusCode, ""
	}
	require.NotNil(t, res, "%v", err)
	require.Equal(t, "application/problem+json", res.Header.Get("Content-Type"))
	var problem struct{ Code string }
	require.NoError(t, json.NewDecoder(res.Body).Decode(&problem))
	return nil, res.StatusCode, problem.Code
}

// expect reads on to the first frame of a type.
func expect(t *testing.T, ws *websocket.Conn, typ string) map[string]any {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		_, p, err := ws.Read(ctx)
		require.NoError(t, err, "waiting for %s", typ)
		var f map[string]any
		require.NoError(t, json.Unmarshal(p, &f))
		if f["type"] == typ {
			return f
		}
		require.NotEqual(t, "error", f["type"], "%v", f)
	}
}

func send(t *testing.T, ws *websocket.Conn, f map[string]any) {
	t.Helper()
	p, err := json.Marshal(f)
	require.NoError(t, err)
	require.NoError(t, ws.Write(t.Context(), websocket.MessageText, p))
}

// closes reads on to the end, and gives its close code.
func closes(t *testing.T, ws *websocket.Conn) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		if _, _, err := ws.Read(ctx); err != nil {
			if websocket.CloseStatus(err) == -1 {
				t.Log(err)
			}
			return int(websocket.CloseStatus(err))
		}
	}
}

func login(t *testing.T, base, user string) *http.Client {
	t.Helper()
	c := browser(t)
	status, page := post(t, c, base+"/login", url.Values{"user": {user}})
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, page, "You are "+user+".")
	return c
}

func TestLoginToAck(t *testing.T) {
	base, stop, ended := start(t)
	c := login(t, base, "alice")

	status, body := get(t, c, base+"/ws")
	require.Equal(t, http.StatusOK, status, body)
	var n struct{ URL, Ticket string }
	require.NoError(t, json.Unmarshal([]byte(body), &n))
	require.Equal(t, strings.Replace(base, "http", "ws", 1)+"/ws", n.URL)

	ws, status, _ := connect(t, browser(t), n.URL+"?ticket="+url.QueryEscape(n.Ticket), "") // without the cookie
	require.Equal(t, http.StatusSwitchingProtocols, status)
	require.Equal(t, "alice", expect(t, ws, "welcome")["user"])
	send(t, ws, map[string]any{"type": "join", "ref": 1, "room": "lobby"})
	expect(t, ws, "joined")

	other, status, _ := connect(t, login(t, base, "bob"), n.URL, base) // with it, from the service's own page
	require.Equal(t, http.StatusSwitchingProtocols, status)
	require.Equal(t, "bob", expect(t, other, "welcome")["user"])
	send(t, other, map[string]any{"type": "join", "ref": 1, "room": "lobby"})
	expect(t, other, "joined")

	id := gohub.NewID()
	send(t, ws, map[string]any{"type": "publish", "id": id, "room": "lobby", "body": "hello"})
	require.Equal(t, id, expect(t, ws, "ack")["id"])
	m := expect(t, other, "message")
	require.Equal(t, []any{"alice", "hello"}, []any{m["sender"], m["body"]})

	stop()
	require.Equal(t, gohub.CloseRestart, closes(t, ws))
	require.Equal(t, gohub.CloseRestart, closes(t, other))
	require.NoError(t, <-ended)
}

func TestStrangersAreRefused(t *testing.T) {
	base, _, _ := start(t)
	_, status, code := connect(t, browser(t), base+"/ws", "")
	require.Equal(t, http.StatusUnauthorized, status)
	require.Equal(t, "unauthorized", code)
	status, _ = get(t, browser(t), base+"/ws")
	require.Equal(t, http.StatusUnauthorized, status)

	_, status, code = connect(t, login(t, base, "alice"), base+"/ws", "https://evil.example")
	require.Equal(t, http.StatusForbidden, status)
	require.Equal(t, "forbidden", code)

	status, _ = post(t, browser(t), base+"/login", url.Values{"user": {"<script>"}})
	require.Equal(t, http.StatusBadRequest, status)
}

func TestLogoutEndsSessions(t *testing.T) {
	base, _, _ := start(t)
	c := login(t, base, "alice")
	ws, _, _ := connect(t, c, base+"/ws", "")
	expect(t, ws, "welcome")
	other, _, _ := connect(t, login(t, base, "bob"), base+"/ws", "")
	expect(t, other, "welcome")

	status, page := post(t, c, base+"/logout", nil)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, page, "Log in")
	require.Equal(t, gohub.CloseUnauthorized, closes(t, ws))
	_, status, _ = connect(t, c, base+"/ws", "")
	require.Equal(t, http.StatusUnauthorized, status)
	send(t, other, map[string]any{"type": "ping", "ref": 1})
	expect(t, other, "pong")
}

// The service's session is over at its end, and so is the hub's.
func TestExpiryIsTheServices(t *testing.T) {
	s, _ := withHub(t)
	end := time.Now().Add(time.Minute)
	s.sessions["token"] = session{"alice", end}
	r := httptest.NewRequest(http.MethodGet, "/ws", nil)
	r.AddCookie(&http.Cookie{Name: cookieName, Value: "token"})
	who, err := s.whoIs(r)
	require.NoError(t, err)
	require.Equal(t, gohub.Identity{User: "alice", ExpiresAt: end}, who)
}

// withHub is the service, with a hub, and without a server.
func withHub(t *testing.T) (*service, *gohub.Hub) {
	t.Helper()
	s := newService()
	hub, err := addHub(s)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, hub.Shutdown(context.Background())) })
	return s, hub
}

// Who logs out while their handshake is between the middleware, which has found
// the session, and the hub, is logged out.
func TestLogoutOvertakesTheHandshake(t *testing.T) {
	s, hub := withHub(t)
	between := s.withSession(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, in := sessionOf(r)
		assert.True(t, in)
		s.logout(httptest.NewRecorder(), r)
		s.mux.ServeHTTP(w, r)
	}))
	srv := httptest.NewServer(between)
	defer srv.Close()
	for _, upgrade := range []bool{true, false} {
		s.mu.Lock()
		s.sessions["token"] = session{"alice", time.Now().Add(time.Minute)}
		s.mu.Unlock()
		c := browser(t)
		at, err := url.Parse(srv.URL)
		require.NoError(t, err)
		c.Jar.SetCookies(at, []*http.Cookie{{Name: cookieName, Value: "token"}})
		status := 0
		if upgrade {
			_, status, _ = connect(t, c, srv.URL+"/ws", srv.URL)
		} else {
			status, _ = get(t, c, srv.URL+"/ws")
		}
		require.Equal(t, http.StatusUnauthorized, status, "upgrade %t", upgrade)
		require.Empty(t, hub.Sessions("", "alice"))
	}
}

// Who sends half a header is cut off, and a large one refused: by the very
// server that the service starts, but that its time is a hundredth.
func TestSlowAndLargeHeadersOfAService(t *testing.T) {
	dial := func(server *http.Server, says string) net.Conn {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		served := make(chan error, 1)
		go func() { served <- server.Serve(ln) }()
		nc, err := net.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		require.NoError(t, nc.SetDeadline(time.Now().Add(patience)))
		said := make(chan struct{})
		go func() { // ends with the connection: it may be closed before all is read
			defer close(said)
			_, _ = io.WriteString(nc, says)
		}()
		t.Cleanup(func() {
			_ = nc.Close()
			<-said
			_ = server.Close()
			require.ErrorIs(t, <-served, http.ErrServerClosed)
		})
		return nc
	}
	const begins = "GET / HTTP/1.1\r\nHost: h\r\nX-Header: "
	for _, says := range []string{"", begins} {
		server := newServer(newService().handler())
		require.LessOrEqual(t, server.ReadHeaderTimeout, 5*time.Second)
		server.ReadHeaderTimeout /= 100
		_, err := dial(server, says).Read(make([]byte, 1))
		require.Error(t, err) // EOF, or a reset where it has not read all
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	}
	large := dial(newServer(newService().handler()), begins+strings.Repeat("x", 32<<10)+"\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(large), nil)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, res.StatusCode)
}

func TestSignalsEndIt(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel() // a client that ignores goaway is given five seconds
			ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0], "-addr", "127.0.0.1:0")
			cmd.Env = append(os.Environ(), asProgram+"=1")
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			line, err := bufio.NewReader(out).ReadString('\n')
			require.NoError(t, err)
			base := regexp.MustCompile(`http://[0-9.:]+`).FindString(line)
			ws, _, _ := connect(t, login(t, base, "alice"), base+"/ws", "")
			require.NoError(t, cmd.Process.Signal(sig))
			code := closes(t, ws)
			require.NoError(t, cmd.Wait(), "exit status; close code %d", code)
			require.Equal(t, gohub.CloseRestart, code)
		})
	}
}

// It takes no more than 40 lines to add a hub, not counting blank ones.
func TestWhatIsAddedIsSmall(t *testing.T) {
	b, err := os.ReadFile("hub.go")
	require.NoError(t, err)
	lines := len(regexp.MustCompile(`(?m)^.*\S`).FindAll(b, -1))
	b, err = os.ReadFile("service.go")
	require.NoError(t, err)
	require.NotContains(t, string(b), `"github.com/gohub/gohub"`)
	added := regexp.MustCompile(`(?m)^.*// added\b`).FindAllString(string(b), -1)
	require.Len(t, added, 5, "the two calls that run makes of it, and what logout tells it")
	const more = 3 + 2 // the handling of addHub's error, and the rest of an if
	require.LessOrEqual(t, lines+len(added)+more, 40)
}
