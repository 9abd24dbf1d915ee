package gohub

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// memoryTickets are the tickets of a [MemoryDirectory].
type memoryTickets struct {
	m    map[string]memoryTicket
	next time.Time // when the old ones are looked for next
}

type memoryTicket struct {
	b       []byte
	expires time.Time
}

func (n *memoryNode) PutTicket(ctx context.Context, id string, ticket []byte, life time.Duration) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	t, now := &n.d.tickets, time.Now()
	n.d.mu.Lock()
	defer n.d.mu.Unlock()
	if t.m == nil {
		t.m = make(map[string]memoryTicket)
	}
	if now.After(t.next) {
		t.next = now.Add(ticketSweep)
		maps.DeleteFunc(t.m, func(_ string, t memoryTicket) bool { return now.After(t.expires) })
	}
	t.m[id] = memoryTicket{slices.Clone(ticket), now.Add(life)}
	return nil
}

func (n *memoryNode) TakeTicket(ctx context.Context, id string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	m := &n.d.tickets
	n.d.mu.Lock()
	defer n.d.mu.Unlock()
	t, ok := m.m[id]
	delete(m.m, id)
	if !ok || !time.Now().Before(t.expires) {
		return nil, nil
	}
	return t.b, nil
}
