//go:build unix

package chaos

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/assert"
)

// presenceFor is how long after a fault presence may be wrong: a node is
// silent for 20 s, then dead; its users are announced to be gone 5 s later
// if it has come back; and a beat or two.
const presenceFor = 27 * time.Second

// steady is how long somebody has to be in a room, or out of it, so that
// everybody has to know: in make test, whose machine may pause, for longer.
func (w *world) steady() time.Duration {
	if long(w.t) > 0 {
		return 3 * time.Second
	}
	return 6 * time.Second
}

// judgePresenceNow says where a node shows somebody in a room who has not been
// there for some time, or lacks somebody who has.
func (w *world) judgePresenceNow(ctx context.Context, nodes ...*node) (wrong []string, looks int) {
	rooms := w.rooms()
	asked := time.Now()
	shown := make([]map[string][]string, len(nodes))
	for i, x := range nodes {
		if x.get(ctx, "/everybody?"+url.Values{"room": rooms}.Encode(), &shown[i]) != nil {
			return nil, 0 // a busy machine: that says nothing, unless it is so all the time
		}
	}
	type who struct{ room, user string }
	const out, in, unknown = 0, 1, 2
	is := map[who]int{}
	before := asked.Add(-w.steady()).UnixNano()
	w.mu.Lock()
	for _, c := range w.clients {
		for _, p := range c.places {
			at := who{p.name, c.user}
			since := p.since.Load()
			switch {
			case since > 0 && since <= before:
				is[at] = in
			case is[at] == in:
			case since > 0 || -since > before || w.open[c.user] > 0:
				is[at] = unknown
			case is[at] == 0:
				is[at] = out
			}
		}
	}
	w.mu.Unlock()
	for i, x := range nodes {
		there := map[who]bool{}
		for room, users := range shown[i] {
			for _, user := range users {
				there[who{room, user}] = true
				if _, known := is[who{room, user}]; !known {
					wrong = append(wrong, fmt.Sprintf("%s shows %s in %s, who is never there", x.name, user, room))
				}
			}
		}
		for at, state := range is {
			looks++
			switch {
			case state == in && !there[at]:
				wrong = append(wrong, fmt.Sprintf("%s does not show %s in %s", x.name, at.user, at.room))
			case state == out && there[at]:
				wrong = append(wrong, fmt.Sprintf("%s shows %s in %s, who is not there", x.name, at.user, at.room))
			}
		}
	}
	return wrong, looks
}

// quiet watches presence for so long after something has happened to the
// cluster, while clients go on moving, coming and going. It may be wrong for
// presenceFor. It gives how much was wrong at most.
func (w *world) quiet(ctx context.Context, what string, since time.Time, d time.Duration, nodes ...*node) (most int) {
	var lastWrong time.Time
	looks, told, late := 0, 0, 0
	for ctx.Err() == nil && (time.Since(since) < d || late == 0 && time.Since(since) < d+patience) {
		began := time.Now()
		wrong, n := w.judgePresenceNow(ctx, nodes...)
		looks += n
		if n > 0 && began.Sub(since) > presenceFor {
			late++
		}
		if most = max(most, len(wrong)); len(wrong) > 0 {
			lastWrong = began
		}
		if len(wrong) > 0 && began.Sub(since) > presenceFor && told < 3 {
			told++
			w.t.Errorf("presence, %v after %s: %d wrong: %s", began.Sub(since).Round(time.Millisecond), what, len(wrong), strings.Join(wrong[:min(len(wrong), 8)], "; "))
		}
		sleep(ctx, 500*time.Millisecond)
	}
	if late == 0 && told == 0 {
		w.t.Errorf("presence could not be looked at, from %v after %s on", presenceFor, what)
	}
	after := time.Duration(0)
	if !lastWrong.IsZero() {
		after = lastWrong.Sub(since)
	}
	line := fmt.Sprintf("presence: right on %d nodes %.1f s after %s, %d wrong at most before; looked at %d times in %.0f s",
		len(nodes), max(0, after.Seconds()), what, most, looks, time.Since(since).Seconds())
	w.t.Log(line)
	w.presence = append(w.presence, line)
	return most
}

// aNodeDies has one die, and most of its clients with it: within its lease and
// what its end is announced late, those who are not elsewhere are gone.
func (w *world) aNodeDies(ctx context.Context, x *node) {
	w.t.Helper()
	var others []*node
	for _, o := range w.nodes {
		if o != x {
			others = append(others, o)
		}
	}
	w.mourns.Store(true)
	f := &fault{name: "dead", on: x, lasts: presenceFor + 6*time.Second, begin: x.kill, end: func() error { return w.restart(x) }}
	done := make(chan struct{})
	go func() { // awaited
		defer close(done)
		w.strike(ctx, f)
	}()
	died := time.Now()
	most := w.quiet(ctx, x.name+" died", died, presenceFor+5*time.Second, others...)
	w.mourns.Store(false)
	assert.Positive(w.t, most, "nobody was missed: that shows nothing")
	<-done
}

// redisIsAway has Redis be away: publishes are unavailable, connections stay,
// and all goes on by itself within two seconds.
func (w *world) redisIsAway(ctx context.Context, d time.Duration) {
	w.t.Helper()
	w.stays.Store(true)
	defer w.stays.Store(false)
	sleep(ctx, 5*time.Second) // who was away is back
	broken, told := w.broken(), w.told(replyUnavailable)
	var acks atomic.Int64
	f := &fault{name: "Redis away", forgets: true, lasts: d, end: w.redis.Start}
	f.begin = func() error {
		err := w.redis.Kill9()
		time.AfterFunc(3*time.Second, func() { acks.Store(w.acks.Load()) }) // what had been ordered is stored by then
		return err
	}
	back := f.end
	f.end = func() error {
		assert.Equal(w.t, acks.Load(), w.acks.Load(), "acked without Redis")
		return back()
	}
	w.strike(ctx, f)
	unavailable := w.told(replyUnavailable) - told
	w.goesOn(20)
	line := fmt.Sprintf("Redis away for %v: %d times unavailable, %d connections broken, all nodes acked again %v after it was back",
		d, unavailable, w.broken()-broken, f.recovered.Round(time.Millisecond))
	w.t.Log(line)
	w.presence = append(w.presence, line)
	assert.Positive(w.t, unavailable, "publishes are unavailable")
	assert.Zero(w.t, w.broken()-broken, "connections stay")
	w.assertRecovery(f.recovered)
}

// assertRecovery: two seconds after Redis is back, of which one and a half are
// a wait, if nodes get to run when they want to. In make test it is only not by
// some long wait.
func (w *world) assertRecovery(took time.Duration) {
	w.t.Helper()
	assert.Positive(w.t, took)
	if long(w.t) == 0 {
		assert.Less(w.t, took, 20*time.Second)
		return
	}
	most := 2 * time.Second
	if load := loadAverage(); load > 4*float64(runtime.NumCPU()) {
		w.t.Logf("%.0f processes wait for %d CPUs: it may take twice as long", load, runtime.NumCPU())
		most *= 2
	}
	assert.Less(w.t, took, most)
}

// loadAverage is how many processes have run or wanted to in the last minute;
// 0: that is not known here.
func loadAverage() (load float64) {
	b, _ := os.ReadFile("/proc/loadavg")
	_, _ = fmt.Sscan(string(b), &load)
	return load
}
