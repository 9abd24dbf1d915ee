package main

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/gohub/gohub"
)

// ringSlices is how many keys, spread evenly by their hashes, the picture of the
// ring is made of.
const ringSlices = 720

// A ringView is what /cluster.json answers: the nodes, whose users belong to
// which, and who would take them over.
type ringView struct {
	Node  string     `json:"node"` // that answers
	Nodes []ringNode `json:"nodes"`
	Ring  []int      `json:"ring"` // the owner of each slice, by place in Nodes
}

type ringNode struct {
	Name     string  `json:"name"`
	URL      string  `json:"url,omitempty"`
	Sessions int     `json:"sessions"`
	Share    float64 `json:"share"` // of all keys
	// Without is Ring if this node goes: only its own slices change hands. Empty
	// where it is the last one.
	Without []int `json:"without"`
}

// A picture is what all requests share until a node comes or goes.
type picture struct {
	of      []gohub.RingNode
	ring    []int
	share   []float64
	without [][]int
}

// pictures keeps the last one: each takes a ring for every node.
type pictures struct {
	mu   sync.Mutex // guards last; held while it is drawn
	last *picture
}

// view is what there is to be seen now.
func (p *pictures) view(self string, nodes []gohub.Node) (ringView, error) {
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(n gohub.Node) bool { return n.Leaving })
	v := ringView{Node: self, Nodes: make([]ringNode, len(nodes)), Ring: []int{}}
	if len(nodes) == 0 {
		return v, nil
	}
	now, err := p.of(nodes)
	if err != nil {
		return v, err
	}
	v.Ring = now.ring
	for i, n := range nodes {
		v.Nodes[i] = ringNode{Name: n.Name, URL: n.URL, Sessions: n.Sessions, Share: now.share[i], Without: now.without[i]}
	}
	return v, nil
}

// of gives the picture of nodes, which is the last one while there are no others.
func (p *pictures) of(nodes []gohub.Node) (*picture, error) {
	points := make([]gohub.RingNode, len(nodes))
	for i, n := range nodes {
		points[i] = gohub.RingNode{Name: n.Name, Weight: n.Weight}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last != nil && slices.Equal(p.last.of, points) {
		return p.last, nil
	}
	now, err := drawRing(points)
	if err != nil {
		return nil, err
	}
	p.last = now
	return now, nil
}

// drawRing draws the ring: not as it lies, but with the slices of a node side by
// side, so that one sees how many they are and where they would go.
func drawRing(points []gohub.RingNode) (*picture, error) {
	now, err := owners(points, -1)
	if err != nil {
		return nil, err
	}
	p := &picture{of: points, share: make([]float64, len(points)), without: make([][]int, len(points))}
	without := make([][]int, len(points))
	for i := range points {
		p.without[i] = []int{}
		if without[i], err = owners(points, i); err != nil {
			return nil, err
		}
	}
	order := make([]int, ringSlices)
	for i, owner := range now {
		order[i] = i
		p.share[owner] += 1.0 / ringSlices
	}
	slices.SortFunc(order, func(a, b int) int {
		heir := without[now[a]]
		return cmp.Or(cmp.Compare(now[a], now[b]), cmp.Compare(heir[a], heir[b]))
	})
	for _, slice := range order {
		p.ring = append(p.ring, now[slice])
		for i := range points {
			if len(points) > 1 {
				p.without[i] = append(p.without[i], without[i][slice])
			}
		}
	}
	return p, nil
}

// owners gives the node of each slice, by place, on a ring without one of them;
// -1: with all. Nobody owns anything on a ring without nodes: -1.
func owners(points []gohub.RingNode, without int) ([]int, error) {
	var ring gohub.Ring
	place := map[string]int{}
	var others []gohub.RingNode
	for i, n := range points {
		if place[n.Name] = i; i != without {
			others = append(others, n)
		}
	}
	if err := ring.Set(others...); err != nil {
		return nil, err
	}
	of := make([]int, ringSlices)
	for i := range of {
		of[i] = -1
		if owner, ok := ring.Lookup("slice-" + strconv.Itoa(i)); ok {
			of[i] = place[owner]
		}
	}
	return of, nil
}

// routeCluster serves the state of the cluster to those who have logged in.
func routeCluster(mux *http.ServeMux, hub *gohub.Hub, users gohub.Authenticator) {
	var ring pictures
	mux.HandleFunc("GET /cluster.json", func(w http.ResponseWriter, r *http.Request) {
		if _, err := users.Authenticate(r); err != nil {
			problem{http.StatusUnauthorized, "log in to see this"}.write(w)
			return
		}
		v, err := ring.view(hub.Node().Name, hub.Nodes())
		if err != nil {
			problem{http.StatusInternalServerError, "the ring cannot be drawn"}.write(w)
			return
		}
		writeJSON(w, http.StatusOK, v)
	})
}
