package main

import (
	"fmt"
	"time"
)

// scenario is a shape of traffic. The named ones are those of the project's
// comparison; flags change what they like.
type scenario struct {
	Rooms    int           // rooms
	Members  int           // connections in each
	Senders  int           // members of each room that publish
	InFlight int           // closed loop: publishes of a sender on their way
	Acked    bool          // closed loop: on their way until they are acked, not until they have come back
	Rate     float64       // open loop: publishes a second over all rooms; 0: closed loop
	Body     int           // bytes
	Sample   int           // connections whose messages are timed, evenly spread; -1: all
	Warm     time.Duration // of traffic before the measured window
	Window   time.Duration // measured
	Idle     bool          // no traffic at all, memory only
	Slow     bool          // one member stops reading
	Stalled  int           // so many members stop reading
	AtOnce   int           // connections that are opened at a time
	Half     bool          // after the closed loop an open one at half its pace
	Storm    bool          // all connections come at once, and that is all
	Missed   int           // messages in each room while all members are away, who then come back at once
	Stop     bool          // the database stops
	Replay   bool          // no publishes: joins and pages of a room with a long past
}

var scenarios = map[string]scenario{
	// One room flat out; the sender keeps 64 broadcasts in flight.
	"a": {Rooms: 1, Members: 1000, Senders: 1, InFlight: 64, Body: 128, Sample: 50, Warm: 2 * time.Second, Window: 8 * time.Second},
	// The same from 64 senders with one in flight each.
	"a64": {Rooms: 1, Members: 1000, Senders: 64, InFlight: 1, Body: 128, Sample: 50, Warm: 2 * time.Second, Window: 8 * time.Second},
	// 150,000 deliveries a second evenly spread: nothing to batch.
	"a2": {Rooms: 1, Members: 1000, Senders: 1, Rate: 150, Body: 128, Sample: -1, Warm: 2 * time.Second, Window: 10 * time.Second},
	// Many small rooms, a sender each, the next publish when its own copy has come.
	"b1": {Rooms: 1000, Members: 4, Senders: 1, InFlight: 1, Body: 128, Sample: 400, Warm: 2 * time.Second, Window: 8 * time.Second},
	// The same at a steady 5,000 a second.
	"b2": {Rooms: 1000, Members: 4, Senders: 1, Rate: 5000, Body: 128, Sample: -1, Warm: 2 * time.Second, Window: 10 * time.Second},
	// One big room with little going on.
	"c": {Rooms: 1, Members: 1000, Senders: 1, Rate: 20, Body: 128, Sample: -1, Warm: 2 * time.Second, Window: 15 * time.Second},
	// Memory of connections that have joined and do nothing.
	"d": {Rooms: 100, Members: 100, Body: 128, Warm: 3 * time.Second, Idle: true},
	// One member of 1,000 stops reading.
	"e": {Rooms: 1, Members: 1000, Senders: 1, Rate: 150, Body: 1024, Sample: -1, Warm: 2 * time.Second, Window: 10 * time.Second, Slow: true},
	// Acks of a store flat out, then at half of that: senders alone in their rooms, since delivery is not the matter.
	"durable": {Rooms: 1000, Members: 1, Senders: 1, InFlight: 8, Acked: true, Half: true, Body: 128, Sample: 50, Warm: 3 * time.Second, Window: 10 * time.Second},
	// The same at a steady 10,000 a second.
	"paced": {Rooms: 1000, Members: 1, Senders: 1, Rate: 10_000, Body: 128, Sample: 50, Warm: 3 * time.Second, Window: 10 * time.Second},
	// The database stands still for a window. What is published meanwhile fits the queue of 16,384.
	"stopped": {Rooms: 100, Members: 10, Senders: 1, Rate: 500, Body: 128, Sample: -1, Warm: 2 * time.Second, Window: 20 * time.Second, Stop: true},
	// A cluster of three: a member of each room on each node. The one that publishes is on another node from room to room.
	"cluster": {Rooms: 200, Members: 3, Senders: 1, Rate: 2000, Body: 128, Sample: -1, Warm: 3 * time.Second, Window: 10 * time.Second},
	// Acks of a hub in memory: senders alone in their rooms, one publish in flight in each.
	"ack": {Rooms: 1000, Members: 1, Senders: 1, InFlight: 1, Acked: true, Body: 128, Sample: 50, Warm: time.Second, Window: 2 * time.Second},
	// Everybody comes at once.
	"storm": {Rooms: 500, Members: 10, Body: 128, AtOnce: 256, Storm: true},
	// Everybody is cut off, misses some messages and comes back at once.
	"resume": {Rooms: 20, Members: 100, Senders: 1, InFlight: 1, Body: 128, Sample: -1, AtOnce: 256, Missed: 50},
	// Some members stop reading.
	"stalled": {Rooms: 1, Members: 200, Senders: 1, Rate: 100, Body: 8192, Sample: -1, Stalled: 2, Warm: time.Second, Window: 3 * time.Second},
	// Joins and pages of a room that the server has filled beforehand.
	"replay": {Rooms: 1, Members: 2, Body: 128, Replay: true},
}

// check names what does not fit.
func (s scenario) check() error {
	switch {
	case s.Rooms < 1 || s.Members < 1:
		return fmt.Errorf("-rooms %d -members %d: at least one each", s.Rooms, s.Members)
	case s.AtOnce < 1:
		return fmt.Errorf("-at-once %d: at least one", s.AtOnce)
	case s.Idle, s.Replay, s.Storm:
		return nil
	case s.Stalled >= s.Members:
		return fmt.Errorf("-stalled %d of %d members", s.Stalled, s.Members)
	case s.Senders < 1 || s.Senders > s.Members:
		return fmt.Errorf("-senders %d of %d members", s.Senders, s.Members)
	case s.Rate <= 0 && s.InFlight < 1:
		return fmt.Errorf("-inflight %d without -rate", s.InFlight)
	case s.Rate <= 0 && s.InFlight > 1 && s.Senders*s.Rooms > 1 && !s.Acked:
		return fmt.Errorf("-inflight %d: more than one only with a single sender", s.InFlight)
	case s.Body < minBody:
		return fmt.Errorf("-body %d: at least %d", s.Body, minBody)
	case s.Rooms*s.Senders > 99_999:
		return fmt.Errorf("%d senders: at most 99,999", s.Rooms*s.Senders)
	}
	return nil
}

func (s scenario) conns() int { return s.Rooms * s.Members }
