//go:build unix

package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/hubtest"
	"github.com/gohub/gohub/internal/redistest"
)

// Of a storm's three rooms each is on another one of three servers, by these
// numbers.
var stormServers = [stormRooms]int{0, 2, 1}

// slotOf is where a partition is.
func slotOf(t *testing.T, b *Broker, part int) int {
	t.Helper()
	return slot(strings.Trim(strings.TrimPrefix(string(b.keys[part]), b.o.Prefix), "{}:"))
}

// serverOf is which server of three has a partition at first.
func serverOf(t *testing.T, b *Broker, part int) int {
	t.Helper()
	return slotOf(t, b, part) * 3 / clusterSlots
}

// stormPart is where a room of a storm is.
func stormPart(t *testing.T, b *Broker, room int) int {
	t.Helper()
	part := b.keys.partition(roomKey(gohub.RoomID{Name: stormRoom(room)}))
	require.Equal(t, stormServers[room], serverOf(t, b, part))
	return part
}

func clusterStorm(t *testing.T, c *redistest.Cluster) (*storm, []*Broker) {
	t.Helper()
	var bs []*Broker
	st := startStormOn(t, func(prefix string) *Broker {
		b := brokerOf(t, c, prefix)
		bs = append(bs, b)
		return b
	})
	return st, bs[1:]
}

// generations are those of all partitions, "" where there is none now.
func generations(b *Broker) []string {
	gens := make([]string, len(b.keys))
	for i, p := range b.node.parts {
		if l := p.lease.Load(); l != nil {
			gens[i] = l.gen
		}
	}
	return gens
}

// One server of three has something happen to it. Nothing is lost, doubled or
// reordered, and the partitions of the others do not even begin a new generation.
func TestClusterFaults(t *testing.T) {
	t.Parallel() // it waits, most of the time
	c := redistest.NewCluster(t, 3, false)
	st, bs := clusterStorm(t, c)
	b := bs[0]
	moves := func(from, to int) func() error {
		return func() error {
			unhurried(t, c) // a server that takes the others for dead refuses to move anything
			return c.Move(slotOf(t, b, stormPart(t, b, 0)), c.Masters[from], c.Masters[to], func() { time.Sleep(time.Millisecond) })
		}
	}
	of := func(server int) func(int) bool {
		return func(part int) bool { return serverOf(t, b, part) == server }
	}
	for _, f := range []struct {
		name   string
		begins func(part int) bool // a new generation
		do     func() error
	}{
		{"FLUSHALL", of(1), c.Masters[1].FlushAll},
		{"kill -9 and restart, empty", of(2), c.Masters[2].Restart},
		{"CLIENT KILL of subscriptions", nil, func() error {
			_, err := c.Masters[1].Do("CLIENT", "KILL", "TYPE", "pubsub")
			return err
		}},
		{"frozen for three seconds", nil, func() error {
			if err := c.Masters[0].Freeze(); err != nil {
				return err
			}
			time.Sleep(3 * time.Second)
			return c.Masters[0].Thaw()
		}},
		{"a partition moves", func(part int) bool { return part == stormPart(t, b, 0) }, moves(0, 2)},
		{"and back", func(part int) bool { return part == stormPart(t, b, 0) }, moves(2, 0)},
	} {
		before := generations(b)
		require.NoError(t, f.do(), f.name)
		t.Log(f.name)
		st.goesOn(20)
		for part := range before {
			if f.begins == nil || !f.begins(part) {
				assert.Equal(t, before[part], generations(b)[part], "%s: partition %d goes on", f.name, part)
				continue
			}
			require.Eventually(t, func() bool {
				now := generations(b)[part]
				return now != "" && now != before[part]
			}, patience, time.Millisecond, "%s: partition %d begins a new generation", f.name, part)
		}
		st.goesOn(20)
	}
	st.judge()
}

// A master dies, and its replica takes over. The dead one comes back as a
// replica.
func TestClusterFailover(t *testing.T) {
	t.Parallel() // it waits, most of the time
	c := redistest.NewCluster(t, 3, true)
	st, _ := clusterStorm(t, c)
	st.goesOn(30)
	require.NoError(t, c.Masters[1].Kill9())
	st.goesOn(20)
	require.NoError(t, c.Masters[1].Start())
	st.goesOn(20)
	st.judge()
}

// What the replica did not have when it took over was ordered all the same: the
// next generation is above it.
func TestClusterFailoverToAReplicaThatLags(t *testing.T) {
	t.Parallel() // it waits, most of the time
	c := redistest.NewCluster(t, 3, true)
	b := brokerOf(t, c, prefix())
	runs(t, b, new(recorder))
	p := b.node.of(roomKey(lobby))
	server := serverOf(t, b, slices.Index(b.keys, p.keys))
	master, replica := c.Masters[server], c.Replicas[server]
	unhurried(t, c)
	if replicaServes(replica) { // it has paused while the cluster came about
		master, replica = replica, master
	}
	had := publish(t, b, 0, message("the replica has it"))
	b.Stored(had)
	_, err := master.Do("WAIT", "1", "5000")
	require.NoError(t, err)
	require.NoError(t, replica.Freeze())
	_, err = master.Do("CLIENT", "KILL", "TYPE", "replica")
	require.NoError(t, err)
	lacks := publish(t, b, time.Now().Add(time.Minute).UnixMicro(), message("the replica lacks it"))
	old := p.lease.Load().gen
	require.NoError(t, master.Kill9())
	require.NoError(t, replica.Thaw())
	rest := slices.DeleteFunc(c.Servers(), func(s *redistest.Server) bool { return s == master })
	setTimeout(t, "1000", rest...)
	require.Eventually(t, func() bool { return replicaServes(replica) }, patience, 10*time.Millisecond)
	setTimeout(t, "15000", rest...)
	require.Eventually(t, func() bool { return p.lease.Load() == nil }, patience, time.Millisecond)
	time.Sleep(3 * (b.t.grace + b.t.hold))
	assert.Nil(t, p.lease.Load(), "what it lacks is not stored yet")
	b.Stored(lacks)
	require.Eventually(t, func() bool { l := p.lease.Load(); return l != nil && l.gen != old }, patience, time.Millisecond)
	ms, base := readLog(t, b)
	assert.GreaterOrEqual(t, base, lacks.Seq, "what came before is in the Store")
	for _, m := range ms {
		assert.NotEqual(t, lacks.ID, m.ID, "it did not lag")
	}
	next := publish(t, b, 0, message("next"))
	assert.Greater(t, next.Seq, lacks.Seq)
	b.Stored(next)
}

func replicaServes(s *redistest.Server) bool {
	role, err := s.Text("INFO", "replication")
	return err == nil && strings.Contains(role, "role:master")
}

// A server is down, or frozen, and none takes its place: its rooms are
// unavailable, and those of the others go on as if nothing were.
func TestClusterWithoutOneServer(t *testing.T) {
	for name, away := range map[string]struct {
		begin, end func(s *redistest.Server) error
	}{
		"down":   {(*redistest.Server).Kill9, (*redistest.Server).Start},
		"frozen": {(*redistest.Server).Freeze, (*redistest.Server).Thaw},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it waits, most of the time
			c := redistest.NewCluster(t, 3, false)
			unhurried(t, c)
			p, store := prefix(), newSlowStore()
			var bs []*Broker
			var hubs []*hubtest.Hub
			for _, node := range []string{"a", "b"} {
				b := brokerOf(t, c, p)
				b.t.absent, b.o.Timeout = 3*time.Second, 2*time.Second
				bs = append(bs, b)
				h := hubtest.New(t, gohub.Config{Node: node, Store: store, Broker: b})
				h.Patience = patience
				hubs = append(hubs, h)
			}
			for _, b := range bs {
				require.Eventually(t, func() bool { return isLeased(b) }, patience, time.Millisecond)
			}
			rooms := []string{stormRoom(0), stormRoom(1), stormRoom(2)}
			stormPart(t, bs[0], 0) // the server that goes has room 0, and the first list of nodes
			alice, bob := hubs[0].Dial("alice"), hubs[1].Dial("bob")
			for _, room := range rooms {
				alice.Join(room)
				bob.Join(room)
				alice.Say(room, "before")
				bob.ExpectMessage(room, "before")
			}
			require.NoError(t, away.begin(c.Masters[0]))
			for i, b := range bs {
				for _, p := range b.node.parts {
					gone := serverOf(t, b, slices.Index(b.keys, p.keys)) == 0
					require.Eventually(t, func() bool { return (p.serves() != nil && p.away() != nil) == gone }, patience, 10*time.Millisecond)
				}
				require.NoError(t, hubs[i].Ready(), "two thirds of the rooms go on")
				require.Eventually(t, func() bool { return len(b.Nodes()) == 2 }, patience, time.Millisecond, "they are known from another server")
			}

			alice.Publish(rooms[0], "nobody orders this")
			alice.ExpectError(gohub.CodeUnavailable)
			alice.Say(rooms[1], "she goes on where it is ordered")
			bob.ExpectMessage(rooms[1], "she goes on where it is ordered")
			// A machine that pauses does so now and then, who waits for a server each time.
			var took []time.Duration
			carol, dave := hubs[0].Dial("carol"), hubs[1].Dial("dave")
			for _, room := range rooms[1:] {
				began := time.Now()
				carol.Join(room)
				dave.Join(room)
				for range 10 {
					carol.Say(room, "meanwhile")
					dave.ExpectMessage(room, "meanwhile")
				}
				took = append(took, time.Since(began))
			}
			t.Logf("two joins and ten publishes, one after the other, took %v", took)
			assert.Less(t, slices.Min(took), 2*time.Second, "no call waits for the server that is away")
			withoutServer0(t, bs[0])
			other := stormRoom(3) // where nobody is yet
			require.Zero(t, serverOf(t, bs[0], bs[0].keys.partition(roomKey(gohub.RoomID{Name: other}))))
			carol.Send("join", "ref", 1, "room", other)
			carol.ExpectError(gohub.CodeUnavailable)
			carol.Typing(rooms[1], true)
			dave.Expect("typing", "user", "carol")
			n := bs[0].node
			for i := range 100 {
				by := n.carrier(gohub.Target{User: fmt.Sprint(i)})
				assert.NotZero(t, serverOf(t, bs[0], slices.Index(n.parts, by)), "signals go by a server that answers")
				assert.Same(t, by, n.carrier(gohub.Target{User: fmt.Sprint(i)}))
			}

			// Nor does who comes and goes where all is well wait for who does so
			// where it cannot be told.
			bob.Leave(rooms[0])
			took = nil
			for i := range 5 {
				frank := fmt.Sprint("frank", i)
				began := time.Now()
				hubs[1].Dial(frank).Join(rooms[1])
				for {
					f := carol.Expect("members", "room", rooms[1])
					if slices.Contains(f.Joined, frank) {
						break
					}
				}
				took = append(took, time.Since(began))
				page, err := hubs[1].Presence(t.Context(), gohub.RoomID{Name: rooms[1]}, "", 0)
				require.NoError(t, err)
				assert.Equal(t, 5+i, page.Count)
			}
			assert.Less(t, slices.Min(took), time.Second, took)
			if name == "frozen" { // a hub can end meanwhile
				began := time.Now()
				third := hubtest.New(t, gohub.Config{Node: "c", Store: store, Broker: brokerOf(t, c, p)})
				third.Patience = patience
				third.Dial("zoe").Join(rooms[1])
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				require.NoError(t, third.Shutdown(ctx))
				t.Log("a hub began and ended", time.Since(began))
			}
			require.NoError(t, away.end(c.Masters[0]))
			for _, b := range bs {
				for _, p := range b.node.parts {
					require.Eventually(t, func() bool { return p.serves() == nil && p.away() == nil }, patience, 10*time.Millisecond)
				}
			}
			unhurried(t, c) // one that was started anew is not
			erin := hubs[0].Dial("erin")
			erin.Join(rooms[0])
			bob.Join(rooms[0])
			erin.Say(rooms[0], "after")
			bob.ExpectMessage(rooms[0], "after")
		})
	}
}

// withoutServer0 claims devices and gives tickets: those that belong to the server
// that is away fail at once, and keep no other from anything.
func withoutServer0(t *testing.T, b *Broker) {
	t.Helper()
	began, refused := time.Now(), 0
	var held []gohub.Claim
	for i := range 300 {
		c := gohub.Claim{User: "alice", Device: fmt.Sprint("d", i), Session: fmt.Sprint("s", i)}
		name := deviceName(&c)
		gen, err := b.Claim(t.Context(), c)
		ticket := b.PutTicket(t.Context(), name, []byte("x"), time.Minute)
		_, taken := b.TakeTicket(t.Context(), name)
		if serverOf(t, b, b.keys.partition(name)) == 0 {
			refused++
			require.ErrorIs(t, err, gohub.ErrUnavailable)
			require.ErrorIs(t, ticket, gohub.ErrUnavailable)
			require.ErrorIs(t, taken, gohub.ErrUnavailable)
		} else {
			require.NoError(t, errors.Join(err, ticket, taken))
			gen--
		}
		c.Gen = gen
		held = append(held, c)
	}
	lost, err := b.Lost(t.Context(), held)
	require.ErrorIs(t, err, gohub.ErrUnavailable)
	assert.Len(t, lost, len(held)-refused)
	assert.Greater(t, refused, 50)
	assert.Less(t, time.Since(began), time.Minute, "300 of each, of which a third would wait for 2 s each")
}

// A client that asks for CLUSTER SHARDS forgets the slots of a server that is
// down: it sends nothing then, and so nothing is unknown.
func TestClusterShardsWithoutOneServer(t *testing.T) {
	t.Parallel() // it waits, most of the time
	c := redistest.NewCluster(t, 3, false)
	client := connectBy(t, c, rueidis.ClientOption{ClusterOption: rueidis.ClusterOption{PreferClusterShards: true}})
	b := brokerOn(t, client, prefix())
	runs(t, b, new(recorder))
	room := gohub.RoomID{Name: stormRoom(0)}
	p := b.node.parts[stormPart(t, b, 0)]
	require.NoError(t, c.Masters[0].Kill9())
	require.Eventually(t, func() bool {
		err := client.Do(t.Context(), client.B().Exists().Key(p.keys.meta()).Build()).Error()
		return errors.Is(err, rueidis.ErrNoSlot)
	}, patience, 10*time.Millisecond)
	// Until one comes after a beat that was good, as it seems, and the client has not heard
	// of the server again from one that does not know yet.
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		p.state.Store(&state{good: time.Now()})
		m := message("nobody orders this")
		m.Room = room
		o := b.Publish(t.Context(), 0, m)[0]
		require.ErrorIs(t, o.Err, gohub.ErrUnavailable)
		require.NotErrorIs(t, o.Err, gohub.ErrUnknown)
		if errors.Is(o.Err, rueidis.ErrNoSlot) && p.away() == nil {
			return
		}
	}
	t.Error("no publish was tried")
}

// Each partition has an alarm of its own: that a server has forgotten is not
// kept from one by another's recovery, which loads scripts there.
func TestClusterAlarms(t *testing.T) {
	t.Parallel() // it waits, most of the time
	c := redistest.NewCluster(t, 3, false)
	b := brokerOf(t, c, prefix())
	b.t.beat = 3 * time.Second
	log := new(lines)
	b.o.Logger = slog.New(slog.NewTextHandler(log, nil))
	runs(t, b, new(recorder))
	before := generations(b)
	begin := fmt.Sprintf("partitions=%d", clusterPartitions)
	require.Eventually(t, func() bool { return log.count(begin) == 1 }, patience, time.Millisecond, "of all at once")
	require.Zero(t, log.count("a new generation begins"), "and not of each")
	began := func(part int) func() bool {
		return func() bool { now := generations(b)[part]; return now != "" && now != before[part] }
	}
	_, err := c.Masters[0].Do("SCRIPT", "FLUSH")
	require.NoError(t, err)
	b.node.parts[0].poke()
	require.Eventually(t, began(0), patience, time.Millisecond)
	for part := range before {
		if serverOf(t, b, part) == 0 {
			require.Eventually(t, began(part), patience, time.Millisecond, "partition %d", part)
		}
	}
}

// While a partition moves nothing is done in it by halves: publishes are refused,
// surely. When it has, Redis says so to who listens, who then listens where it
// is; no probe is needed for that.
func TestClusterMove(t *testing.T) {
	t.Parallel() // it waits, most of the time
	c, p := redistest.NewCluster(t, 3, false), prefix()
	unhurried(t, c)
	a, b := brokerOf(t, c, p), brokerOf(t, c, p)
	a.t.probe, b.t.probe = time.Hour, time.Hour
	r := new(recorder)
	runs(t, a, r)
	runs(t, b, new(recorder))
	require.NoError(t, a.Subscribe(t.Context(), r, lobby))
	var before []gohub.Message
	for range 30 {
		before = append(before, publish(t, b, 0, message("before")))
	}
	require.Eventually(t, func() bool { return r.delivered() == len(before) }, patience, time.Millisecond)
	part := b.keys.partition(roomKey(lobby))
	from := serverOf(t, b, part)
	tries := 0
	require.NoError(t, c.Move(slotOf(t, b, part), c.Masters[from], c.Masters[(from+1)%3], func() {
		tries++
		fresh, again := message("meanwhile"), before[tries%len(before)]
		again.Seq = 0
		for _, o := range b.Publish(t.Context(), 0, fresh, again) {
			require.ErrorIs(t, o.Err, gohub.ErrUnavailable)
			require.NotErrorIs(t, o.Err, gohub.ErrUnknown)
		}
	}))
	assert.Greater(t, tries, 2)
	assert.Len(t, before, r.delivered())
	b.Stored(before...)
	after := message("after")
	var o gohub.Ordered
	require.Eventually(t, func() bool { o = b.Publish(t.Context(), 0, after)[0]; return o.Err == nil }, patience, time.Millisecond)
	assert.Greater(t, o.Seq, before[len(before)-1].Seq)
	require.Eventually(t, func() bool { return r.suspected(lobby) == 1 }, patience, time.Millisecond, "it listens where the room is")
	last := publish(t, b, 0, message("last"))
	require.Eventually(t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.got[len(r.got)-1].ID == last.ID
	}, patience, time.Millisecond)
}
