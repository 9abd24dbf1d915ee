//go:build unix

package postgres_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/internal/pgtest"
	"github.com/gohub/gohub/store/postgres"
)

// BenchmarkAppend stores as a busy hub does: eight lanes, each with a batch of
// 512 under way, messages of 128 B in 1,000 rooms. An op is one message.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{512, 64, 1} {
		b.Run(fmt.Sprint("batch-", size), func(b *testing.B) {
			s := open(b, connect(b, pgtest.Shared(b).Database(b)), postgres.Options{})
			const lanes = 8
			body := []byte(`"` + strings.Repeat("x", 126) + `"`)
			var seq atomic.Int64
			seq.Store(time.Now().UnixMicro())
			append1 := func(lane int) error {
				batch := make([]gohub.Message, size)
				for i := range batch {
					batch[i] = gohub.Message{
						Room: gohub.RoomID{Name: fmt.Sprint("room-", rand.IntN(1000)/lanes*lanes+lane)}, ID: gohub.NewID(),
						Seq: seq.Add(1), Sender: "alice", Kind: "chat", Body: body,
					}
				}
				_, err := s.Append(b.Context(), batch)
				return err
			}
			for lane := range lanes {
				require.NoError(b, append1(lane)) // statements are prepared
			}
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			var wg sync.WaitGroup
			for lane := range lanes {
				wg.Go(func() {
					for left.Add(-int64(size)) > -int64(size) {
						if err := append1(lane); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// BenchmarkRead reads from a room of a million messages. An op is one page.
func BenchmarkRead(b *testing.B) {
	pool := connect(b, pgtest.Shared(b).Database(b))
	s := open(b, pool, postgres.Options{})
	fill(b, pool)
	room := gohub.RoomID{Name: bigRoom}
	for _, c := range []struct {
		name string
		q    func() gohub.Query
	}{
		{"join-20", func() gohub.Query { return gohub.Query{Room: room, Viewer: "user-1", Newest: true, Limit: 20} }},
		{"back-100-new", func() gohub.Query {
			return gohub.Query{Room: room, Viewer: "user-1", Newest: true, Limit: 100, Before: int64(bigRows - 200 - rand.IntN(1000))}
		}},
		{"back-100-old", func() gohub.Query {
			return gohub.Query{Room: room, Viewer: "user-1", Newest: true, Limit: 100, Before: int64(200 + rand.IntN(1000))}
		}},
		{"forward-100-middle", func() gohub.Query {
			return gohub.Query{Room: room, Viewer: "user-1", Limit: 100, After: int64(bigRows/2 + rand.IntN(1000))}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			var times []time.Duration
			for b.Loop() {
				start := time.Now()
				ms, _, err := s.History(b.Context(), c.q())
				if err != nil || len(ms) == 0 {
					b.Fatal(len(ms), err)
				}
				times = append(times, time.Since(start))
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}

// BenchmarkRelay publishes from the outbox in 100 rooms. An op is one message.
func BenchmarkRelay(b *testing.B) {
	pool := connect(b, pgtest.Shared(b).Database(b))
	s := open(b, pool, postgres.Options{})
	_, err := pool.Exec(b.Context(), `insert into gohub.outbox (tenant, room, id, sender, recipient, kind, body, is_binary)
select '', 'room-' || n % 100, gen_random_uuid()::text, 'shop', '', 'chat', convert_to('"' || repeat('x', 126) || '"', 'UTF8'), false from generate_series(1, $1) n`, b.N)
	require.NoError(b, err)
	hub := newHub(b, s, nil)
	b.ResetTimer()
	stop := relay(b, s, hub)
	for waiting(b, pool) > 0 {
		time.Sleep(5 * time.Millisecond)
	}
	b.StopTimer()
	stop()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

// BenchmarkSeenBy reads pages of 200 of who has received a message, in a room
// where a million users have watermarks: one that has reached all, and one that
// has reached ten. An op is one page.
func BenchmarkSeenBy(b *testing.B) {
	pool := connect(b, pgtest.Shared(b).Database(b))
	s := open(b, pool, postgres.Options{})
	fill(b, pool)
	_, err := pool.Exec(b.Context(), "vacuum analyze gohub.marks")
	require.NoError(b, err)
	for name, seq := range map[string]int64{"all": 1, "ten": bigRows - 9} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				ws, err := s.Watermarks(b.Context(), gohub.MarkQuery{Room: gohub.RoomID{Name: bigRoom}, Seq: seq, Limit: 200})
				if err != nil || len(ws) < 10 {
					b.Fatal(len(ws), err)
				}
			}
		})
	}
}

// BenchmarkAdvance moves the watermarks of 10,000 users in 100 rooms, 500 at a
// time. An op is one watermark.
func BenchmarkAdvance(b *testing.B) {
	s := open(b, connect(b, pgtest.Shared(b).Database(b)), postgres.Options{})
	ws := make([]gohub.Watermark, 500)
	for n := 0; n < b.N; n += len(ws) {
		for i := range ws {
			user := (n + i) * 7919 % 10_000
			ws[i] = gohub.Watermark{Room: gohub.RoomID{Name: fmt.Sprint("room-", user%100)}, User: fmt.Sprint("user-", user), Seen: int64(n + i + 1), Listing: gohub.ListJoin}
		}
		_, err := s.Advance(b.Context(), ws)
		require.NoError(b, err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "watermarks/s")
}
