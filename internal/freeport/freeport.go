// Package freeport finds ports for servers that tests stop and start again.
package freeport

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
)

// Find gives a port of 127.0.0.1 that nobody listens on. It is below those that
// systems give to whoever asks for any: nobody gets it while the server is down.
func Find() (int, error) {
	var err error
	for range 20 {
		port := 10_000 + rand.IntN(20_000) //nolint:gosec // no secret
		l, taken := (&net.ListenConfig{}).Listen(context.Background(), "tcp", fmt.Sprint("127.0.0.1:", port))
		if taken == nil {
			return port, l.Close()
		}
		err = taken
	}
	return 0, fmt.Errorf("freeport: %w", err)
}
