package gohub

import (
	"context"
	"sync"
	"time"
)

// A MemoryDirectory is a [Directory] for hubs in one process, which share a
// [MemoryBroker]. It is made for tests of several hubs, and forgets nothing.
type MemoryDirectory struct {
	mu       sync.Mutex // guards all below; held while listeners are told
	claims   map[deviceID]Claim
	presence memoryPresence
}

// NewMemoryDirectory makes one that knows no nodes yet.
func NewMemoryDirectory() *MemoryDirectory {
	d := &MemoryDirectory{}
	d.presence.init()
	return d
}

// Node makes the Directory of one hub.
func (d *MemoryDirectory) Node() Directory { return &memoryNode{d: d} }

// A memoryNode is one hub's view.
type memoryNode struct {
	d   *MemoryDirectory
	run *memoryRun // guarded by d.mu; nil: it has left
}

// To be built, each in a file of its own.

func (n *memoryNode) Serve(l Listener, self Node) { n.listen(l) }

func (n *memoryNode) Leave(ctx context.Context, l Listener) { n.leave() }

func (n *memoryNode) Nodes() []Node { return nil }

func (n *memoryNode) PutTicket(ctx context.Context, id string, ticket []byte, life time.Duration) error {
	return ErrUnavailable
}

func (n *memoryNode) TakeTicket(ctx context.Context, id string) ([]byte, error) {
	return nil, ErrUnavailable
}
