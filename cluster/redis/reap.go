package redis

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/gohub/gohub"
)

// reapMost is how many users a call of the script takes out: about a
// millisecond of Redis.
const reapMost = 200

// An owner's name is its node's, and how often that has begun anew.
func ownerName(node string, epoch int) string { return node + "/" + strconv.Itoa(epoch) }

// leave is the presence part of Leave: this node's users are there for another
// five seconds.
func (b *Broker) leave(ctx context.Context) {
	n, err := b.running(ctx)
	if err != nil {
		return
	}
	n.left.Store(true)
	ctx, cancel := context.WithTimeout(ctx, b.o.Timeout)
	defer cancel()
	c := b.client
	var cmds []rueidis.Completed
	for _, p := range n.parts {
		if l := p.lease.Load(); l != nil {
			cmds = append(cmds, c.B().Eval().Script(endText).Numkeys(1).Key(p.keys.owners()).Arg(l.owner).Build())
		}
	}
	for _, r := range c.DoMulti(ctx, cmds...) {
		_ = r.Error() // or it is missed in time
	}
}

// owners is what a beat has read of them; guarded by watch's mu.
type owners struct {
	are    map[string]string
	at     int64                // µs of the server's clock
	gone   map[string]time.Time // since when their node is not in the list, or they are this node's and another one is
	listed map[string]string    // the nodes
}

// noteOwners takes what a beat has read; self is the owner that this node is.
func (w *watch) noteOwners(are, nodes map[string]string, at int64, self string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := &w.owners
	o.are, o.at, o.listed = are, at, nodes
	gone := make(map[string]time.Time)
	for owner := range are {
		node, _, _ := strings.Cut(owner, "/")
		mine, _, _ := strings.Cut(self, "/")
		if _, there := nodes[node]; there && node != mine || owner == self {
			continue
		}
		since, known := o.gone[owner]
		if !known {
			since = time.Now()
		}
		gone[owner] = since
	}
	o.gone = gone
}

// A doomed owner is one whose users have to go.
type doomed struct {
	owner, is  string
	node, beat string // node: it is doomed for what its node has in the list
}

// doomed lists them.
func (w *watch) doomed(t timing) (out []doomed) {
	dead := w.dead(t)
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.last) > 3*t.beat {
		return nil // we are away
	}
	o := &w.owners
	for owner, is := range o.are {
		node, _, _ := strings.Cut(owner, "/")
		state, text, _ := strings.Cut(is, " ")
		when, _ := strconv.ParseInt(text, 10, 64)
		since := time.Duration(o.at-when) * time.Microsecond
		gone, lost := o.gone[owner]
		beat, silent := dead[node]
		listed, there := o.listed[node]
		switch {
		case state == "left" && since >= t.linger, state == "dead" && since >= 2*t.linger:
			out = append(out, doomed{owner: owner, is: is})
		case state != "":
		case silent:
			out = append(out, doomed{owner, is, node, beat})
		case lost && time.Since(gone) >= t.linger && !there:
			out = append(out, doomed{owner, is, node, ""})
		case lost && time.Since(gone) >= t.linger && listed != "": // it was this node
			out = append(out, doomed{owner: owner, is: is})
		}
	}
	return out
}

// reaps takes the users of dead owners out; it ends with ctx.
func (p *part) reaps(ctx context.Context) {
	tick := time.NewTicker(p.b.t.beat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, d := range p.watch.doomed(p.b.t) {
			l := p.lease.Load()
			if l == nil {
				break
			}
			if err := p.reap(ctx, l, d); err != nil && ctx.Err() == nil {
				p.log.Warn("users of a node that is gone are still present", "owner", d.owner, "err", err)
				break // again later, by whoever is first
			}
		}
	}
}

func (p *part) reap(ctx context.Context, l *lease, d doomed) error {
	c := p.b.client
	args := []string{d.owner, d.is}
	if d.node != "" {
		args = append(args, d.node, d.beat)
	}
	do, cancel := context.WithTimeout(ctx, p.b.o.Timeout)
	defer cancel()
	may, err := c.Do(do, c.B().Eval().Script(takeOverText).Numkeys(2).Key(p.keys.owners(), p.keys.nodes()).Arg(args...).Build()).AsInt64()
	if err != nil {
		return fmt.Errorf("%w: %w", gohub.ErrUnavailable, err)
	}
	if may == 0 {
		return nil // another node does it, or the owner lives
	}
	for done := false; !done; { // others have their turn in between
		if done, err = p.reapSome(ctx, l, d.owner); err != nil {
			return err
		}
	}
	last, end := context.WithTimeout(ctx, p.b.o.Timeout)
	defer end()
	if err := c.Do(last, c.B().Hdel().Key(p.keys.owners()).Field(d.owner).Build()).Error(); err != nil {
		return fmt.Errorf("%w: %w", gohub.ErrUnavailable, err)
	}
	p.log.Info("users of a node that is gone have left", "owner", d.owner)
	return nil
}

// reapSome calls the script, and reports whether nothing is left.
func (p *part) reapSome(ctx context.Context, l *lease, owner string) (done bool, err error) {
	c := p.b.client
	answer, err := p.ask(ctx, l, c.B().Evalsha().Sha1(p.scripts.reap.sha).Numkeys(3).Key(p.keys.meta(), p.keys.rooms(owner), p.keys.never()).
		Arg(l.gen, string(p.keys), owner, strconv.Itoa(reapMost)).Build())
	if err != nil {
		return false, err
	}
	left, err := intOf(answer, 1)
	return left == 1, err
}
