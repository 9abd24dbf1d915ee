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
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/gohub/gohub"
)

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

// asProgram, when set, makes the test binary the program itself.
const asProgram = "EMBED_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	slog.SetDefault(slog.New(slog.DiscardHandler))
	goleak.VerifyTestMain(m)
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
	s := newService()
	hub, err := addHub(s)
	require.NoError(t, err)
	defer func() { require.NoError(t, hub.Shutdown(context.Background())) }()
	end := time.Now().Add(time.Minute)
	r, err := http.NewRequestWithContext(context.WithValue(t.Context(), sessionKey{}, session{"alice", end}), http.MethodGet, "/ws", nil)
	require.NoError(t, err)
	who, err := whoIs(r)
	require.NoError(t, err)
	require.Equal(t, gohub.Identity{User: "alice", ExpiresAt: end}, who)
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

// What the README and docs/embedding.md say of the size is so.
func TestWhatIsAddedIsSmall(t *testing.T) {
	b, err := os.ReadFile("hub.go")
	require.NoError(t, err)
	lines := strings.Count(string(b), "\n")
	require.LessOrEqual(t, lines, 40)
	b, err = os.ReadFile("service.go")
	require.NoError(t, err)
	added := regexp.MustCompile(`(?m)^.*// added: `).FindAllString(string(b), -1)
	require.Len(t, added, 2, "the calls that main makes of it")
	require.NotContains(t, string(b), `"github.com/gohub/gohub"`)
	require.LessOrEqual(t, lines+len(added)+3, 40, "with the handling of addHub's error")
}
