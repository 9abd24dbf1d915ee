package main

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"

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

// viewRing draws the ring of nodes: not as it lies, but with the slices of a node
// side by side, so that one sees how many they are and where they would go.
func viewRing(self string, nodes []gohub.Node) (ringView, error) {
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(n gohub.Node) bool { return n.Leaving })
	v := ringView{Node: self, Nodes: make([]ringNode, len(nodes)), Ring: []int{}}
	if len(nodes) == 0 {
		return v, nil
	}
	now, err := owners(nodes, -1)
	if err != nil {
		return v, err
	}
	without := make([][]int, len(nodes))
	for i, n := range nodes {
		v.Nodes[i] = ringNode{Name: n.Name, URL: n.URL, Sessions: n.Sessions, Without: []int{}}
		if without[i], err = owners(nodes, i); err != nil {
			return v, err
		}
	}
	order := make([]int, ringSlices)
	for i, owner := range now {
		order[i] = i
		v.Nodes[owner].Share += 1.0 / ringSlices
	}
	slices.SortFunc(order, func(a, b int) int {
		heir := without[now[a]]
		return cmp.Or(cmp.Compare(now[a], now[b]), cmp.Compare(heir[a], heir[b]))
	})
	for _, slice := range order {
		v.Ring = append(v.Ring, now[slice])
		for i := range nodes {
			if len(nodes) > 1 {
				v.Nodes[i].Without = append(v.Nodes[i].Without, without[i][slice])
			}
		}
	}
	return v, nil
}

// owners gives the node of each slice, by place, on a ring without one of them;
// -1: with all. Nobody owns anything on a ring without nodes: -1.
func owners(nodes []gohub.Node, without int) ([]int, error) {
	var ring gohub.Ring
	place := map[string]int{}
	var points []gohub.RingNode
	for i, n := range nodes {
		if place[n.Name] = i; i != without {
			points = append(points, gohub.RingNode{Name: n.Name, Weight: n.Weight})
		}
	}
	if err := ring.Set(points...); err != nil {
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
	mux.HandleFunc("GET /cluster.json", func(w http.ResponseWriter, r *http.Request) {
		if _, err := users.Authenticate(r); err != nil {
			problem{http.StatusUnauthorized, "log in to see this"}.write(w)
			return
		}
		v, err := viewRing(hub.Node().Name, hub.Nodes())
		if err != nil {
			problem{http.StatusInternalServerError, "the ring cannot be drawn"}.write(w)
			return
		}
		writeJSON(w, http.StatusOK, v)
	})
}
