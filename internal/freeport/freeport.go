// Package freeport finds ports for servers that cannot find one themselves: those
// of tests, and those that are to be tried out.
package freeport

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Pick gives a port of 127.0.0.1 on which nobody listens. It is none of those that
// a system gives to who asks for any, which on Linux begin at 32,768: a program
// beside this one could get that before the server listens, or while it is down.
func Pick() (int, error) {
	var last error
	for range 100 {
		port := 10_000 + rand.IntN(22_000) //nolint:gosec // no secret
		l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, l.Close()
		}
		last = err
	}
	return 0, errors.Join(errors.New("no free port"), last)
}
