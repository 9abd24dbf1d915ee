package gohub

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"
)

// memoryNodes are the nodes of a [MemoryDirectory]. There are no beats: what
// one says all know at once, and a node that does not leave stays.
type memoryNodes struct {
	by   map[string]memoryServed
	list atomic.Pointer[[]Node]
}

type memoryServed struct {
	by   *memoryNode
	self Node
}

// Serve takes the place of another node of that name.
func (n *memoryNode) Serve(l Listener, self Node) {
	n.listen(l)
	n.d.change(func(by map[string]memoryServed) { by[self.Name] = memoryServed{n, self} })
}

// Leave has this node's users leave after some seconds.
func (n *memoryNode) Leave(context.Context, Listener) {
	n.leave()
	n.d.change(func(by map[string]memoryServed) {
		for name, s := range by {
			if s.by == n {
				delete(by, name)
			}
		}
	})
}

func (n *memoryNode) Nodes() []Node {
	if list := n.d.nodes.list.Load(); list != nil {
		return *list
	}
	return nil
}

func (d *MemoryDirectory) change(f func(by map[string]memoryServed)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := &d.nodes
	if m.by == nil {
		m.by = make(map[string]memoryServed)
	}
	f(m.by)
	var list []Node
	for _, s := range m.by {
		if !s.self.Leaving {
			list = append(list, s.self)
		}
	}
	slices.SortFunc(list, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	if old := m.list.Load(); old == nil || !slices.Equal(*old, list) {
		m.list.Store(&list)
	}
}
