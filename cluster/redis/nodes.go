package redis

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gohub/gohub"
)

// served is what the hub of this Broker has said of itself.
type served struct {
	l    gohub.Listener
	self gohub.Node
	text string // self as JSON, which has no line breaks
}

// nodeList is what Nodes gives. It never changes; at is when Redis said so.
type nodeList struct {
	nodes []gohub.Node
	at    time.Time
}

// Serve goes to Redis with the next beat, which is at once, and with every
// one after it: whatever removes this node's entry, the next beat writes it.
func (b *Broker) Serve(l gohub.Listener, self gohub.Node) {
	text, _ := json.Marshal(self) // strings and numbers: cannot fail
	b.served.Store(&served{l, self, string(text)})
	b.poke()
}

// Leave takes this node out of Nodes. Its users are there for another five
// seconds; its entry goes when Run ends.
func (b *Broker) Leave(ctx context.Context, l gohub.Listener) {
	b.leave(ctx)
	if s := b.served.Load(); s != nil && s.l == l && b.served.CompareAndSwap(s, nil) {
		b.poke()
	}
}

// Nodes is what the last beat said: who has beaten within a quarter of
// Options.Silent, as far as this node could see, and is not leaving. When this
// node itself has not been in touch with Redis for that long, it is empty.
func (b *Broker) Nodes() []gohub.Node {
	list := b.list.Load()
	if list == nil || time.Since(list.at) >= b.t.absent {
		return nil
	}
	return list.nodes
}

func (b *Broker) poke() {
	b.mu.RLock()
	n := b.node
	b.mu.RUnlock()
	if n != nil {
		n.poke()
	}
}

// listed makes nodes what Nodes gives, as the part p has read them, if p is whom
// this node believes.
func (n *node) listed(p *part, nodes []gohub.Node) {
	b := n.b
	if n.believed() != p {
		return
	}
	if old := b.list.Load(); old != nil && slices.Equal(old.nodes, nodes) {
		nodes = old.nodes
	}
	b.list.Store(&nodeList{nodes, time.Now()})
}

// believed is the first home that can be reached and has been for as long as a
// node may be silent: one that comes back takes all that it has listed for alive
// until then. Where none has been, it is the one that has been for the longest.
func (n *node) believed() (best *part) {
	var most time.Duration
	for _, p := range n.parts {
		is := p.state.Load()
		if !p.home || is.err != nil || time.Since(is.good) >= n.b.t.absent/2 {
			continue
		}
		if age := min(time.Since(is.since), n.b.t.absent); best == nil || age > most {
			best, most = p, age
		}
	}
	return best
}

// tell tells the listener, if there is one.
func (b *Broker) tell(what func(l gohub.Listener)) {
	if s := b.served.Load(); s != nil {
		what(s.l)
	}
}

// about is what a node says of itself with each beat, behind low and beat; who
// it is only at home.
func (b *Broker) about(home bool) string {
	silent := digits(b.t.silent.Milliseconds())
	if s := b.served.Load(); s != nil && home {
		return silent + " " + s.text
	}
	return silent
}

// An entry is what a node has in the list: "low beat silent node", the last of
// them JSON, if its hub serves.
type entry struct {
	beat   int64 // µs of the server's clock
	silent time.Duration
	text   string
	node   gohub.Node
}

// parseEntry reads is; last is the one before, which mostly says the same. What
// cannot be read, from another version, is the zero value.
func parseEntry(is string, last entry) entry {
	var e entry
	parts := strings.SplitN(is, " ", 4)
	if len(parts) > 1 {
		e.beat, _ = strconv.ParseInt(parts[1], 10, 64)
	}
	if len(parts) > 2 {
		ms, _ := strconv.ParseInt(parts[2], 10, 64)
		e.silent = time.Duration(ms) * time.Millisecond
	}
	if len(parts) > 3 {
		if e.text = parts[3]; e.text == last.text {
			e.node = last.node
		} else if json.Unmarshal([]byte(e.text), &e.node) != nil {
			e.node = gohub.Node{}
		}
	}
	return e
}

// nodesOf lists those that serve, live and are not leaving, by name. Of one
// name, which a node that was started anew has twice for a while, it is the
// one that has beaten last.
func nodesOf(entries []entry) []gohub.Node {
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.node.Name, b.node.Name), cmp.Compare(b.beat, a.beat))
	})
	var nodes []gohub.Node
	for _, e := range entries {
		if n := len(nodes); e.node.Name == "" || e.node.Leaving || n > 0 && nodes[n-1].Name == e.node.Name {
			continue
		}
		nodes = append(nodes, e.node)
	}
	return nodes
}
