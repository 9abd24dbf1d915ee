//go:build unix

package redistest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// clusterEnabled is the setting of a server of a Redis Cluster.
const clusterEnabled = "cluster-enabled yes"

// slots is how many a Redis Cluster has.
const slots = 16384

// A Cluster is a Redis Cluster of its own, the slots spread evenly over its
// masters. It goes on without a master that has no replica, for the slots of the
// others.
type Cluster struct {
	Masters  []*Server
	Replicas []*Server // as many, in the same order, or none
}

// NewCluster gives t a cluster alone, until its end, of at least three masters;
// with replicas, each has one, which takes over some two seconds after its
// death. It skips or fails t as [New] does.
func NewCluster(tb testing.TB, masters int, replicas bool) *Cluster {
	tb.Helper()
	c := new(Cluster)
	for range masters {
		c.Masters = append(c.Masters, newMember(tb))
		if replicas {
			c.Replicas = append(c.Replicas, newMember(tb))
		}
	}
	if err := c.join(); err != nil {
		tb.Fatal(err)
	}
	return c
}

func newMember(tb testing.TB) *Server {
	tb.Helper()
	return New(tb, clusterEnabled, "cluster-node-timeout 1000", "cluster-require-full-coverage no",
		"cluster-replica-validity-factor 0", "repl-diskless-sync-delay 0")
}

// Servers are all of them.
func (c *Cluster) Servers() []*Server {
	return append(c.Masters[:len(c.Masters):len(c.Masters)], c.Replicas...)
}

// join makes the servers a cluster, and returns when all of them agree.
func (c *Cluster) join() error {
	all := c.Servers()
	for i, s := range c.Masters {
		from, to := i*slots/len(c.Masters), (i+1)*slots/len(c.Masters)-1
		if err := s.each([]string{"CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i + 1)},
			[]string{"CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(from), strconv.Itoa(to)}); err != nil {
			return err
		}
	}
	var met time.Time
	if err := until(func() bool {
		// A server gives up one that has not answered in a second, and does not try again.
		if time.Since(met) > 3*time.Second {
			for _, s := range all[1:] {
				_ = all[0].each([]string{"CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(s.port), strconv.Itoa(s.bus)})
			}
			met = time.Now()
		}
		return c.agrees(fmt.Sprint("cluster_known_nodes:", len(all)))
	}); err != nil {
		return err
	}
	for i, s := range c.Replicas {
		id, err := c.Masters[i].ID()
		if err != nil {
			return err
		}
		if err := until(func() bool { return s.each([]string{"CLUSTER", "REPLICATE", id}) == nil }); err != nil {
			return err
		}
		if err := until(func() bool {
			info, err := s.Text("INFO", "replication")
			return err == nil && strings.Contains(info, "master_link_status:up")
		}); err != nil {
			return err
		}
	}
	return until(func() bool { return c.agrees(fmt.Sprint("cluster_size:", len(c.Masters))) && c.knowReplicas() })
}

// agrees reports whether all servers say this and that all is well.
func (c *Cluster) agrees(line string) bool {
	for _, s := range c.Servers() {
		info, err := s.Text("CLUSTER", "INFO")
		if err != nil || !strings.Contains(info, line+"\r\n") || !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, fmt.Sprint("cluster_slots_ok:", slots)) {
			return false
		}
	}
	return true
}

// knowReplicas reports whether all servers know all replicas as such.
func (c *Cluster) knowReplicas() bool {
	for _, s := range c.Servers() {
		nodes, err := s.Text("CLUSTER", "NODES")
		if err != nil || strings.Count(nodes, "slave") != len(c.Replicas) {
			return false
		}
	}
	return true
}

// ID is what a cluster calls the server.
func (s *Server) ID() (string, error) { return s.Text("CLUSTER", "MYID") }

// Move moves a slot with all its keys while the cluster serves, as redis-cli's
// reshard does. between is called after each few keys.
func (c *Cluster) Move(slot int, from, to *Server, between func()) error {
	source, err := from.ID()
	target, err2 := to.ID()
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	number := strconv.Itoa(slot)
	if err := errors.Join(
		to.each([]string{"CLUSTER", "SETSLOT", number, "IMPORTING", source}),
		from.each([]string{"CLUSTER", "SETSLOT", number, "MIGRATING", target}),
	); err != nil {
		return err
	}
	for {
		keys, err := from.list("CLUSTER", "GETKEYSINSLOT", number, "10")
		if err != nil {
			return err
		}
		if len(keys) == 0 {
			break
		}
		if err := from.each(append([]string{"MIGRATE", "127.0.0.1", strconv.Itoa(to.port), `""`, "0", "5000", "KEYS"}, keys...)); err != nil {
			return err
		}
		between()
	}
	for _, s := range []*Server{to, from} {
		if err := s.each([]string{"CLUSTER", "SETSLOT", number, "NODE", target}); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) each(commands ...[]string) error {
	for _, words := range commands {
		if _, err := s.Do(words...); err != nil {
			return err
		}
	}
	return nil
}

// until waits until done reports true.
func until(done func() bool) error {
	for deadline := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("redistest: the cluster does not come about")
		}
	}
	return nil
}
