package clustertest

import (
	"crypto/rand"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gohub/gohub"
)

// OpenDirectory begins a cluster for one subtest. Each call of join adds a node
// to it: a Directory that works, until the subtest ends.
type OpenDirectory func(t *testing.T) (join func() gohub.Directory)

// directoryPatience is how long the suites of Directories wait for what must
// come; to the others a node's word comes with the next beat.
const directoryPatience = 10 * time.Second

// RunNodes tests what a [gohub.Directory] says of the nodes of a cluster, as
// subtests of t.
func RunNodes(t *testing.T, open OpenDirectory) {
	t.Helper()
	for _, c := range []struct {
		name string
		run  func(t *testing.T, join func() gohub.Directory)
	}{
		{"NobodyServes", func(t *testing.T, join func() gohub.Directory) {
			d := join()
			join()
			if got := d.Nodes(); len(got) != 0 {
				t.Errorf("Nodes before Serve: %v", got)
			}
			d.Leave(t.Context(), new(listener))
		}},
		{"AllSeeAll", func(t *testing.T, join func() gohub.Directory) {
			ds, want := serveAll(join, 3)
			for _, d := range ds {
				wantNodes(t, d, want...)
			}
			same := func() bool {
				a, b := ds[0].Nodes(), ds[0].Nodes()
				return len(a) > 0 && len(b) > 0 && &a[0] == &b[0]
			}
			for end := time.Now().Add(directoryPatience); !same(); time.Sleep(time.Millisecond) { // one may be missed for a moment
				if time.Now().After(end) {
					t.Fatal("Nodes gives another slice though nothing has changed")
				}
			}
		}},
		{"SelfAlone", func(t *testing.T, join func() gohub.Directory) {
			ds, want := serveAll(join, 1)
			wantNodes(t, ds[0], want...)
		}},
		{"ServeTakesTheOldOnesPlace", func(t *testing.T, join func() gohub.Directory) {
			ds, want := serveAll(join, 2)
			wantNodes(t, ds[1], want...)
			want[0].URL, want[0].Weight = "wss://elsewhere.example/ws?a= b", 3
			ds[0].serve(want[0])
			for _, d := range ds {
				wantNodes(t, d, want...)
			}
		}},
		{"LeavingIsOut", func(t *testing.T, join func() gohub.Directory) {
			ds, want := serveAll(join, 3)
			wantNodes(t, ds[1], want...)
			old := ds[1].Nodes()
			was := slices.Clone(old)
			away := want[0]
			away.Leaving = true
			ds[0].serve(away)
			for _, d := range ds {
				wantNodes(t, d, want[1:]...)
			}
			if !slices.Equal(old, was) {
				t.Error("a slice that Nodes has given has changed")
			}
			ds[0].serve(want[0]) // it was not ready, and is again
			for _, d := range ds {
				wantNodes(t, d, want...)
			}
		}},
		{"LeaveIsOut", func(t *testing.T, join func() gohub.Directory) {
			ds, want := serveAll(join, 2)
			wantNodes(t, ds[0], want...)
			ds[1].Leave(t.Context(), ds[1].l)
			wantNodes(t, ds[0], want[0])
			wantNodes(t, join(), want[0])
		}},
		{"StartedAnew", func(t *testing.T, join func() gohub.Directory) {
			ds, want := serveAll(join, 2)
			wantNodes(t, ds[0], want...)
			want[1].ID = "another run"
			next := join()
			next.Serve(new(listener), want[1])
			wantNodes(t, next, want...)
		}},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

// listener hears nothing.
type listener struct{ _ byte } // so that two are not the same

func (*listener) Members(gohub.RoomID, []string, []string, int) {}
func (*listener) Forgotten(bool)                                {}

// server is a node that serves.
type server struct {
	gohub.Directory
	l *listener
}

func (s server) serve(self gohub.Node) { s.Serve(s.l, self) }

// serveAll adds n nodes, which serve.
func serveAll(join func() gohub.Directory, n int) (ds []server, nodes []gohub.Node) {
	for i := range n {
		d := server{join(), new(listener)}
		node := gohub.Node{Name: fmt.Sprint("node ", i), ID: rand.Text(), URL: fmt.Sprintf("wss://n%d.example/ws", i), Weight: i}
		d.serve(node)
		ds, nodes = append(ds, d), append(nodes, node)
	}
	return ds, nodes
}

// wantNodes waits until these are the nodes that d sees.
func wantNodes(t *testing.T, d gohub.Directory, want ...gohub.Node) {
	t.Helper()
	var got []gohub.Node
	for end := time.Now().Add(directoryPatience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if got = d.Nodes(); slices.Equal(got, want) {
			return
		}
	}
	t.Fatalf("Nodes after %v:\n got %v\nwant %v", directoryPatience, got, want)
}
