package clustertest

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gohub/gohub"
)

// A PresenceNode is a node of a cluster: what its hub has as Broker and as
// Directory, often one value.
type PresenceNode struct {
	Broker    gohub.Broker
	Directory gohub.Directory
}

// PresenceFeatures says how patient the suite has to be.
type PresenceFeatures struct {
	// Linger is how long the users of a node that has left stay at least.
	// Defaults to 1 s.
	Linger time.Duration
	// Patience is how long the suite waits for what must come. Defaults to
	// 10 s, and Linger.
	Patience time.Duration
	// Forget makes the server forget everything; nil: it cannot.
	Forget func(t *testing.T)
}

// RunPresence runs the part of the suite about members and presence, which
// every [gohub.Directory] passes, as subtests of t. open makes three nodes of
// one cluster for a subtest.
func RunPresence(t *testing.T, f PresenceFeatures, open func(t *testing.T) []PresenceNode) {
	t.Helper()
	f.Linger = cmp.Or(f.Linger, time.Second)
	f.Patience = cmp.Or(f.Patience, 10*time.Second) + f.Linger
	for _, c := range presenceCases {
		t.Run(c.name, func(t *testing.T) {
			p := &presence{T: t, f: f, unique: "t" + rand.Text()[:12]}
			p.room = gohub.RoomID{Tenant: p.unique, Name: "lobby"}
			for _, n := range open(t) {
				p.nodes = append(p.nodes, p.start(n))
			}
			c.run(p)
		})
	}
}

var presenceCases = []struct {
	name string
	run  func(*presence)
}{
	{"Distinct", func(p *presence) {
		a, b, c := p.nodes[0], p.nodes[1], p.nodes[2]
		a.announces(2, "alice", "bob")
		p.told(2, []string{"alice", "bob"}, nil)
		b.announces(3, "bob", "carol")
		p.told(3, []string{"carol"}, nil) // bob was there
		a.leaves(3, "bob")
		c.announces(4, "dave")
		p.told(4, []string{"dave"}, nil) // bob is still there
		b.leaves(3, "bob")
		p.told(3, nil, []string{"bob"})
		p.lists(user("alice", 1), user("carol", 1), user("dave", 1))
	}},
	{"BothWays", func(p *presence) {
		a := p.nodes[0]
		a.announces(2, "alice", "bob")
		p.told(2, []string{"alice", "bob"}, nil)
		p.is(2, a.says(false, user("alice", 0), user("carol", 1)))
		p.told(2, []string{"carol"}, []string{"alice"})
		p.lists(user("bob", 1), user("carol", 1))
	}},
	{"Sessions", func(p *presence) {
		a, b := p.nodes[0], p.nodes[1]
		for _, n := range []int{1, 3, 3, 2} { // what counts is how many there are
			p.is(1, a.says(false, user("alice", n)))
		}
		p.is(1, b.says(false, user("alice", 5)))
		p.lists(user("alice", 7))
		p.is(1, a.says(false, user("alice", 0)))
		p.is(1, a.says(false, user("alice", 0), user("nobody", 0)))
		p.lists(user("alice", 5))
		p.told(1, []string{"alice"}, nil)
		b.leaves(0, "alice")
		p.told(0, nil, []string{"alice"})
		p.lists()
	}},
	{"Names", func(p *presence) {
		a, b := p.nodes[0], p.nodes[1]
		named := func(name string, sessions int) gohub.PresentUser {
			return gohub.PresentUser{User: "alice", Name: name, Sessions: sessions}
		}
		a.says(false, named("A. Ärmel  (1)", 1))
		p.lists(named("A. Ärmel  (1)", 1))
		b.says(false, named("Newer", 1))
		p.lists(named("Newer", 2))
		a.says(false, named("A. Ärmel  (1)", 2)) // says nothing new of the name
		p.lists(named("Newer", 3))
		a.says(false, named("Newest", 2))
		p.lists(named("Newest", 3))
		a.says(false, named("", 0))
		p.lists(named("Newest", 1))
	}},
	{"Rooms", func(p *presence) {
		a := p.nodes[0]
		other := gohub.RoomID{Tenant: p.unique + "x", Name: p.room.Name}
		a.announces(1, "alice")
		p.told(1, []string{"alice"}, nil)
		if n, err := p.nodes[1].Directory.Announce(p.Context(), other, []gohub.PresentUser{user("bob", 1)}, false); err != nil || n != 1 {
			p.Fatalf("Announce in another room: %d, %v", n, err)
		}
		a.announces(2, "carol")
		p.told(2, []string{"carol"}, nil)
		p.lists(user("alice", 1), user("carol", 1))
	}},
	{"Pages", func(p *presence) {
		var want []gohub.PresentUser
		for i := range 2000 {
			want = append(want, user(fmt.Sprintf("user-%04d", i), 1+i%3))
		}
		for i, n := range p.nodes { // every user on every other node
			var mine []gohub.PresentUser
			for j, u := range want {
				if j%len(p.nodes) != i {
					mine = append(mine, gohub.PresentUser{User: u.User, Name: u.Name, Sessions: u.Sessions})
				}
			}
			n.says(false, mine...)
		}
		for i := range want {
			want[i].Sessions *= len(p.nodes) - 1
		}
		for _, limit := range []int{7, 100, 300, 1999, 2000, 5000} {
			var got []gohub.PresentUser
			for cursor := ""; ; {
				page := p.page(cursor, limit)
				p.is(len(want), page.Count)
				if len(page.Users) > limit || page.Cursor != "" && len(page.Users) < limit {
					p.Fatalf("a page of %d users, of %d asked for", len(page.Users), limit)
				}
				got = append(got, page.Users...)
				if cursor = page.Cursor; cursor == "" {
					break
				}
			}
			if !reflect.DeepEqual(got, want) {
				p.Fatalf("pages of %d: got %d users, want %d; or in another order", limit, len(got), len(want))
			}
		}
		if page := p.page("user-1998", 10); len(page.Users) != 1 || page.Users[0].User != "user-1999" {
			p.Errorf("the last page: %+v", page)
		}
		if page := p.page("", 0); page.Count != len(want) || len(page.Users) != 0 || page.Cursor != "" {
			p.Errorf("no page: %+v", page)
		}
	}},
	{"Many", func(p *presence) { // come and go at the same time, on all nodes
		var wg sync.WaitGroup
		for i, n := range p.nodes {
			wg.Go(func() {
				for round := range 30 {
					var users []gohub.PresentUser
					for u := range 20 {
						users = append(users, user(fmt.Sprint("user-", u), (round+u*i)%3))
					}
					n.says(false, users...)
				}
			})
		}
		wg.Wait()
		for _, n := range p.nodes {
			for u := range 20 {
				n.says(false, user(fmt.Sprint("user-", u), u%2))
			}
		}
		p.nodes[0].announces(11, "last")
		for i, n := range p.nodes {
			n.until(p.f.Patience, func() bool { return n.here["last"] })
			n.mu.Lock()
			if len(n.here) != 11 || n.count != 11 {
				p.Errorf("node %d has heard that %d are there, and of %d: %v", i, n.count, len(n.here), n.here)
			}
			for _, w := range n.wrong {
				p.Errorf("node %d: %s", i, w)
			}
			n.mu.Unlock()
		}
	}},
	{"Leave", func(p *presence) {
		a, b := p.nodes[0], p.nodes[1]
		a.announces(2, "alice", "bob")
		b.announces(2, "bob")
		p.told(2, []string{"alice", "bob"}, nil)
		p.nodes = p.nodes[1:]
		left := time.Now()
		a.leave()
		if _, err := a.Directory.Announce(p.Context(), p.room, []gohub.PresentUser{user("dave", 1)}, false); !errors.Is(err, gohub.ErrUnavailable) {
			p.Errorf("Announce after Leave: %v, want ErrUnavailable", err)
		}
		a.stop()
		p.lists(user("alice", 1), user("bob", 2))
		b.says(false, user("carol", 1))
		p.told(3, []string{"carol"}, nil)
		b.says(false, user("alice", 1))
		time.Sleep(p.f.Linger/4 - time.Since(left)) // the rest is for whom a busy machine keeps waiting
		p.lists(user("alice", 2), user("bob", 2), user("carol", 1))
		b.leaves(3, "alice")
		p.told(2, nil, []string{"alice"})
		if took := time.Since(left); took < p.f.Linger {
			p.Errorf("alice left after %v", took)
		}
		p.lists(user("bob", 1), user("carol", 1))
	}},
	{"AgainHarmless", func(p *presence) {
		a, b := p.nodes[0], p.nodes[1]
		a.announces(2, "alice", "bob")
		p.told(2, []string{"alice", "bob"}, nil)
		p.is(2, a.says(true, user("alice", 1), user("bob", 1))) // it has not forgotten
		b.announces(3, "carol")
		p.told(3, []string{"carol"}, nil)
		p.lists(user("alice", 1), user("bob", 1), user("carol", 1))
	}},
	{"Forget", func(p *presence) {
		if p.f.Forget == nil {
			p.Skip("it does not forget")
		}
		a, b := p.nodes[0], p.nodes[1]
		a.announces(2, "alice", "bob")
		b.announces(3, "carol")
		p.told(2, []string{"alice", "bob"}, nil)
		p.told(3, []string{"carol"}, nil)
		p.f.Forget(p.T)
		for _, n := range p.nodes {
			if !n.until(p.f.Patience, func() bool { return n.forgotten > 0 }) {
				p.Fatal("a node was not told that all is forgotten")
			}
		}
		a.says(true, user("alice", 1), user("bob", 1))
		p.is(3, b.says(true, user("carol", 1)))
		b.announces(4, "dave")
		p.told(4, []string{"dave"}, nil) // and nobody else
		p.lists(user("alice", 1), user("bob", 1), user("carol", 1), user("dave", 1))
	}},
	{"Unavailable", func(p *presence) {
		n := p.nodes[0]
		ctx, cancel := context.WithCancel(p.Context())
		cancel()
		if _, err := n.Directory.Announce(ctx, p.room, []gohub.PresentUser{user("alice", 1)}, false); !errors.Is(err, gohub.ErrUnavailable) {
			p.Errorf("Announce: %v, want ErrUnavailable", err)
		}
		if _, err := n.Directory.Present(ctx, p.room, "", 1); !errors.Is(err, gohub.ErrUnavailable) {
			p.Errorf("Present: %v, want ErrUnavailable", err)
		}
	}},
}

// presence is what a subtest has in hand.
type presence struct {
	*testing.T
	f      PresenceFeatures
	unique string
	room   gohub.RoomID
	nodes  []*presenceNode
}

type presenceNode struct {
	*receiver
	PresenceNode
	p    *presence
	stop func()

	// Guarded by receiver's mu.
	news      []news
	here      map[string]bool
	count     int
	forgotten int
}

type news struct {
	joined, left []string
	count        int
}

func user(id string, sessions int) gohub.PresentUser {
	return gohub.PresentUser{User: id, Name: id, Sessions: sessions}
}

// Members and Forgotten make a Listener of it.
func (n *presenceNode) Members(room gohub.RoomID, joined, left []string, count int) {
	if room != n.p.room {
		return
	}
	joined, left = slices.Sorted(slices.Values(joined)), slices.Sorted(slices.Values(left))
	n.change(func() {
		n.news = append(n.news, news{joined, left, count})
		for _, u := range joined {
			if n.here[u] {
				n.wrong = append(n.wrong, u+" has come twice")
			}
			n.here[u] = true
		}
		for _, u := range left {
			if !n.here[u] {
				n.wrong = append(n.wrong, u+" went without having come")
			}
			delete(n.here, u)
		}
		n.count = count
	})
}

func (n *presenceNode) Forgotten(bool) { n.change(func() { n.forgotten++ }) }

func (p *presence) start(x PresenceNode) *presenceNode {
	p.Helper()
	n := &presenceNode{receiver: &receiver{changed: make(chan struct{})}, PresenceNode: x, p: p, here: map[string]bool{}}
	n.got, n.inside = map[gohub.RoomID][]delivery{}, map[gohub.RoomID]bool{}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { // ends with ctx; stop waits for it
		defer close(ended)
		if err := x.Broker.Run(ctx, n); err != nil && !errors.Is(err, context.Canceled) {
			p.Errorf("Run: %v", err)
		}
	}()
	n.stop = func() { cancel(); <-ended }
	p.Cleanup(n.stop)
	x.Directory.Serve(n, gohub.Node{Name: p.unique})
	for deadline := time.Now().Add(p.f.Patience); ; time.Sleep(time.Millisecond) {
		err := x.Broker.Subscribe(p.Context(), n, p.room)
		if err == nil {
			if err := ready(x.Broker, p.f.Patience); err != nil {
				p.Fatalf("Ready after Run began: %v", err)
			}
			return n
		}
		if !errors.Is(err, gohub.ErrUnavailable) || time.Now().After(deadline) {
			p.Fatalf("Subscribe after Run began: %v", err)
		}
	}
}

// says announces users as they are, and returns how many there are then.
func (n *presenceNode) says(again bool, users ...gohub.PresentUser) int {
	n.p.Helper()
	for deadline := time.Now().Add(n.p.f.Patience); ; time.Sleep(10 * time.Millisecond) {
		count, err := n.Directory.Announce(n.p.Context(), n.p.room, users, again)
		if err == nil {
			return count
		}
		if !errors.Is(err, gohub.ErrUnavailable) || time.Now().After(deadline) {
			n.p.Errorf("Announce: %v", err)
			return 0
		}
	}
}

func (n *presenceNode) announces(count int, users ...string) { n.saysOf(count, 1, users) }
func (n *presenceNode) leaves(count int, users ...string)    { n.saysOf(count, 0, users) }

func (n *presenceNode) saysOf(count, sessions int, names []string) {
	n.p.Helper()
	users := make([]gohub.PresentUser, len(names))
	for i, u := range names {
		users[i] = user(u, sessions)
	}
	n.p.is(count, n.says(false, users...))
}

func (n *presenceNode) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), n.p.f.Patience)
	defer cancel()
	n.Directory.Leave(ctx, n)
}

func (p *presence) is(want, got int) {
	p.Helper()
	if got != want {
		p.Errorf("%d users are there, want %d", got, want)
	}
}

// told waits until each node is told exactly this next.
func (p *presence) told(count int, joined, left []string) {
	p.Helper()
	want := news{joined, left, count}
	for i, n := range p.nodes {
		if !n.until(p.f.Patience, func() bool { return len(n.news) > 0 }) {
			p.Fatalf("node %d was told nothing, want %+v", i, want)
		}
		n.mu.Lock()
		got := n.news[0]
		n.news = n.news[1:]
		n.mu.Unlock()
		if got.count != count || !slices.Equal(got.joined, joined) || !slices.Equal(got.left, left) {
			p.Errorf("node %d was told %+v, want %+v", i, got, want)
		}
	}
}

func (p *presence) page(cursor string, limit int) gohub.PresencePage {
	p.Helper()
	page, err := p.nodes[len(p.nodes)-1].Directory.Present(p.Context(), p.room, cursor, limit)
	if err != nil {
		p.Fatalf("Present: %v", err)
	}
	return page
}

// lists asks who is there.
func (p *presence) lists(want ...gohub.PresentUser) {
	p.Helper()
	page := p.page("", 100)
	if page.Count != len(want) || page.Cursor != "" || !slices.Equal(page.Users, want) {
		p.Errorf("present: got %+v, want %+v", page, want)
	}
}
