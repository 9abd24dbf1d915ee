package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestConfig(t *testing.T) {
	defaults := config{addr: "127.0.0.1:8080", rate: 50, drain: 5 * time.Second}
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
			want: config{addr: ":1", rate: 9, drain: 5 * time.Second},
		},
		{name: "empty variables are unset", env: map[string]string{"GOHUB_RATE": "", "GOHUB_REDIS": ""}, want: defaults},
		{name: "unknown variables are ignored", env: map[string]string{"GOHUB_COLOUR": "red"}, want: defaults},
		{name: "an empty flag refuses nothing", args: []string{"-redis="}, want: defaults},

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

		{name: "redis", args: []string{"-redis", "redis://:secret@db"}, err: "-redis: not available in this version yet"},
		{name: "two histories", args: []string{"-postgres", "postgres://:secret@db"}, env: map[string]string{"GOHUB_DATA": "d"}, err: "GOHUB_DATA and -postgres: history is kept in one place"},
		{name: "advertise", args: []string{"-advertise", "x"}, err: "-advertise: not available in this version yet"},
		{name: "redis by environment", env: map[string]string{"GOHUB_REDIS": "redis://:secret@db"}, err: "GOHUB_REDIS: not available in this version yet"},
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
	for _, name := range []string{"addr", "data", "postgres", "redis", "advertise", "node", "origins", "rate"} {
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
	assert.Equal(t, 1, run(t.Context(), []string{"-addr", ln.Addr().String()}, noEnv, io.Discard, &stderr))
	assert.Contains(t, stderr.String(), "address already in use")
}

// serve runs the program until stop, which returns its exit status.
func serve(t *testing.T, args ...string) (url string, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	stdout, w := io.Pipe()
	status := make(chan int, 1)
	go func() {
		var stderr bytes.Buffer
		s := run(ctx, append([]string{"-addr", "127.0.0.1:0"}, args...), noEnv, w, &stderr)
		_ = w.CloseWithError(fmt.Errorf("it ended with %d: %s", s, &stderr))
		status <- s
	}()
	line := make([]byte, 200)
	n, err := stdout.Read(line)
	require.NoError(t, err)
	url = regexp.MustCompile(`http://127\.0\.0\.1:\d+/`).FindString(string(line[:n]))
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

// chatter is a client of the program: what it is sent, and how it sends.
func chatter(t *testing.T, url, user string) (expect func(kind string) map[string]any, send func(frame string)) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client := &http.Client{Jar: jar}
	t.Cleanup(client.CloseIdleConnections)
	res, err := client.Post(url+"login", "application/json", strings.NewReader(`{"user":"`+user+`"}`))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusOK, res.StatusCode)
	ws, res, err := websocket.Dial(t.Context(), url+"ws", &websocket.DialOptions{HTTPClient: client, Subprotocols: []string{"gohub.v1"}})
	require.NoError(t, err)
	if res.Body != nil {
		_ = res.Body.Close()
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	expect = func(kind string) map[string]any {
		t.Helper()
		for {
			_, b, err := ws.Read(t.Context())
			require.NoError(t, err, "waiting for %s", kind)
			var f map[string]any
			require.NoError(t, json.Unmarshal(b, &f))
			require.NotEqual(t, "error", f["type"], "%s", b)
			if f["type"] == kind {
				return f
			}
		}
	}
	send = func(frame string) {
		t.Helper()
		require.NoError(t, ws.Write(t.Context(), websocket.MessageText, []byte(frame)))
	}
	return expect, send
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
		expect, send := chatter(t, url, "alice")
		assert.Equal(t, true, expect("welcome")["durable"])
		send(`{"type":"join","room":"lobby"}`)
		expect("joined")
		if life == 0 {
			send(`{"type":"publish","id":"0199c2f4-4f8e-7cc1-8d6c-3f0a8f6f2b11","room":"lobby","body":"hello"}`)
			expect("ack")
		} else {
			assert.Equal(t, first, expect("message"))
			send(`{"type":"rooms"}`)
			assert.Contains(t, fmt.Sprint(expect("rooms")["rooms"]), "lobby")
		}
		if life == 0 {
			expect, send := chatter(t, url, "bob")
			send(`{"type":"join","room":"lobby"}`)
			first = expect("message")
			assert.Equal(t, "hello", first["body"])
		}
		assert.Equal(t, 0, stop())
	}
}

func TestMemoryIsNotDurable(t *testing.T) {
	url, stop := serve(t, "-drain", "0")
	expect, _ := chatter(t, url, "alice")
	assert.Equal(t, false, expect("welcome")["durable"])
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
		{"too long", js, `{"user":"alice","x":"` + strings.Repeat("x", maxLoginLen) + `"}`, 413, "", "", "too long"},
		{"plain text", "text/plain", "alice", 415, "", "", "form or JSON"},
		{"no type", "", "user=alice", 415, "", "", "form or JSON"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			users := newLogins(slog.New(slog.DiscardHandler), 10)
			r := httptest.NewRequest("POST", "/login?user=mallory", strings.NewReader(tt.body))
			r.Header.Set("Content-Type", tt.contentType)
			w := httptest.NewRecorder()
			users.handleLogin(w, r)
			assert.Equal(t, tt.status, w.Code)
			if tt.status != http.StatusOK {
				assert.Contains(t, problemOf(t, w.Result()), tt.detail)
				assert.Empty(t, w.Result().Cookies())
				return
			}
			assert.JSONEq(t, `{"user":"`+tt.user+`"}`, w.Body.String())
			who, err := users.Authenticate(withCookie(t, w))
			require.NoError(t, err)
			assert.Equal(t, tt.user, who.User)
			assert.Equal(t, tt.device, who.Device)
			assert.Empty(t, who.Tenant)
		})
	}
}

func TestLoginByMultipartForm(t *testing.T) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	require.NoError(t, form.WriteField("user", "alice"))
	require.NoError(t, form.Close())
	r := httptest.NewRequest("POST", "/login", &body)
	r.Header.Set("Content-Type", form.FormDataContentType())
	w := httptest.NewRecorder()
	newLogins(slog.New(slog.DiscardHandler), 10).handleLogin(w, r)
	assert.Equal(t, http.StatusOK, w.Code)
}

func TestLoginCookie(t *testing.T) {
	for _, secure := range []bool{false, true} {
		r := loginRequest("alice")
		if secure {
			r.TLS = &tls.ConnectionState{}
		}
		w := httptest.NewRecorder()
		newLogins(slog.New(slog.DiscardHandler), 10).handleLogin(w, r)
		cookies := w.Result().Cookies()
		require.Len(t, cookies, 1)
		c := cookies[0]
		assert.True(t, c.HttpOnly)
		assert.Equal(t, http.SameSiteLaxMode, c.SameSite)
		assert.Equal(t, secure, c.Secure)
		assert.Equal(t, "/", c.Path)
		assert.GreaterOrEqual(t, len(c.Value), 26, "128 bits at least")
		assert.NotContains(t, c.Value, "alice")
	}
}

func TestLoginOfAPlainForm(t *testing.T) {
	r := loginRequest("alice")
	r.Header.Set("Accept", "text/html,*/*;q=0.8")
	w := httptest.NewRecorder()
	newLogins(slog.New(slog.DiscardHandler), 10).handleLogin(w, r)
	assert.Equal(t, http.StatusSeeOther, w.Code)
	assert.Equal(t, "/", w.Header().Get("Location"))
	assert.Len(t, w.Result().Cookies(), 1)
}

func TestLogoutEndsTheLogin(t *testing.T) {
	h := testApp(t, config{}).handler
	assert.JSONEq(t, `{"user":null}`, do(h, httptest.NewRequest("GET", "/session", nil)).Body.String())

	in := do(h, loginRequest("alice"))
	session := withCookie(t, in)
	session.URL.Path = "/session"
	assert.JSONEq(t, `{"user":"alice"}`, do(h, session).Body.String())

	logout := withCookie(t, in)
	logout.Method, logout.URL.Path = "POST", "/logout"
	w := do(h, logout)
	assert.Equal(t, http.StatusNoContent, w.Code)
	require.Len(t, w.Result().Cookies(), 1)
	assert.Negative(t, w.Result().Cookies()[0].MaxAge)
	assert.JSONEq(t, `{"user":null}`, do(h, session).Body.String(), "the old cookie is worth nothing now")

	assert.Equal(t, http.StatusNoContent, do(h, httptest.NewRequest("POST", "/logout", nil)).Code, "twice is fine")
}

func TestLoggingInAgainEndsTheEarlierLogin(t *testing.T) {
	users := newLogins(slog.New(slog.DiscardHandler), 10)
	first := httptest.NewRecorder()
	users.handleLogin(first, loginRequest("alice"))
	again := loginRequest("alice")
	again.AddCookie(first.Result().Cookies()[0])
	second := httptest.NewRecorder()
	users.handleLogin(second, again)

	_, err := users.Authenticate(withCookie(t, first))
	require.Error(t, err)
	_, err = users.Authenticate(withCookie(t, second))
	require.NoError(t, err)
}

func TestLoginsAreBounded(t *testing.T) {
	users := newLogins(slog.New(slog.DiscardHandler), 2)
	request := func(in login) *http.Request {
		r := httptest.NewRequest("GET", "/ws", nil)
		r.AddCookie(&http.Cookie{Name: cookieName, Value: in.token})
		return r
	}
	a, b := users.add("a", ""), users.add("b", "")
	_, ok := users.of(request(a)) // so b is now the one used longest ago
	require.True(t, ok)
	c := users.add("c", "")
	for in, want := range map[login]bool{a: true, b: false, c: true} {
		_, ok := users.of(request(in))
		assert.Equal(t, want, ok, in.user)
	}
	assert.Len(t, users.byToken, 2)
	assert.Equal(t, 2, users.recent.Len())
}

func TestLoginsExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		users := newLogins(slog.New(slog.DiscardHandler), 10)
		w := httptest.NewRecorder()
		users.handleLogin(w, loginRequest("alice"))
		time.Sleep(loginTTL)
		_, err := users.Authenticate(withCookie(t, w))
		require.NoError(t, err)
		time.Sleep(time.Second)
		_, err = users.Authenticate(withCookie(t, w))
		require.Error(t, err)
		assert.Empty(t, users.byToken)
	})
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
	for _, tt := range tests {
		for _, path := range []string{"/login", "/logout"} {
			t.Run(tt.name+path, func(t *testing.T) {
				r := loginRequest("alice")
				r.URL.Path = path
				for name, value := range tt.headers {
					r.Header.Set(name, value)
				}
				w := do(h, r)
				if tt.status == http.StatusForbidden {
					assert.Equal(t, tt.status, w.Code)
					assert.Empty(t, w.Result().Cookies())
					assert.Contains(t, problemOf(t, w.Result()), "another site")
					return
				}
				assert.Less(t, w.Code, 300)
			})
		}
	}
}

func TestPage(t *testing.T) {
	h := testApp(t, config{}).handler
	page := do(h, httptest.NewRequest("GET", "/", nil))
	require.Equal(t, http.StatusOK, page.Code)
	assert.Equal(t, "text/html; charset=utf-8", page.Header().Get("Content-Type"))
	csp := page.Header().Get("Content-Security-Policy")
	assert.Contains(t, csp, "default-src 'none'")
	assert.Contains(t, csp, "frame-ancestors 'none'")
	assert.NotContains(t, csp, "unsafe")
	assert.Equal(t, "nosniff", page.Header().Get("X-Content-Type-Options"))

	html := page.Body.String()
	assert.NotRegexp(t, `(?i)<style|\sstyle=|<script>|\son[a-z]+=`, html, "the policy would block it")
	for _, ref := range regexp.MustCompile(`(?:src|href)="(/[^"]*)"`).FindAllStringSubmatch(html, -1) {
		assert.Equal(t, http.StatusOK, do(h, httptest.NewRequest("GET", ref[1], nil)).Code, ref[1])
	}

	types := map[string]string{".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}
	files, err := fs.Glob(webFiles, "web/*")
	require.NoError(t, err)
	for _, file := range files {
		path := strings.Replace(strings.TrimPrefix(file, "web"), "/index.html", "/", 1)
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
		{"GET", "/login", 405},
		{"PUT", "/logout", 405},
		{"POST", "/session", 405},
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
	r := withCookie(t, do(h, loginRequest("alice")))
	w := do(h, r)
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	var answer struct{ URL, Ticket, Node string }
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
	assert.Contains(t, answer.URL, "/ws")
	assert.NotEmpty(t, answer.Ticket)
	assert.Equal(t, "n1", answer.Node)
}

func TestPageURL(t *testing.T) {
	tests := map[string]string{
		"127.0.0.1:80": "http://127.0.0.1:80/",
		"0.0.0.0:81":   "http://localhost:81/",
		"[::]:82":      "http://localhost:82/",
		"[::1]:83":     "http://[::1]:83/",
	}
	for addr, want := range tests {
		tcp, err := net.ResolveTCPAddr("tcp", addr)
		require.NoError(t, err)
		assert.Equal(t, want, pageURL(tcp))
	}
}

func noEnv(string) string { return "" }

func testApp(t *testing.T, conf config) *app {
	t.Helper()
	a, err := newApp(conf, nil, slog.New(slog.DiscardHandler))
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

// withCookie makes a request for /ws from the browser that got the answer w.
func withCookie(t *testing.T, w *httptest.ResponseRecorder) *http.Request {
	t.Helper()
	cookies := w.Result().Cookies()
	require.Len(t, cookies, 1)
	r := httptest.NewRequest("GET", "/ws", nil)
	r.AddCookie(cookies[0])
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
