package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// attack is one thing that attackers do.
type attack struct {
	name, group string
	title       string
	server      []string      // further flags of the server
	least       time.Duration // it needs at least as long
	heap        int64         // bytes that the server's heap may have in use
	done        string        // what the attackers count of what they have done,
	times       int64         // so often at least, where no address is limited
	run         func(ctx context.Context, a *attackers)
}

const mib = 1 << 20

// What the heap may reach. A hub at its defaults holds 64 MiB of messages; the
// garbage collector lets the heap double, and spans are not full.
const (
	heapQuiet = 128 * mib // nothing is stored
	heapStore = 320 * mib // the store is full of small messages
	heapMany  = 448 * mib // 10,000 connections
)

// attacks are played in this order.
var attacks = []attack{
	{name: "handshakes", group: "connect", title: "5,000 handshakes/s, every other with bad credentials, closed at once", heap: heapQuiet, run: handshakes},
	{name: "tokens", group: "connect", title: "5,000 handshakes/s with bad ES256 tokens: wrong signature, unknown key, expired", server: []string{"-tokens"}, heap: heapQuiet, run: badTokens},
	{name: "tickets", group: "connect", title: "4,000 tickets/s asked for over requests of 4 KiB, never used", heap: heapQuiet, run: tickets},
	{name: "padding", group: "connect", title: "500 handshakes with a header of 256 KiB", heap: heapQuiet, done: "HTTP 431", times: 500, run: padding},
	{name: "slowheader", group: "slow", title: "2,000 connections that send a byte of the request's header a second", least: 13 * time.Second, heap: heapQuiet, run: slowHeaders},
	{name: "slowframe", group: "slow", title: "1,000 sessions that send a byte of a frame a second", heap: heapQuiet, done: "opened", times: 1_000, run: slowFrames},
	{name: "halfopen", group: "slow", title: "10,000 connections that send nothing", least: 18 * time.Second, heap: heapMany, done: "closed by the server", times: 10_000, run: halfOpen},
	{name: "silent", group: "slow", title: "10,000 sessions that never answer a ping (interval 4 s here)", server: []string{"-ping", "4s"}, least: 20 * time.Second, heap: heapMany, done: "closed 4003", times: 10_000, run: silent},
	{name: "early", group: "frames", title: "frames right behind the request, accepted or refused, and in place of it, 1,000/s", heap: heapQuiet, run: early},
	{name: "malformed", group: "frames", title: "lying lengths, wrong bits, broken fragments, a session each, 500/s", heap: heapQuiet, run: malformed},
	{name: "fuzz", group: "frames", title: "100,000 random and mutated frames", least: 45 * time.Second, heap: heapQuiet, done: "frames sent", times: 100_000, run: fuzz},
	{name: "publish", group: "floods", title: "20 sessions publish as fast as the socket takes", heap: heapStore, run: flood(publishes)},
	{name: "joins", group: "floods", title: "20 sessions join and leave, another room each time", heap: heapQuiet, run: flood(joins)},
	{name: "history", group: "floods", title: "20 sessions ask for history pages of 1 MiB without waiting", heap: heapStore, run: long(histories)},
	{name: "replays", group: "floods", title: "20 sessions join a room of 1 MiB again and again, from its start", heap: heapStore, run: long(replays)},
	{name: "wsping", group: "floods", title: "20 sessions send WebSocket pings", heap: heapQuiet, run: flood(wsPings)},
	{name: "ping", group: "floods", title: "20 sessions send protocol pings", heap: heapQuiet, run: flood(pings)},
	{name: "typing", group: "floods", title: "20 sessions start and stop typing", heap: heapQuiet, run: flood(typings)},
	{name: "receipts", group: "floods", title: "20 sessions send receipts", heap: heapQuiet, run: flood(receipts)},
	{name: "fragments", group: "floods", title: "20 sessions send empty fragments of a message without end", heap: heapQuiet, run: flood(fragments)},
	{name: "presence", group: "floods", title: "20 sessions ask who is in a room of 2,000", heap: heapQuiet, done: "opened", times: 2_000, run: presences},
	{name: "rooms", group: "floods", title: "20 sessions ask for the list of a user who has joined 5,000 rooms", least: 10 * time.Second, heap: heapStore, run: roomLists},
	{name: "deaf", group: "floods", title: "20 sessions send on after they were closed for flooding", heap: heapQuiet, run: deaf},
	{name: "crowd", group: "floods", title: "1,000 sessions of one user, coming and going, and messages to it", heap: heapQuiet, run: crowd},
	{name: "hoard", group: "slow", title: "300 sessions ask for a page of 1 MiB and do not read it", least: 8 * time.Second, heap: 640 * mib, run: hoard},
	{name: "slowreader", group: "slow", title: "200 sessions join a room of 2 MB/s and do not read for 1 to 11 s", least: 12 * time.Second, heap: heapStore, run: slowReaders},
}

// pick finds attacks by their names and groups.
func pick(names string) (picked []attack, err error) {
	for want := range strings.SplitSeq(names, ",") {
		found := false
		for _, a := range attacks {
			if want == "all" || want == a.name || want == a.group {
				picked = append(picked, a)
				found = true
			}
		}
		if !found {
			return nil, fmt.Errorf("no attack or group %q; -list shows them", want)
		}
	}
	return picked, nil
}
