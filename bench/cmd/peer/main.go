// Command peer is a hub made with somebody else's library, one file for each,
// in the way that library's own documentation shows.
//
//	peer -peer centrifuge -addr 127.0.0.1:9001 -debug 127.0.0.1:9002
package main

import (
	"cmp"
	"flag"
	"fmt"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gohub/gohub/bench/internal/debug"
)

// A peer makes the handler of /ws, for the life of the process.
type peer func(options) (http.Handler, error)

var peers = map[string]peer{
	"gorilla":    newGorilla,
	"melody":     newMelody,
	"gws":        newGWS,
	"coder":      newCoder,
	"centrifuge": newCentrifuge,
}

// options are for the peers that have such a thing.
type options struct {
	tuned    bool   // what its documentation has against many writes and for little memory
	history  bool   // messages are kept, and who comes back gets what was missed
	presence bool   // who is there is kept, and all are told who comes and goes
	redis    string // host:port of the Redis that joins several processes
}

func main() {
	var o options
	name := flag.String("peer", "", strings.Join(slices.Sorted(maps.Keys(peers)), ", "))
	addr := flag.String("addr", "127.0.0.1:9001", "where clients connect, at /ws")
	debugAddr := flag.String("debug", "127.0.0.1:9002", "where /debug answers")
	cert := flag.String("cert", "", "file with a certificate: TLS")
	key := flag.String("key", "", "file with its key")
	flag.BoolVar(&o.tuned, "tuned", false, "options against many writes and for little memory")
	flag.BoolVar(&o.history, "history", false, "keep messages for those who come back")
	flag.BoolVar(&o.presence, "presence", false, "keep who is there, and tell who comes and goes")
	flag.StringVar(&o.redis, "redis", "", "host:port of a Redis that joins several processes")
	flag.Parse()
	log.Fatal(serve(*name, *addr, *debugAddr, *cert, *key, o))
}

func serve(name, addr, debugAddr, cert, key string, o options) error {
	make, ok := peers[name]
	if !ok {
		return fmt.Errorf("-peer %q: there is none of that name", name)
	}
	handler, err := make(o)
	if err != nil {
		return err
	}
	if err := debug.Serve(debugAddr); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/ws", handler)
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 10 * time.Second}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	if cmp.Or(cert, key) != "" {
		return s.ServeTLS(l, cert, key)
	}
	return s.Serve(l)
}
