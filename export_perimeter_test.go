package gohub

import (
	"fmt"
	"testing"
)

// Places counts the connections that a hub's limits know of: over all, if
// MaxConns is set, and by address, if MaxConnsPerIP is.
func Places(tb testing.TB, h *Hub) (conns, byAddress int) {
	tb.Helper()
	if t := h.perimeter.addrs; t != nil {
		byAddress, _, _ = t.count(tb)
	}
	return int(h.perimeter.conns.Load()), byAddress
}

// FillTickets issues tickets until there is no room for more.
func FillTickets(h *Hub) (n int) {
	for ; ; n++ {
		if _, _, ok := h.tickets.issue(Identity{User: fmt.Sprint("user", n)}, h.revoked.now(), ""); !ok {
			return n
		}
	}
}

// Resolved is cfg with its defaults filled in.
func Resolved(cfg Config) (Config, error) { return cfg.resolve() }
