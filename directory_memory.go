package gohub

import (
	"context"
	"sync"
)

// A MemoryDirectory is a [Directory] for hubs in one process, which share a
// [MemoryBroker]. It is made for tests of several hubs, and forgets nothing.
type MemoryDirectory struct {
	mu sync.Mutex // guards all below, but for nodes.list; a leaf

	nodes   memoryNodes
	tickets memoryTickets
}

// NewMemoryDirectory makes one that knows no nodes yet.
func NewMemoryDirectory() *MemoryDirectory { return &MemoryDirectory{} }

// Node makes the Directory of one hub.
func (d *MemoryDirectory) Node() Directory { return &memoryNode{d: d} }

// A memoryNode is one hub's view.
type memoryNode struct {
	d *MemoryDirectory
}

// To be built, each in a file of its own.

func (n *memoryNode) Claim(ctx context.Context, c Claim) (int64, error) { return 0, ErrUnavailable }

func (n *memoryNode) Lost(ctx context.Context, held []Claim) ([]Claim, error) {
	return nil, ErrUnavailable
}

func (n *memoryNode) Announce(ctx context.Context, room RoomID, users []PresentUser, all bool) error {
	return ErrUnavailable
}

func (n *memoryNode) Present(ctx context.Context, room RoomID, cursor string, limit int) (PresencePage, error) {
	return PresencePage{}, ErrUnavailable
}
