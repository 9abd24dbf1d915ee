package gohub_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// upgradeRequest is a handshake that may be given to a handler directly.
func upgradeRequest() *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/?user=alice", nil)
	for k, v := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
	} {
		r.Header.Set(k, v)
	}
	return r
}

// Whose middleware hides the connection learns so from the log, not from a
// client that hangs.
func TestConnectionThatCannotBeHad(t *testing.T) {
	t.Parallel()
	var logged bytes.Buffer
	w := start(t, gohub.Config{Logger: slog.New(slog.NewTextHandler(&logged, nil))})

	rec := httptest.NewRecorder()
	http.TimeoutHandler(w.hub.Handler(), patience, "").ServeHTTP(rec, upgradeRequest())
	p := isProblem(t, rec, http.StatusNotImplemented, "internal")
	require.NotContains(t, p["detail"], "timeoutWriter", "clients need not know what the server is made of")
	for _, field := range []string{"Upgrade", "Sec-Websocket-Accept"} {
		require.Empty(t, rec.Header().Get(field))
	}
	require.Equal(t, "close", rec.Header().Get("Connection"), "and not Upgrade")
	require.Contains(t, logged.String(), "level=ERROR")
	require.Contains(t, logged.String(), "writer=*http.timeoutWriter")
	require.Contains(t, logged.String(), "Unwrap() http.ResponseWriter")

	logged.Reset()
	rec, r := httptest.NewRecorder(), upgradeRequest()
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
	w.hub.Handler().ServeHTTP(rec, r)
	p = isProblem(t, rec, http.StatusNotImplemented, "internal")
	require.Contains(t, p["detail"], "HTTP/1.1")
	require.Contains(t, logged.String(), "level=WARN")
	require.Contains(t, logged.String(), "HTTP/2.0")
	require.Empty(t, w.hub.Sessions("", "alice"))
}

func TestBadHandshakes(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	for name, c := range map[string]struct {
		change        func(r *http.Request)
		status        int
		field, header string
	}{
		"no key":        {func(r *http.Request) { r.Header.Del("Sec-WebSocket-Key") }, 400, "", ""},
		"old version":   {func(r *http.Request) { r.Header.Set("Sec-WebSocket-Version", "8") }, 400, "Sec-WebSocket-Version", "13"},
		"no Connection": {func(r *http.Request) { r.Header.Del("Connection") }, 426, "Upgrade", "websocket"},
		"HTTP/1.0":      {func(r *http.Request) { r.Proto, r.ProtoMinor = "HTTP/1.0", 0 }, 426, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rec, r := httptest.NewRecorder(), upgradeRequest()
			c.change(r)
			w.hub.Handler().ServeHTTP(rec, r)
			isProblem(t, rec, c.status, "bad_request")
			require.Equal(t, c.header, rec.Header().Get(c.field))
			require.Equal(t, "close", rec.Header().Get("Connection"))
		})
	}
	nc, err := w.raw(t.Context(), "tcp", w.url[len("http://"):])
	require.NoError(t, err)
	defer nc.Close()
	_, err = nc.Write([]byte("GET /?user=alice HTTP/1.1\r\nHost: hub.test\r\nUpgrade: websocket\r\n\r\n"))
	require.NoError(t, err)
	require.NoError(t, nc.SetReadDeadline(time.Now().Add(patience)))
	answer, err := io.ReadAll(nc)
	require.NoError(t, err, "it is closed")
	require.Contains(t, string(answer), "HTTP/1.1 426")
	require.Contains(t, string(answer), "\r\nConnection: Upgrade\r\n")
}

// A TLS server speaks HTTP/2 unless told otherwise. Browsers then fetch over
// HTTP/2, and use HTTP/1.1 for WebSockets, as the server does not offer
// RFC 8441.
func TestHTTP2(t *testing.T) {
	t.Parallel()
	hub, err := gohub.New(forTests(gohub.Config{}))
	require.NoError(t, err)
	srv := httptest.NewUnstartedServer(hub.Handler())
	srv.Listener = gohub.PacedListener(srv.Listener) // which must not be in the way of any of that
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	fetch := srv.Client()
	roots := fetch.Transport.(*http.Transport).TLSClientConfig.RootCAs
	dial := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, NextProtos: []string{"http/1.1"}}}}
	defer func() {
		require.NoError(t, hub.Shutdown(context.Background()))
		fetch.CloseIdleConnections()
		dial.CloseIdleConnections()
		srv.Close()
	}()

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/?user=alice", nil)
	require.NoError(t, err)
	res, err := fetch.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, 2, res.ProtoMajor, "not what this test is about")
	require.Equal(t, http.StatusOK, res.StatusCode)
	var n struct{ URL, Ticket string }
	require.NoError(t, json.NewDecoder(res.Body).Decode(&n))
	require.Equal(t, strings.Replace(srv.URL, "https", "wss", 1)+"/", n.URL)

	ws, hs, err := websocket.Dial(t.Context(), n.URL+"?ticket="+n.Ticket, &websocket.DialOptions{HTTPClient: dial})
	require.NoError(t, err)
	defer ws.CloseNow()
	require.Equal(t, 1, hs.ProtoMajor)
	_, p, err := ws.Read(t.Context())
	require.NoError(t, err)
	require.Contains(t, string(p), `"welcome"`)

	// A handshake of RFC 8441, from who has not looked whether it is offered.
	rec := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodConnect, srv.URL+"/?user=alice", nil)
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
	r.Header.Set(":protocol", "websocket")
	hub.Handler().ServeHTTP(rec, r)
	isProblem(t, rec, http.StatusMethodNotAllowed, "bad_request")
}

// The http.Server's own timeouts end with the handshake.
func TestServerTimeoutsSpareSessions(t *testing.T) {
	virtual(t, func(t *testing.T) {
		hub, err := gohub.New(forTests(gohub.Config{}))
		require.NoError(t, err)
		l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		srv := &http.Server{
			Handler: hub.Handler(), ReadHeaderTimeout: time.Second, ReadTimeout: time.Second, WriteTimeout: time.Second, IdleTimeout: time.Second,
		}
		served := make(chan struct{})
		go func() { // ends with srv.Close
			defer close(served)
			_ = srv.Serve(l)
		}()
		client := &http.Client{Transport: &http.Transport{DialContext: l.dial}}
		w := &world{t, hub, "http://hub.test", client, l.dial, 0}
		t.Cleanup(func() {
			require.NoError(t, hub.Shutdown(context.Background()))
			client.CloseIdleConnections()
			_ = srv.Close()
			<-served
		})
		u := w.as("alice", "r")
		for range 3 {
			pass(10 * time.Second)
			require.Equal(t, "ack", u.say("r", "still here").str("type"))
		}
	})
}

// What the README and docs/embedding.md, auth.md and security.md show is code of this repository, which
// compiles and is tested. Indentation may differ.
func TestDocsShowCodeThatExists(t *testing.T) {
	t.Parallel()
	trimmed := func(text string) string {
		lines := strings.Split(strings.TrimSpace(text), "\n")
		for i, l := range lines {
			lines[i] = strings.TrimSpace(l)
		}
		return "\n" + strings.Join(lines, "\n") + "\n"
	}
	var sources []string
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules"):
			return fs.SkipDir
		}
		if filepath.Ext(path) == ".go" {
			b, err := os.ReadFile(path)
			sources = append(sources, trimmed(string(b)))
			return err
		}
		return nil
	}))
	block := regexp.MustCompile("(?s)```go\n(.*?)```")
	for file, least := range map[string]int{"README.md": 4, "docs/embedding.md": 8, "docs/auth.md": 8, "docs/security.md": 1} {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		blocks := block.FindAllStringSubmatch(string(b), -1)
		require.GreaterOrEqual(t, len(blocks), least, file)
		for _, code := range blocks {
			shown := trimmed(code[1])
			require.True(t, slices.ContainsFunc(sources, func(s string) bool { return strings.Contains(s, shown) }),
				"%s shows what no file has:\n%s", file, code[1])
		}
	}
}
