//go:build unix

package redis

import (
	"fmt"
	"sync/atomic"
	"testing"

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
