package gohub_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/cluster/clustertest"
)

func TestMemoryBroker(t *testing.T) {
	f := clustertest.Features{SharedReceivers: true, DedupMessages: 1024, Prompt: true, Skew: time.Second, Quiet: 5 * time.Millisecond}
	clustertest.Run(t, f, func(*testing.T) gohub.Broker { return gohub.NewMemoryBroker() })
}

// memReceiver counts.
type memReceiver struct {
	deliver func(gohub.Message)
	count   atomic.Int64
}

func (r *memReceiver) Deliver(m gohub.Message, _ int64) {
	r.count.Add(1)
	if r.deliver != nil {
		r.deliver(m)
	}
}
func (r *memReceiver) Signal(gohub.Target, []byte) {}
func (r *memReceiver) Suspect(...gohub.RoomID)     {}

// memBroker gives a broker on which r runs until the test ends.
func memBroker(t testing.TB, r gohub.Receiver) *gohub.MemoryBroker {
	t.Helper()
	b := gohub.NewMemoryBroker()
	var wg sync.WaitGroup
	wg.Go(func() { assert.NoError(t, b.Run(t.Context(), r)) })
	t.Cleanup(wg.Wait)
	probe := gohub.RoomID{Name: "probe"}
	require.Eventually(t, func() bool { return b.Subscribe(t.Context(), r, probe) == nil }, patience, time.Millisecond)
	b.Unsubscribe(r, probe)
	return b
}

func memPublish(t *testing.T, b gohub.Broker, m gohub.Message) gohub.Ordered {
	t.Helper()
	o := b.Publish(t.Context(), 0, m)
	require.Len(t, o, 1)
	require.NoError(t, o[0].Err)
	return o[0]
}

func TestMemoryBrokerForgetsIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memBroker(t, &memReceiver{})
		m := memMessage("lobby", 1)
		first := memPublish(t, b, m)
		m.Seq = first.Seq

		time.Sleep(time.Hour)
		assert.True(t, memPublish(t, b, m).Duplicate, "an unstored message is known forever")

		b.Stored(m)
		again := memPublish(t, b, m)
		assert.False(t, again.Duplicate, "stored, and long ago")
		m.Seq = again.Seq
		b.Stored(m)
		time.Sleep(2 * time.Minute)
		assert.Equal(t, gohub.Ordered{Seq: again.Seq, Duplicate: true}, memPublish(t, b, m), "known for two minutes")
		time.Sleep(time.Microsecond)
		assert.False(t, memPublish(t, b, m).Duplicate, "and no longer")
	})
}

func TestMemoryBrokerRemembersTheNewestIDs(t *testing.T) {
	b := memBroker(t, &memReceiver{})
	first := memMessage("lobby", 0)
	publish := func(m gohub.Message) (stored gohub.Message) {
		m.Seq = memPublish(t, b, m).Seq
		return m
	}
	first = publish(first)
	b.Stored(first)
	for i := range 1023 {
		b.Stored(publish(memMessage("lobby", i+1)))
	}
	assert.True(t, memPublish(t, b, first).Duplicate, "1,023 newer ones")
	b.Stored(publish(memMessage("lobby", 1024)))
	assert.False(t, memPublish(t, b, first).Duplicate, "1,024 newer ones")

	waiting := publish(memMessage("other", 1))
	for i := range 3000 {
		b.Stored(publish(memMessage("other", i+2)))
	}
	assert.True(t, memPublish(t, b, waiting).Duplicate, "unstored ones do not count, however many")
	assert.True(t, memPublish(t, b, memMessage("other", 2)).Duplicate, "nor what is above them")
	b.Stored(waiting)
	publish(memMessage("other", 5000))
	assert.False(t, memPublish(t, b, memMessage("other", 2)).Duplicate)
}

func TestMemoryBrokerTellsIDsApart(t *testing.T) {
	b := memBroker(t, &memReceiver{})
	ids := []string{
		"0198c0de-abcd-7000-8000-0123456789ab", "0198C0DE-ABCD-7000-8000-0123456789AB",
		"0198c0de-abcd-7000-8000-0123456789aB", "0198c0deabcd700080000123456789ab",
		"0198c0de-abcd-7000-8000-0123456789a-", "0198c0de-abcd-7000-8000-0123456789a\xff",
		"--------------------------------------"[:36], "", "x", strings.Repeat("x", 500),
		"0198c0de.abcd-7000-8000-0123456789ab",
	}
	for i, id := range ids {
		m := memMessage("lobby", 0)
		m.ID = id
		assert.False(t, memPublish(t, b, m).Duplicate, "%d: %q", i, id)
	}
	for i, id := range ids {
		m := memMessage("lobby", 0)
		m.ID = id
		assert.True(t, memPublish(t, b, m).Duplicate, "%d: %q", i, id)
	}
}

func TestMemoryBrokerDropsIdleRooms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &memReceiver{}
		b := memBroker(t, r)
		var last gohub.Message
		for i := range 500 {
			m := memMessage(fmt.Sprint("room-", i), i)
			m.Seq = memPublish(t, b, m).Seq
			if i != 7 {
				b.Stored(m)
			}
			last = m
		}
		kept := gohub.RoomID{Tenant: "acme", Name: "subscribed"}
		require.NoError(t, b.Subscribe(t.Context(), r, kept))
		ahead := memMessage("ahead", 1)
		ahead.Seq = b.Publish(t.Context(), time.Now().Add(time.Hour).UnixMicro(), ahead)[0].Seq
		b.Stored(ahead)

		time.Sleep(time.Minute)
		assert.GreaterOrEqual(t, gohub.MemoryBrokerRooms(b), 502, "ids are remembered for two minutes")
		time.Sleep(3 * time.Minute)
		assert.Equal(t, 3, gohub.MemoryBrokerRooms(b), "one unstored, one subscribed, one ahead of the clock")
		ms, base, err := b.Log(t.Context(), last.Room, 0, 10)
		require.NoError(t, err)
		assert.Empty(t, ms)
		assert.Equal(t, int64(math.MaxInt64), base, "all there is is in the Store")

		again := last
		again.ID = memID(9999)
		again.Seq = memPublish(t, b, again).Seq
		assert.Greater(t, again.Seq, last.Seq, "the order goes on")
		ms, base, err = b.Log(t.Context(), last.Room, 0, 10)
		require.NoError(t, err)
		assert.Equal(t, []gohub.Message{again}, ms)
		assert.GreaterOrEqual(t, base, last.Seq, "what came before is in the Store")
		assert.Less(t, base, again.Seq)

		time.Sleep(2 * time.Hour)
		assert.Equal(t, 3, gohub.MemoryBrokerRooms(b), "two unstored, one subscribed")
		ahead.ID = memID(10000)
		assert.Greater(t, memPublish(t, b, ahead).Seq, ahead.Seq)
	})
}

func TestMemoryBrokerClock(t *testing.T) {
	b := memBroker(t, &memReceiver{})
	now := int64(1_000_000)
	gohub.SetClock(b, func() int64 { return now })
	publish := func(i int) int64 { return memPublish(t, b, memMessage("lobby", i)).Seq }
	assert.Equal(t, int64(1_000_000), publish(1))
	assert.Equal(t, int64(1_000_001), publish(2), "bumped where two would share it")
	now = 5
	assert.Equal(t, int64(1_000_002), publish(3), "a clock that stepped back changes nothing")
	now = 2_000_000
	assert.Equal(t, int64(2_000_000), publish(4))
}

// While a message is being delivered, the room may be subscribed, left, read
// and stored: a hub does that under locks that its Deliver takes.
func TestMemoryBrokerHoldsNoLockWhileDelivering(t *testing.T) {
	r, other := &memReceiver{}, &memReceiver{}
	b := memBroker(t, r)
	m := memMessage("lobby", 1)
	require.NoError(t, b.Subscribe(t.Context(), r, m.Room))
	r.deliver = func(got gohub.Message) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			ms, _, err := b.Log(t.Context(), m.Room, 0, 10)
			assert.NoError(t, err)
			assert.Equal(t, []gohub.Message{got}, ms, "what is delivered is in the log")
			b.Stored(got)
			b.Unsubscribe(r, m.Room)
			assert.NoError(t, b.Subscribe(t.Context(), r, m.Room))
			assert.ErrorIs(t, b.Subscribe(t.Context(), other, m.Room), gohub.ErrUnavailable, "it does not run here")
		}()
		select {
		case <-done:
		case <-time.After(patience):
			t.Error("blocked while a message is being delivered")
		}
	}
	memPublish(t, b, m)
	assert.EqualValues(t, 1, r.count.Load())
}

func TestMemoryBrokerRunsAReceiverOnce(t *testing.T) {
	r := &memReceiver{}
	b := memBroker(t, r)
	require.Error(t, b.Run(t.Context(), r))
	m := memMessage("lobby", 1)
	require.NoError(t, b.Subscribe(t.Context(), r, m.Room), "the first Run goes on")
	memPublish(t, b, m)
	assert.EqualValues(t, 1, r.count.Load())
}

// Rooms come and go under publishers, subscribers and the sweeper.
func TestMemoryBrokerUnderConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := gohub.NewMemoryBroker()
		ctx, cancel := context.WithCancel(t.Context())
		var runs, wg sync.WaitGroup
		for n := range 3 {
			var mu sync.Mutex // protects last
			last := map[gohub.RoomID]int64{}
			r := &memReceiver{deliver: func(m gohub.Message) {
				mu.Lock()
				defer mu.Unlock()
				assert.Greater(t, m.Seq, last[m.Room])
				last[m.Room] = m.Seq
			}}
			runs.Go(func() { assert.NoError(t, b.Run(ctx, r)) })
			synctest.Wait()
			for w := range 4 {
				wg.Go(func() {
					for i := range 200 {
						m := memMessage(fmt.Sprint("room-", i%9), 1000*(4*n+w)+i)
						if i%3 == 0 {
							if err := b.Subscribe(ctx, r, m.Room); err != nil {
								t.Error(err)
							}
						}
						o := b.Publish(ctx, 0, m)[0]
						if o.Err != nil || o.Duplicate {
							t.Errorf("a new message: %+v", o)
						}
						m.Seq = o.Seq
						b.Stored(m)
						if i%3 == 1 || i > 180 {
							b.Unsubscribe(r, m.Room)
						}
						time.Sleep(time.Duration(i*i%50) * time.Second)
					}
				})
			}
		}
		wg.Wait()
		time.Sleep(5 * time.Minute)
		assert.Zero(t, gohub.MemoryBrokerRooms(b))
		cancel()
		runs.Wait()
	})
}

func TestMemoryBrokerPublishAllocates(t *testing.T) {
	r := &memReceiver{}
	b := memBroker(t, r)
	room := memMessages[0].Room
	require.NoError(t, b.Subscribe(t.Context(), r, room))
	i := 0
	publish1 := func() {
		m := memMessages[i%len(memMessages)]
		i++
		_ = gohub.Publish1(b, 0, &m)
		b.Stored(m)
	}
	for range 3000 {
		publish1()
	}
	assert.Zero(t, testing.AllocsPerRun(1000, publish1))
	publish := func() {
		m := memMessages[i%len(memMessages)]
		i++
		m.Seq = b.Publish(t.Context(), 0, m)[0].Seq
		b.Stored(m)
	}
	assert.LessOrEqual(t, testing.AllocsPerRun(1000, publish), 2.0, "the results, and maybe the variadic slice")
}

// One message at a time to one receiver that does nothing, into one room and
// a thousand, half of them by the hub's own way. Each is Stored at once.
func BenchmarkMemoryBrokerPublish(b *testing.B) {
	for _, rooms := range []int{1, 1000} {
		r := &memReceiver{}
		br := memBroker(b, r)
		names := make([]string, rooms)
		for i := range names {
			names[i] = fmt.Sprint("room-", i)
			require.NoError(b, br.Subscribe(b.Context(), r, gohub.RoomID{Tenant: "acme", Name: names[i]}))
		}
		i := 0
		next := func() gohub.Message {
			m := memMessages[i%len(memMessages)]
			m.Room.Name = names[i%rooms]
			i++
			return m
		}
		b.Run(fmt.Sprintf("one/rooms=%d", rooms), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m := next()
				if o := gohub.Publish1(br, 0, &m); o.Err != nil {
					b.Fatal(o.Err)
				}
				br.Stored(m)
			}
		})
		b.Run(fmt.Sprintf("slice/rooms=%d", rooms), func(b *testing.B) {
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				m := next()
				o := br.Publish(ctx, 0, m)
				if o[0].Err != nil {
					b.Fatal(o[0].Err)
				}
				m.Seq = o[0].Seq
				br.Stored(m)
			}
		})
	}
}
