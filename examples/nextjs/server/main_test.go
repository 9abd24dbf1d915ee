package main

import (
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/stretchr/testify/require"
)

const page = "http://localhost:3000"

// visit starts the server and gives its URL, and a client that keeps cookies.
func visit(t *testing.T) (string, *http.Client) {
	t.Helper()
	handler, err := newServer(page)
	require.NoError(t, err)
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return s.URL, client
}

// do sends what a page of origin would, and gives the status and the answer.
func do(t *testing.T, c *http.Client, method, at, origin string, form url.Values) (int, http.Header, map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, at, strings.NewReader(form.Encode()))
	require.NoError(t, err)
	r.Header.Set("Origin", origin)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	var body map[string]any
	_ = json.NewDecoder(resp.Body).Decode(&body) // errors are no JSON
	return resp.StatusCode, resp.Header, body
}

// The newest messages are for who is logged in.
func TestMessages(t *testing.T) {
	t.Parallel()
	at, client := visit(t)
	status, header, _ := do(t, client, http.MethodGet, at+"/messages", page, nil)
	require.Equal(t, http.StatusUnauthorized, status)
	require.Equal(t, "no-store", header.Get("Cache-Control"))

	status, header, _ = do(t, client, http.MethodPost, at+"/login", page, url.Values{"user": {"alice"}})
	require.Equal(t, http.StatusSeeOther, status)
	require.Equal(t, "/", header.Get("Location"))

	u, err := url.Parse(at)
	require.NoError(t, err)
	dial := &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {page}}}
	for _, c := range client.Jar.Cookies(u) {
		dial.HTTPHeader.Add("Cookie", c.String())
	}
	ws, _, err := websocket.Dial(t.Context(), at+"/ws", dial)
	require.NoError(t, err)
	defer ws.CloseNow()
	const id = "019ab8c0-0000-7000-8000-000000000001"
	require.NoError(t, wsjson.Write(t.Context(), ws, map[string]any{"type": "join", "ref": 1, "room": room}))
	require.NoError(t, wsjson.Write(t.Context(), ws, map[string]any{"type": "publish", "id": id, "room": room, "body": map[string]string{"text": "hello"}}))
	for f := map[string]any{}; f["type"] != "ack"; {
		f = map[string]any{}
		require.NoError(t, wsjson.Read(t.Context(), ws, &f))
	}

	status, header, body := do(t, client, http.MethodGet, at+"/messages", page, nil)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "no-store", header.Get("Cache-Control"))
	require.Equal(t, "alice", body["user"])
	require.Len(t, body["messages"], 1)
	message := body["messages"].([]any)[0].(map[string]any)
	require.Equal(t, map[string]any{"text": "hello"}, message["body"])
	require.Equal(t, id, message["id"])
	require.Equal(t, "alice", message["sender"])
	require.NotZero(t, message["seq"])
}

// Another site's page cannot log its visitor in, nor connect as them.
func TestOrigins(t *testing.T) {
	t.Parallel()
	at, client := visit(t)
	for origin, want := range map[string]int{page: http.StatusSeeOther, "https://evil.example": http.StatusForbidden} {
		status, _, _ := do(t, client, http.MethodPost, at+"/login", origin, url.Values{"user": {"alice"}})
		require.Equal(t, want, status, origin)
	}
	for origin, want := range map[string]int{page: http.StatusOK, "https://evil.example": http.StatusForbidden} {
		status, header, _ := do(t, client, http.MethodGet, at+"/ws", origin, nil) // negotiate
		require.Equal(t, want, status, origin)
		if want == http.StatusOK {
			require.Equal(t, page, header.Get("Access-Control-Allow-Origin"))
		}
	}
	status, _, _ := do(t, client, http.MethodPost, at+"/login", page, url.Values{"user": {"no name"}})
	require.Equal(t, http.StatusBadRequest, status)
}

// What docs/sdk.md shows is what is built and tried here.
func TestDocsQuoteTheHook(t *testing.T) {
	t.Parallel()
	docs, err := os.ReadFile("../../../docs/sdk.md")
	require.NoError(t, err)
	hook, err := os.ReadFile("../app/use-room.ts")
	require.NoError(t, err)
	require.True(t, strings.Contains(string(docs), "```ts\n"+string(hook)+"```"), "examples/nextjs/app/use-room.ts is another than in docs/sdk.md") //nolint:testifylint // Contains would print the page
}
