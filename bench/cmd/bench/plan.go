package main

import (
	"math"
	"slices"

	"github.com/gohub/gohub/bench/internal/result"
	"github.com/gohub/gohub/bench/internal/stats"
)

// plan is what is run and quoted of one of cmd/load's scenarios.
type plan struct {
	name    string
	title   string
	servers []string // in the order of a round; what a floor must copy comes first
	floor   string   // what ratios are taken against
	store   string   // where a hub keeps things; empty: in memory
	fill    int      // messages in the first room beforehand
	metrics []metric

	// Of the comparison with peers (peerplans.go).
	load  string   // cmd/load's scenario; empty: name
	flags []string // and what is changed in it
	tls   bool
	pin   bool     // server and load have a processor of their own each, as with -pin
	heavy bool     // too long to be run unless it is named
	chart []metric // drawn, a chart each
	notes []string // for the table
}

// metric is a figure of a run. With ratio, its quotient by the floor's of the
// same round is quoted too; by the floor's figure by, if that is given.
type metric struct {
	name   string
	of     func(result.Run) float64
	digits int
	ratio  bool
	by     func(result.Run) float64
	target string // the project's, of the ratio or of the figure itself
}

// A figure that a run has not got is missing, and not the least of all.
var missing = math.NaN()

// never is after how long something came that did not: longer than any other.
var never = math.Inf(1)

// timed is a latency, missing where nothing was timed.
func timed(l stats.Latency) stats.Latency {
	if l.N == 0 {
		return stats.Latency{P50: missing, P90: missing, P99: missing, Max: missing}
	}
	return l
}

// after is when something came, in seconds, 0 for never.
func after(seconds float64) float64 {
	if seconds == 0 {
		return never
	}
	return seconds
}

// given is a figure that is never 0 but where it could not be had.
func given(v int64) float64 {
	if v == 0 {
		return missing
	}
	return float64(v)
}

func perS(n int64, r result.Run) float64 { return float64(n) / max(r.Seconds, 1e-9) }
func kDeliveries(r result.Run) float64   { return perS(r.Delivered, r) / 1e3 }
func kMessages(r result.Run) float64     { return perS(r.Sent, r) / 1e3 }
func cpuPerMillion(r result.Run) float64 { return r.ServerCPU / float64(max(r.Delivered, 1)) * 1e6 }
func cpuPerMessage(r result.Run) float64 { return r.ServerCPU / float64(max(r.Sent, 1)) * 1e6 }
func allocsPerDelivery(r result.Run) float64 {
	return float64(r.ServerAllocs) / float64(max(r.Delivered, 1))
}

func p50(r result.Run) float64    { return timed(r.Latency).P50 }
func p99(r result.Run) float64    { return timed(r.Latency).P99 }
func ackP50(r result.Run) float64 { return timed(r.Ack).P50 }
func ackP99(r result.Run) float64 { return timed(r.Ack).P99 }

func allocsPerMessage(r result.Run) float64 { return float64(r.ServerAllocs) / float64(max(r.Sent, 1)) }

func idle(f func(*result.Idle) float64) func(result.Run) float64 {
	return func(r result.Run) float64 {
		if r.Idle == nil || r.Idle.Conns == 0 {
			return missing
		}
		return f(r.Idle)
	}
}

func slow(f func(*result.Slow) float64) func(result.Run) float64 {
	return func(r result.Run) float64 {
		if r.Slow == nil {
			return missing
		}
		return f(r.Slow)
	}
}

func stored(f func(*result.Store, result.Run) float64) func(result.Run) float64 {
	return func(r result.Run) float64 {
		if r.Store == nil || r.Store.Appends == 0 {
			return missing
		}
		return f(r.Store, r)
	}
}

func replayed(f func(*result.Replay) float64) func(result.Run) float64 {
	return func(r result.Run) float64 {
		if r.Replay == nil {
			return missing
		}
		return f(r.Replay)
	}
}

func stopped(f func(*result.Stopped, result.Run) float64) func(result.Run) float64 {
	return func(r result.Run) float64 {
		if r.Stopped == nil {
			return missing
		}
		return f(r.Stopped, r)
	}
}

func paced(f func(*result.Paced) float64) func(result.Run) float64 {
	return func(r result.Run) float64 {
		if r.Paced == nil {
			return missing
		}
		return f(r.Paced)
	}
}

// storing are figures that say where the limit of a store is.
var storing = []metric{
	{name: "rows an Append", of: stored(func(s *result.Store, _ result.Run) float64 { return float64(s.Messages) / float64(s.Appends) }), digits: 1},
	{name: "ms an Append", of: stored(func(s *result.Store, _ result.Run) float64 { return s.Seconds / float64(s.Appends) * 1e3 }), digits: 1},
	{name: "WAL syncs/s", of: stored(func(s *result.Store, r result.Run) float64 { return perS(s.WALSyncs, r) })},
	{name: "WAL B/row", of: stored(func(s *result.Store, _ result.Run) float64 { return float64(s.WALBytes) / float64(s.Messages) })},
	{name: "CPU µs/msg: hub", of: cpuPerMessage, digits: 1},
	{name: "Postgres", of: func(r result.Run) float64 { return r.StoreCPU / float64(max(r.Sent, 1)) * 1e6 }, digits: 1},
	{name: "load", of: func(r result.Run) float64 { return r.LoadCPU / float64(max(r.Sent, 1)) * 1e6 }, digits: 1},
}

var plans = slices.Concat(floorPlans, peerPlans)

// floorPlans are the hub beside its floors, and beside itself.
var floorPlans = []plan{
	{
		name: "a", title: "1 room × 1,000, 64 broadcasts of 128 B in flight, flat out",
		servers: []string{"gohub", "floor-64", "floor-16", "floor-1"}, floor: "floor-64",
		metrics: []metric{
			{name: "k deliveries/s", of: kDeliveries},
			{name: "CPU-s per 1M", of: cpuPerMillion, digits: 3, ratio: true, target: "≤1.3"},
			{name: "p50 ms", of: p50, digits: 1},
			{name: "p99 ms", of: p99, digits: 1},
			{name: "allocs/delivery", of: allocsPerDelivery, digits: 4},
		},
	},
	{
		name: "a64", title: "1 room × 1,000, 64 senders with one in flight each, flat out",
		servers: []string{"gohub", "floor-64", "floor-1"}, floor: "floor-64",
		metrics: []metric{
			{name: "k deliveries/s", of: kDeliveries},
			{name: "CPU-s per 1M", of: cpuPerMillion, digits: 3, ratio: true},
			{name: "p50 ms", of: p50, digits: 1},
			{name: "p99 ms", of: p99, digits: 1},
			{name: "allocs/delivery", of: allocsPerDelivery, digits: 4},
		},
	},
	{
		name: "a2", title: "1 room × 1,000, 150 messages/s evenly spread",
		servers: []string{"gohub", "floor-1", "floor-net"}, floor: "floor-1",
		metrics: []metric{
			{name: "k deliveries/s", of: kDeliveries},
			{name: "CPU-s per 1M", of: cpuPerMillion, digits: 2, ratio: true, target: "≤1.1"},
			{name: "p50 ms", of: p50, digits: 2},
			{name: "p99 ms", of: p99, digits: 2},
			{name: "allocs/message", of: allocsPerMessage, digits: 1},
		},
	},
	{
		name: "b1", title: "1,000 rooms × 4, closed loop, one sender a room",
		servers: []string{"gohub", "floor-1", "floor-net"}, floor: "floor-1",
		metrics: []metric{
			{name: "k msg/s", of: kMessages, digits: 1},
			{name: "CPU µs/msg", of: cpuPerMessage, digits: 1, ratio: true, target: "≤1.15"},
			{name: "p50 ms", of: p50, digits: 1},
			{name: "p99 ms", of: p99, digits: 1},
			{name: "ack p50 ms", of: ackP50, digits: 1},
			{name: "allocs/msg", of: allocsPerMessage, digits: 1},
		},
	},
	{
		name: "b2", title: "1,000 rooms × 4, 5,000 messages/s evenly spread",
		servers: []string{"gohub", "floor-1", "floor-net"}, floor: "floor-1",
		metrics: []metric{
			{name: "CPU µs/msg", of: cpuPerMessage, digits: 1, ratio: true},
			{name: "p50 ms", of: p50, digits: 2, ratio: true},
			{name: "p99 ms", of: p99, digits: 2, target: "figure ≤0.3"},
			{name: "ack p50 ms", of: ackP50, digits: 2},
		},
	},
	{
		name: "c", title: "1 room × 1,000 at 20 messages/s, latency over all members",
		servers: []string{"gohub", "floor-1", "floor-net"}, floor: "floor-1",
		metrics: []metric{
			{name: "p50 ms", of: p50, digits: 2, ratio: true, target: "≤1.2"},
			{name: "p99 ms", of: p99, digits: 2, ratio: true, target: "≤1.1"},
			{name: "CPU-s per 1M", of: cpuPerMillion, digits: 2, ratio: true},
		},
	},
	{
		name: "d", title: "10,000 idle joined connections, resident bytes each",
		servers: []string{"gohub", "floor-1"}, floor: "floor-1",
		metrics: []metric{
			{name: "RSS/conn", of: idle((*result.Idle).PerConn), ratio: true},
			{name: "after GC", of: idle((*result.Idle).PerConnGC), ratio: true, target: "figure ≤8,192, try 6,656"},
			{name: "heap/conn", of: idle(func(i *result.Idle) float64 {
				return float64(i.Collected.HeapInuse-i.Base.HeapInuse) / float64(i.Conns)
			})},
			{name: "stack/conn", of: idle(func(i *result.Idle) float64 {
				return float64(i.Collected.StackInuse-i.Base.StackInuse) / float64(i.Conns)
			})},
			{name: "goroutines/conn", of: idle(func(i *result.Idle) float64 {
				return float64(i.Collected.Goroutines-i.Base.Goroutines) / float64(i.Conns)
			}), digits: 3, target: "figure 1"},
		},
	},
	{
		name: "e", title: "1 room × 1,000 at 150 messages/s of 1 KiB, one member stops reading",
		servers: []string{"gohub"},
		metrics: []metric{
			{name: "others' p99 ms before", of: slow(func(s *result.Slow) float64 { return timed(s.Before).P99 }), digits: 2},
			{name: "with", of: slow(func(s *result.Slow) float64 { return timed(s.With).P99 }), digits: 2},
			{name: "with/before", of: slow(func(s *result.Slow) float64 { return timed(s.With).P99 / timed(s.Before).P99 }), digits: 2, target: "figure ≤1.1"},
			{name: "left after s", of: slow(func(s *result.Slow) float64 { return after(s.LeftAfter) }), digits: 1},
			{name: "socket gone after s", of: slow(func(s *result.Slow) float64 { return after(s.GoneAfter) }), digits: 1},
			{name: "unread MB", of: slow(func(s *result.Slow) float64 { return float64(s.Unread) / 1e6 }), digits: 2},
			{name: "close code", of: slow(func(s *result.Slow) float64 { return given(int64(s.CloseCode)) }), target: "figure 4000"},
			{name: "RSS growth MB", of: slow(func(s *result.Slow) float64 { return (given(s.RSSMax) - given(s.RSSBefore)) / 1e6 }), digits: 1},
		},
	},
	{
		name: "durable", title: "acks of Postgres (gohub) and SQLite: 1,000 rooms × 1, 8 publishes of 128 B in flight in each; then at half that pace",
		servers: []string{"gohub", "sqlite"}, store: inPostgres,
		metrics: append([]metric{
			{name: "k acks/s", of: func(r result.Run) float64 { return perS(r.Acked, r) / 1e3 }, digits: 1, target: "figure of gohub ≥20"},
			{name: "ack p50 ms", of: ackP50},
			{name: "at half: k/s", of: paced(func(p *result.Paced) float64 { return p.Rate / 1e3 }), digits: 1},
			{name: "ack p50 ms at half", of: paced(func(p *result.Paced) float64 { return timed(p.Ack).P50 }), digits: 1},
			{name: "ack p99 ms at half", of: paced(func(p *result.Paced) float64 { return timed(p.Ack).P99 }), digits: 1, target: "figure of gohub ≤50"},
		}, storing...),
	},
	{
		name: "paced", title: "acks of Postgres (gohub) and SQLite: 1,000 rooms × 1, 10,000 publishes/s of 128 B evenly spread",
		servers: []string{"gohub", "sqlite"}, store: inPostgres,
		metrics: append([]metric{
			{name: "ack p50 ms", of: ackP50, digits: 1},
			{name: "ack p99 ms", of: ackP99, digits: 1, target: "figure of gohub ≤50"},
			{name: "delivery p50 ms", of: p50, digits: 2},
			{name: "delivery p99 ms", of: p99, digits: 2},
		}, storing...),
	},
	{
		name: "stopped", title: "delivery while Postgres is stopped for 20 s: 100 rooms × 10 at 500 messages/s; ÷ memory: by what it was before, with Postgres idle",
		servers: []string{"gohub", "memory"}, floor: "memory", store: inPostgres,
		metrics: []metric{
			{name: "p50 ms before", of: p50, digits: 2},
			{name: "p99 ms before", of: p99, digits: 2, ratio: true},
			{name: "p50 ms stopped", of: stopped(func(s *result.Stopped, _ result.Run) float64 { return timed(s.With).P50 }), digits: 2, ratio: true, by: p50},
			{name: "p99 ms stopped", of: stopped(func(s *result.Stopped, _ result.Run) float64 { return timed(s.With).P99 }), digits: 2, ratio: true, by: p99, target: "of gohub ≤1.2"},
			{name: "unacked at its end", of: stopped(func(s *result.Stopped, _ result.Run) float64 { return float64(s.Pending) })},
			{name: "acked after s", of: stopped(func(s *result.Stopped, _ result.Run) float64 { return s.Recovery }), digits: 2},
		},
	},
	{
		name: "cluster", title: "3 nodes, Redis and Postgres (gohub) or Redis alone (redis): 200 rooms × 3, each member on another node, 2,000 messages/s of 128 B evenly spread; latency on the nodes that did not publish",
		servers: []string{"gohub", "redis"}, store: inCluster,
		metrics: []metric{
			{name: "p50 ms", of: p50, digits: 2, target: "figure ≤1"},
			{name: "p99 ms", of: p99, digits: 2, target: "figure ≤5"},
			{name: "ack p50 ms", of: ackP50, digits: 2},
			{name: "ack p99 ms", of: ackP99, digits: 2},
			{name: "CPU µs/msg: hubs", of: cpuPerMessage, digits: 1},
			{name: "Redis", of: func(r result.Run) float64 { return r.RedisCPU / float64(max(r.Sent, 1)) * 1e6 }, digits: 1},
			{name: "Postgres", of: func(r result.Run) float64 { return r.StoreCPU / float64(max(r.Sent, 1)) * 1e6 }, digits: 1},
			{name: "load", of: func(r result.Run) float64 { return r.LoadCPU / float64(max(r.Sent, 1)) * 1e6 }, digits: 1},
		},
	},
	{
		name: "replay", title: "joins of, and pages of 100 from, a room of 1,000,000 in Postgres (gohub) and SQLite, one after another",
		servers: []string{"gohub", "sqlite"}, store: inPostgres, fill: 1_000_000,
		metrics: []metric{
			{name: "join of 20 p50 ms", of: replayed(func(r *result.Replay) float64 { return timed(r.Cold).P50 }), digits: 2},
			{name: "p99", of: replayed(func(r *result.Replay) float64 { return timed(r.Cold).P99 }), digits: 2, target: "figure ≤2"},
			{name: "of an open room p50 ms", of: replayed(func(r *result.Replay) float64 { return timed(r.Warm).P50 }), digits: 2},
			{name: "p99 ", of: replayed(func(r *result.Replay) float64 { return timed(r.Warm).P99 }), digits: 2},
			{name: "newest page p50 ms", of: replayed(func(r *result.Replay) float64 { return timed(r.Newest).P50 }), digits: 2},
			{name: "p99  ", of: replayed(func(r *result.Replay) float64 { return timed(r.Newest).P99 }), digits: 2},
			{name: "middle p50 ms", of: replayed(func(r *result.Replay) float64 { return timed(r.Middle).P50 }), digits: 2},
			{name: "p99   ", of: replayed(func(r *result.Replay) float64 { return timed(r.Middle).P99 }), digits: 2},
			{name: "oldest p50 ms", of: replayed(func(r *result.Replay) float64 { return timed(r.Oldest).P50 }), digits: 2},
			{name: "p99    ", of: replayed(func(r *result.Replay) float64 { return timed(r.Oldest).P99 }), digits: 2},
		},
	},
}

func planByName(name string) (plan, bool) {
	for _, p := range plans {
		if p.name == name {
			return p, true
		}
	}
	return plan{}, false
}
