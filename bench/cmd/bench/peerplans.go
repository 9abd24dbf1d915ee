package main

import (
	"fmt"

	"github.com/gohub/gohub/bench/internal/result"
)

// all are the peers as they come, gohub first, whose frames the floors copy.
var all = []string{"gohub", "centrifuge", "gws", "gorilla", "melody", "coder", "socketio"}

func and(more ...string) []string { return append(all[:len(all):len(all)], more...) }

// short makes windows short: there are many runs. Node's compiler needs the
// second before them.
func short(flags ...string) []string {
	return append([]string{"-warm", "1s", "-window", "2s"}, flags...)
}

func peakMB(r result.Run) float64 { return given(r.RSSPeak) / 1e6 }

func storm(f func(*result.Storm, result.Run) float64) func(result.Run) float64 {
	return func(r result.Run) float64 {
		if r.Storm == nil {
			return missing
		}
		return f(r.Storm, r)
	}
}

func stalled(f func(*result.Stalled) float64) func(result.Run) float64 {
	return func(r result.Run) float64 {
		if r.Stalled == nil {
			return missing
		}
		return f(r.Stalled)
	}
}

var (
	deliveries = metric{name: "k deliveries/s", of: kDeliveries}
	messages   = metric{name: "k messages/s", of: kMessages, digits: 1}
	perMillion = metric{name: "server CPU-s per million", of: cpuPerMillion, digits: 2, ratio: true}
	perMessage = metric{name: "server CPU µs a message", of: cpuPerMessage, digits: 1, ratio: true}
	median     = metric{name: "p50 ms", of: p50, digits: 2, ratio: true}
	tail       = metric{name: "p99 ms", of: p99, digits: 2}
	writes     = metric{name: "writes a delivery", of: func(r result.Run) float64 { return float64(r.ServerWrites) / float64(max(r.Delivered, 1)) }, digits: 2}
	answers    = metric{name: "writes a message", of: func(r result.Run) float64 { return float64(r.ServerWrites) / float64(max(r.Sent, 1)) }, digits: 1}
	kernel     = metric{name: "% of CPU in the kernel", of: func(r result.Run) float64 { return 100 * (1 - r.ServerUser/max(r.ServerCPU, 1e-9)) }}
	peak       = metric{name: "peak RSS MB", of: peakMB}

	joins = []metric{
		{name: "joins/s", of: storm(func(s *result.Storm, r result.Run) float64 { return float64(s.Conns) / r.Seconds })},
		{name: "server CPU µs a join", of: storm(func(s *result.Storm, r result.Run) float64 { return r.ServerCPU / float64(s.Conns) * 1e6 }), ratio: true},
		{name: "join p50 ms", of: storm(func(s *result.Storm, _ result.Run) float64 { return timed(s.Join).P50 }), digits: 1},
		{name: "join p99 ms", of: storm(func(s *result.Storm, _ result.Run) float64 { return timed(s.Join).P99 }), digits: 1},
	}
	missed = []metric{
		{name: "missed messages that came, %", of: storm(func(s *result.Storm, _ result.Run) float64 { return 100 * float64(s.Got) / float64(max(s.Expected, 1)) }), digits: 1},
		{name: "connections with too few or too many", of: storm(func(s *result.Storm, _ result.Run) float64 { return float64(s.Wrong) })},
	}
	resident = []metric{
		{name: "bytes a connection", of: idle((*result.Idle).PerConn)},
		{name: "after GC", of: idle((*result.Idle).PerConnGC), ratio: true},
		{name: "peak RSS MB", of: idle(func(i *result.Idle) float64 { return given(i.Connected.RSSPeak) / 1e6 })},
		{name: "goroutines each", of: idle(func(i *result.Idle) float64 {
			return given(int64(i.Collected.Goroutines-i.Base.Goroutines)) / float64(i.Conns)
		}), digits: 2},
	}
	slowOnes = []metric{
		{name: "the others' p99 ms before", of: stalled(func(s *result.Stalled) float64 { return timed(s.Before).P99 }), digits: 2},
		{name: "and in the first 3 s with them", of: stalled(func(s *result.Stalled) float64 { return timed(s.With).P99 }), digits: 2},
		{name: "let go within 16 s", of: stalled(func(s *result.Stalled) float64 { return float64(s.Gone) })},
		{name: "all after s", of: stalled(func(s *result.Stalled) float64 { return after(s.GoneAfter) }), digits: 1},
		{name: "RSS growth MB", of: stalled(func(s *result.Stalled) float64 { return (given(s.RSSMax) - given(s.RSSBefore)) / 1e6 })},
	}
)

// peerPlans are the comparison with peers.
var peerPlans = append([]plan{
	{
		name: "fanout", load: "a", flags: short(), floor: "gohub",
		title:   "fan-out flat out: 1 room × 1,000, 64 broadcasts of 128 B in flight",
		servers: and("centrifuge-tuned", "gorilla-tuned", "floor-64", "floor-1"),
		metrics: []metric{deliveries, perMillion, writes, kernel, median, tail, peak}, chart: []metric{perMillion},
	},
	{
		name: "fanout-10k", load: "a", flags: short("-members", "10000", "-inflight", "8", "-warm", "3s", "-window", "4s"), floor: "gohub",
		title:   "fan-out to 10,000 flat out: 1 room × 10,000, 8 broadcasts of 128 B in flight",
		servers: and("centrifuge-tuned", "gorilla-tuned", "floor-8"),
		metrics: []metric{deliveries, perMillion, writes, kernel, median, tail, peak},
	},
	{
		name: "paced-fanout", load: "a2", flags: short("-rate", "80"), floor: "gohub",
		title:   "paced fan-out: 1 room × 1,000 at 80 broadcasts a second, nothing to batch",
		servers: and("centrifuge-tuned", "floor-1"),
		metrics: []metric{deliveries, perMillion, writes, kernel, median, tail, peak}, chart: []metric{perMillion},
	},
	{
		name: "quiet-room", load: "c", flags: short("-window", "8s"), floor: "gohub", pin: true,
		title:   "latency: 1 room × 1,000 at 20 broadcasts a second, server and load on a processor of their own each",
		servers: and("floor-1"),
		metrics: []metric{median, tail, perMillion, writes}, chart: []metric{median},
	},
	{
		name: "rooms", load: "b1", flags: short(), floor: "gohub",
		title:   "many small rooms: 1,000 rooms × 4, closed loop, the next message when the last has come back",
		servers: and("centrifuge-tuned", "floor-1"),
		metrics: []metric{messages, perMessage, answers, kernel, median, tail, peak}, chart: []metric{perMessage},
	},
	{
		name: "paced-rooms", load: "b2", flags: short(), floor: "gohub",
		title:   "many small rooms, paced: 1,000 rooms × 4 at 5,000 messages a second",
		servers: and("centrifuge-tuned", "floor-1"),
		metrics: []metric{perMessage, answers, kernel, median, tail}, chart: []metric{tail},
	},
	{
		name: "acks", floor: "gohub", load: "ack",
		title:   "publish to ack: 1,000 rooms × 1, a publish in flight in each",
		servers: []string{"gohub", "centrifuge", "centrifuge-history", "centrifuge-tuned", "socketio"},
		metrics: []metric{
			{name: "k acks/s", of: func(r result.Run) float64 { return perS(r.Acked, r) / 1e3 }, digits: 1},
			perMessage,
			{name: "ack p50 ms", of: ackP50, digits: 1},
			{name: "ack p99 ms", of: ackP99, digits: 1},
		},
		notes: []string{"gorilla, melody, gws, coder: — (no acks). centrifuge answers when it has published, in memory, and its answer does not say where the message stands."},
	},
	{
		name: "joins", load: "storm",
		title:   "join storm: 5,000 connections into 500 rooms, a closed loop of 256 under way at a time",
		servers: and("centrifuge-tuned", "centrifuge-presence", "centrifuge-tuned-presence", "floor-1"), floor: "gohub", metrics: joins, chart: joins[1:2],
		notes: []string{"gohub tells members who has come, gathered for 0.2 to 0.8 s; of the others centrifuge-presence and -tuned-presence do, of each at once."},
	},
	{
		name: "comebacks", floor: "gohub", load: "resume",
		title:   "reconnect storm: 1,980 of 2,000 members of 20 rooms were cut off, missed 50 messages and come back, a closed loop of 256 under way at a time",
		servers: []string{"gohub", "centrifuge-history", "centrifuge-tuned-history", "centrifuge-history-presence", "centrifuge-tuned-history-presence", "socketio-recovery"},
		metrics: append(joins[:3:3], append(missed, joins[3])...), chart: joins[1:2],
		notes: []string{"gorilla, melody, gws, coder: — (no resume).", "gohub tells members who has come, gathered for 0.2 to 0.8 s; of the others centrifuge-…-presence do, of each at once."},
	},
	{
		name: "idle", load: "d", flags: []string{"-warm", "1s"},
		title:   "memory: 10,000 connections in 100 rooms that do nothing",
		servers: and("centrifuge-tuned", "gorilla-tuned", "floor-1"), floor: "gohub", metrics: resident, chart: resident[1:2],
	},
	{
		name: "idle-19k", load: "d", flags: []string{"-rooms", "190", "-warm", "1s", "-sources", "4"},
		title:   "memory: 19,000 connections in 190 rooms, from four loopback addresses",
		servers: []string{"gohub", "centrifuge", "gws", "floor-1"}, floor: "gohub", metrics: resident,
	},
	{
		name: "idle-50k", load: "d", flags: []string{"-rooms", "500", "-warm", "1s", "-sources", "4"}, heavy: true,
		title:   "memory: 50,000 connections in 500 rooms; needs ulimit -n 51000",
		servers: and("centrifuge-tuned", "gorilla-tuned", "floor-1"), floor: "gohub", metrics: resident,
	},
	{
		name: "slow-1", floor: "gohub", load: "stalled",
		title:   "1 % slow: 2 of 200 members stop reading, 100 broadcasts of 8 KiB a second",
		servers: []string{"gohub", "centrifuge", "gws"}, metrics: slowOnes, chart: slowOnes[4:5],
		notes: []string{"The others are in slow-10."},
	},
	{
		name: "slow-10", floor: "gohub", load: "stalled", flags: []string{"-stalled", "20"},
		title:   "10 % slow: 20 of 200 members stop reading, 100 broadcasts of 8 KiB a second",
		servers: all, metrics: slowOnes, chart: slowOnes[4:5],
	},
	{
		name: "big", load: "a", flags: short("-members", "500", "-inflight", "8", "-body", "16384"), floor: "gohub",
		title:   "16 KiB messages: 1 room × 500, 8 broadcasts in flight",
		servers: and("gorilla-tuned", "floor-1"), metrics: []metric{deliveries, perMillion, writes, kernel, median, tail, peak},
	},
	{
		name: "tls", floor: "gohub", load: "a2", flags: short("-rate", "40"), tls: true,
		title:   "TLS 1.3: 1 room × 1,000 at 40 broadcasts a second",
		servers: all, metrics: []metric{perMillion, writes, kernel, median, tail, peak},
	},
	{
		name: "tls-fanout", floor: "gohub", load: "a", flags: short(), tls: true,
		title:   "TLS 1.3: fan-out flat out, 1 room × 1,000, 64 broadcasts in flight",
		servers: and("centrifuge-tuned", "gorilla-tuned"), metrics: []metric{deliveries, perMillion, writes, kernel, median, tail, peak},
	},
	{
		name: "three-nodes", floor: "redis", load: "cluster", flags: short("-warm", "1s"),
		title:   "cluster of three over Redis: 200 rooms × 3, a member on each node, 2,000 messages a second, latency on the nodes that did not publish",
		servers: []string{"redis", "centrifuge-redis", "centrifuge-redis-history"},
		metrics: []metric{
			median, tail,
			{name: "ack p50 ms", of: ackP50, digits: 2},
			{name: "ack p99 ms", of: ackP99, digits: 2},
			{name: "CPU µs a message: nodes", of: cpuPerMessage},
			{name: "Redis", of: func(r result.Run) float64 { return r.RedisCPU / float64(max(r.Sent, 1)) * 1e6 }},
		},
		notes: []string{"redis is gohub over Redis: order, dedup and a log there. centrifuge-redis: pub/sub alone; -history: with its stream, as resume needs it. The rest of the peers have no cluster, or, as Socket.IO, need sticky sessions and an adapter of their own."},
	},
	{
		name: "stored", floor: "gohub", load: "paced", flags: short("-warm", "1s", "-window", "4s"), store: inPostgres,
		title:   "durable: acks after Postgres (gohub) and from memory (memory), 1,000 rooms × 1, 10,000 publishes a second",
		servers: []string{"gohub", "memory"},
		metrics: []metric{{name: "ack p50 ms", of: ackP50, digits: 2, ratio: true}, {name: "ack p99 ms", of: ackP99, digits: 2}, median, tail, perMessage},
		notes:   []string{"No peer stores in a database of one's own."},
	},
}, growth...)

// growth is what a unit costs as there are ten times as many (of the most rooms
// nine: 20,000 connections would be more than a process may have), gohub beside
// centrifuge and the floor.
var growth = func() (out []plan) {
	some := []string{"gohub", "centrifuge", "floor-1"}
	for _, n := range []int{100, 1000, 10000} {
		flags := short("-members", fmt.Sprint(n), "-rate", fmt.Sprint(50_000/n))
		if n == 10000 {
			flags = append(flags, "-window", "8s") // there are five broadcasts a second
		}
		out = append(out, plan{
			name: fmt.Sprintf("members-%d", n), load: "a2", floor: "gohub", servers: some, flags: flags,
			title:   fmt.Sprintf("growth: 1 room × %d, 50,000 deliveries a second", n),
			metrics: []metric{perMillion, median, tail},
		})
	}
	for i, n := range []int{50, 500, 4500} {
		times := []string{"", ", ten times as many", ", nine times as many"}[i]
		flags := short("-rooms", fmt.Sprint(n))
		if n == 4500 {
			// Each of the 18,000 speaks every 3.6 s: the first time costs what it does once.
			flags = append(flags, "-warm", "8s", "-window", "5s")
		}
		out = append(out, plan{
			name: fmt.Sprintf("rooms-%d", n), load: "b2", floor: "gohub", servers: some, flags: flags,
			title:   fmt.Sprintf("growth: %d rooms × 4%s, 5,000 messages a second", n, times),
			metrics: []metric{perMessage, median, tail},
		})
	}
	return append(out, plan{ // idle and idle-19k go on with it
		name: "connections-1000", load: "d", floor: "gohub", servers: some,
		flags:   []string{"-rooms", "10", "-warm", "1s"},
		title:   "growth: 1,000 idle connections, 100 a room",
		metrics: resident[:2],
	})
}()
