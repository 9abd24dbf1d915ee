package clustertest

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gohub/gohub"
)

type publishFunc = func(b *mutant, ctx context.Context, floor int64, ms []gohub.Message) []gohub.Ordered

// edit makes a Publish that changes messages on their way in.
func edit(f func(*gohub.Message)) publishFunc {
	return func(b *mutant, ctx context.Context, floor int64, ms []gohub.Message) []gohub.Ordered {
		ms = slices.Clone(ms)
		for i := range ms {
			f(&ms[i])
		}
		return b.Broker.Publish(ctx, floor, ms...)
	}
}

// answer makes a Publish that changes what is answered for a message.
func answer(f func(b *mutant, m *gohub.Message, o *gohub.Ordered)) publishFunc {
	return func(b *mutant, ctx context.Context, floor int64, ms []gohub.Message) []gohub.Ordered {
		out := b.Broker.Publish(ctx, floor, ms...)
		for i := range out {
			f(b, &ms[i], &out[i])
		}
		return out
	}
}

// read makes a Log that changes the answer.
func read(f func([]gohub.Message, int64) ([]gohub.Message, int64)) func(gohub.Broker, context.Context, gohub.RoomID, int64, int) ([]gohub.Message, int64, error) {
	return func(b gohub.Broker, ctx context.Context, room gohub.RoomID, after int64, limit int) ([]gohub.Message, int64, error) {
		ms, base, err := b.Log(ctx, room, after, limit)
		ms, base = f(ms, base)
		return ms, base, err
	}
}

// subscribeOnce takes a room for subscribed that was left.
func subscribeOnce() func(gohub.Broker, context.Context, gohub.Receiver, gohub.RoomID) error {
	var seen sync.Map
	return func(b gohub.Broker, ctx context.Context, r gohub.Receiver, room gohub.RoomID) error {
		if _, before := seen.LoadOrStore(room, true); before && room.Name == "lobby" {
			return nil
		}
		return b.Subscribe(ctx, r, room)
	}
}

// redeliver makes duplicates reach the receivers again.
func redeliver(b *mutant, m *gohub.Message, o *gohub.Ordered) {
	if !o.Duplicate {
		return
	}
	again := *m
	again.Seq = o.Seq
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.wrapped {
		r.Receiver.Deliver(again, o.Seq-1)
	}
}

// forgets makes a Publish in which every id is new for the broker, and which
// knows an id again only if key gives the same.
func forgets(key func(*mutant, gohub.Message) string) publishFunc {
	return func(b *mutant, ctx context.Context, floor int64, ms []gohub.Message) []gohub.Ordered {
		out := make([]gohub.Ordered, len(ms))
		for i, m := range ms {
			k := key(b, m)
			b.mu.Lock()
			o, known := b.seqs[k]
			sender := b.senders[k]
			b.mu.Unlock()
			if known {
				if out[i] = o; sender != m.Sender {
					out[i] = gohub.Ordered{Err: gohub.ErrIDConflict}
				}
				continue
			}
			out[i] = b.Broker.Publish(ctx, floor, m)[0]
			b.mu.Lock()
			b.seqs[k] = gohub.Ordered{Seq: out[i].Seq, Duplicate: true}
			b.senders[k] = m.Sender
			b.mu.Unlock()
		}
		return out
	}
}

// anew gives a duplicate a new id, so that it is ordered again.
func anew(when func(b *mutant, m gohub.Message) bool) publishFunc {
	return func(b *mutant, ctx context.Context, floor int64, ms []gohub.Message) []gohub.Ordered {
		ms = slices.Clone(ms)
		for i, m := range ms {
			if when(b, m) {
				ms[i].ID = newID()
			}
			b.mu.Lock()
			b.seqs[m.Room.String()+m.ID] = gohub.Ordered{}
			b.mu.Unlock()
		}
		return b.Broker.Publish(ctx, floor, ms...)
	}
}

func seen(b *mutant, m gohub.Message) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.seqs[m.Room.String()+m.ID]
	return ok
}

// late makes Subscribe return before it is done.
func late(b gohub.Broker, ctx context.Context, r gohub.Receiver, room gohub.RoomID) error {
	if room.Name == "probe" {
		return b.Subscribe(ctx, r, room)
	}
	go func() { // ends within a millisecond
		time.Sleep(time.Millisecond)
		_ = b.Subscribe(context.WithoutCancel(ctx), r, room)
	}()
	return nil
}

func duplicateMutants() map[string]*mutant {
	return map[string]*mutant{
		"delivered again": {publish: answer(redeliver)},
		"answers a new seq": {publish: answer(func(_ *mutant, _ *gohub.Message, o *gohub.Ordered) {
			if o.Duplicate {
				o.Seq++
			}
		})},
		"does not say so": {publish: answer(func(_ *mutant, _ *gohub.Message, o *gohub.Ordered) { o.Duplicate = false })},
		"forgets at once": {publish: anew(seen)},
	}
}

func orderMutants() map[string]*mutant {
	return map[string]*mutant{
		"loses one": {deliver: func(r gohub.Receiver, m gohub.Message, prev int64) {
			if string(m.Body) != `"user-1 1"` {
				r.Deliver(m, prev)
			}
		}},
		"prev is nothing": {deliver: func(r gohub.Receiver, m gohub.Message, _ int64) { r.Deliver(m, 0) }},
		"two at once":     {deliver: func(r gohub.Receiver, m gohub.Message, prev int64) { go r.Deliver(m, prev) }},
		"each has its own seq": {publish: answer(func(_ *mutant, m *gohub.Message, o *gohub.Ordered) {
			o.Seq += int64(m.Sender[len(m.Sender)-1])
		})},
	}
}

func barrierMutants() map[string]*mutant {
	return map[string]*mutant{"returns early": {subscribe: late}}
}

func midStreamMutants() map[string]*mutant {
	return map[string]*mutant{
		"returns early": {subscribe: func(b gohub.Broker, ctx context.Context, r gohub.Receiver, room gohub.RoomID) error {
			return late(b, ctx, r, room)
		}},
		"a gap": {deliver: func(r gohub.Receiver, m gohub.Message, prev int64) {
			if string(m.Body) != `"alice 100"` {
				r.Deliver(m, prev)
			}
		}},
	}
}

func signalMutants() map[string]*mutant {
	return map[string]*mutant{
		"drops outside": {signal: func(m *mutant, to gohub.Target, frame []byte) {
			to.Outside = false
			m.Broker.Signal(to, frame)
		}},
		"drops except": {signal: func(m *mutant, to gohub.Target, frame []byte) {
			to.Except = ""
			m.Broker.Signal(to, frame)
		}},
		"as text": {signal: func(m *mutant, to gohub.Target, frame []byte) {
			m.Broker.Signal(to, bytes.ToValidUTF8(frame, []byte("?")))
		}},
		"not to the first": {signal: func(m *mutant, to gohub.Target, frame []byte) {
			m.mu.Lock()
			defer m.mu.Unlock()
			for _, r := range m.wrapped[1:] {
				r.Receiver.Signal(to, frame)
			}
		}},
	}
}

func logThenStoreMutants() map[string]*mutant {
	return map[string]*mutant{
		"lets go of all before": {stored: func(b gohub.Broker, ms []gohub.Message) {
			for _, m := range ms {
				all, _, _ := b.Log(context.Background(), m.Room, 0, 1000)
				b.Stored(slices.DeleteFunc(all, func(o gohub.Message) bool { return o.Seq > m.Seq })...)
			}
		}},
		"base too high": {log: read(func(ms []gohub.Message, _ int64) ([]gohub.Message, int64) { return ms, math.MaxInt64 })},
	}
}

func orphanMutants() map[string]*mutant {
	return map[string]*mutant{"hands out the living's": {
		publish: answer(func(b *mutant, m *gohub.Message, o *gohub.Ordered) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.orphan = *m
			b.orphan.Seq = o.Seq
		}),
		orphans: func(b *mutant, _ context.Context, store func([]gohub.Message) error) error {
			return store([]gohub.Message{b.orphan})
		},
	}}
}

// mutants, each with the subtest that must fail.
func mutants() map[string]map[string]*mutant {
	return map[string]map[string]*mutant{
		"Order":            orderMutants(),
		"OrderAcrossNodes": orderMutants(),
		"Batch": {"backwards": {publish: func(b *mutant, ctx context.Context, floor int64, ms []gohub.Message) []gohub.Ordered {
			ms = slices.Clone(ms)
			slices.Reverse(ms)
			out := b.Broker.Publish(ctx, floor, ms...)
			slices.Reverse(out)
			return out
		}}},
		"Floor": {
			"ignored": {publish: func(b *mutant, ctx context.Context, _ int64, ms []gohub.Message) []gohub.Ordered {
				return b.Broker.Publish(ctx, 0, ms...)
			}},
			"only the first": {publish: func(b *mutant, ctx context.Context, floor int64, ms []gohub.Message) []gohub.Ordered {
				b.mu.Lock()
				first := len(b.seqs) == 0
				b.seqs["first"] = gohub.Ordered{}
				b.mu.Unlock()
				if !first {
					floor = 0
				}
				return b.Broker.Publish(ctx, floor, ms...)
			}},
			"prev is not the floor": {deliver: func(r gohub.Receiver, m gohub.Message, prev int64) {
				r.Deliver(m, prev-1)
			}},
		},
		"Clock": {
			"milliseconds": {publish: answer(func(_ *mutant, _ *gohub.Message, o *gohub.Ordered) { o.Seq /= 1000 })},
			"a counter":    {publish: answer(func(_ *mutant, _ *gohub.Message, o *gohub.Ordered) { o.Seq = 1 })},
			"stands still": {publish: answer(func(_ *mutant, _ *gohub.Message, o *gohub.Ordered) { o.Seq = o.Seq / 1e7 * 1e7 })},
		},
		"EverythingCarried": {
			"drops to":     {publish: edit(func(m *gohub.Message) { m.To = "" })},
			"drops kind":   {publish: edit(func(m *gohub.Message) { m.Kind = "chat" })},
			"drops binary": {publish: edit(func(m *gohub.Message) { m.Binary = false })},
			"stops at NUL": {publish: edit(func(m *gohub.Message) { m.Body, _, _ = bytes.Cut(m.Body, []byte{0}) })},
			"wants UTF-8":  {publish: edit(func(m *gohub.Message) { m.Body = bytes.ToValidUTF8(m.Body, []byte("?")) })},
			"cut at 64 KiB": {log: read(func(ms []gohub.Message, base int64) ([]gohub.Message, int64) {
				for i := range ms {
					ms[i].Body = ms[i].Body[:min(len(ms[i].Body), 64<<10)]
				}
				return ms, base
			})},
		},
		"Tenants": {
			"delivers without the tenant": {deliver: func(r gohub.Receiver, m gohub.Message, prev int64) {
				m.Room.Tenant = ""
				r.Deliver(m, prev)
			}},
			"one order for all tenants": {publish: edit(func(m *gohub.Message) { m.Room.Tenant = "" })},
			"one log for all tenants": {log: func(b gohub.Broker, ctx context.Context, room gohub.RoomID, after int64, limit int) ([]gohub.Message, int64, error) {
				return b.Log(ctx, gohub.RoomID{Name: room.Name}, after, limit)
			}},
			"ignores case": {subscribe: func(b gohub.Broker, ctx context.Context, r gohub.Receiver, room gohub.RoomID) error {
				upper := room
				upper.Name = strings.ToUpper(room.Name[:1]) + room.Name[1:]
				_ = b.Subscribe(ctx, r, upper)
				return b.Subscribe(ctx, r, room)
			}},
			"ids of all tenants": {publish: forgets(func(_ *mutant, m gohub.Message) string { return m.Room.Name + m.ID })},
		},
		"Duplicate":            duplicateMutants(),
		"DuplicateAcrossNodes": duplicateMutants(),
		"DuplicateInBatch": {"looks before the batch only": {publish: func(b *mutant, ctx context.Context, floor int64, ms []gohub.Message) []gohub.Ordered {
			ms = slices.Clone(ms)
			for i := range ms {
				if slices.ContainsFunc(ms[:i], func(m gohub.Message) bool { return m.ID == ms[i].ID }) {
					ms[i].ID = newID()
				}
			}
			return b.Broker.Publish(ctx, floor, ms...)
		}}},
		"DuplicateOfStored": {"the log is the memory": {publish: anew(func(b *mutant, m gohub.Message) bool {
			ms, _, _ := b.Log(context.Background(), m.Room, 0, 1000)
			return !slices.ContainsFunc(ms, func(o gohub.Message) bool { return o.ID == m.ID })
		})}},
		"DedupWindow": {"one too short": {publish: anew(func(b *mutant, m gohub.Message) bool {
			b.mu.Lock()
			count := len(b.seqs)
			b.mu.Unlock()
			return count > 1000 && seen(b, m)
		})}},
		"DuplicateRace": {
			"looks, then orders": {publish: func(b *mutant, ctx context.Context, floor int64, ms []gohub.Message) []gohub.Ordered {
				known := seen(b, ms[0])
				time.Sleep(2 * time.Millisecond)
				out := b.Broker.Publish(ctx, floor, ms...)
				b.mu.Lock()
				defer b.mu.Unlock()
				b.seqs[ms[0].Room.String()+ms[0].ID] = out[0]
				out[0].Duplicate = known
				return out
			}},
			"all are new": {publish: answer(func(_ *mutant, _ *gohub.Message, o *gohub.Ordered) { o.Duplicate = false })},
		},
		"DuplicateRaceAcrossNodes": {"each node for itself": {publish: anew(seen)}},
		"Conflict": {
			"taken for a duplicate": {publish: answer(func(_ *mutant, _ *gohub.Message, o *gohub.Ordered) {
				if o.Err != nil {
					*o = gohub.Ordered{Seq: 1, Duplicate: true}
				}
			})},
			"fails the batch": {publish: func(b *mutant, ctx context.Context, floor int64, ms []gohub.Message) []gohub.Ordered {
				out := b.Broker.Publish(ctx, floor, ms...)
				if slices.ContainsFunc(out, func(o gohub.Ordered) bool { return o.Err != nil }) {
					return slices.Repeat([]gohub.Ordered{{Err: gohub.ErrIDConflict}}, len(ms))
				}
				return out
			}},
			"ids by sender": {publish: func(b *mutant, ctx context.Context, floor int64, ms []gohub.Message) []gohub.Ordered {
				ms = slices.Clone(ms)
				for i := range ms {
					if ms[i].Sender == "mallory" {
						ms[i].ID = newID()
					}
				}
				return b.Broker.Publish(ctx, floor, ms...)
			}},
		},
		"SameIDElsewhere":               {"ids are global": {publish: forgets(func(_ *mutant, m gohub.Message) string { return m.ID })}},
		"SubscribeBarrier":              barrierMutants(),
		"SubscribeBarrierAcrossNodes":   barrierMutants(),
		"SubscribeMidStream":            midStreamMutants(),
		"SubscribeMidStreamAcrossNodes": midStreamMutants(),
		"SubscribeTwice": {"delivers twice": {deliver: func(r gohub.Receiver, m gohub.Message, prev int64) {
			r.Deliver(m, prev)
			r.Deliver(m, prev)
		}}},
		"Unsubscribe":               {"does nothing": {unsubscribe: func(gohub.Broker, gohub.Receiver, gohub.RoomID) {}}},
		"SubscribeAgain":            {"once and for all": {subscribe: subscribeOnce()}},
		"SubscribeAgainAcrossNodes": {"once and for all": {subscribe: subscribeOnce()}},
		"UnsubscribeLeavesOthers":   {"does nothing": {unsubscribe: func(gohub.Broker, gohub.Receiver, gohub.RoomID) {}}},
		"Signal":                    signalMutants(),
		"SignalAcrossNodes":         signalMutants(),
		"Log": {
			"after inclusive": {log: func(b gohub.Broker, ctx context.Context, room gohub.RoomID, after int64, limit int) ([]gohub.Message, int64, error) {
				return b.Log(ctx, room, after-1, limit)
			}},
			"no limit": {log: func(b gohub.Broker, ctx context.Context, room gohub.RoomID, after int64, _ int) ([]gohub.Message, int64, error) {
				return b.Log(ctx, room, after, 1000)
			}},
			"the newest": {log: func(b gohub.Broker, ctx context.Context, room gohub.RoomID, after int64, limit int) ([]gohub.Message, int64, error) {
				ms, base, err := b.Log(ctx, room, after, 1000)
				return ms[max(0, len(ms)-limit):], base, err
			}},
			"descending": {log: read(func(ms []gohub.Message, base int64) ([]gohub.Message, int64) {
				slices.Reverse(ms)
				return ms, base
			})},
			"base is the head": {log: read(func(ms []gohub.Message, base int64) ([]gohub.Message, int64) {
				if len(ms) > 0 {
					base = ms[len(ms)-1].Seq
				}
				return ms, base
			})},
		},
		"LogIsKept": {"keeps nothing": {publish: func(b *mutant, ctx context.Context, floor int64, ms []gohub.Message) []gohub.Ordered {
			out := b.Broker.Publish(ctx, floor, ms...)
			for i, m := range ms {
				m.Seq = out[i].Seq
				b.Broker.Stored(m)
			}
			return out
		}}},
		"Stored": {
			"lets go of all before": logThenStoreMutants()["lets go of all before"],
			"base too high":         logThenStoreMutants()["base too high"],
			"base too low":          {log: read(func(ms []gohub.Message, _ int64) ([]gohub.Message, int64) { return ms, 0 })},
			"loses the last": {log: read(func(ms []gohub.Message, base int64) ([]gohub.Message, int64) {
				return ms[:max(0, len(ms)-1)], base
			})},
		},
		"StoredLetsGo":            {"keeps all": {stored: func(gohub.Broker, []gohub.Message) {}}},
		"LogThenStore":            logThenStoreMutants(),
		"LogThenStoreAcrossNodes": logThenStoreMutants(),
		"UnavailableBeforeRun": {"another error": {log: func(gohub.Broker, context.Context, gohub.RoomID, int64, int) ([]gohub.Message, int64, error) {
			return nil, 0, errors.New("not connected")
		}}},
		"UnavailableAfterRun": {"works on": {run: func(b gohub.Broker, ctx context.Context, r gohub.Receiver) error {
			go b.Run(context.WithoutCancel(ctx), r) //nolint:errcheck // never ends
			<-ctx.Done()
			return nil
		}}},
		"RunAgain": {
			"starts from the beginning": {publish: answer(func(b *mutant, _ *gohub.Message, o *gohub.Ordered) {
				b.mu.Lock()
				defer b.mu.Unlock()
				if len(b.wrapped) == 2 {
					o.Seq = 5
				}
			})},
			"subscribes by itself": {subscribe: func(b gohub.Broker, ctx context.Context, r gohub.Receiver, room gohub.RoomID) error {
				room.Name = "lobby"
				return b.Subscribe(ctx, r, room)
			}, unsubscribe: func(gohub.Broker, gohub.Receiver, gohub.RoomID) {}},
		},
		"OneRunEnds": {"all end": {publish: func(b *mutant, ctx context.Context, floor int64, ms []gohub.Message) []gohub.Ordered {
			if len(ms) == 3 {
				return slices.Repeat([]gohub.Ordered{{Err: gohub.ErrUnavailable}}, 3)
			}
			return b.Broker.Publish(ctx, floor, ms...)
		}}},
		"RunEndsInTraffic": {"delivers on": {run: func(b gohub.Broker, ctx context.Context, r gohub.Receiver) error {
			go b.Run(context.WithoutCancel(ctx), r) //nolint:errcheck // never ends
			<-ctx.Done()
			return nil
		}}},
		"CancelledContext": {
			"ordered but says not": {publish: func(b *mutant, ctx context.Context, floor int64, ms []gohub.Message) []gohub.Ordered {
				out := b.Broker.Publish(context.WithoutCancel(ctx), floor, ms...)
				if ctx.Err() != nil {
					return slices.Repeat([]gohub.Ordered{{Err: gohub.ErrUnavailable}}, len(ms))
				}
				return out
			}},
			"bare error": {publish: func(b *mutant, ctx context.Context, floor int64, ms []gohub.Message) []gohub.Ordered {
				if ctx.Err() != nil {
					return slices.Repeat([]gohub.Ordered{{Err: ctx.Err()}}, len(ms))
				}
				return b.Broker.Publish(ctx, floor, ms...)
			}},
			"log ignores it": {log: func(b gohub.Broker, ctx context.Context, room gohub.RoomID, after int64, limit int) ([]gohub.Message, int64, error) {
				return b.Log(context.WithoutCancel(ctx), room, after, limit)
			}},
		},
		"CancelRace": {"ordered but says not": {publish: func(b *mutant, ctx context.Context, floor int64, ms []gohub.Message) []gohub.Ordered {
			out := b.Broker.Publish(context.WithoutCancel(ctx), floor, ms...)
			select {
			case <-ctx.Done():
				return slices.Repeat([]gohub.Ordered{{Err: gohub.ErrUnavailable}}, len(ms))
			case <-time.After(20 * time.Millisecond): // it is the repetition
				return out
			}
		}}},
		"OrphansOfTheLiving":            orphanMutants(),
		"OrphansOfTheLivingAcrossNodes": orphanMutants(),
	}
}
