//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub/internal/pgtest"
	"github.com/gohub/gohub/internal/redistest"
)

func TestThreeNodes(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, 3, 0, w)
		_ = w.Close()
	}()
	said := make(chan string, 1000)
	go func() { // ends with run
		for s := bufio.NewScanner(r); s.Scan(); {
			said <- s.Text()
		}
		close(said)
	}()
	at := regexp.MustCompile(`(http://127\.0\.0\.1:\d+/), process (\d+)`)
	var pages, pids []string
	for line := range said {
		if m := at.FindStringSubmatch(line); m != nil {
			pages, pids = append(pages, m[1]), append(pids, m[2])
		}
		if len(pages) == 3 {
			break
		}
	}
	if len(pages) < 3 {
		err := <-done
		if (errors.Is(err, pgtest.ErrAbsent) || errors.Is(err, redistest.ErrAbsent)) && os.Getenv("GOHUB_REQUIRE_SERVICES") != "1" {
			t.Skip(err)
		}
		require.NoError(t, err)
		t.Fatal("it has ended")
	}
	go func() { // ends with run
		for range said {
		}
	}()
	ready := func(page string) {
		assert.Eventually(t, func() bool {
			res, err := http.Get(page + "readyz")
			if err != nil {
				return false
			}
			_ = res.Body.Close()
			return res.StatusCode == http.StatusOK
		}, time.Minute, 50*time.Millisecond, page)
	}
	for _, page := range pages {
		ready(page)
	}
	// A page is sent to the node of its user, and let in there.
	sent := 0
	for i := 0; i < 20 || sent == 0; i++ {
		require.Less(t, i, 1000, "nobody belongs to another node")
		page, err := http.Get(pages[0])
		require.NoError(t, err)
		require.NoError(t, page.Body.Close())
		for end := time.Now().Add(time.Minute); ; {
			url := negotiated(t, pages[0], "user-"+strconv.Itoa(i))
			where, _, _ := strings.Cut(url, "/ws?")
			require.Contains(t, page.Header.Get("Content-Security-Policy"), " "+where)
			conn, res, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {strings.TrimSuffix(pages[0], "/")}}})
			if err != nil && res != nil && res.StatusCode == http.StatusServiceUnavailable && time.Now().Before(end) {
				continue // it was not told of the ticket within a second
			}
			require.NoError(t, err)
			require.NoError(t, conn.CloseNow())
			if where+"/" != strings.Replace(pages[0], "http", "ws", 1) {
				sent++
			}
			break
		}
	}
	// One that dies does not end the others.
	require.NoError(t, exec.Command("kill", "-9", pids[1]).Run())
	ready(pages[2])
	cancel()
	select {
	case err := <-done:
		require.NoError(t, err)
	case <-time.After(2 * time.Minute):
		t.Fatal("it does not end")
	}
	for _, pid := range pids {
		assert.Error(t, exec.Command("kill", "-0", pid).Run(), "process %s lives on", pid)
	}
}

// negotiated logs in at a page and gives the URL to which it would connect,
// with the ticket.
func negotiated(t *testing.T, page, user string) string {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client := &http.Client{Jar: jar}
	res, err := client.Post(page+"login", "application/json", strings.NewReader(`{"user":"`+user+`"}`))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, page+"ws", http.NoBody)
	require.NoError(t, err)
	req.Header.Set("Origin", strings.TrimSuffix(page, "/"))
	res, err = client.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	var n struct{ URL, Ticket string }
	require.NoError(t, json.NewDecoder(res.Body).Decode(&n))
	return n.URL + "?ticket=" + n.Ticket
}
