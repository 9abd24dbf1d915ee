// Command templ is the page of the front-end evaluation in Go, Templ and plain
// JavaScript on the SDK. It prints where it is.
package main

import (
	_ "embed"
	"flag"
	"log"
	"net/http"

	"github.com/gohub/gohub/bench/frontend/internal/chat"
	"github.com/gohub/gohub/clients/js"
)

//go:embed app.js
var app string

func main() {
	addr := flag.String("addr", "localhost:0", "where to listen")
	flag.Parse()
	c, err := chat.New()
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /style.css", chat.Static("text/css; charset=utf-8", chat.Style))
	mux.Handle("GET /app.js", chat.Static("text/javascript; charset=utf-8", app))
	mux.Handle("GET /gohub.js", js.Handler())
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
	if err := c.Serve(*addr, mux); err != nil {
		log.Fatal(err)
	}
}
