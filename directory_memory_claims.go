package gohub

import (
	"context"
	"fmt"
	"time"
)

func (n *memoryNode) Claim(ctx context.Context, c Claim) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	id := c.deviceID()
	n.d.mu.Lock()
	defer n.d.mu.Unlock()
	old := n.d.claims[id]
	if old.Session == c.Session {
		return old.Gen, nil
	}
	above := c.Gen
	if c.Gen = time.Now().UnixMicro(); c.Since.IsZero() {
		c.Gen = max(c.Gen, old.Gen+1)
	} else if c.Gen = max(c.Gen-time.Since(c.Since).Microseconds(), above+1); c.Gen <= old.Gen {
		return min(c.Gen, old.Gen-1), nil
	}
	n.d.hold(id, c)
	return c.Gen, nil
}

func (n *memoryNode) Lost(ctx context.Context, held []Claim) (lost []Claim, err error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	n.d.mu.Lock()
	defer n.d.mu.Unlock()
	for _, c := range held {
		id := c.deviceID()
		switch known := n.d.claims[id].Gen; {
		case known > c.Gen:
			c.Gen = known
			lost = append(lost, c)
		case known < c.Gen:
			n.d.hold(id, c)
		}
	}
	return lost, nil
}

func (d *MemoryDirectory) hold(id deviceID, c Claim) {
	if d.claims == nil {
		d.claims = make(map[deviceID]Claim)
	}
	d.claims[id] = c
}

func (c *Claim) deviceID() deviceID { return deviceID{userID{c.Tenant, c.User}, c.Device} }
