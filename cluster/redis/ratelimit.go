package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/gohub/gohub"
)

// LimitOptions say what a user may send, on all hubs together. User is
// required.
type LimitOptions struct {
	// Prefix begins the names of the keys, as [Options].Prefix, which it need
	// not be. Defaults to "gohub".
	Prefix string
	// User is the rate of each user over all sessions on all hubs, of frames,
	// of bytes or of both, with a burst of twice that.
	User gohub.Rate
	// Session limits each session beside that, and is all there is while Redis
	// cannot be reached. Defaults to gohub.NewRateLimiter(gohub.Rate{Frames:
	// 100, Bytes: 1 << 20}), as Config.RateLimiter does.
	Session gohub.RateLimiter
	// Timeout is how long Redis may take to answer. Defaults to 2 s.
	Timeout time.Duration
	// Logger is told, once a minute at most, that Redis does not answer.
	// Defaults to slog.Default().
	Logger *slog.Logger
}

// NewRateLimiter gives every user one budget on all hubs that use the same
// Redis and Prefix, whatever number of sessions it has; client stays the
// caller's.
//
//	limiter, err := redis.NewRateLimiter(client, redis.LimitOptions{User: gohub.Rate{Frames: 200}})
//	hub, err := gohub.New(gohub.Config{RateLimiter: limiter, Broker: broker, …})
//
// No frame waits for Redis: a hub takes a user's budget in advance, a quarter
// of a second's at a time, asks for more when half of that is used, and lets up
// to a second's pass before the answer is there. So a user who sends all the
// time costs Redis some eight calls a second for each hub, gets up to a second's
// more on each than the rate and its burst, which is paid off before anything
// else, and up to a quarter of a second's less where it changes hubs.
//
// The budget in Redis is a leaky bucket, kept as the time at which it will have
// run empty (GCRA), in the server's time. A Redis that forgets gives everybody
// a new burst.
func NewRateLimiter(client rueidis.Client, o LimitOptions) (gohub.RateLimiter, error) {
	base, err := Options{Prefix: o.Prefix, Timeout: o.Timeout, Logger: o.Logger}.resolve()
	if err != nil {
		return nil, err
	}
	if client == nil {
		return nil, errors.New("redis: NewRateLimiter needs a client")
	}
	if !(o.User.Frames > 0) && !(o.User.Bytes > 0) {
		return nil, errors.New("redis: LimitOptions.User is empty: set Frames, Bytes or both")
	}
	l := &userLimiter{client: client, prefix: base.Prefix, timeout: base.Timeout, log: base.Logger, session: o.Session, users: map[userOf]*userBudget{}}
	if l.session == nil {
		l.session = gohub.NewRateLimiter(gohub.Rate{Frames: 100, Bytes: 1 << 20})
	}
	l.rate = [2]float64{o.User.Frames, o.User.Bytes}
	for i, r := range l.rate {
		if !(r > 0) {
			l.rate[i] = math.Inf(1)
		}
	}
	return l, nil
}

const (
	ahead       = 0.25 // seconds of a rate that a hub takes at a time
	overdraft   = 1.0  // the same that pass before they are taken
	forgetUsers = time.Minute
)

// takeText takes what there is of a user's budgets, up to what is wanted.
//
//	KEYS the budgets
//	ARGV for each: what is wanted, how long a piece takes in µs, the burst in pieces
//
// It answers what was taken of each, and after how many µs there will be all
// that was wanted.
const takeText = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local out = {}
local wait = 0
for i, key in ipairs(KEYS) do
	local want, cost, burst = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
	local empty = math.max(now, tonumber(redis.call('GET', key) or '0'))
	local got = math.max(0, math.min(want, math.floor((now + burst * cost - empty) / cost)))
	empty = empty + got * cost
	if got > 0 then redis.call('SET', key, string.format('%.0f', empty), 'PX', math.ceil((empty - now) / 1000) + 1000) end
	if got < want then wait = math.max(wait, empty + (want - got) * cost - now - burst * cost) end
	out[i] = got
end
out[#KEYS + 1] = math.ceil(wait)
return out
`

var take = rueidis.NewLuaScript(takeText)

type userOf struct{ tenant, user string }

// userLimiter is the RateLimiter.
type userLimiter struct {
	client  rueidis.Client
	prefix  string
	timeout time.Duration
	log     *slog.Logger
	session gohub.RateLimiter
	rate    [2]float64 // frames and bytes a second; +Inf: no limit
	told    atomic.Int64

	mu    sync.Mutex // guards what follows
	users map[userOf]*userBudget
	swept time.Time
}

func (l *userLimiter) Session(id gohub.Identity) gohub.SessionLimiter {
	own := l.session.Session(id)
	if own == nil {
		return nil // the hub says so
	}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.swept) > forgetUsers {
		l.swept = now
		for k, u := range l.users { // sessions that come back to theirs ask Redis as ever
			if u.idle(now) {
				delete(l.users, k)
			}
		}
	}
	key := userOf{id.Tenant, id.User}
	u := l.users[key]
	if u == nil {
		u = &userBudget{limiter: l, key: strconv.Itoa(len(id.Tenant)) + ":" + id.Tenant + ":" + id.User}
		l.users[key] = u
	}
	u.touch(now)
	return &userSession{own, u}
}

// Ended has the session's own limiter keep what it owes.
func (l *userLimiter) Ended(id gohub.Identity, s gohub.SessionLimiter, frames int) {
	own, ok := l.session.(interface {
		Ended(id gohub.Identity, s gohub.SessionLimiter, frames int)
	})
	if u, is := s.(*userSession); ok && is {
		own.Ended(id, u.own, frames)
	}
}

type userSession struct {
	own  gohub.SessionLimiter
	user *userBudget
}

func (s *userSession) Spend(now time.Time, n int) time.Duration {
	if retry := s.user.wait(now); retry > 0 {
		return retry
	}
	if retry := s.own.Spend(now, n); retry > 0 {
		return retry
	}
	s.user.spend(now, n)
	return 0
}

// A userBudget is what this hub has taken of a user's.
type userBudget struct {
	limiter *userLimiter
	key     string

	mu     sync.Mutex // guards what follows; a leaf
	left   [2]float64 // below 0: used before it was taken
	asking bool
	alone  bool      // Redis did not answer: nothing is counted
	next   time.Time // there will be more then
	used   time.Time
}

func (u *userBudget) touch(now time.Time) {
	u.mu.Lock()
	u.used = now
	u.mu.Unlock()
}

func (u *userBudget) idle(now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.asking && now.Sub(u.used) > forgetUsers
}

// wait says how long a frame has to wait; 0: it may pass.
func (u *userBudget) wait(now time.Time) time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.used = now
	if u.alone {
		u.askAt(now)
		return 0
	}
	for i := range u.left {
		if u.left[i] > -overdraft*u.limiter.rate[i] {
			continue
		}
		u.askAt(now)
		return max(u.next.Sub(now), 10*time.Millisecond)
	}
	return 0
}

func (u *userBudget) spend(now time.Time, n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.alone {
		return
	}
	u.left[0]--
	u.left[1] -= float64(n)
	for i := range u.left {
		if rate := u.limiter.rate[i]; !math.IsInf(rate, 1) && u.left[i] < ahead*rate/2 {
			u.askAt(now)
		}
	}
}

// askAt takes more, without waiting for it, if there may be more; mu is held.
func (u *userBudget) askAt(now time.Time) {
	if u.asking || now.Before(u.next) {
		return
	}
	u.asking = true
	var keys, args []string
	var which []int
	for i, rate := range u.limiter.rate {
		if math.IsInf(rate, 1) {
			continue
		}
		which = append(which, i)
		keys = append(keys, fmt.Sprintf("%s:{rate:%s}:%d", u.limiter.prefix, u.key, i))
		want := max(1, math.Ceil(ahead*rate-u.left[i])) // left is 0 when alone
		args = append(args, strconv.FormatFloat(want, 'f', 0, 64), strconv.FormatFloat(1e6/rate, 'g', -1, 64), strconv.FormatFloat(math.Max(1, math.Floor(2*rate)), 'f', 0, 64))
	}
	go u.answer(keys, args, which) // ends with the answer, or the timeout
}

func (u *userBudget) answer(keys, args []string, which []int) {
	l := u.limiter
	ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
	defer cancel()
	got, err := take.Exec(ctx, l.client, keys, args).AsIntSlice()
	if err == nil && len(got) != len(which)+1 {
		err = fmt.Errorf("an answer of %d parts", len(got))
	}
	now := time.Now()
	if last := l.told.Load(); err != nil && now.UnixNano()-last > int64(time.Minute) && l.told.CompareAndSwap(last, now.UnixNano()) {
		l.log.Warn("users are limited by session only: Redis does not answer", "err", err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asking = false
	if err != nil {
		u.alone, u.left, u.next = true, [2]float64{}, now.Add(time.Second)
		return
	}
	u.alone = false
	for i, k := range which {
		u.left[k] += float64(got[i])
	}
	u.next = now.Add(time.Duration(got[len(got)-1]) * time.Microsecond / 2)
}
