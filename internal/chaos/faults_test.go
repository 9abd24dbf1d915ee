//go:build unix

package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// A fault is something that happens to the cluster, for a while or at once.
type fault struct {
	name    string
	on      *node // nil: it is Redis' or Postgres'
	forgets bool  // Redis knows less afterwards
	lasts   time.Duration
	begin   func() error
	end     func() error // nil: begin was all

	began, ended time.Time
	recovered    time.Duration // until every node it struck acked what was sent after the end; -1: none has
}

func (f *fault) String() string {
	s := f.name
	if f.on != nil {
		s = f.on.name + " " + s
	}
	if f.end != nil {
		s += fmt.Sprintf(" for %v", f.lasts.Round(10*time.Millisecond))
	}
	return s
}

func (w *world) seconds(rng *rand.Rand, least, most float64) time.Duration {
	return time.Duration((least + rng.Float64()*(most-least)) * float64(time.Second))
}

// A kind makes faults of one kind.
type kind func(w *world, rng *rand.Rand, x *node, longest float64) *fault

// restart starts a node again, when what it needs is there.
func (w *world) restart(x *node) error {
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err = x.start(); err == nil {
			return nil
		}
	}
	return err
}

func killNode(w *world, rng *rand.Rand, x *node, longest float64) *fault {
	return &fault{
		name: "killed", on: x, lasts: w.seconds(rng, 0.2, min(longest, 30)),
		begin: x.kill, end: func() error { return w.restart(x) },
	}
}

func freezeNode(w *world, rng *rand.Rand, x *node, longest float64) *fault {
	return &fault{
		name: "frozen", on: x, lasts: w.seconds(rng, 3, max(4, min(longest, 25))),
		begin: x.freeze, end: func() error { err := x.thaw(); x.thaw = nil; return err },
	}
}

func terminateNode(w *world, _ *rand.Rand, x *node, _ float64) *fault {
	return &fault{name: "restarted", on: x, begin: func() error { return errors.Join(x.terminate(), w.restart(x)) }}
}

func partition(what string, of func(*node) *proxy) kind {
	return func(w *world, rng *rand.Rand, x *node, longest float64) *fault {
		ways := []struct {
			name string
			ds   []direction
		}{{"both ways", []direction{toServer, toClient}}, {"towards it", []direction{toServer}}, {"from it", []direction{toClient}}}
		way := ways[rng.IntN(len(ways))]
		cut := rng.IntN(2) == 0
		p := of(x)
		name := fmt.Sprintf("cut off from %s, %s", what, way.name)
		if cut {
			name += ", connections lost"
		}
		return &fault{
			name: name, on: x, lasts: w.seconds(rng, 1, min(longest, 15)),
			begin: func() error { p.hold(true, way.ds...); return nil },
			end: func() error {
				if cut {
					p.cut()
				}
				p.hold(false, way.ds...)
				return nil
			},
		}
	}
}

func latency(what string, of func(*node) *proxy) kind {
	return func(w *world, rng *rand.Rand, x *node, longest float64) *fault {
		d := w.seconds(rng, 0.02, 0.3)
		p := of(x)
		return &fault{
			name: fmt.Sprintf("is %v from %s each way", d.Round(time.Millisecond), what), on: x, lasts: w.seconds(rng, 1, min(longest, 10)),
			begin: func() error { p.slow(d); return nil },
			end:   func() error { p.slow(0); return nil },
		}
	}
}

func redisProxy(x *node) *proxy { return x.redis }
func pgProxy(x *node) *proxy    { return x.pg }

func killRedis(w *world, rng *rand.Rand, _ *node, longest float64) *fault {
	return &fault{
		name: "Redis killed", forgets: true, lasts: w.seconds(rng, 0, min(longest, 6)),
		begin: w.redis.Kill9, end: w.redis.Start,
	}
}

func freezeRedis(w *world, rng *rand.Rand, _ *node, longest float64) *fault {
	return &fault{name: "Redis frozen", lasts: w.seconds(rng, 0.5, min(longest, 8)), begin: w.redis.Freeze, end: w.redis.Thaw}
}

func flush(w *world, _ *rand.Rand, _ *node, _ float64) *fault {
	return &fault{name: "FLUSHALL", forgets: true, begin: w.redis.FlushAll}
}

// flushScripts makes hubs believe that Redis has forgotten.
func flushScripts(w *world, _ *rand.Rand, _ *node, _ float64) *fault {
	return &fault{name: "SCRIPT FLUSH", forgets: true, begin: func() error {
		_, err := w.redis.Do("SCRIPT", "FLUSH")
		return err
	}}
}

func killSubscriptions(w *world, _ *rand.Rand, _ *node, _ float64) *fault {
	return &fault{name: "CLIENT KILL TYPE pubsub", begin: func() error {
		_, err := w.redis.Do("CLIENT", "KILL", "TYPE", "pubsub")
		return err
	}}
}

func killConnections(w *world, _ *rand.Rand, _ *node, _ float64) *fault {
	return &fault{name: "CLIENT KILL of all", begin: func() error {
		_, err1 := w.redis.Do("CLIENT", "KILL", "TYPE", "pubsub")
		_, err2 := w.redis.Do("CLIENT", "KILL", "TYPE", "normal")
		return errors.Join(err1, err2)
	}}
}

// cutOutput has Redis close subscriptions for which more waits than fits into
// its first 16 KiB, which a large message does.
func cutOutput(w *world, rng *rand.Rand, _ *node, longest float64) *fault {
	limit := func(to string) error {
		_, err := w.redis.Do("CONFIG", "SET", "client-output-buffer-limit", `"pubsub `+to+`"`)
		return err
	}
	return &fault{
		name: "subscriptions' output limited to 1 KiB", lasts: w.seconds(rng, 1, min(longest, 4)),
		begin: func() error { w.large.Store(true); return limit("1024 1024 0") },
		end:   func() error { w.large.Store(false); return limit("33554432 8388608 60") },
	}
}

func restartPostgres(w *world, rng *rand.Rand, _ *node, longest float64) *fault {
	f := &fault{lasts: w.seconds(rng, 0, min(longest, 5)), end: w.pg.Start}
	switch rng.IntN(3) {
	case 0:
		f.name, f.begin = "Postgres killed", w.pg.Kill9
	case 1:
		f.name, f.begin = "Postgres stopped at once", func() error { return w.pg.Stop(true) }
	default:
		f.name, f.begin = "Postgres stopped", func() error { return w.pg.Stop(false) }
	}
	return f
}

func freezePostgres(w *world, rng *rand.Rand, _ *node, longest float64) *fault {
	return &fault{name: "Postgres frozen", lasts: w.seconds(rng, 0.5, min(longest, 8)), begin: w.pg.Freeze, end: w.pg.Thaw}
}

// kinds are all kinds of faults.
var kinds = []kind{
	killNode, freezeNode, terminateNode,
	partition("Redis", redisProxy), partition("Postgres", pgProxy), latency("Redis", redisProxy), latency("Postgres", pgProxy),
	killRedis, freezeRedis, flush, flushScripts, killSubscriptions, killConnections, cutOutput,
	restartPostgres, freezePostgres,
}

// strike lets a fault happen, and measures how long it was felt. It fails the
// test, from any goroutine, if the fault cannot be made or ended.
func (w *world) strike(ctx context.Context, f *fault) {
	f.began = time.Now()
	w.mu.Lock()
	w.happened = append(w.happened, f)
	w.mu.Unlock()
	w.t.Logf("%s %s", f.began.Format("15:04:05.000"), f)
	if err := f.begin(); err != nil {
		w.t.Errorf("%s: %v", f, err)
		return
	}
	if f.end != nil {
		time.Sleep(f.lasts)
		if err := f.end(); err != nil {
			w.t.Errorf("the end of %s: %v", f, err)
		}
	}
	struck := w.nodes
	if f.on != nil {
		struck = []*node{f.on}
	}
	now := time.Now()
	w.mu.Lock()
	f.ended, f.recovered = now, -1
	w.mu.Unlock()
	if took := w.works(ctx, now, 30*time.Second, struck...); took >= 0 {
		w.mu.Lock()
		f.recovered = took
		w.mu.Unlock()
	}
}

// works waits until each of the nodes has acked what was sent to it after since,
// and says how long that took; -1: they have not.
func (w *world) works(ctx context.Context, since time.Time, within time.Duration, nodes ...*node) time.Duration {
	for i := 0; ; {
		for i < len(nodes) && nodes[i].fresh.Load() > since.UnixNano() {
			i++
		}
		took := time.Since(since)
		switch {
		case i == len(nodes):
			return took
		case took > within || ctx.Err() != nil:
			return -1
		}
		time.Sleep(time.Millisecond)
	}
}

// storm draws faults for so long. The clients are the load.
//
// overlap: a second one at the same time, on something else.
func (w *world) storm(ctx context.Context, rng *rand.Rand, d time.Duration, longest float64, calm time.Duration, overlap bool) {
	w.overlaps = w.overlaps || overlap
	end := time.Now().Add(d)
	var pending []kind
	draw := func() kind {
		// Each kind comes once before any comes twice.
		if len(pending) == 0 {
			pending = slices.Clone(kinds)
			rng.Shuffle(len(pending), func(i, j int) { pending[i], pending[j] = pending[j], pending[i] })
		}
		k := pending[0]
		pending = pending[1:]
		return k
	}
	for time.Now().Before(end) && ctx.Err() == nil {
		x := rng.IntN(len(w.nodes))
		left := max(1, time.Until(end).Seconds())
		first := draw()(w, rng, w.nodes[x], min(longest, left))
		var wg sync.WaitGroup
		wg.Go(func() { w.strike(ctx, first) })
		if overlap && rng.IntN(2) == 0 {
			second := draw()(w, rng, w.nodes[(x+1)%len(w.nodes)], min(longest, left))
			if first.on != nil || second.on != nil { // Redis or Postgres are one thing each
				time.Sleep(time.Duration(rng.Int64N(int64(first.lasts)/2 + 1)))
				wg.Go(func() { w.strike(ctx, second) })
			}
		}
		wg.Wait()
		sleep(ctx, w.seconds(rng, 0, 2*calm.Seconds()))
	}
}
