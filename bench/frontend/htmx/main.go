// Command htmx is the page of the front-end evaluation in Go, Templ and HTMX:
// live updates are HTML over a WebSocket. It prints where it is.
package main

import (
	_ "embed"
	"flag"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/gohub/gohub/bench/frontend/internal/chat"
)

//go:embed app.js
var app string

func main() {
	addr := flag.String("addr", "localhost:0", "where to listen")
	dist := flag.String("htmx", "node_modules/htmx.org/dist", "where HTMX is")
	flag.Parse()
	if err := run(*addr, *dist); err != nil {
		log.Fatal(err)
	}
}

func run(addr, dist string) error {
	c, err := chat.New()
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	// In one file: HTMX begins in a task of its own after its script has run, and an extension, or a listener,
	// that is a moment later on the line is too late for good. Such a page shows what it was born with.
	var scripts strings.Builder
	for _, file := range []string{"htmx.min.js", "ext/hx-ws.min.js"} {
		content, err := os.ReadFile(filepath.Join(dist, file))
		if err != nil {
			return err
		}
		scripts.Write(content)
		scripts.WriteString(";\n")
	}
	mux.Handle("GET /app.js", chat.Static("text/javascript; charset=utf-8", scripts.String()+app))
	mux.Handle("GET /style.css", chat.Static("text/css; charset=utf-8", chat.Style))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		user, rows, err := c.FirstPaint(r)
		if err != nil {
			http.Error(w, "no history", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		_ = page(user, rows).Render(r.Context(), w) // fails only when the client is gone
	})
	inside := within(c.Hub.Handler())
	mux.HandleFunc("GET /live", func(w http.ResponseWriter, r *http.Request) { live(w, r, inside) })
	return c.Serve(addr, mux)
}
