package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// TestMain sees to it that no test leaves a history here.
func TestMain(m *testing.M) {
	status := m.Run()
	if _, err := os.Lstat(defaultData); !errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintln(os.Stderr, "a test used the default of -data:", defaultData, err)
		status = 1
	}
	os.Exit(status)
}

func TestConfig(t *testing.T) {
	defaults := config{addr: "127.0.0.1:8080", data: "chat-data", rate: 50, drain: 5 * time.Second}
	tests := []struct {
		name string
		args []string
		env  map[string]string
		want config
		err  string // part of it
	}{
		{name: "defaults", want: defaults},
		{
			name: "flags",
			args: []string{"-addr", ":0", "-data", "/var/lib/chat", "-node", "a", "-origins", "https://a.example, http://b.example:8080,", "-rate", "0", "-drain", "0"},
			want: config{addr: ":0", data: "/var/lib/chat", node: "a", origins: []string{"https://a.example", "http://b.example:8080"}},
		},
		{
			name: "environment",
			env:  map[string]string{"GOHUB_ADDR": "[::1]:9000", "GOHUB_DATA": "d", "GOHUB_NODE": "b", "GOHUB_ORIGINS": "https://a.example", "GOHUB_RATE": "7", "GOHUB_DRAIN": "1m"},
			want: config{addr: "[::1]:9000", data: "d", node: "b", origins: []string{"https://a.example"}, rate: 7, drain: time.Minute},
		},
		{
			name: "a flag wins, even over nonsense",
			args: []string{"-rate", "9", "-addr=:1"},
			env:  map[string]string{"GOHUB_RATE": "many", "GOHUB_ADDR": ":2"},
			want: config{addr: ":1", data: "chat-data", rate: 9, drain: 5 * time.Second},
		},
		{name: "empty variables are unset", env: map[string]string{"GOHUB_RATE": "", "GOHUB_REDIS": ""}, want: defaults},
		{name: "unknown variables are ignored", env: map[string]string{"GOHUB_COLOUR": "red"}, want: defaults},
		{name: "an empty flag refuses nothing", args: []string{"-redis=", "-advertise="}, want: defaults},

		{name: "unknown flag", args: []string{"-colour"}, err: "-colour"},
		{name: "argument", args: []string{"serve"}, err: `unexpected argument "serve"`},
		{name: "bad rate", args: []string{"-rate", "fast"}, err: `"fast" for flag -rate: want a whole number`},
		{name: "negative rate", env: map[string]string{"GOHUB_RATE": "-1"}, err: `"-1" for GOHUB_RATE: want a whole number`},
		{name: "bad drain", args: []string{"-drain", "5"}, err: `"5" for flag -drain: want a duration`},
		{name: "short drain", args: []string{"-drain", "1ms"}, err: "10ms or more"},
		{name: "no port", args: []string{"-addr", "localhost"}, err: "-addr: want host:port"},
		{name: "port too high", env: map[string]string{"GOHUB_ADDR": ":65536"}, err: "GOHUB_ADDR: the port"},
		{name: "origin with a path", args: []string{"-origins", "https://a.example/"}, err: `-origins: "https://a.example/" is no origin`},
		{name: "any origin", args: []string{"-origins", "*"}, err: `"*" is no origin`},
		{name: "null origin", args: []string{"-origins", "null"}, err: `"null" is no origin`},
		{name: "origin in capitals", env: map[string]string{"GOHUB_ORIGINS": "https://A.example"}, err: "lower case"},
		{name: "all that is wrong", env: map[string]string{"GOHUB_RATE": "x", "GOHUB_ADDR": "y"}, err: "GOHUB_RATE"},

		{name: "redis alone", args: []string{"-redis", "redis://:secret@db"}, err: "-redis: several nodes need a history that they share: give -postgres"},
		{
			name: "several nodes", args: []string{"-redis", "redis://:secret@db", "-postgres", "postgres://db", "-advertise", "wss://a.example/ws"},
			want: config{addr: "127.0.0.1:8080", postgres: "postgres://db", redis: "redis://:secret@db", url: "wss://a.example/ws", rate: 50, drain: 5 * time.Second},
		},
		{name: "TLS", args: []string{"-tls"}, want: config{addr: "127.0.0.1:8080", data: "chat-data", rate: 50, drain: 5 * time.Second, tls: true}},
		{name: "TLS on all addresses", env: map[string]string{"GOHUB_TLS": "1", "GOHUB_ADDR": ":443"}, want: config{addr: ":443", data: "chat-data", rate: 50, drain: 5 * time.Second, tls: true}},
		{
			name: "a certificate of one's own, for anywhere",
			args: []string{"-cert", "c.pem", "-key", "k.pem", "-addr", "192.0.2.1:443"},
			want: config{addr: "192.0.2.1:443", data: "chat-data", rate: 50, drain: 5 * time.Second, tls: true, cert: "c.pem", key: "k.pem"},
		},
		{name: "a certificate without its key", args: []string{"-cert", "c.pem"}, err: "-cert and -key"},
		{name: "a key without its certificate", env: map[string]string{"GOHUB_KEY": "k.pem"}, err: "-cert and -key"},
		{name: "TLS for others", args: []string{"-tls", "-addr", "192.0.2.1:443"}, err: "-tls: its certificate is for this machine alone"},
		{name: "bad TLS", env: map[string]string{"GOHUB_TLS": "maybe"}, err: "GOHUB_TLS"},

		{name: "in memory", env: map[string]string{"GOHUB_DATA": "memory"}, want: config{addr: "127.0.0.1:8080", data: "memory", rate: 50, drain: 5 * time.Second}},
		{name: "a directory without a name", args: []string{"-data", ""}, err: "-data: want a directory, or memory"},
		{
			name: "Postgres, not the default directory", args: []string{"-postgres", "postgres://db"},
			want: config{addr: "127.0.0.1:8080", postgres: "postgres://db", rate: 50, drain: 5 * time.Second},
		},
		{name: "memory and Postgres", args: []string{"-postgres", "postgres://:secret@db", "-data", "memory"}, err: "-data and -postgres: history is kept in one place"},
		{name: "two histories", args: []string{"-postgres", "postgres://:secret@db"}, env: map[string]string{"GOHUB_DATA": "d"}, err: "GOHUB_DATA and -postgres: history is kept in one place"},
		{
			name: "behind a proxy", args: []string{"-advertise", "wss://a.example/ws"}, env: map[string]string{"GOHUB_BEHIND_PROXY": "192.0.2.1, 10.0.0.0/8,"},
			want: config{addr: "127.0.0.1:8080", data: "chat-data", url: "wss://a.example/ws", proxies: []string{"192.0.2.1", "10.0.0.0/8"}, rate: 50, drain: 5 * time.Second},
		},
		{name: "behind a proxy, at no address", args: []string{"-behind-proxy", "10.0.0.0/8"}, err: "-behind-proxy: what clients call this server only the proxy knows"},
		{name: "behind a proxy without TLS", args: []string{"-behind-proxy", "10.0.0.0/8", "-advertise", "ws://a.example/ws"}, err: "give -advertise wss://host/ws"},
		{name: "a proxy by its name", args: []string{"-behind-proxy", "proxy.example"}, err: `-behind-proxy: "proxy.example" is neither an address nor a prefix`},
		{name: "advertise", args: []string{"-advertise", "https://a.example/ws"}, err: "-advertise: want ws://host/ws"},
		{name: "redis by environment", env: map[string]string{"GOHUB_REDIS": "redis://:secret@db"}, err: "GOHUB_REDIS: several nodes need"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseConfig(tt.args, func(name string) string { return tt.env[name] }, io.Discard)
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				assert.NotContains(t, err.Error(), "secret")
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tt.want, got)
		})
	}
}

func TestHelpNamesEveryFlag(t *testing.T) {
	var out bytes.Buffer
	_, err := parseConfig([]string{"-h"}, noEnv, &out)
	require.ErrorIs(t, err, flag.ErrHelp)
	for _, name := range []string{"addr", "data", "postgres", "redis", "advertise", "behind-proxy", "node", "origins", "rate", "tls", "cert", "key"} {
		assert.Contains(t, out.String(), "-"+name)
	}
	assert.Equal(t, 0, run(t.Context(), []string{"-h"}, noEnv, io.Discard, io.Discard))
}

func TestRunRefusesWhatItCannotDo(t *testing.T) {
	for _, args := range [][]string{{"-redis", "redis://x"}, {"-rate", "x"}, {"nonsense"}} {
		var stdout, stderr bytes.Buffer
		assert.Equal(t, 2, run(t.Context(), args, noEnv, &stdout, &stderr), args)
		assert.Empty(t, stdout.String())
		assert.Equal(t, 1, strings.Count(stderr.String(), "\n"), "one line: %q", stderr.String())
	}
}

func TestRunFailsWhereItCannotListen(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	var stderr bytes.Buffer
	assert.Equal(t, 1, run(t.Context(), []string{"-addr", ln.Addr().String(), "-data", "memory"}, noEnv, io.Discard, &stderr))
	assert.Contains(t, stderr.String(), "address already in use")
}

func historyOfTest(t *testing.T) history {
	t.Helper()
	h, err := openHistory(t.Context(), config{data: inMemory})
	require.NoError(t, err)
	return h
}

// serve runs the program until stop, which returns its exit status. History is
// in memory unless the flags say otherwise.
func serve(t *testing.T, args ...string) (url string, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	stdout, w := io.Pipe()
	status := make(chan int, 1)
	args = append([]string{"-addr", "127.0.0.1:0"}, args...)
	if !slices.Contains(args, "-data") && !slices.Contains(args, "-postgres") {
		args = append(args, "-data", "memory")
	}
	go func() {
		var stderr bytes.Buffer
		s := run(ctx, args, noEnv, w, &stderr)
		_ = w.CloseWithError(fmt.Errorf("it ended with %d: %s", s, &stderr))
		status <- s
	}()
	line := make([]byte, 2000)
	n, err := stdout.Read(line)
	require.NoError(t, err)
	url = regexp.MustCompile(`https?://(127\.0\.0\.1|localhost):\d+/`).FindString(string(line[:n]))
	require.NotEmpty(t, url, "said %q", line[:n])
	return url, func() int {
		cancel()
		return <-status
	}
}

func TestRunServesUntilToldToStop(t *testing.T) {
	url, stop := serve(t)
	for _, path := range []string{"", "healthz", "readyz"} {
		res, err := http.Get(url + path)
		require.NoError(t, err)
		assert.NoError(t, res.Body.Close())
		assert.Equal(t, http.StatusOK, res.StatusCode, path)
	}
	http.DefaultClient.CloseIdleConnections()
	assert.Equal(t, 0, stop())
}

// session is a client of the program.
type session struct {
	t    *testing.T
	conn *websocket.Conn
}

// chatter logs in and connects. The HTTP client has the cookies.
func chatter(t *testing.T, url, user string) (*session, *http.Client) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client := &http.Client{Jar: jar}
	t.Cleanup(client.CloseIdleConnections)
	return login(t, client, url, user), client
}

// login does it with a client that may have ideas of its own about TLS.
func login(t *testing.T, client *http.Client, url, user string) *session {
	t.Helper()
	res, err := client.Post(url+"login", "application/json", strings.NewReader(`{"user":"`+user+`"}`))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusOK, res.StatusCode)
	conn, res, err := websocket.Dial(t.Context(), url+"ws", &websocket.DialOptions{HTTPClient: client, Subprotocols: []string{"gohub.v1"}})
	require.NoError(t, err)
	if res.Body != nil {
		_ = res.Body.Close()
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &session{t, conn}
}

// expect reads on to a frame of one of the kinds.
func (s *session) expect(kinds ...string) map[string]any {
	s.t.Helper()
	for {
		_, b, err := s.conn.Read(s.t.Context())
		require.NoError(s.t, err, "waiting for %s", kinds)
		var f map[string]any
		require.NoError(s.t, json.Unmarshal(b, &f))
		require.NotEqual(s.t, "error", f["type"], "%s", b)
		if kind, _ := f["type"].(string); slices.Contains(kinds, kind) {
			return f
		}
	}
}

func (s *session) send(frame string) {
	s.t.Helper()
	require.NoError(s.t, s.conn.Write(s.t.Context(), websocket.MessageText, []byte(frame)))
}

func TestHistorySurvivesRestarts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "data")
	survives(t, "-data", dir)
	for path, mode := range map[string]fs.FileMode{dir: 0o700, filepath.Join(dir, "chat.db"): 0o600} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, mode, info.Mode().Perm(), path)
	}
}

// survives lets the server live three times on the same history.
func survives(t *testing.T, flags ...string) {
	t.Helper()
	var first map[string]any
	for life := range 3 {
		url, stop := serve(t, append(flags, "-drain", "0")...)
		alice, _ := chatter(t, url, "alice")
		assert.Equal(t, true, alice.expect("welcome")["durable"])
		alice.send(`{"type":"join","room":"lobby"}`)
		alice.expect("joined")
		if life == 0 {
			alice.send(`{"type":"publish","id":"0199c2f4-4f8e-7cc1-8d6c-3f0a8f6f2b11","room":"lobby","body":"hello"}`)
			alice.expect("ack")
		} else {
			assert.Equal(t, first, alice.expect("message"))
			alice.send(`{"type":"rooms"}`)
			assert.Contains(t, fmt.Sprint(alice.expect("rooms")["rooms"]), "lobby")
		}
		if life == 0 {
			bob, _ := chatter(t, url, "bob")
			bob.send(`{"type":"join","room":"lobby"}`)
			first = bob.expect("message")
			assert.Equal(t, "hello", first["body"])
		}
		assert.Equal(t, 0, stop())
	}
}

func TestMemoryIsNotDurable(t *testing.T) {
	url, stop := serve(t, "-drain", "0")
	alice, _ := chatter(t, url, "alice")
	assert.Equal(t, false, alice.expect("welcome")["durable"])
	assert.Equal(t, 0, stop())
}

func TestRunFailsWhereItCannotKeepData(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte("no directory"), 0o600))
	foreign := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(foreign, "chat.db"), []byte("no database, and as long as a header of one must be"), 0o600))
	for _, dir := range []string{file, foreign} {
		var stdout, stderr bytes.Buffer
		assert.Equal(t, 1, run(t.Context(), []string{"-addr", "127.0.0.1:0", "-data", dir}, noEnv, &stdout, &stderr))
		assert.Contains(t, stderr.String(), dir)
		assert.Empty(t, stdout.String())
	}
}

func TestLogin(t *testing.T) {
	const form, js = "application/x-www-form-urlencoded", "application/json"
	tests := []struct {
		name, contentType, body string
		status                  int
		user, device            string
		detail                  string // part of the problem's
	}{
		{"form", form, "user=alice", 200, "alice", "", ""},
		{"form with device", form, "user=alice&device=phone-1", 200, "alice", "phone-1", ""},
		{"JSON", js, `{"user":"bob"}`, 200, "bob", "", ""},
		{"JSON with charset, device and more", js + "; charset=utf-8", `{"user":"bob","device":"d","x":1}`, 200, "bob", "d", ""},
		{"every sign that is allowed", js, `{"user":"AZaz09._:-"}`, 200, "AZaz09._:-", "", ""},
		{"63 long", form, "user=" + strings.Repeat("x", 63), 200, strings.Repeat("x", 63), "", ""},

		{"64 long", form, "user=" + strings.Repeat("x", 64), 400, "", "", "user: 1 to 63"},
		{"no name", form, "", 400, "", "", "user: give a name"},
		{"empty name", js, `{"user":""}`, 400, "", "", "user: give a name"},
		{"space", form, "user=al+ice", 400, "", "", "user: 1 to 63"},
		{"at sign", js, `{"user":"@alice"}`, 400, "", "", "user: 1 to 63"},
		{"comma", js, `{"user":"alice,bob"}`, 400, "", "", "user: 1 to 63"},
		{"slash", js, `{"user":"a/b"}`, 400, "", "", "user: 1 to 63"},
		{"other letters", js, `{"user":"Zoë"}`, 400, "", "", "user: 1 to 63"},
		{"bad device", js, `{"user":"alice","device":"a b"}`, 400, "", "", "device: 1 to 63"},
		{"a name in the URL only", form, "", 400, "", "", "user: give a name"},
		{"bad JSON", js, `{"user":`, 400, "", "", "could not be read"},
		{"a number", js, `{"user":1}`, 400, "", "", "could not be read"},
		{"two values", js, `{"user":"a"}{"user":"b"}`, 400, "", "", "could not be read"},
		{"bad form", form, "user=%zz", 400, "", "", "could not be read"},
		{"too long", js, `{"user":"alice","x":"` + strings.Repeat("x", 64<<10) + `"}`, 413, "", "", "too large"},
		{"plain text", "text/plain", "alice", 400, "", "", "form or JSON"},
		{"no type", "", "user=alice", 400, "", "", "form or JSON"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := testApp(t, config{})
			r := httptest.NewRequest("POST", "/login?user=mallory", strings.NewReader(tt.body))
			r.Header.Set("Content-Type", tt.contentType)
			w := do(a.handler, r)
			assert.Equal(t, tt.status, w.Code)
			if tt.status != http.StatusOK {
				assert.Contains(t, problemOf(t, w.Result()), tt.detail)
				assert.Empty(t, w.Result().Cookies())
				return
			}
			assert.Contains(t, w.Body.String(), `{"user":"`+tt.user+`","expires":`)
			assert.Equal(t, http.StatusOK, do(a.handler, withCookies(w, "GET", "/ws")).Code)
		})
	}
}

func TestDeviceOfALogin(t *testing.T) {
	r := httptest.NewRequest("POST", "/login", strings.NewReader(`{"user":"bob","device":"phone-1"}`))
	r.Header.Set("Content-Type", "application/json")
	who, err := readLogin(r)
	require.NoError(t, err)
	assert.Equal(t, gohub.Identity{User: "bob", Device: "phone-1"}, who)
}

func TestLoginCookies(t *testing.T) {
	for _, secure := range []bool{false, true} {
		w := do(testApp(t, config{tls: secure}).handler, loginRequest("alice"))
		cookies := w.Result().Cookies()
		require.Len(t, cookies, 2)
		for _, c := range cookies {
			assert.True(t, c.HttpOnly)
			assert.Equal(t, http.SameSiteLaxMode, c.SameSite)
			assert.Equal(t, secure, c.Secure)
			assert.Equal(t, secure, strings.HasPrefix(c.Name, "__Host-"), c.Name)
			assert.Equal(t, "/", c.Path)
			assert.Empty(t, c.Domain)
			assert.NotContains(t, c.Value, "alice")
		}
	}
}

func TestLogoutEndsTheLogin(t *testing.T) {
	h := testApp(t, config{}).handler
	assert.Equal(t, http.StatusUnauthorized, do(h, httptest.NewRequest("POST", "/refresh", nil)).Code)
	in := do(h, loginRequest("alice"))
	again := do(h, withCookies(in, "POST", "/refresh"))
	require.Equal(t, http.StatusOK, again.Code)
	assert.Contains(t, again.Body.String(), `"user":"alice"`)

	out := do(h, withCookies(again, "POST", "/logout"))
	assert.Equal(t, http.StatusNoContent, out.Code)
	require.Len(t, out.Result().Cookies(), 2)
	for _, c := range out.Result().Cookies() {
		assert.Negative(t, c.MaxAge)
	}
	assert.Equal(t, http.StatusUnauthorized, do(h, withCookies(again, "POST", "/refresh")).Code, "the old cookie is worth nothing now")
	assert.Equal(t, http.StatusNoContent, do(h, httptest.NewRequest("POST", "/logout", nil)).Code, "twice is fine")
}

// Logging out ends the sessions that are open, of that login alone.
func TestLogoutClosesSessions(t *testing.T) {
	url, stop := serve(t, "-drain", "0")
	ws, client := chatter(t, url, "alice")
	ws.expect("welcome")
	elsewhere, _ := chatter(t, url, "alice")
	elsewhere.expect("welcome")
	res, err := client.Post(url+"logout", "", nil)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	_, _, err = ws.conn.Read(t.Context())
	assert.Equal(t, websocket.StatusCode(gohub.CloseUnauthorized), websocket.CloseStatus(err), "%v", err)
	elsewhere.send(`{"type":"ping"}`)
	elsewhere.expect("pong")
	assert.Equal(t, 0, stop())
}

// Whatever a browser sends to say who it is, is in no log.
func TestLogsKeepSecrets(t *testing.T) {
	var logs bytes.Buffer
	a, err := newApp(config{}, historyOfTest(t), cluster{}, slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug})))
	require.NoError(t, err)
	in := do(a.handler, loginRequest("alice"))
	first := do(a.handler, withCookies(in, "POST", "/refresh"))
	do(a.handler, withCookies(first, "POST", "/refresh"))
	do(a.handler, withCookies(in, "POST", "/refresh")) // used twice
	ticket := do(a.handler, withCookies(first, "GET", "/ws"))
	var n struct{ Ticket string }
	require.NoError(t, json.Unmarshal(ticket.Body.Bytes(), &n))
	do(a.handler, withCookies(first, "POST", "/logout"))
	do(a.handler, loginRequest("not%20allowed"))
	require.NoError(t, a.hub.Shutdown(t.Context()))
	for _, sign := range []string{"msg=login user=alice", "used twice", "msg=logout"} {
		require.Contains(t, logs.String(), sign, "the log is looked at where it says something")
	}
	secrets := []string{n.Ticket}
	for _, w := range []*httptest.ResponseRecorder{in, first} {
		for _, c := range w.Result().Cookies() {
			secrets = append(secrets, strings.FieldsFunc(c.Value, func(r rune) bool { return r == '.' })...)
		}
	}
	for _, secret := range secrets {
		require.NotEmpty(t, secret)
		assert.NotContains(t, logs.String(), secret)
	}
}

func TestRequestsFromOtherSites(t *testing.T) {
	h := testApp(t, config{origins: []string{"https://friend.example"}}).handler
	tests := []struct {
		name    string
		headers map[string]string
		status  int
	}{
		{"not a browser", nil, 200},
		{"own page", map[string]string{"Sec-Fetch-Site": "same-origin", "Origin": "http://example.com"}, 200},
		{"own page, older browser", map[string]string{"Origin": "http://example.com"}, 200},
		{"listed origin", map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://friend.example"}, 200},
		{"another site", map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, 403},
		{"another site, older browser", map[string]string{"Origin": "https://evil.example"}, 403},
		{"a subdomain", map[string]string{"Sec-Fetch-Site": "same-site", "Origin": "http://evil.example.com"}, 403},
		{"a sandbox", map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "null"}, 403},
	}
	in := do(h, loginRequest("alice"))
	for _, tt := range tests {
		for _, path := range []string{"/login", "/refresh", "/logout"} {
			t.Run(tt.name+path, func(t *testing.T) {
				r := loginRequest("alice")
				r.URL.Path = path
				for _, c := range in.Result().Cookies() {
					r.AddCookie(c)
				}
				for name, value := range tt.headers {
					r.Header.Set(name, value)
				}
				w := do(h, r)
				if tt.status == http.StatusForbidden {
					assert.Equal(t, tt.status, w.Code)
					assert.Empty(t, w.Result().Cookies())
					assert.Contains(t, problemOf(t, w.Result()), "pages of this origin may not do that")
					return
				}
				if path == "/refresh" && w.Code == http.StatusUnauthorized {
					return // a logout came before: it was let through to be told so
				}
				assert.Less(t, w.Code, 300)
			})
		}
	}
}

func TestPage(t *testing.T) {
	h := testApp(t, config{}).handler
	for _, path := range []string{"/", "/cluster"} {
		page := do(h, httptest.NewRequest("GET", path, nil))
		require.Equal(t, http.StatusOK, page.Code)
		assert.Equal(t, "text/html; charset=utf-8", page.Header().Get("Content-Type"))
		html := page.Body.String()
		assert.NotRegexp(t, `(?i)<style|\sstyle=|<script>|\son[a-z]+=`, html, "the policy would block it")
		for _, ref := range regexp.MustCompile(`(?:src|href)="(/[^"]*)"`).FindAllStringSubmatch(html, -1) {
			assert.Equal(t, http.StatusOK, do(h, httptest.NewRequest("GET", ref[1], nil)).Code, ref[1])
		}
	}

	types := map[string]string{".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}
	files, err := fs.Glob(webFiles, "web/*")
	require.NoError(t, err)
	for _, file := range files {
		path := strings.TrimSuffix(strings.TrimPrefix(file, "web"), ".html")
		w := do(h, httptest.NewRequest("GET", path, nil))
		require.Equal(t, http.StatusOK, w.Code, path)
		assert.Contains(t, w.Header().Get("Content-Type"), types[file[strings.LastIndex(file, "."):]], path)
		again := httptest.NewRequest("GET", path, nil)
		again.Header.Set("If-None-Match", w.Header().Get("ETag"))
		assert.Equal(t, http.StatusNotModified, do(h, again).Code, path)
	}
}

func TestErrorsAreProblems(t *testing.T) {
	a := testApp(t, config{})
	tests := []struct {
		method, path string
		status       int
	}{
		{"GET", "/nowhere", 404},
		{"GET", "/web/index.html", 404},
		{"GET", "/main.go", 404},
		{"PUT", "/login", 405},
		{"PUT", "/refresh", 405},
		{"PUT", "/logout", 405},
		{"DELETE", "/healthz", 405},
		{"GET", "/ws", 401},
	}
	for _, tt := range tests {
		w := do(a.handler, httptest.NewRequest(tt.method, tt.path, nil))
		assert.Equal(t, tt.status, w.Code, tt.path)
		problemOf(t, w.Result())
		assert.NotEmpty(t, w.Header().Get("Content-Security-Policy"), tt.path)
		if tt.status == http.StatusMethodNotAllowed {
			assert.NotEmpty(t, w.Header().Get("Allow"), tt.path)
		}
	}

	assert.Equal(t, http.StatusOK, do(a.handler, httptest.NewRequest("GET", "/readyz", nil)).Code)
	require.NoError(t, a.hub.Shutdown(t.Context()))
	w := do(a.handler, httptest.NewRequest("GET", "/readyz", nil))
	assert.Equal(t, http.StatusServiceUnavailable, w.Code)
	assert.Contains(t, problemOf(t, w.Result()), "shutting down")
	assert.Equal(t, http.StatusOK, do(a.handler, httptest.NewRequest("GET", "/healthz", nil)).Code, "still alive")
}

func TestNegotiateAfterLogin(t *testing.T) {
	h := testApp(t, config{node: "n1"}).handler
	w := do(h, withCookies(do(h, loginRequest("alice")), "GET", "/ws"))
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	var answer struct{ URL, Ticket, Node string }
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
	assert.Contains(t, answer.URL, "/ws")
	assert.NotEmpty(t, answer.Ticket)
	assert.Equal(t, "n1", answer.Node)
}

func TestPageURL(t *testing.T) {
	tests := []struct {
		addr          string
		secure, local bool
		want          string
	}{
		{"127.0.0.1:80", false, true, "http://127.0.0.1:80/"},
		{"0.0.0.0:81", false, true, "http://localhost:81/"},
		{"[::]:82", false, true, "http://localhost:82/"},
		{"[::1]:83", false, true, "http://[::1]:83/"},
		{"127.0.0.1:84", true, true, "https://localhost:84/"},
		{"192.0.2.1:85", true, false, "https://192.0.2.1:85/"},
	}
	for _, tt := range tests {
		tcp, err := net.ResolveTCPAddr("tcp", tt.addr)
		require.NoError(t, err)
		assert.Equal(t, tt.want, pageURL(tcp, tt.secure, tt.local))
	}
}

func noEnv(string) string { return "" }

func testApp(t *testing.T, conf config) *app {
	t.Helper()
	a, err := newApp(conf, historyOfTest(t), cluster{}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, a.hub.Shutdown(context.WithoutCancel(t.Context()))) })
	return a
}

func do(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func loginRequest(user string) *http.Request {
	r := httptest.NewRequest("POST", "/login", strings.NewReader("user="+user))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// withCookies makes a request of the browser that got the answer w.
func withCookies(w *httptest.ResponseRecorder, method, path string) *http.Request {
	r := httptest.NewRequest(method, path, nil)
	for _, c := range w.Result().Cookies() {
		r.AddCookie(c)
	}
	return r
}

// problemOf returns the detail of an answer that must be a problem.
func problemOf(t *testing.T, res *http.Response) string {
	t.Helper()
	assert.Equal(t, "application/problem+json", res.Header.Get("Content-Type"))
	var p struct {
		Title, Detail string
		Status        int
	}
	body, err := io.ReadAll(res.Body)
	require.NoError(t, errors.Join(err, json.Unmarshal(body, &p)), "%s", body)
	assert.Equal(t, res.StatusCode, p.Status)
	assert.NotEmpty(t, p.Title)
	return p.Detail
}
