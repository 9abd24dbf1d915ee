package redis

import (
	"context"
	"crypto/sha1" //nolint:gosec // Redis names scripts by it
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/gohub/gohub"
)

const (
	// claimLife is how long a device's generation is kept that no hub holds
	// any more: some beats of the hub, which looks at each once a minute.
	claimLife = 5 * time.Minute
	// lostMost is how many claims one call of a script looks at.
	lostMost = 500
)

// A device's key holds "generation session".
//
// Generations are µs of the server's clock, or one above the last, so that one
// which is forgotten is exceeded all the same. The scripts are no part of the
// broker's alarm: a server that does not know them is taught.

// claimText gives a session its generation.
//
//	KEYS the device
//	ARGV session, its age in µs or "" for now, life in ms, what it shall be above with an age,
//	     the server's time in µs after which it is not wanted any more
//
// It answers false if it comes too late.
var claimText = loadable(`
local time = redis.call('TIME')
local gen = time[1] * 1000000 + time[2]
if gen > tonumber(ARGV[5]) then return false end
local known = redis.call('GET', KEYS[1])
local old = 0
if known then
	local at = string.find(known, ' ', 1, true)
	old = tonumber(string.sub(known, 1, at - 1))
	if string.sub(known, at + 1) == ARGV[1] then return string.sub(known, 1, at - 1) end
end
if ARGV[2] == '' then
	gen = math.max(gen, old + 1)
else
	gen = math.max(gen - ARGV[2], ARGV[4] + 1)
	if gen <= old then return string.format('%.0f', math.min(gen, old - 1)) end
end
gen = string.format('%.0f', gen)
redis.call('SET', KEYS[1], gen .. ' ' .. ARGV[1], 'PX', ARGV[3])
return gen
`)

// lostText compares generations with what is known of their devices.
//
//	KEYS the devices
//	ARGV life in ms, then generation and session of each
//
// It answers, of each, the higher generation that is known, or "". What is
// unknown or lower is written; what is known lives on.
var lostText = loadable(`
local out = {}
for i, key in ipairs(KEYS) do
	local gen = ARGV[2 * i]
	local known = redis.call('GET', key)
	local old = known and string.sub(known, 1, string.find(known, ' ', 1, true) - 1)
	out[i] = ''
	if old and tonumber(old) > tonumber(gen) then
		out[i] = old
	elseif old == gen then
		redis.call('PEXPIRE', key, ARGV[1])
	else
		redis.call('SET', key, gen .. ' ' .. ARGV[2 * i + 1], 'PX', ARGV[1])
	end
end
return out
`)

func loadable(text string) script {
	sum := sha1.Sum([]byte(text)) //nolint:gosec // Redis names scripts by it
	return script{text, hex.EncodeToString(sum[:])}
}

// deviceName names a device inside its partition.
func deviceName(c *gohub.Claim) string {
	return strconv.Itoa(len(c.Tenant)) + ":" + c.Tenant + ":" + strconv.Itoa(len(c.User)) + ":" + c.User + ":" + c.Device
}

// Claim gives a session its generation; see [gohub.Directory]. Redis forgets
// it some minutes after no hub holds it any more. Without a lease there is none:
// what the server's clock says at ctx's deadline is not known then.
func (b *Broker) Claim(ctx context.Context, c gohub.Claim) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, b.o.Timeout)
	defer cancel()
	name := deviceName(&c)
	p, l, err := b.inTouch(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("claim: %w", err)
	}
	key, until := p.keys.device(name), l.until(ctx) // before the age: this process may be stopped in between
	age := ""
	if !c.Since.IsZero() {
		age = digits(max(0, time.Since(c.Since).Microseconds()))
	}
	args := []string{c.Session, age, digits(claimLife.Milliseconds()), digits(c.Gen), until}
	call := b.client.B().Evalsha().Sha1(claimText.sha).Numkeys(1).Key(key).Arg(args...).Build()
	answer := b.client.Do(ctx, call)
	if forgot(answer.Error()) {
		answer = b.client.Do(ctx, b.client.B().Eval().Script(claimText.text).Numkeys(1).Key(key).Arg(args...).Build())
	}
	gen, err := answer.AsInt64()
	if rueidis.IsRedisNil(err) {
		return 0, fmt.Errorf("%w: claim: it reached Redis too late", gohub.ErrUnavailable)
	}
	if err != nil {
		return 0, fmt.Errorf("%w: claim: %w", gohub.ErrUnavailable, err)
	}
	return gen, nil
}

// until is ctx's deadline by the clock of the server, as the last beat showed it, or
// a little earlier: by as much as the beat's answer took.
// A clock of the server's that is set ahead makes it too early until the next beat.
func (l *lease) until(ctx context.Context) string {
	deadline, _ := ctx.Deadline() // there is one: Options.Timeout
	return digits(l.beat + deadline.Sub(l.heard).Microseconds())
}

// Lost compares claims with what Redis knows, a call of a script for each
// partition's, all in one go; see [gohub.Directory]. Those of which the server is
// away are left out, with an error.
func (b *Broker) Lost(ctx context.Context, held []gohub.Claim) ([]gohub.Claim, error) {
	ctx, cancel := context.WithTimeout(ctx, b.o.Timeout)
	defer cancel()
	n, err := b.running(ctx)
	if err != nil {
		return nil, fmt.Errorf("lost: %w", err)
	}
	calls, failure := n.lostCalls(held)
	answers := b.lostAnswers(ctx, calls, false)
	var lost []gohub.Claim
	for i, a := range answers {
		gens, err := a.AsStrSlice()
		if err == nil && len(gens) != len(calls[i].claims) {
			err = fmt.Errorf("%d answers to %d claims", len(gens), len(calls[i].claims))
		}
		if err != nil {
			failure = fmt.Errorf("%w: lost: %w", gohub.ErrUnavailable, err)
			continue // others may be on another server
		}
		for j, s := range gens {
			if s == "" {
				continue
			}
			c := held[calls[i].claims[j]]
			if c.Gen, err = strconv.ParseInt(s, 10, 64); err != nil {
				return nil, fmt.Errorf("redis: a device has the generation %q: %w", s, err)
			}
			lost = append(lost, c)
		}
	}
	return lost, failure
}

// A lostCall is one call of lostText.
type lostCall struct {
	claims []int // their places in held
	keys   []string
	args   []string
}

// lostCalls makes them for the parts that are in touch; away says why others are not.
func (n *node) lostCalls(held []gohub.Claim) (calls []*lostCall, away error) {
	open, errs := make([]*lostCall, len(n.parts)), make([]error, len(n.parts))
	for i, p := range n.parts {
		errs[i] = p.away()
	}
	for i := range held {
		name := deviceName(&held[i])
		at := n.b.keys.partition(name)
		if errs[at] != nil {
			away = fmt.Errorf("lost: %w", errs[at])
			continue
		}
		c := open[at]
		if c == nil || len(c.keys) == lostMost {
			c = &lostCall{args: []string{digits(claimLife.Milliseconds())}}
			open[at] = c
			calls = append(calls, c)
		}
		c.claims = append(c.claims, i)
		c.keys = append(c.keys, n.parts[at].keys.device(name))
		c.args = append(c.args, digits(held[i].Gen), held[i].Session)
	}
	return calls, away
}

// lostAnswers makes the calls. A server that does not know the script is sent
// its text.
func (b *Broker) lostAnswers(ctx context.Context, calls []*lostCall, text bool) []rueidis.RedisResult {
	if len(calls) == 0 {
		return nil
	}
	cmds := make([]rueidis.Completed, len(calls))
	for i, c := range calls {
		n := int64(len(c.keys))
		if text {
			cmds[i] = b.client.B().Eval().Script(lostText.text).Numkeys(n).Key(c.keys...).Arg(c.args...).Build()
			continue
		}
		cmds[i] = b.client.B().Evalsha().Sha1(lostText.sha).Numkeys(n).Key(c.keys...).Arg(c.args...).Build()
	}
	answers := b.client.DoMulti(ctx, cmds...)
	var again []*lostCall
	var places []int
	for i, a := range answers {
		if !text && forgot(a.Error()) {
			again, places = append(again, calls[i]), append(places, i)
		}
	}
	for i, a := range b.lostAnswers(ctx, again, true) {
		answers[places[i]] = a
	}
	return answers
}
