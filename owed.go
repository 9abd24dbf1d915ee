package gohub

import "sync"

// owed keeps the budgets of sessions that ended before their buckets had run
// empty, for the same user's next sessions: to end a session and begin another
// gives nobody a new burst. Nothing runs in the background: what is older than
// owedFor goes when others come or ask.
type owed struct {
	mu       sync.Mutex // guards all below; a leaf
	new, old map[userID][]*sessionBudget
	kept     int   // in new
	turned   int64 // when new became empty, in 1/rateUnit ns
}

const (
	owedLeast  = rateBurst / 20 // 0.1 s: what owes less is not worth keeping
	owedFor    = 5 * rateBurst  // 10 s: no debt is kept that takes longer
	owedFrames = 1 << 20        // nor a larger one
	owedMost   = 16_384         // budgets in new: a few MB in both
)

// keep takes the budget of a session that has ended.
func (o *owed) keep(user userID, s *sessionBudget, now int64) {
	if max(s.frames.Load(), s.bytes.Load())-now < owedLeast {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.turn(now)
	if o.kept >= owedMost {
		o.old, o.new, o.kept, o.turned = o.new, nil, 0, now
	}
	if o.new == nil {
		o.new = make(map[userID][]*sessionBudget)
	}
	o.new[user] = append(o.new[user], s)
	o.kept++
}

// take gives one of the user's budgets, or nil.
func (o *owed) take(user userID, now int64) *sessionBudget {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.turn(now)
	for _, m := range []map[userID][]*sessionBudget{o.new, o.old} {
		if list := m[user]; len(list) > 0 {
			s := list[len(list)-1]
			if m[user] = list[:len(list)-1]; len(list) == 1 {
				delete(m, user)
			}
			return s
		}
	}
	return nil
}

// turn forgets what is old.
func (o *owed) turn(now int64) {
	switch age := now - o.turned; {
	case age >= 2*owedFor:
		o.new, o.old = nil, nil
	case age >= owedFor:
		o.old, o.new = o.new, nil
	default:
		return
	}
	o.kept, o.turned = 0, now
}
