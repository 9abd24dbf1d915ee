package gohub

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// RouteByUser is what [Config].Route is by default: the sessions of a user
// belong together.
func RouteByUser(_ *http.Request, who Identity) (key string) {
	return who.Tenant + "/" + who.User // no user has a slash
}

// NoRouting is a [Config].Route by which this hub sends nobody elsewhere.
func NoRouting(*http.Request, Identity) (key string) { return "" }

// routing is a hub's place in its cluster.
type routing struct {
	making sync.Mutex             // of view; held for a millisecond
	view   atomic.Pointer[routes] // nil: none was needed yet

	serving sync.Mutex // guards absent and the order of Serve's calls; a leaf but for Serve
	absent  bool       // the hub is not ready, and others have been told
}

// routes are what one list of nodes comes to. They never change.
type routes struct {
	nodes  []Node // the Directory's
	ring   *Ring  // of those that have a URL
	places map[string]*place
}

// A place is where clients connect: a node, or several with one URL, as behind
// a load balancer. Whoever goes there may meet any of them.
type place struct {
	node   string // the owner's name
	url    string
	parsed *url.URL
	ids    []string // Node.ID of all that are there
}

// routes gives the present ones, or nil where the other nodes are not known.
func (h *Hub) routes() *routes {
	if h.dir == nil {
		return nil
	}
	nodes := h.dir.Nodes()
	if len(nodes) == 0 {
		return nil
	}
	if v := h.routing.view.Load(); v != nil && v.of(nodes) {
		return v
	}
	h.routing.making.Lock()
	defer h.routing.making.Unlock()
	if v := h.routing.view.Load(); v != nil && v.of(nodes) { // somebody was faster
		return v
	}
	v := h.routing.view.Load()
	if v != nil && v.like(nodes) {
		v = &routes{nodes, v.ring, v.places}
	} else {
		v = h.newRoutes(nodes)
	}
	h.routing.view.Store(v)
	return v
}

// like reports whether nodes are the same, but for how many sessions they have.
func (v *routes) like(nodes []Node) bool {
	return slices.EqualFunc(v.nodes, nodes, func(a, b Node) bool {
		a.Sessions = b.Sessions
		return a == b
	})
}

// of reports whether the routes are those of nodes, which is the same slice
// as long as nothing changes.
func (v *routes) of(nodes []Node) bool {
	return len(v.nodes) == len(nodes) && &v.nodes[0] == &nodes[0]
}

func (h *Hub) newRoutes(nodes []Node) *routes {
	v := &routes{nodes: nodes, ring: new(Ring), places: make(map[string]*place)}
	var ring []RingNode
	for _, n := range nodes {
		u, err := url.Parse(n.URL)
		if err != nil || u.Host == "" || n.Name == "" {
			continue
		}
		v.places[n.Name] = &place{n.Name, n.URL, u, v.at(n.URL)}
		ring = append(ring, RingNode{n.Name, n.Weight})
	}
	if err := v.ring.Set(ring...); err != nil {
		h.log.Error("nobody is sent to other nodes", "err", err)
	}
	h.log.Debug("the nodes of the cluster are others", "nodes", nodes)
	return v
}

// at gives the ids of the nodes that clients reach at a URL; "": of those that
// have not said where they are.
func (v *routes) at(url string) (ids []string) {
	for _, n := range v.nodes {
		if n.URL == url {
			ids = append(ids, n.ID)
		}
	}
	return ids
}

// elsewhere says where the session of who belongs, unless that is here, or not
// known, or the request has been sent here for it by another node.
func (h *Hub) elsewhere(r *http.Request, who Identity) *place {
	v := h.routes()
	if v == nil || h.cfg.URL == "" || strings.Contains(r.URL.RawQuery, "from=") && r.URL.Query().Has("from") {
		return nil
	}
	key := h.cfg.Route(r, who)
	if key == "" {
		return nil
	}
	owner, _ := v.ring.Lookup(key)
	if p := v.places[owner]; p != nil && p.url != h.cfg.URL {
		return p
	}
	return nil
}

// here gives the ids of the hubs that a client may meet at this one's URL.
func (h *Hub) here() []string {
	var ids []string
	if v := h.routes(); v != nil {
		ids = v.at(h.cfg.URL)
	}
	self := slices.Index(ids, h.self)
	switch leaves := h.draining.Load(); {
	case self < 0 && !leaves:
		ids = append(ids, h.self)
	case self >= 0 && leaves:
		ids = slices.Delete(ids, self, self+1)
	}
	return ids
}

// hasOthers reports whether there are hubs beside this one.
func (h *Hub) hasOthers() bool {
	v := h.routes()
	return v != nil && (len(v.nodes) > 1 || v.nodes[0].ID != h.self)
}

// redirect sends a handshake to where it belongs, with a ticket, as clients do
// not give another host their cookies; false: it is to be served here.
func (h *Hub) redirect(w http.ResponseWriter, r *http.Request, who Identity, link *revoked) bool {
	if len(r.Header["Origin"]) > 0 { // a browser would not follow
		return false
	}
	p := h.elsewhere(r, who)
	if p == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(r.Context(), ticketWait)
	defer cancel()
	ticket, _, ok := h.lend(ctx, who, link, "", p.ids)
	if !ok {
		return false
	}
	q := p.parsed.Query()
	for k, v := range r.URL.Query() {
		if !q.Has(k) {
			q[k] = v
		}
	}
	q.Set("from", h.cfg.Node)
	q.Set("ticket", ticket)
	u := *p.parsed
	u.RawQuery = q.Encode()
	u.Scheme = strings.Replace(u.Scheme, "ws", "http", 1) // what HTTP clients know
	h.log.Debug("sent to the node where it belongs", "user", who.User, "node", p.node)
	partWith(w, r)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Location", u.String())
	w.WriteHeader(http.StatusTemporaryRedirect)
	return true
}

const (
	readyTick = time.Second
	// notReady is for how many ticks on end a hub that is not ready stays in
	// the ring: what passes sooner is not worth moving anybody.
	notReady = 3
	// countEvery is after how many ticks others learn how many sessions there
	// are: each change is a new list of nodes for all.
	countEvery = 5
)

// attend tells the others when this hub is not ready, and when it is again, and
// what they may have missed. It ends with ctx.
func (h *Hub) attend(ctx context.Context) {
	tick := time.NewTicker(readyTick)
	defer tick.Stop()
	failed, told := 0, 0
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if failed++; h.Ready() == nil {
			failed = 0
		}
		sessions := h.sessionCount()
		anyway := n%countEvery == 0 && sessions != told && !h.draining.Load()
		if anyway {
			told = sessions
		}
		h.serveAs(failed >= notReady, anyway)
		for _, r := range h.repeats.due() {
			h.broadcast(r.tenant, r.order)
		}
	}
}

// Node is this hub as others of its cluster know it.
func (h *Hub) Node() Node {
	return Node{Name: h.cfg.Node, ID: h.self, URL: h.cfg.URL, Weight: h.cfg.Weight, Leaving: h.draining.Load(), Sessions: h.sessionCount()}
}

// Nodes lists the nodes of the cluster that live and take sessions, by name, as
// this hub knows them: a second old, their numbers of sessions five. Without a
// Directory it is this one; nil: they are not known now.
func (h *Hub) Nodes() []Node {
	if h.dir == nil {
		return []Node{h.Node()}
	}
	return slices.Clone(h.dir.Nodes())
}

// serveAs tells the Directory what this hub is, if that has changed.
func (h *Hub) serveAs(absent, anyway bool) {
	h.routing.serving.Lock()
	defer h.routing.serving.Unlock()
	leaves := h.draining.Load()
	if !anyway && (leaves || absent == h.routing.absent) { // Shutdown has said so
		return
	}
	h.routing.absent = absent
	self := h.Node()
	self.Leaving = absent || leaves
	h.dir.Serve(listener{h}, self)
}
