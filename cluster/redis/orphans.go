package redis

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/gohub/gohub"
)

// watch knows since when each node has been silent, by this process's clock
// and only while this node was in touch with Redis: neither a stepped clock nor
// an outage of Redis makes a node dead.
type watch struct {
	turn int // the partition to sweep next; of the goroutine beats alone

	mu   sync.Mutex // guards all below
	seen map[string]sighting
	last time.Time // of the last good beat here
}

// A sighting is what a node has in the list, and since when.
type sighting struct {
	is    string // "low beat"
	since time.Time
}

// note takes the list of nodes from a beat.
func (w *watch) note(nodes map[string]string, self string, t timing) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if now.Sub(w.last) > 3*t.beat {
		clear(w.seen) // we were away: perhaps nobody could beat
	}
	w.last = now
	for name := range w.seen {
		if _, there := nodes[name]; !there {
			delete(w.seen, name)
		}
	}
	for name, is := range nodes {
		if name != self && w.seen[name].is != is {
			w.seen[name] = sighting{is, now}
		}
	}
}

// dead gives the nodes that have been silent for long.
func (w *watch) dead(t timing) map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	dead := map[string]string{}
	if time.Since(w.last) > 3*t.beat {
		return dead // we are away
	}
	for name, s := range w.seen {
		if time.Since(s.since) >= t.silent {
			dead[name] = s.is
		}
	}
	return dead
}

func (w *watch) forget(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.seen, name)
}

// orphanPage is how many messages a call of store gets at most.
const orphanPage = 500

// orphans hands out everything that was ordered since the low of each dead
// node, others' messages too: to store one twice is harmless.
func (n *node) orphans(ctx context.Context, l *lease, store func([]gohub.Message) error) error {
	for name, is := range n.watch.dead(n.b.t) {
		text, _, _ := strings.Cut(is, " ")
		low, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("redis: node %s has %q in the list of nodes: %w", name, is, err)
		}
		count, err := n.adopt(ctx, l, low, store)
		if err != nil {
			return err
		}
		do, cancel := context.WithTimeout(ctx, n.b.o.Timeout)
		c := n.b.client
		err = c.Do(do, c.B().Eval().Script(forgetText).Numkeys(1).Key(n.b.keys.nodes()).Arg(name, is).Build()).Error()
		cancel()
		if err != nil {
			return fmt.Errorf("%w: %w", gohub.ErrUnavailable, err)
		}
		n.watch.forget(name)
		n.b.o.Logger.Info("a node is gone; what it may have left is stored", "node", name, "messages", count)
	}
	return nil
}

// adopt stores what was ordered from low on.
func (n *node) adopt(ctx context.Context, l *lease, low int64, store func([]gohub.Message) error) (count int, err error) {
	c := n.b.client
	cmds := make([]rueidis.Completed, partitions)
	for p := range cmds {
		cmds[p] = c.B().Zrangebyscore().Key(n.b.keys.tagged(p) + "heads").Min(digits(low)).Max("+inf").Build()
	}
	do, cancel := context.WithTimeout(ctx, n.b.o.Timeout)
	answers := c.DoMulti(do, cmds...)
	cancel()
	for _, a := range answers {
		keys, err := a.AsStrSlice()
		if err != nil {
			return count, fmt.Errorf("%w: %w", gohub.ErrUnavailable, err)
		}
		for _, key := range keys {
			room, ok := parseRoomKey(key)
			if !ok {
				continue // not ours
			}
			for after := low - 1; ; {
				ms, _, err := n.log(ctx, l, room, after, orphanPage)
				if err != nil {
					return count, err
				}
				if len(ms) == 0 {
					break
				}
				if err := store(ms); err != nil {
					return count, err
				}
				count += len(ms)
				if after = ms[len(ms)-1].Seq; len(ms) < orphanPage {
					break
				}
			}
		}
	}
	return count, nil
}

// parseRoomKey is roomKey the other way round.
func parseRoomKey(key string) (gohub.RoomID, bool) {
	size, rest, ok := strings.Cut(key, ":")
	n, err := strconv.Atoi(size)
	if !ok || err != nil || n < 0 || n+1 > len(rest) || rest[n] != ':' {
		return gohub.RoomID{}, false
	}
	return gohub.RoomID{Tenant: rest[:n], Name: rest[n+1:]}, true
}
