package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/gohub/gohub"
)

func isConflict(err error) bool { return errors.Is(err, gohub.ErrIDConflict) }

func digits(n int64) string { return strconv.FormatInt(n, 10) }

// publish orders msgs, all of one room.
func (p *part) publish(ctx context.Context, floor int64, msgs []gohub.Message) []gohub.Ordered {
	out := make([]gohub.Ordered, len(msgs))
	if len(msgs) == 1 {
		// The repetition of one that has been delivered here meanwhile: Redis
		// may have forgotten it.
		if seq := p.owed.seen(&msgs[0]); seq != 0 {
			out[0] = gohub.Ordered{Seq: seq, Duplicate: true}
			p.owed.answered(p.owed.begin(1), &msgs[0], out[0], false)
			return out
		}
	}
	p.saw(floor)
	// First counted in, then the lease, which is then not older than what it
	// is counted in: no Seq is below that.
	began := p.owed.begin(len(msgs))
	l := p.lease.Load()
	if l == nil {
		return p.settle(began, msgs, failed(out, fmt.Errorf("%w: Redis does not serve this node", gohub.ErrUnavailable)), false)
	}
	if err := p.away(); err != nil {
		// Nothing is sent, so nothing is ordered. Else a server that hangs made the
		// outcome unknown, which keeps a session from publishing in any room.
		return p.settle(began, msgs, failed(out, err), false)
	}
	cmd := p.publishCommand(l, floor, msgs)
	ctx, cancel := context.WithTimeout(ctx, p.b.o.Timeout)
	defer cancel()
	answer, err := p.b.client.Do(ctx, cmd).ToArray()
	if err != nil {
		if forgot(err) {
			p.alarm(l, "the server does not know the script")
		}
		if surely(err) {
			return p.settle(began, msgs, failed(out, fmt.Errorf("%w: %w", gohub.ErrUnavailable, err)), false)
		}
		return p.settle(began, msgs, failed(out, fmt.Errorf("%w: %w", gohub.ErrUnknown, err)), true)
	}
	code := int64(0)
	if len(answer) > 0 {
		code, _ = answer[0].AsInt64()
	}
	switch {
	case code == answerGen:
		p.alarm(l, "another generation runs")
		return p.settle(began, msgs, failed(out, fmt.Errorf("%w: Redis has forgotten", gohub.ErrUnavailable)), false)
	case code == answerStale:
		p.poke()
		return p.settle(began, msgs, failed(out, fmt.Errorf("%w: this node has been silent", gohub.ErrUnavailable)), false)
	case len(answer) != len(msgs)+1:
		return p.settle(began, msgs, failed(out, fmt.Errorf("%w: an answer of %d parts", gohub.ErrUnknown, len(answer))), true)
	}
	for i := range msgs {
		s, _ := answer[i+1].ToString()
		if out[i], err = parseOrdered(s); err != nil {
			return p.settle(began, msgs, failed(out, fmt.Errorf("%w: %w", gohub.ErrUnknown, err)), true)
		}
	}
	return p.settle(began, msgs, out, false)
}

// publishCommand is the call of the script.
func (p *part) publishCommand(l *lease, floor int64, msgs []gohub.Message) rueidis.Completed {
	room := roomKey(msgs[0].Room)
	args := make([]string, 0, 6+3*len(msgs))
	args = append(args, l.gen, digits(l.least), digits(l.beat+p.b.t.stale.Microseconds()), digits(max(floor, 0)), room, p.n.dedup)
	for i := range msgs {
		m := &msgs[i]
		frame := make([]byte, 0, 8+len(m.ID)+len(m.Sender)+len(m.To)+len(m.Kind)+len(m.Body))
		args = append(args, m.ID, m.Sender, rueidis.BinaryString(appendFrame(frame, m)))
	}
	c := p.b.client
	return c.B().Evalsha().Sha1(p.scripts.publish.sha).Numkeys(5).
		Key(p.keys.meta(), p.keys.heads(), p.keys.log(room), p.keys.room(room), p.keys.ids(room)).
		Arg(args...).Build()
}

func parseOrdered(s string) (gohub.Ordered, error) {
	if s == "!" {
		return gohub.Ordered{Err: gohub.ErrIDConflict}, nil
	}
	o := gohub.Ordered{Duplicate: s != "" && s[0] == '='}
	if o.Duplicate {
		s = s[1:]
	}
	seq, err := strconv.ParseInt(s, 10, 64)
	o.Seq = seq
	return o, err
}

// settle counts what has ended.
func (p *part) settle(began *since, msgs []gohub.Message, out []gohub.Ordered, unknown bool) []gohub.Ordered {
	for i := range msgs {
		p.owed.answered(began, &msgs[i], out[i], unknown)
		p.saw(out[i].Seq)
	}
	return out
}

// read reads a room's log.
func (p *part) read(ctx context.Context, l *lease, id gohub.RoomID, after int64, limit int) ([]gohub.Message, int64, error) {
	room := roomKey(id)
	ctx, cancel := context.WithTimeout(ctx, p.b.o.Timeout)
	defer cancel()
	c := p.b.client
	answer, err := c.Do(ctx, c.B().EvalshaRo().Sha1(p.scripts.log.sha).Numkeys(2).
		Key(p.keys.meta(), p.keys.log(room)).
		Arg(l.gen, digits(max(after, 0)), strconv.Itoa(max(limit, 0))).Build()).ToArray()
	if err != nil {
		if forgot(err) {
			p.alarm(l, "the server does not know the script")
		}
		return nil, 0, fmt.Errorf("%w: %w", gohub.ErrUnavailable, err)
	}
	if len(answer) < 2 {
		p.alarm(l, "another generation runs")
		return nil, 0, fmt.Errorf("%w: Redis has forgotten", gohub.ErrUnavailable)
	}
	base, err := answer[1].AsInt64()
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", gohub.ErrUnavailable, err)
	}
	var ms []gohub.Message
	for i := 2; i+1 < len(answer); i += 2 {
		m := gohub.Message{Room: id}
		seq, err := answer[i].AsInt64()
		if err != nil {
			return nil, 0, fmt.Errorf("%w: %w", gohub.ErrUnavailable, err)
		}
		frame, _ := answer[i+1].ToString()
		if err := parseFrame(frame, &m); err != nil {
			return nil, 0, err
		}
		m.Seq = seq
		p.saw(seq)
		ms = append(ms, m)
	}
	return ms, base, nil
}
