//go:build unix

package redis

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/internal/redistest"
)

// BenchmarkPublish orders messages of 128 B: one after the other, and by many
// publishers at once, whose calls share writes. No receiver subscribes; "floor"
// is an INCR in place of the script. ns/op is a call's; a batch has 16 messages.
func BenchmarkPublish(b *testing.B) {
	s := redistest.New(b)
	br := broker(b, s, prefix())
	runs(b, br, new(recorder))
	body := make([]byte, 128)
	next := func(i int64) gohub.Message {
		return gohub.Message{Room: gohub.RoomID{Tenant: "acme", Name: fmt.Sprint("room-", i%200)}, ID: gohub.NewID(), Sender: "alice", Kind: "chat", Binary: true, Body: body}
	}
	publish := func(b *testing.B, ms ...gohub.Message) {
		b.Helper()
		for i, o := range br.Publish(b.Context(), 0, ms...) {
			if o.Err != nil {
				b.Error(o.Err)
				return
			}
			ms[i].Seq = o.Seq
		}
		br.Stored(ms...)
	}
	b.Run("alone", func(b *testing.B) {
		for i := int64(0); b.Loop(); i++ {
			publish(b, next(i))
		}
	})
	for _, batch := range []int{1, 16} {
		b.Run(fmt.Sprintf("many/batch=%d", batch), func(b *testing.B) {
			_, err := s.Do("CONFIG", "RESETSTAT")
			require.NoError(b, err)
			var n atomic.Int64
			b.SetParallelism(100)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := n.Add(1)
					ms := make([]gohub.Message, batch)
					for j := range ms {
						ms[j] = next(i)
					}
					publish(b, ms...)
				}
			})
			b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "msg/s")
			b.ReportMetric(scriptTime(b, br)/float64(b.N), "redis-µs/call")
		})
	}
	b.Run("floor", func(b *testing.B) {
		c := br.client
		b.SetParallelism(100)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				require.NoError(b, c.Do(b.Context(), c.B().Incr().Key("n").Build()).Error())
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
	})
}

// BenchmarkAnnounce has users come to and leave 200 rooms that have 500 others,
// one and 50 with a call. redis-µs/change is what Redis itself takes for one.
func BenchmarkAnnounce(b *testing.B) {
	s := redistest.New(b)
	br := broker(b, s, prefix())
	runs(b, br, new(recorder))
	room := func(i int64) gohub.RoomID { return gohub.RoomID{Tenant: "acme", Name: fmt.Sprint("room-", i%200)} }
	crowd := make([]gohub.PresentUser, 500)
	for i := range crowd {
		crowd[i] = gohub.PresentUser{User: fmt.Sprintf("user-%06d", i), Name: "A Name", Sessions: 1}
	}
	before := redisMemory(b, br)
	for i := range int64(200) {
		_, err := br.Announce(b.Context(), room(i), crowd, false)
		require.NoError(b, err)
	}
	b.Logf("%.0f B of Redis for a user in a room", float64(redisMemory(b, br)-before)/200/500)
	for _, batch := range []int{1, 50} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			_, err := s.Do("CONFIG", "RESETSTAT")
			require.NoError(b, err)
			var n atomic.Int64
			b.SetParallelism(32)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := n.Add(1)
					users := make([]gohub.PresentUser, batch)
					for j := range users {
						users[j] = gohub.PresentUser{User: fmt.Sprintf("guest-%d-%d", i/2, j), Name: "A Guest", Sessions: int(i % 2)}
					}
					if _, err := br.Announce(b.Context(), room(i/2), users, false); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.StopTimer()
			b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "changes/s")
			b.ReportMetric(scriptTime(b, br)/float64(b.N*batch), "redis-µs/change")
		})
	}
	b.Run("present", func(b *testing.B) {
		_, err := s.Do("CONFIG", "RESETSTAT")
		require.NoError(b, err)
		for i := int64(0); b.Loop(); i++ {
			page, err := br.Present(b.Context(), room(i), "user-000200", 100)
			require.NoError(b, err)
			require.Len(b, page.Users, 100)
		}
		b.ReportMetric(scriptTime(b, br)/float64(b.N), "redis-µs/page")
	})
}

func redisInfo(b *testing.B, br *Broker, section string) string {
	b.Helper()
	info, err := br.client.Do(b.Context(), br.client.B().Info().Section(section).Build()).ToString()
	require.NoError(b, err)
	return info
}

func redisMemory(b *testing.B, br *Broker) int64 {
	b.Helper()
	n, err := strconv.ParseInt(infoField(redisInfo(b, br, "memory"), "used_memory"), 10, 64)
	require.NoError(b, err)
	return n
}

// scriptTime is how many µs scripts took since the last CONFIG RESETSTAT.
func scriptTime(b *testing.B, br *Broker) (sum float64) {
	b.Helper()
	stats := redisInfo(b, br, "commandstats")
	for _, name := range []string{"cmdstat_evalsha", "cmdstat_evalsha_ro"} {
		if _, rest, ok := strings.Cut(infoField(stats, name), "usec="); ok {
			text, _, _ := strings.Cut(rest, ",")
			n, err := strconv.ParseFloat(text, 64)
			require.NoError(b, err)
			sum += n
		}
	}
	return sum
}

// BenchmarkTicket keeps a ticket of 300 B and takes it: what a client costs
// that is sent to another node.
func BenchmarkTicket(b *testing.B) {
	br := broker(b, redistest.New(b), prefix())
	runs(b, br, new(recorder))
	ticket := make([]byte, 300)
	once := func(b *testing.B, i int64) {
		b.Helper()
		id := fmt.Sprint(i)
		require.NoError(b, br.PutTicket(b.Context(), id, ticket, time.Minute))
		got, err := br.TakeTicket(b.Context(), id)
		require.NoError(b, err)
		require.Len(b, got, len(ticket))
	}
	b.Run("alone", func(b *testing.B) {
		for i := int64(0); b.Loop(); i++ {
			once(b, i)
		}
	})
	b.Run("many", func(b *testing.B) {
		var n atomic.Int64
		b.SetParallelism(100)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				once(b, n.Add(1))
			}
		})
	})
}

// BenchmarkDelivery has what one hub publishes reach another: ns/op is from the
// call of Publish until Deliver on the other one, one message after the other
// and 200 at a time.
func BenchmarkDelivery(b *testing.B) {
	s := redistest.New(b)
	p := prefix()
	from, to := broker(b, s, p), broker(b, s, p)
	r := &follows{prevs: make(chan int64, 1024)}
	runs(b, from, new(recorder))
	runs(b, to, r)
	room := func(i int) gohub.RoomID { return gohub.RoomID{Tenant: "acme", Name: fmt.Sprint("room-", i%200)} }
	for i := range 200 {
		require.NoError(b, to.Subscribe(b.Context(), r, room(i)))
	}
	body := make([]byte, 128)
	publish := func(i int) {
		m := gohub.Message{Room: room(i), ID: gohub.NewID(), Sender: "alice", Kind: "chat", Binary: true, Body: body}
		o := from.Publish(context.Background(), 0, m)[0]
		if o.Err != nil {
			b.Error(o.Err)
			return
		}
		m.Seq = o.Seq
		from.Stored(m)
	}
	b.Run("alone", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			publish(i)
			<-r.prevs
		}
	})
	b.Run("many", func(b *testing.B) {
		waiting := make(chan int)
		for range 200 {
			go func() { // ends with waiting
				for i := range waiting {
					publish(i)
				}
			}()
		}
		b.ResetTimer()
		go func() { // ends with the last
			for i := range b.N {
				waiting <- i
			}
			close(waiting)
		}()
		for range b.N {
			<-r.prevs
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	})
}
