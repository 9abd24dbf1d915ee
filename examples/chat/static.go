package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gohub/gohub/clients/js"
)

//go:embed web
var webFiles embed.FS

// contentTypes is fixed here because what mime finds out differs between
// systems, and a browser told "nosniff" runs no script of another type.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// A file as it is sent.
type file struct {
	contentType string
	etag        string
	plain       []byte
	gzipped     []byte // nil: no smaller
}

// static are the files of web, and the client of the hub. Each has its name as
// its address, where it is as it was written and browsers ask each time; and
// another one with a hash of all that is sent there, which is without comments,
// where they need not ask: /static/HASH/app.js imports ./gohub.js, and gets what
// belongs to it.
type static struct {
	hash  string
	files map[string]*file
	lean  map[string]*file // for the address with the hash
}

func newStatic() (*static, error) {
	s := &static{files: map[string]*file{}, lean: map[string]*file{}}
	if err := s.add("gohub.js", []byte(js.Source)); err != nil {
		return nil, err
	}
	root, err := fs.Sub(webFiles, "web")
	if err != nil {
		return nil, err
	}
	err = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		return s.add(name, content)
	})
	if err != nil {
		return nil, err
	}
	all := sha256.New()
	for _, name := range s.names() {
		_, _ = fmt.Fprintf(all, "%s %s\n", name, s.lean[name].etag)
	}
	s.hash = hex.EncodeToString(all.Sum(nil)[:8])
	return s, nil
}

func (s *static) add(name string, content []byte) (err error) {
	if s.files[name], err = newFile(name, content); err != nil {
		return err
	}
	s.lean[name], err = newFile(name, withoutComments(name, content))
	return err
}

func newFile(name string, content []byte) (*file, error) {
	contentType, ok := contentTypes[path.Ext(name)]
	if !ok {
		return nil, fmt.Errorf("no content type for %s", name)
	}
	sum := sha256.Sum256(content)
	f := &file{contentType: contentType, etag: hex.EncodeToString(sum[:8]), plain: content}
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // which is a level
	_, _ = w.Write(content)                               // a Buffer takes everything
	_ = w.Close()
	if b.Len() < len(content) {
		f.gzipped = b.Bytes()
	}
	return f, nil
}

var commentLine = map[string]*regexp.Regexp{
	".js":  regexp.MustCompile(`(?m)^[ \t]*//.*\n`),
	".css": regexp.MustCompile(`(?m)^[ \t]*/\*[^*]*\*/[ \t]*\n`),
}

// withoutComments leaves out the lines that are nothing but a comment: a fifth
// of what would be sent. A script with a string of several lines stays as it is.
func withoutComments(name string, content []byte) []byte {
	lines := commentLine[path.Ext(name)]
	if lines == nil || severalLines(content) {
		return content
	}
	return lines.ReplaceAll(content, nil)
}

// severalLines reports whether a string in backquotes may go on in the next line.
func severalLines(script []byte) bool {
	for line := range bytes.Lines(script) {
		if bytes.Count(line, []byte("`"))%2 == 1 {
			return true
		}
	}
	return false
}

// names are sorted.
func (s *static) names() []string {
	var names []string
	for name := range s.files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// File is where a page finds a file.
func (s *static) File(name string) string { return "/static/" + s.hash + "/" + name }

// Modules are what app.js imports, so that they are asked for together; lazy-…
// is imported when it is needed.
func (s *static) Modules() []string {
	var list []string
	for _, name := range s.names() {
		if path.Ext(name) == ".js" && name != "app.js" && name != "cluster.js" && !strings.HasPrefix(name, "lazy-") {
			list = append(list, s.File(name))
		}
	}
	return list
}

// route serves the files. There is nothing for a page of another version, from a
// node that is newer or older: modules of the two would be mixed, and fail in
// ways that nobody has seen before. It is text to be read, and as good as new
// when it is loaded again.
func (s *static) route(mux *http.ServeMux) {
	mux.HandleFunc("GET /static/{hash}/{name...}", func(w http.ResponseWriter, r *http.Request) {
		f, ok := s.lean[r.PathValue("name")]
		if !ok || r.PathValue("hash") != s.hash {
			problem{http.StatusNotFound, "there is nothing here"}.write(w)
			return
		}
		if ext := path.Ext(r.PathValue("name")); ext == ".js" || ext == ".css" {
			for _, name := range ofDocuments {
				w.Header().Del(name)
			}
		}
		// A page loads some twenty of these, so that each header counts: no tag for
		// what nobody asks for twice, no parts of what is small.
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		content, _ := f.pick(w, r)
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		_, _ = w.Write(content) // or the browser is gone
	})
	for name, f := range s.files {
		route := "GET /" + strings.TrimSuffix(name, ".html")
		mux.HandleFunc(route, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-cache")
			content, etag := f.pick(w, r)
			w.Header().Set("ETag", `"`+etag+`"`)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
		})
	}
}

// pick is what the client can read, with its tag, and says in the headers what that is.
func (f *file) pick(w http.ResponseWriter, r *http.Request) (content []byte, etag string) {
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	if f.gzipped == nil {
		return f.plain, f.etag
	}
	h.Add("Vary", "Accept-Encoding")
	if !takesGzip(r) {
		return f.plain, f.etag
	}
	h.Set("Content-Encoding", "gzip")
	return f.gzipped, f.etag + "-gzip" // other bytes, so another tag
}

// takesGzip reports whether the client says that it does: by name, or by "*"
// where the name is not there.
func takesGzip(r *http.Request) bool {
	takes := map[string]bool{}
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		coding, params, _ := strings.Cut(part, ";")
		weight := 1.0
		if q, ok := strings.CutPrefix(strings.TrimSpace(params), "q="); ok {
			weight, _ = strconv.ParseFloat(q, 64) // 0, if that is no number
		}
		takes[strings.ToLower(strings.TrimSpace(coding))] = weight > 0
	}
	if gzip, named := takes["gzip"]; named {
		return gzip
	}
	return takes["*"]
}
