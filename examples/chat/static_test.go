package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStaticFiles(t *testing.T) {
	h := testApp(t, config{}).handler
	files, err := newStatic()
	require.NoError(t, err)
	get := func(address string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", address, nil)
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return do(h, r)
	}
	for name, f := range files.lean {
		w := get(files.File(name))
		require.Equal(t, http.StatusOK, w.Code, name)
		assert.Equal(t, "public, max-age=31536000, immutable", w.Header().Get("Cache-Control"))
		assert.Equal(t, contentTypes[path.Ext(name)], w.Header().Get("Content-Type"))
		assert.Equal(t, f.plain, w.Body.Bytes())
		assert.Empty(t, w.Header().Get("Content-Encoding"))
		assert.Empty(t, w.Header().Get("ETag"), "nobody asks again")

		zipped := get(files.File(name), "Accept-Encoding", "gzip, br")
		if assert.NotEmpty(t, f.gzipped, name) {
			assert.Equal(t, "gzip", zipped.Header().Get("Content-Encoding"))
			assert.Contains(t, zipped.Header().Values("Vary"), "Accept-Encoding")
			assert.Equal(t, strconv.Itoa(len(f.gzipped)), zipped.Header().Get("Content-Length"))
			assert.Less(t, zipped.Body.Len(), len(f.plain))
			r, err := gzip.NewReader(zipped.Body)
			require.NoError(t, err)
			content, err := io.ReadAll(r)
			require.NoError(t, err)
			assert.Equal(t, f.plain, content)
		}

		// Under its own name it is asked for each time.
		address := "/" + strings.TrimSuffix(name, ".html")
		own, zipped := get(address), get(address, "Accept-Encoding", "gzip")
		require.Equal(t, http.StatusOK, own.Code, name)
		assert.NotEqual(t, own.Header().Get("ETag"), zipped.Header().Get("ETag"), "other bytes")
		assert.Equal(t, http.StatusNotModified, get(address, "If-None-Match", own.Header().Get("ETag")).Code)
		assert.Equal(t, http.StatusNotModified, get(address, "Accept-Encoding", "gzip", "If-None-Match", zipped.Header().Get("ETag")).Code)
		assert.Equal(t, "no-cache", own.Header().Get("Cache-Control"), name)
		assert.Equal(t, files.files[name].plain, own.Body.Bytes(), "as it was written")

		// For a page of another version it is not there, and nobody keeps that in mind.
		other := get("/static/0123456789abcdef/" + name)
		assert.Equal(t, http.StatusNotFound, other.Code, name)
		assert.Equal(t, "no-store", other.Header().Get("Cache-Control"), name)

		// What could be a document has the headers of one wherever it is.
		document := path.Ext(name) != ".js" && path.Ext(name) != ".css"
		assert.Equal(t, document, w.Header().Get("Content-Security-Policy") != "", name)
		assert.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
		assert.Equal(t, "same-origin", w.Header().Get("Cross-Origin-Resource-Policy"))
	}
	assert.Contains(t, files.names(), "gohub.js")
	for _, address := range []string{"/static/" + files.hash + "/nothing.js", "/static/" + files.hash + "/../main.go", "/static/" + files.hash + "/", "/static/"} {
		assert.Contains(t, []int{http.StatusNotFound, http.StatusTemporaryRedirect}, get(address).Code, address)
	}
}

// The hash is of what is sent: where that changes its address does, also when the
// files are the same and what is left out of them is not.
func TestHashIsOfWhatIsSent(t *testing.T) {
	files, err := newStatic()
	require.NoError(t, err)
	sum := sha256.New()
	for _, name := range files.names() {
		sent := sha256.Sum256(files.lean[name].plain)
		_, _ = fmt.Fprintf(sum, "%s %s\n", name, hex.EncodeToString(sent[:8]))
	}
	assert.Equal(t, hex.EncodeToString(sum.Sum(nil)[:8]), files.hash)
	assert.NotEqual(t, files.files["app.js"].etag, files.lean["app.js"].etag, "they differ")
}

func TestWithoutComments(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"a.js", "// what\nf() // why\n\t// more\nconst s = '// no'\n", "f() // why\nconst s = '// no'\n"},
		{"a.js", "const s = `\n// no comment\n`\n", "const s = `\n// no comment\n`\n"},
		{"a.js", "const s = `a` // b\n// c\n", "const s = `a` // b\n"},
		{"a.css", "/* what */\na { b: c } /* d */\n  /* e\n f */\ng {}\n", "a { b: c } /* d */\ng {}\n"},
		{"a.svg", "<!-- -->\n// x\n", "<!-- -->\n// x\n"},
	} {
		assert.Equal(t, tt.want, string(withoutComments(tt.name, []byte(tt.in))))
	}
}

func TestTakesGzip(t *testing.T) {
	for header, want := range map[string]bool{
		"": false, "gzip": true, "br, GZIP": true, "deflate, br": false, "gzip;q=0": false, "gzip; q=0.0": false, "gzip;q=0.1": true,
		"*": true, "*;q=0": false, "*, gzip;q=0": false, "gzip, *;q=0": true, "identity": false, "xgzip": false, "gzip;q=x": false,
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Accept-Encoding", header)
		assert.Equal(t, want, takesGzip(r), header)
	}
}

// Modules import each other by relative names, so that they stay under the hash.
func TestImportsAreRelative(t *testing.T) {
	files, err := newStatic()
	require.NoError(t, err)
	imports := regexp.MustCompile(`(?:\bfrom|\bimport)\s*\(?\s*['"]([^'"]+)['"]`)
	found := 0
	for name, f := range files.files {
		if path.Ext(name) != ".js" || name == "gohub.js" {
			continue
		}
		for _, m := range imports.FindAllSubmatch(f.plain, -1) {
			found++
			other, relative := strings.CutPrefix(string(m[1]), "./")
			assert.True(t, relative, "%s imports %s", name, m[1])
			assert.Contains(t, files.files, other, name)
		}
	}
	assert.NotZero(t, found)
}

// counting counts the bytes that a server sends.
type counting struct {
	net.Listener
	sent *atomic.Int64
}

func (l counting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return countingConn{c, l.sent}, err
}

type countingConn struct {
	net.Conn
	sent *atomic.Int64
}

func (c countingConn) Write(b []byte) (int, error) {
	c.sent.Add(int64(len(b))) // before the client can know
	return c.Conn.Write(b)
}

// TestFirstViewIsSmall counts what a browser gets for a page that is full:
// headers, and all that the page refers to.
func TestFirstViewIsSmall(t *testing.T) {
	const most = 60_000
	s := newStage(t, nil)
	words := strings.Fields(`the quick brown fox jumps over a lazy dog while seven wizards brew tea and nobody minds what they say about us since last Tuesday`)
	for i := range 3 * pageMessages {
		var text []string
		for j := range 4 + i*7%19 {
			text = append(text, words[(i*31+j*17)%len(words)])
		}
		s.say([]string{"alice", "bob", "carol", "dave", "eve"}[i*3%5], "general", strings.Join(text, " "))
	}
	for i := range 20 {
		room := fmt.Sprintf("room-%d", i)
		s.mark("alice", room, 0, s.say("bob", room, strings.Join(words[i:], " ")).Seq)
	}

	var sent atomic.Int64
	server := httptest.NewUnstartedServer(s.app.handler)
	server.Listener = counting{server.Listener, &sent}
	server.Start()
	defer server.Close()
	var cookies []*http.Cookie
	get := func(address string) []byte {
		r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+address, nil)
		require.NoError(t, err)
		r.Header.Set("Accept-Encoding", "gzip")
		for _, c := range cookies {
			r.AddCookie(c)
		}
		res, err := server.Client().Do(r)
		require.NoError(t, err)
		defer res.Body.Close()
		require.Equal(t, http.StatusOK, res.StatusCode, address)
		zipped, err := gzip.NewReader(res.Body)
		require.NoError(t, err)
		content, err := io.ReadAll(zipped)
		require.NoError(t, err)
		return content
	}
	cookies = do(s.app.handler, loginRequest("alice")).Result().Cookies()

	total := int64(0)
	html := get("/")
	report := func(what string) {
		t.Logf("%6d bytes  %s", sent.Load()-total, what)
		total = sent.Load()
	}
	report(fmt.Sprintf("/ (%d unzipped)", len(html)))
	require.Equal(t, pageMessages, bytes.Count(html, []byte(`<div class="bubble"`))-1, "and one in the template")
	seen := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?:src|href)="(/static/[^"]*)"`).FindAllSubmatch(html, -1) {
		if address := string(m[1]); !seen[address] {
			seen[address] = true
			get(address)
			report(path.Base(address))
		}
	}
	assert.Greater(t, len(seen), 3, "%v", seen)
	t.Logf("%6d bytes  in all, of %d", total, most)
	assert.LessOrEqual(t, total, int64(most))
}
