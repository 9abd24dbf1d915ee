package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
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
// its address, where browsers ask each time, and another one with a hash of
// them all, where they need not: /static/HASH/app.js imports ./gohub.js, and
// gets what belongs to it.
type static struct {
	hash  string
	files map[string]*file
}

func newStatic() (*static, error) {
	s := &static{files: map[string]*file{}}
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
		_, _ = fmt.Fprintf(all, "%s %s\n", name, s.files[name].etag)
	}
	s.hash = hex.EncodeToString(all.Sum(nil)[:8])
	return s, nil
}

func (s *static) add(name string, content []byte) error {
	contentType, ok := contentTypes[path.Ext(name)]
	if !ok {
		return fmt.Errorf("no content type for %s", name)
	}
	sum := sha256.Sum256(content)
	f := &file{contentType: contentType, etag: hex.EncodeToString(sum[:8]), plain: content}
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // which is a level
	if _, err := w.Write(content); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	if b.Len() < len(content) {
		f.gzipped = b.Bytes()
	}
	s.files[name] = f
	return nil
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

// Modules are what app.js imports, so that they are asked for together.
func (s *static) Modules() []string {
	var list []string
	for _, name := range s.names() {
		if path.Ext(name) == ".js" && name != "app.js" && name != "cluster.js" {
			list = append(list, s.File(name))
		}
	}
	return list
}

// route serves the files. A page of another version, from a node that is newer
// or older, gets what there is here rather than nothing.
func (s *static) route(mux *http.ServeMux) {
	mux.HandleFunc("GET /static/{hash}/{name...}", func(w http.ResponseWriter, r *http.Request) {
		f, ok := s.files[r.PathValue("name")]
		if !ok {
			problem{http.StatusNotFound, "there is nothing here"}.write(w)
			return
		}
		f.serve(w, r, r.PathValue("hash") == s.hash)
	})
	for name, f := range s.files {
		route := "GET /" + strings.TrimSuffix(name, ".html")
		mux.HandleFunc(route, func(w http.ResponseWriter, r *http.Request) { f.serve(w, r, false) })
	}
}

func (f *file) serve(w http.ResponseWriter, r *http.Request, immutable bool) {
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	h.Set("Cache-Control", "no-cache")
	if immutable {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	content, etag := f.plain, f.etag
	if f.gzipped != nil {
		h.Add("Vary", "Accept-Encoding")
		if takesGzip(r) {
			content, etag = f.gzipped, etag+"-gzip" // other bytes, so another tag
			h.Set("Content-Encoding", "gzip")
		}
	}
	h.Set("ETag", `"`+etag+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// takesGzip reports whether the client says that it does.
func takesGzip(r *http.Request) bool {
	var star, named bool
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		coding, params, _ := strings.Cut(part, ";")
		takes := true
		if q, ok := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q="); ok {
			weight, err := strconv.ParseFloat(q, 64)
			takes = err == nil && weight > 0 || errors.Is(err, strconv.ErrRange)
		}
		switch strings.ToLower(strings.TrimSpace(coding)) {
		case "gzip":
			named = true
			star = takes
		case "*":
			if !named {
				star = takes
			}
		}
	}
	return star
}
