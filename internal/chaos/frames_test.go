//go:build unix

package chaos

import (
	"context"
	"slices"
	"time"
)

// take does what a frame asks for.
func (c *client) take(ctx context.Context, f *frame) {
	if f.closed != nil {
		c.lost(ctx, f.closed)
		return
	}
	c.heard, c.asked = time.Now(), time.Time{}
	p := c.place(f.Room)
	if p == nil && f.Room != "" {
		if f.Code == "" || f.Type != "error" {
			c.problem("got %s of %s, where it is not: %s of %s", f.Type, f.Room, f.ID, f.Sender)
		}
		return
	}
	switch f.Type {
	case "welcome":
		c.welcomed, c.pause = true, 0
		if f.Node != c.node.name {
			c.problem("%s says that it is %s", c.node.name, f.Node)
		}
	case "joined":
		c.in(p, true)
		p.hole = false
		p.gaps = slices.DeleteFunc(p.gaps, func(g gap) bool { return g.before == 0 }) // begins anew
		if f.Truncated {
			p.gaps = append(p.gaps, gap{after: p.last})
			p.gapEnd = true
			c.w.truncated.Add(1)
		}
		p.retry = time.Time{}
		if c.fillGaps(ctx, p) {
			c.resend(ctx, p)
		}
	case "message":
		c.show(ctx, p, f)
	case "history":
		c.fill(ctx, p, f)
	case "ack":
		c.ack(f)
	case "goaway":
		g := goaway{time.Now(), time.Duration(f.ReconnectMS) * time.Millisecond}
		c.goaways = append(c.goaways, g)
		c.move, c.told = g.at.Add(g.in), true
	case "invite":
		c.invited(p, f)
	case "rooms":
		c.listed(f)
	case "error":
		c.refused(f)
	}
}

func (c *client) refused(f *frame) {
	wait := time.Duration(f.RetryMS) * time.Millisecond
	switch f.Code {
	case "unavailable":
		c.replies[replyUnavailable].Add(1)
	case "busy":
		c.replies[replyBusy].Add(1)
	case "draining":
		c.replies[replyDraining].Add(1)
		if c.move.After(time.Now().Add(time.Second)) {
			c.move, c.told = time.Now(), true // somewhere else
		}
	case "not_joined": // what was sent before it had been refused to join
	case "forbidden":
		if f.Ref == refEavesdrop {
			c.w.kept.Add(1)
			return
		}
		fallthrough
	default:
		c.problem("error %q for id %q, ref %d", f.Code, f.ID, f.Ref)
	}
	at := time.Now().Add(wait)
	if f.ID == "" && f.Ref == refRooms {
		c.askRooms = at
	}
	for i, p := range c.places {
		switch {
		case f.ID == "" && f.Ref == int64(i): // a join
			p.again = at
			c.in(p, false)
		case f.ID == "" && slices.ContainsFunc(p.gaps, func(g gap) bool { return g.before == f.Ref }):
			p.reask = at
		case p.retry.IsZero() && slices.ContainsFunc(p.outbox, func(o *publish) bool { return o.ID == f.ID }):
			p.retry = at
			if p.opening { // whether it is in there is not known: it begins anew, and joins by name
				p.wake(true)
				c.leave()
				c.pause = max(c.pause, backoff)
				return
			}
		}
	}
}

// show takes a message of the stream.
func (c *client) show(ctx context.Context, p *place, f *frame) {
	c.overhears(p, f)
	m := c.w.message(f)
	if !p.joined && p.opening { // its own publish has brought it here
		p.wake(true)
		c.in(p, true)
	}
	if p.hole {
		p.hole, p.gapEnd = false, true
		p.gaps = append(p.gaps, gap{after: p.last})
	}
	switch {
	case f.Seq <= p.last:
		c.w.doubled.Add(1)
		c.problem("%s: was shown %d %s of %s after %d", p.name, f.Seq, f.ID, f.Sender, p.last)
		return
	case !p.joined:
		c.problem("%s: was shown %d before joined", p.name, f.Seq)
	}
	if p.gapEnd {
		p.gapEnd = false
		g := &p.gaps[len(p.gaps)-1]
		g.before = f.Seq
		c.ask(ctx, p, *g)
	}
	p.last = f.Seq
	p.seen = append(p.seen, sighting{f.Seq, m, 'l'})
}

// fillGaps asks for all that "truncated" has left out and is not here yet.
func (c *client) fillGaps(ctx context.Context, p *place) bool {
	p.reask = time.Time{}
	for _, g := range p.gaps {
		if g.before != 0 && !c.ask(ctx, p, g) {
			return false
		}
	}
	return true
}

// ask asks for a page of what "truncated" left out.
func (c *client) ask(ctx context.Context, p *place, g gap) bool {
	return c.send(ctx, map[string]any{"type": "history", "room": p.name, "after": g.after, "limit": 200, "ref": g.before})
}

func (c *client) fill(ctx context.Context, p *place, f *frame) {
	i := slices.IndexFunc(p.gaps, func(g gap) bool { return g.before == f.Ref })
	if i < 0 {
		return // asked for twice
	}
	g := &p.gaps[i]
	done := !f.More
	for i := range f.Messages {
		x := &f.Messages[i]
		if x.Seq <= g.after {
			continue // asked for twice
		}
		if x.Seq >= g.before {
			done = true
			break
		}
		g.after = x.Seq
		c.overhears(p, x)
		p.seen = append(p.seen, sighting{x.Seq, c.w.message(x), 'h'})
	}
	if done {
		p.gaps = slices.Delete(p.gaps, i, i+1)
		return
	}
	c.ask(ctx, p, *g)
}

func (c *client) ack(f *frame) {
	if first, again := c.firstSeqs[f.ID]; again {
		if first != f.Seq {
			c.problem("acked at %d and at %d: %s", first, f.Seq, f.ID)
		}
		return
	}
	p, to, again := c.place(f.Room), "", time.Time{}
	if p.opening {
		p.wake(true)
		c.in(p, true)
	}
	if i := slices.IndexFunc(p.outbox, func(o *publish) bool { return o.ID == f.ID }); i >= 0 {
		for sent := p.outbox[i].at.UnixNano(); ; {
			if fresh := c.node.fresh.Load(); sent <= fresh || c.node.fresh.CompareAndSwap(fresh, sent) {
				break
			}
		}
		if to = p.outbox[i].To; p.outbox[i].Retry {
			again = p.outbox[i].at
		}
		p.outbox = slices.Delete(p.outbox, i, i+1)
		c.waits.Add(-1)
	} else {
		c.problem("an ack for what it has not sent: %s", f.ID)
	}
	c.firstSeqs[f.ID] = f.Seq
	if to == "" {
		c.w.ahead(f.Room, f.Seq, "")
	} else {
		c.w.ahead(f.Room, f.Seq, to, c.user)
	}
	f.Sender, f.To = c.user, to
	c.acked = append(c.acked, ack{c.w.message(f), f.Seq, time.Now(), to, again})
	c.node.acks.Add(1)
	c.w.acks.Add(1)
}
