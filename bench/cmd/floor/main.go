// Command floor is a server that does as little as the kernel permits: it
// reads a publish and writes one frame, encoded beforehand, to each member of
// the room. It orders, checks, keeps and promises nothing. What a hub costs
// above it is the hub's own; what it costs itself is the kernel's.
//
//	floor -addr 127.0.0.1:9001 -debug 127.0.0.1:9002 -batch 1
package main

import (
	"flag"
	"fmt"
	"log"
	"net"

	"github.com/gohub/gohub/bench/internal/debug"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:9001", "where clients connect")
	debugAddr := flag.String("debug", "127.0.0.1:9002", "where /debug answers")
	batch := flag.Int("batch", 1, "broadcasts of a room joined in one write to each member")
	plain := flag.Bool("plain", false, "use net.Conn's Read and Write instead of bare system calls")
	size := flag.Int("frame", 0, "payload bytes of a message frame, filled up with blanks; a client's ?frame= goes first")
	flag.Parse()
	if err := serve(*addr, *debugAddr, &server{rooms: map[string]*room{}, batch: *batch, plain: *plain, frame: *size}); err != nil {
		log.Fatal(err)
	}
}

func serve(addr, debugAddr string, s *server) error {
	if err := debug.Serve(debugAddr); err != nil {
		return err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		go s.run(c.(*net.TCPConn)) // ends with its connection
	}
}
