package gohub

import "sync"

// A MemoryDirectory is a [Directory] for hubs in one process, which share a
// [MemoryBroker]. It is made for tests of several hubs, and forgets nothing.
type MemoryDirectory struct {
	mu sync.Mutex // guards all below, but for nodes.list; held while listeners are told

	claims   map[deviceID]Claim
	presence memoryPresence
	nodes    memoryNodes
	tickets  memoryTickets
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
	d    *MemoryDirectory
	run  *memoryRun // guarded by d.mu, as left; nil: there is none
	left bool
}
