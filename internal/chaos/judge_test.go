//go:build unix

package chaos

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/store/postgres"
)

// A verdict is what came out.
type verdict struct {
	acked, stored, lost int
	gaps, doubles       int // never allowed
	private, privates   int // private messages that others know of; how many there were
	reordered, late     int // allowed where docs/cluster.md says so
	examples            map[string][]string
}

// fails notes something that must not be, with some examples.
func (v *verdict) fails(n *int, what, format string, args ...any) {
	*n++
	if len(v.examples[what]) < 8 {
		v.examples[what] = append(v.examples[what], fmt.Sprintf(format, args...))
	}
}

// judge holds what the clients were told against what is stored. They have
// stopped.
func (w *world) judge() *verdict {
	w.t.Helper()
	v := &verdict{examples: map[string][]string{}, acked: int(w.acks.Load())}
	stored := map[string][]gohub.Message{}
	at := map[*message]int64{}
	pool, err := pgxpool.New(w.t.Context(), w.db)
	require.NoError(w.t, err)
	defer pool.Close()
	for _, room := range w.rooms() {
		stored[room] = w.storedIn(pool, room)
		v.stored += len(stored[room])
		w.judgeStored(v, stored[room], at)
	}
	w.judgeAcks(v, at)
	w.judgeSeqs(v)
	if n := w.told(replyReplaced); n > 0 {
		w.t.Errorf("%d sessions were replaced that were the newest of their device", n)
	}
	for _, c := range w.clients {
		for _, p := range c.places {
			w.judgeView(v, c, p, stored[p.name], at)
		}
		for _, p := range c.problems {
			w.t.Error(p)
		}
	}
	for what, es := range v.examples {
		if what != "reordered" && what != "late" {
			w.t.Errorf("%s, for instance\n  %s", what, strings.Join(es, "\n  "))
		} else {
			w.t.Logf("%s, for instance\n  %s", what, strings.Join(es, "\n  "))
		}
	}
	w.report(v)
	return v
}

// stored reads a room from the database.
func (w *world) stored(room string) (all []gohub.Message) {
	w.t.Helper()
	pool, err := pgxpool.New(w.t.Context(), w.db)
	require.NoError(w.t, err)
	defer pool.Close()
	return w.storedIn(pool, room)
}

func (w *world) storedIn(pool *pgxpool.Pool, room string) (all []gohub.Message) {
	w.t.Helper()
	s, err := postgres.New(w.t.Context(), pool, postgres.Options{})
	require.NoError(w.t, err)
	q := gohub.Query{Room: gohub.RoomID{Tenant: tenant, Name: room}, Limit: 5000}
	for {
		ms, more, err := s.History(w.t.Context(), q)
		require.NoError(w.t, err)
		all = append(all, ms...)
		if !more {
			return all
		}
		q.After = ms[len(ms)-1].Seq
	}
}

// judgeStored: an id is stored once.
func (w *world) judgeStored(v *verdict, ms []gohub.Message, at map[*message]int64) {
	last := int64(0)
	for i := range ms {
		m := w.message(&frame{Room: ms[i].Room.Name, ID: ms[i].ID, Sender: ms[i].Sender, To: ms[i].To})
		if m.to != ms[i].To || m.sender != ms[i].Sender {
			v.fails(&v.private, "stored for others than it was shown to", "%s %s: %q, stored %q", m.room, m.id, m.to, ms[i].To)
		}
		if first, twice := at[m]; twice {
			v.fails(&v.doubles, "stored twice", "%s %s at %d and at %d", m.room, m.id, first, ms[i].Seq)
		}
		if ms[i].Seq <= last {
			v.fails(&v.doubles, "two messages have one seq", "%s %d", m.room, last)
		}
		last = ms[i].Seq
		at[m] = last
		if ms[i].To != "" || ms[i].Room.Name[0] == '@' {
			v.privates++
		}
	}
}

// judgeAcks: what is acked is stored where the ack said; and since everybody
// went on until all was acked, nothing else is.
func (w *world) judgeAcks(v *verdict, at map[*message]int64) {
	w.acked, w.again = map[*message]time.Time{}, map[*message]time.Time{}
	for _, c := range w.clients {
		for _, a := range c.acked {
			w.acked[a.m], w.again[a.m] = a.at, a.again
			switch seq, found := at[a.m]; {
			case !found:
				v.fails(&v.lost, "acked and not stored", "%s %s of %s at %d", a.m.room, a.m.id, c.name(), a.seq)
			case seq != a.seq:
				v.fails(&v.lost, "acked and stored elsewhere", "%s %s of %s acked at %d, stored at %d", a.m.room, a.m.id, c.name(), a.seq, seq)
			case a.m.sender != c.user:
				v.fails(&v.lost, "stored for somebody else", "%s %s of %s", a.m.room, a.m.id, a.m.sender)
			case a.m.to != a.to:
				v.fails(&v.private, "not as private as it was sent", "%s %s to %q, sent to %q", a.m.room, a.m.id, a.m.to, a.to)
			}
		}
	}
	n := 0
	for m, seq := range at {
		if w.acked[m].IsZero() {
			v.fails(&n, "stored and not acked, though all is", "%s %s at %d", m.room, m.id, seq)
		}
	}
}

// judgeSeqs: a seq means one message, to whoever was shown it. With each
// stream ascending, which clients look at themselves, all see one order.
func (w *world) judgeSeqs(v *verdict) {
	type place struct {
		room string
		seq  int64
	}
	is := map[place]*message{}
	for _, c := range w.clients {
		for _, p := range c.places {
			for _, s := range p.seen {
				key := place{p.name, s.seq}
				if other := is[key]; other != nil && other != s.m {
					v.fails(&v.doubles, "one seq, two messages", "%s %d is %s and %s", p.name, s.seq, other.id, s.m.id)
				}
				is[key] = s.m
			}
		}
	}
}

// judgeView: from its first join, at since 0 or where an invite says, to the last that it was shown a
// client has had every stored message that is for it, where it is stored, and nothing else.
func (w *world) judgeView(v *verdict, c *client, p *place, all []gohub.Message, at map[*message]int64) {
	stored := slices.DeleteFunc(slices.Clone(all), func(m gohub.Message) bool {
		return !m.VisibleTo(c.user) || m.Seq <= p.from
	})
	for _, s := range p.seen {
		if s.m.to != "" && s.m.to != c.user && s.m.sender != c.user {
			v.fails(&v.private, "private, and shown to a third", "%s in %s: %s of %s to %s", c.name(), p.name, s.m.id, s.m.sender, s.m.to)
		}
	}
	seen := slices.Clone(p.seen)
	slices.SortStableFunc(seen, func(a, b sighting) int { return cmp.Compare(a.seq, b.seq) })
	had := make(map[*message]int64, len(seen)) // the newest copy's seq
	bySeq := make(map[int64]bool, len(seen))
	for _, s := range seen {
		if first, again := had[s.m]; again {
			switch {
			case first == s.seq:
				v.fails(&v.doubles, "shown twice", "%s in %s: %s at %d", c.name(), p.name, s.m.id, s.seq)
			case w.forgot(s.m, first, s.seq):
				v.fails(&v.reordered, "reordered", "%s in %s: %s at %s and at %s", c.name(), p.name, s.m.id, clock(first), clock(s.seq))
			default:
				v.fails(&v.doubles, "shown at two seqs, and Redis has forgotten nothing", "%s in %s: %s at %s and at %s", c.name(), p.name, s.m.id, clock(first), clock(s.seq))
			}
		}
		had[s.m], bySeq[s.seq] = s.seq, true
	}
	gone := 0
	for _, s := range seen {
		seq, found := at[s.m]
		switch {
		case !found:
			v.fails(&gone, "shown and not stored, though its sender was acked", "%s in %s: %s of %s at %s", c.name(), p.name, s.m.id, s.m.sender, clock(s.seq))
		case had[s.m] == s.seq && seq != s.seq && !w.forgot(s.m, min(seq, s.seq), max(seq, s.seq)):
			v.fails(&v.doubles, "shown at another seq than stored", "%s in %s: %s at %s, stored at %s", c.name(), p.name, s.m.id, clock(s.seq), clock(seq))
		}
	}
	if len(stored) > 0 && p.last < stored[len(stored)-1].Seq {
		end := stored[len(stored)-1]
		v.fails(&v.gaps, "has not got to the end", "%s in %s is at %s, the last is %s %s", c.name(), p.name, clock(p.last), end.ID, clock(end.Seq))
	}
	for i := range stored {
		m := &stored[i]
		if m.Seq > p.last {
			break
		}
		if bySeq[m.Seq] {
			continue
		}
		known := w.message(&frame{Room: p.name, ID: m.ID})
		seq, elsewhere := had[known]
		switch {
		case elsewhere && w.forgot(known, min(seq, m.Seq), max(seq, m.Seq)):
		case w.twoFailures(known, m.Seq):
			v.fails(&v.late, "late", "%s in %s: %s at %s", c.name(), p.name, m.ID, clock(m.Seq))
		default:
			v.fails(&v.gaps, "a gap", "%s on %s in %s: %s of %s at %s, acked at %s",
				c.name(), c.node.name, p.name, m.ID, m.Sender, clock(m.Seq), w.acked[known].Format("15:04:05.000000"))
		}
	}
}

func clock(seq int64) string { return time.UnixMicro(seq).Format("15:04:05.000000") }

const (
	recovery = 5 * time.Second // after its end a fault may still be felt
	travel   = 5 * time.Second // a message may be on its way
)

// forgot: a message was ordered, Redis forgot it before it was acked, or while a repeat of
// it was on its way, and it was ordered again. docs/protocol.md, section 8.
func (w *world) forgot(m *message, first, second int64) bool {
	one, two := time.UnixMicro(first), time.UnixMicro(second)
	return slices.ContainsFunc(w.happened, func(f *fault) bool {
		return f.forgets && one.Before(f.ended.Add(recovery)) && two.After(f.began) &&
			(w.acked[m].After(f.began) || w.again[m].Add(travel).After(f.began))
	})
}

// twoFailures: a message was ordered by a node that was away while Redis forgot,
// and was stored, and acked, only then: too late for those who were past it.
// docs/cluster.md, "Two failures at once".
func (w *world) twoFailures(m *message, seq int64) bool {
	at := time.UnixMicro(seq)
	return w.overlaps && slices.ContainsFunc(w.happened, func(r *fault) bool {
		return r.forgets && at.Before(r.ended.Add(recovery)) && w.acked[m].After(r.began) &&
			slices.ContainsFunc(w.happened, func(n *fault) bool {
				return n.on != nil && n.began.Before(r.ended.Add(recovery)) && n.ended.Add(recovery).After(r.began)
			})
	})
}

// report prints what happened and what came out.
func (w *world) report(v *verdict) {
	w.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d, %d clients, %d faults:\n", w.seed, len(w.clients), len(w.happened))
	for _, f := range w.happened {
		again := "acked again after " + f.recovered.Round(time.Millisecond).String()
		if f.recovered < 0 {
			again = "not acked again in 30 s"
		}
		fmt.Fprintf(&b, "  %s  %-70s %s\n", f.began.Format("15:04:05"), f, again)
	}
	var replies [4]int64
	closes := int64(0)
	for _, c := range w.clients {
		for i := range replies {
			replies[i] += c.replies[i].Load()
		}
		closes += c.closes.Load()
	}
	fmt.Fprintf(&b, "%d acked, %d stored, %d lost, %d duplicated, %d missing\n", v.acked, v.stored, v.lost, v.doubles+int(w.doubled.Load()), v.gaps)
	fmt.Fprintf(&b, "%d reordered (seen again at a higher seq) and %d late (seen in history only), summed over clients: allowed, Redis had forgotten\n", v.reordered, v.late)
	fmt.Fprintf(&b, "%d messages were private or in direct rooms, %d seen by others; %d joins of others' direct rooms refused\n", v.privates, v.private, w.kept.Load())
	fmt.Fprintf(&b, "%d connections, %d of them broken, %d repeats, %d resumes truncated; %d unavailable, %d busy, %d draining\n",
		w.came.Load(), closes, w.repeats.Load(), w.truncated.Load(), replies[replyUnavailable], replies[replyBusy], replies[replyDraining])
	fmt.Fprintf(&b, "%d sessions replaced (4500) by a newer one that their client had asked for, %d by one that it had given up, %d others", w.asked.Load(), w.abandoned.Load(), replies[replyReplaced])
	for _, line := range w.presence {
		fmt.Fprintf(&b, "\n%s", line)
	}
	w.t.Log(b.String())
}

// judgeSessions: when all is well again, each (user, device) has one session in
// the whole cluster, the one that its client holds.
func (w *world) judgeSessions() {
	w.t.Helper()
	users := map[string]bool{}
	for _, c := range w.clients {
		users[c.user] = true
	}
	w.eventually("sessions", func(ctx context.Context) (wrong []string) {
		has := map[string]int{}
		for user := range users {
			for _, x := range w.nodes {
				var devices []string
				if err := x.get(ctx, "/sessions?user="+url.QueryEscape(user), &devices); err != nil {
					return []string{err.Error()}
				}
				for _, d := range devices {
					has[user+"/"+d]++
				}
			}
		}
		for _, c := range w.clients {
			if n := has[c.name()]; n != 1 {
				wrong = append(wrong, fmt.Sprintf("%s has %d sessions", c.name(), n))
			}
			delete(has, c.name())
		}
		for who, n := range has {
			wrong = append(wrong, fmt.Sprintf("%s, who is nobody, has %d", who, n))
		}
		return wrong
	})
}

// judgePresence: when all is well again, each node shows in a room who is there,
// on whichever node, and nobody else.
func (w *world) judgePresence() {
	w.t.Helper()
	w.eventually("presence", func(ctx context.Context) (wrong []string) {
		for n := range w.o.rooms {
			room := roomName(n)
			there := map[string]bool{}
			for _, c := range w.clients {
				if c.place(room) != nil {
					there[c.user] = true
				}
			}
			for _, x := range w.nodes {
				var users []gohub.PresentUser
				if err := x.get(ctx, "/presence?room="+room, &users); err != nil {
					return []string{err.Error()}
				}
				shown := map[string]bool{}
				for _, u := range users {
					shown[u.User] = true
					if !there[u.User] {
						wrong = append(wrong, fmt.Sprintf("%s shows %s in %s, who is not there", x.name, u.User, room))
					}
				}
				for u := range there {
					if !shown[u] {
						wrong = append(wrong, fmt.Sprintf("%s does not show %s in %s", x.name, u, room))
					}
				}
			}
		}
		return wrong
	})
}

// eventually fails the test unless nothing is wrong at last.
func (w *world) eventually(what string, look func(context.Context) (wrong []string)) {
	w.t.Helper()
	var wrong []string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if wrong = look(w.t.Context()); len(wrong) == 0 {
			return
		}
	}
	w.t.Errorf("%s: %d are wrong: %v", what, len(wrong), wrong[:min(len(wrong), 10)])
}
