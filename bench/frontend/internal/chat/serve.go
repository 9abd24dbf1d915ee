package chat

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Serve answers at addr until the process is told to end. It prints where.
func (c *Chat) Serve(addr string, mux *http.ServeMux) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	mux.Handle("GET /ws", c.Hub.Handler())
	mux.Handle("POST /login", http.NewCrossOriginProtection().Handler(http.HandlerFunc(c.Login)))
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: Compressed(mux), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }() // ends with Close below
	fmt.Printf("http://localhost:%d/\n", ln.Addr().(*net.TCPAddr).Port)
	select {
	case <-ctx.Done():
	case err = <-served:
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.Hub.Shutdown(ctx) // nobody waits for what they have sent
	return errors.Join(err, server.Close())
}

// Static serves a file that the program contains, and that browsers keep.
func Static(contentType, content string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Cache-Control", "max-age=3600")
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
	})
}

var writers = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

// Compressed gzips whole answers, as every server in front of a page would;
// WebSockets go past it.
func Compressed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" || !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			next.ServeHTTP(w, r)
			return
		}
		held := &holding{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(held, r)
		if held.body.Len() > 512 {
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Add("Vary", "Accept-Encoding")
			w.Header().Del("Content-Length")
			w.WriteHeader(held.status)
			z := writers.Get().(*gzip.Writer)
			defer writers.Put(z)
			z.Reset(w)
			_, _ = z.Write(held.body.Bytes()) // fails only when the client is gone
			_ = z.Close()
			return
		}
		w.WriteHeader(held.status)
		_, _ = w.Write(held.body.Bytes())
	})
}

type holding struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (h *holding) WriteHeader(status int)      { h.status = status }
func (h *holding) Write(p []byte) (int, error) { return h.body.Write(p) }
