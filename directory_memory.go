package gohub

import (
	"context"
	"sync"
	"time"
)

// A MemoryDirectory is a [Directory] for hubs in one process, which share a
// [MemoryBroker]. It is made for tests of several hubs, and forgets nothing.
type MemoryDirectory struct {
	mu     sync.Mutex // guards all below; a leaf
	claims map[deviceID]Claim
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

func (n *memoryNode) Serve(l Listener, self Node)           {}
func (n *memoryNode) Leave(ctx context.Context, l Listener) {}
func (n *memoryNode) Nodes() []Node                         { return nil }

func (n *memoryNode) Announce(ctx context.Context, room RoomID, users []PresentUser, all bool) error {
	return ErrUnavailable
}
func (n *memoryNode) Present(ctx context.Context, room RoomID, cursor string, limit int) (PresencePage, error) {
	return PresencePage{}, ErrUnavailable
}

func (n *memoryNode) PutTicket(ctx context.Context, id string, ticket []byte, life time.Duration) error {
	return ErrUnavailable
}
func (n *memoryNode) TakeTicket(ctx context.Context, id string) ([]byte, error) {
	return nil, ErrUnavailable
}
