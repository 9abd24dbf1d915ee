package gohub

import (
	"math"
	"sync/atomic"
	"time"
)

// A RateLimiter decides how much a session may send. The hub asks it for one
// SessionLimiter when a session begins and spends on every frame it reads,
// before the frame is decoded.
//
// Session is safe for concurrent use. An implementation may hand the same
// SessionLimiter to several sessions (one budget a user, say) by looking at
// id.
//
// One that also has
//
//	Ended(id Identity, s SessionLimiter, frames int)
//
// is told when a session that had s has ended, which owes so many frames more
// for what it was answered: for who wraps another RateLimiter, and passes it on.
type RateLimiter interface {
	Session(id Identity) SessionLimiter
}

// endedLimiter is a RateLimiter that is told of sessions' ends.
type endedLimiter interface {
	Ended(id Identity, s SessionLimiter, frames int)
}

// A SessionLimiter is the budget of one session. It is safe for concurrent
// use, never blocks and needs no closing: it is garbage when the session is.
type SessionLimiter interface {
	// Spend asks for one frame of so many bytes of payload, of which the hub
	// knew at now: the clock is read once for all frames that a socket had
	// waiting, up to 64. 0 means that it is allowed and paid for. Anything
	// else means that it is refused and that nothing was spent: asking again
	// after retry works, unless others spend from the same budget in between.
	//
	// Frames that carry no message (pings, pongs, pieces of a fragmented
	// message) are asked for as well, with 0 bytes.
	Spend(now time.Time, bytes int) (retry time.Duration)
}

// A Rate says how much a session may send in the long run. A burst of twice
// the rate (what two seconds bring) is allowed on top at any time.
type Rate struct {
	Frames float64 // frames a second; 0 (or less): unlimited
	Bytes  float64 // bytes of payload a second; 0 (or less): unlimited
}

// NewRateLimiter gives every session its own budget of r. One that was not
// paid off when its session ended is what the user's next session gets, within
// some ten seconds: connecting anew is no way to a new burst.
//
// In any stretch of time no session gets more than 2×rate + rate×seconds
// through, of frames and of bytes (of those a microsecond's worth more), and
// one that asks steadily gets no less than the rate. A frame refused for one
// of the two costs nothing of the other. A single frame larger than the whole
// burst would never fit: it is let through when nothing is owed, and paid off
// before anything else passes. So set Bytes to at least half the frame limit.
//
// It is a leaky bucket kept as the time at which it will have run empty
// (GCRA), changed by compare-and-swap: no lock, no timer, no goroutine, no
// allocation a frame, 16 bytes of state a session and a pointer to what all share.
func NewRateLimiter(r Rate) RateLimiter {
	l := &rateLimiter{start: time.Now(), frame: rateCost(r.Frames), perByte: rateCost(r.Bytes)}
	l.frames = bucket{cost: int64(math.Ceil(l.frame)), burst: rateBurst}
	if n := math.Floor(2 * r.Frames); l.frame != 0 && n < 1e12 {
		// A burst of frames is a whole number of equal costs: counting it in
		// costs keeps their rounding from eating the last frame.
		l.frames.burst = max(rateBurst, int64(n)*l.frames.cost)
	}
	l.bytes = bucket{burst: rateBurst + rateSlack}
	return l
}

// Times inside the limiter are in units of 1/8 ns since start. int64 holds 36
// years of them, and rounding a cost up to the next one slows a rate of
// 300,000/s by less than 0.004 %.
const (
	rateUnit  = 8
	rateBurst = 2 * int64(time.Second) * rateUnit
	// rateSlack is one microsecond, which thousands of frames' rounded costs
	// do not use up: a burst's last byte shall fit.
	rateSlack = int64(time.Microsecond) * rateUnit
	// rateMaxCost keeps a hopelessly large cost from overflowing.
	rateMaxCost = 1 << 60
)

// rateCost is the time one piece takes at so many a second; 0: no limit.
func rateCost(perSecond float64) float64 {
	if !(perSecond > 0) { // also NaN
		return 0
	}
	return min(float64(time.Second)*rateUnit/perSecond, rateMaxCost)
}

type rateLimiter struct {
	start          time.Time // monotonic: a stepped wall clock changes nothing
	frame, perByte float64   // time a frame and a byte take; 0: unlimited
	frames, bytes  bucket
	owed           owed
}

// A bucket says what may be spent: burst is how far ahead of now the time of
// running empty may lie.
type bucket struct{ cost, burst int64 }

// unlimited is the SessionLimiter of a Rate without limits.
type unlimited struct{}

func (unlimited) Spend(time.Time, int) time.Duration { return 0 }

func (l *rateLimiter) Session(id Identity) SessionLimiter {
	if l.frame == 0 && l.perByte == 0 {
		return unlimited{}
	}
	if s := l.owed.take(userID{id.Tenant, id.User}, l.now()); s != nil {
		return s
	}
	return &sessionBudget{limiter: l}
}

// Ended takes back what Session gave. The session owes so many frames more.
func (l *rateLimiter) Ended(id Identity, s SessionLimiter, frames int) {
	b, ok := s.(*sessionBudget)
	if !ok {
		return
	}
	now := l.now()
	if debt := int64(min(frames, owedFrames)) * l.frames.cost; debt > 0 {
		b.frames.Store(max(b.frames.Load(), now) + min(debt, owedFor))
	}
	l.owed.keep(userID{id.Tenant, id.User}, b, now)
}

// now is the time since start, in units of 1/rateUnit ns.
func (l *rateLimiter) now() int64 { return int64(time.Since(l.start)) * rateUnit }

// sessionBudget is one session's state: for each bucket the time at which it
// will have run empty.
type sessionBudget struct {
	limiter       *rateLimiter
	frames, bytes atomic.Int64
}

// Spend may get times that go back a little, from sessions with one budget: a
// stale now waits longer, and lets no more through.
func (s *sessionBudget) Spend(at time.Time, n int) time.Duration {
	l := s.limiter
	now := int64(at.Sub(l.start)) * rateUnit
	var byteCost int64
	if l.perByte != 0 {
		byteCost = int64(math.Ceil(min(float64(max(n, 0))*l.perByte, rateMaxCost)))
	}
	if l.frame == 0 {
		return spend(&s.bytes, now, byteCost, l.bytes.burst)
	}
	if l.perByte == 0 {
		return spend(&s.frames, now, l.frames.cost, l.frames.burst)
	}
	// Look at both before touching either: what one of them refuses now is
	// taken from neither.
	f, b := s.frames.Load(), s.bytes.Load()
	wait := max(overdraft(f, now, l.frames.cost, l.frames.burst), overdraft(b, now, byteCost, l.bytes.burst))
	if wait > 0 {
		return rateWait(wait)
	}
	if !s.frames.CompareAndSwap(f, max(f, now)+l.frames.cost) { // another goroutine spends as well
		if d := spend(&s.frames, now, l.frames.cost, l.frames.burst); d > 0 {
			return d
		}
	}
	if s.bytes.CompareAndSwap(b, max(b, now)+byteCost) {
		return 0
	}
	d := spend(&s.bytes, now, byteCost, l.bytes.burst)
	if d > 0 { // another goroutine took the bytes since we looked
		s.refund(now, l.frames.cost)
	}
	return d
}

// overdraft is how much too early a cost comes for a bucket that runs empty
// at tat; 0 or less: it fits.
func overdraft(tat, now, cost, burst int64) int64 {
	if cost > burst { // never fits: passes when nothing is owed, and is owed
		return tat - now
	}
	return max(tat, now) + cost - burst - now
}

// spend takes cost from the bucket that tat stands for, or refuses.
func spend(tat *atomic.Int64, now, cost, burst int64) time.Duration {
	for {
		old := tat.Load()
		if wait := overdraft(old, now, cost, burst); wait > 0 {
			return rateWait(wait)
		}
		if cost == 0 || tat.CompareAndSwap(old, max(old, now)+cost) {
			return 0
		}
	}
}

// rateWait rounds up to whole nanoseconds, so that the wait suffices.
func rateWait(units int64) time.Duration {
	return time.Duration((units + rateUnit - 1) / rateUnit)
}

// refund gives back the cost of a frame that was taken at time then. What
// others spent since stands on top of it. Had the frame never been taken, an
// empty bucket would have gained at most the time passed since then, so that
// much is kept: a race may cost a session some nanoseconds, never give it any.
func (s *sessionBudget) refund(then, cost int64) {
	for {
		old := s.frames.Load()
		// Read after old: no spend contained in it is later than this.
		back := cost - (s.limiter.now() - then)
		if back <= 0 || s.frames.CompareAndSwap(old, old-back) {
			return
		}
	}
}
