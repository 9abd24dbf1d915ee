package redis

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gohub/gohub"
)

// watch knows since when each node has been silent, by this process's clock
// and only while this node was in touch with Redis: neither a stepped clock nor
// an outage of Redis makes a node dead.
type watch struct {
	mu     sync.Mutex // guards all below
	seen   map[string]sighting
	last   time.Time // of the last good beat here
	owners owners
}

// A sighting is what a node has in the list, and since when.
type sighting struct {
	is    string // its entry
	since time.Time
	entry entry
	beats int  // how many were seen
	told  bool // that it has this node's name
}

// rivalBeats is after how many beats another node of this one's name is no
// earlier run of it that has just ended.
const rivalBeats = 3

// note takes the list of nodes from a beat. It returns those that live and
// serve, and whoever is found to have this node's name.
func (w *watch) note(nodes map[string]string, self string, t timing) (live []gohub.Node, rivals []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if now.Sub(w.last) > 3*t.beat {
		clear(w.seen) // we were away: perhaps nobody could beat
		clear(w.owners.gone)
	}
	w.last = now
	for name := range w.seen {
		if _, there := nodes[name]; !there {
			delete(w.seen, name)
		}
	}
	own := parseEntry(nodes[self], entry{})
	entries := []entry{own}
	for name, is := range nodes {
		if name == self {
			continue
		}
		s, known := w.seen[name]
		if s.is != is {
			s.is, s.since, s.entry = is, now, parseEntry(is, s.entry)
			if known {
				s.beats++
			}
		}
		if node := s.entry.node; !s.told && s.beats >= rivalBeats && node.Name != "" && node.Name == own.node.Name && !node.Leaving {
			s.told = true
			rivals = append(rivals, name)
		}
		w.seen[name] = s
		if now.Sub(s.since) < t.absent {
			entries = append(entries, s.entry)
		}
	}
	return nodesOf(entries), rivals
}

// dead gives the nodes that have been silent for as long as this node, and
// they themselves, take for death.
func (w *watch) dead(t timing) map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	dead := map[string]string{}
	if time.Since(w.last) > 3*t.beat {
		return dead // we are away
	}
	for name, s := range w.seen {
		if time.Since(s.since) >= max(t.silent, s.entry.silent) {
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
func (p *part) orphans(ctx context.Context, l *lease, store func([]gohub.Message) error) error {
	for name, is := range p.watch.dead(p.b.t) {
		text, _, _ := strings.Cut(is, " ")
		low, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("redis: node %s has %q in the list of nodes: %w", name, is, err)
		}
		count, err := p.adopt(ctx, l, low, store)
		if err != nil {
			return err
		}
		do, cancel := context.WithTimeout(ctx, p.b.o.Timeout)
		c := p.b.client
		err = c.Do(do, c.B().Eval().Script(forgetText).Numkeys(1).Key(p.keys.nodes()).Arg(name, is).Build()).Error()
		cancel()
		if err != nil {
			return fmt.Errorf("%w: %w", gohub.ErrUnavailable, err)
		}
		p.watch.forget(name)
		p.log.Info("a node is gone; what it may have left is stored", "gone", name, "messages", count)
	}
	return nil
}

// adopt stores what was ordered from low on.
func (p *part) adopt(ctx context.Context, l *lease, low int64, store func([]gohub.Message) error) (count int, err error) {
	c := p.b.client
	do, cancel := context.WithTimeout(ctx, p.b.o.Timeout)
	keys, err := c.Do(do, c.B().Zrangebyscore().Key(p.keys.heads()).Min(digits(low)).Max("+inf").Build()).AsStrSlice()
	cancel()
	if err != nil {
		return count, fmt.Errorf("%w: %w", gohub.ErrUnavailable, err)
	}
	for _, key := range keys {
		room, ok := parseRoomKey(key)
		if !ok {
			continue // not ours
		}
		for after := low - 1; ; {
			ms, _, err := p.read(ctx, l, room, after, orphanPage)
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
