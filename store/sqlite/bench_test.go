package sqlite_test

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/store/sqlite"
)

var benchBody = []byte(`"` + fmt.Sprintf("%0126d", 0) + `"`)

// benchMessage is message n of many: of 128 bytes, with ids as random as UUIDs.
func benchMessage(room gohub.RoomID, n int64) gohub.Message {
	h := uint64(n) * 0x9e3779b97f4a7c15
	return gohub.Message{
		Room: room, ID: fmt.Sprintf("%08x-%04x-4000-8000-%012x", uint32(h>>32), uint16(h>>16), n),
		Seq: 1_700_000_000_000_000 + n, Sender: "alice", Kind: "chat", Body: benchBody,
	}
}

func benchRooms(n int) []gohub.RoomID {
	rooms := make([]gohub.RoomID, n)
	for i := range rooms {
		rooms[i] = gohub.RoomID{Tenant: "acme", Name: fmt.Sprint("room-", i)}
	}
	return rooms
}

// BenchmarkAppend is one Append of so many messages in 1,000 rooms, on a file
// that grows as it goes; lanes call it at the same time as a hub's do.
func BenchmarkAppend(b *testing.B) {
	for _, lanes := range []int{1, 8} {
		for _, size := range []int{1, 64, 512} {
			b.Run(fmt.Sprintf("lanes=%d/batch=%d", lanes, size), func(b *testing.B) {
				s := open(b, filepath.Join(b.TempDir(), "bench.db"))
				rooms := benchRooms(1000)
				b.ResetTimer()
				var wg sync.WaitGroup
				for lane := range lanes {
					wg.Go(func() {
						for i := lane; i < b.N; i += lanes {
							batch := make([]gohub.Message, size)
							for j := range batch {
								n := int64(i*size + j)
								batch[j] = benchMessage(rooms[n%1000], n)
							}
							if _, err := s.Append(b.Context(), batch); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "msgs/s")
			})
		}
	}
}

// filled is a store with a room of n messages, and as many in other rooms
// between them, as they arrive.
func filled(b *testing.B, n int) (gohub.Store, gohub.RoomID) {
	b.Helper()
	path := filepath.Join(b.TempDir(), "bench.db")
	require.NoError(b, sqlite.Migrate(b.Context(), path))
	db, err := sql.Open("sqlite", path)
	require.NoError(b, err)
	_, err = db.ExecContext(b.Context(), `PRAGMA cache_size = -200000;
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < 2 * ?1)
INSERT INTO messages (tenant, room, recipient, seq, id, sender, kind, binary, body)
SELECT 'acme', 'room-' || CASE i % 2 WHEN 0 THEN 0 ELSE 1 + i % 999 END, '', 1700000000000000 + i,
  lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4000-8000-' || hex(randomblob(6))), 'alice', 'chat', 0, ?2 FROM n`, n, benchBody)
	require.NoError(b, errors.Join(err, db.Close()))
	return open(b, path), benchRooms(1)[0]
}

// benchSizes are the rooms' sizes.
var benchSizes = []int{100_000, 1_000_000}

// BenchmarkJoinReplay reads what somebody gets who joins: the newest 20.
func BenchmarkJoinReplay(b *testing.B) {
	for _, n := range benchSizes {
		s, room := filled(b, n)
		b.Run(fmt.Sprintf("rows=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			var times []time.Duration
			for b.Loop() {
				start := time.Now()
				ms, more, err := s.History(b.Context(), gohub.Query{Room: room, Viewer: "bob", Newest: true, Limit: 20})
				if err != nil || len(ms) != 20 || !more {
					b.Fatal(len(ms), more, err)
				}
				times = append(times, time.Since(start))
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}

// BenchmarkPage reads 100 messages from the end, the middle and the start of a
// room, back and forth.
func BenchmarkPage(b *testing.B) {
	for _, n := range benchSizes {
		s, room := filled(b, n)
		for _, depth := range []struct {
			name string
			part float64
		}{{"newest", 0}, {"middle", 0.5}, {"oldest", 0.99}} {
			for _, newest := range []bool{true, false} {
				b.Run(fmt.Sprintf("rows=%d/%s/back=%t", n, depth.name, newest), func(b *testing.B) {
					at := benchMessage(room, 2*int64(float64(n-102)*(1-depth.part))).Seq
					q := gohub.Query{Room: room, Viewer: "bob", Limit: 100, After: at}
					if newest {
						q = gohub.Query{Room: room, Viewer: "bob", Limit: 100, Before: at, Newest: true}
					}
					for b.Loop() {
						ms, _, err := s.History(b.Context(), q)
						if err != nil || len(ms) != 100 {
							b.Fatal(len(ms), err)
						}
					}
				})
			}
		}
	}
}

// BenchmarkSeenBy reads pages of 200 of who has received a message, in a room
// where a million users have watermarks: one that has reached all, and one that
// has reached ten.
func BenchmarkSeenBy(b *testing.B) {
	const users = 1_000_000
	path := filepath.Join(b.TempDir(), "bench.db")
	require.NoError(b, sqlite.Migrate(b.Context(), path))
	db, err := sql.Open("sqlite", path)
	require.NoError(b, err)
	_, err = db.ExecContext(b.Context(), `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
INSERT INTO members (tenant, room, user, delivered, seen, listed) SELECT 'acme', 'room-0', 'user-' || i, i, i, 1 FROM n`, users)
	require.NoError(b, errors.Join(err, db.Close()))
	s := open(b, path)
	for name, seq := range map[string]int64{"all": 1, "ten": users - 9} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				ws, err := s.Watermarks(b.Context(), gohub.MarkQuery{Room: benchRooms(1)[0], Seq: seq, Limit: 200})
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
	s := open(b, filepath.Join(b.TempDir(), "bench.db"))
	rooms := benchRooms(100)
	ws := make([]gohub.Watermark, 500)
	for n := 0; n < b.N; n += len(ws) {
		for i := range ws {
			user := (n + i) * 7919 % 10_000
			ws[i] = gohub.Watermark{Room: rooms[user%100], User: fmt.Sprint("user-", user), Seen: int64(n + i + 1), Listing: gohub.ListJoin}
		}
		_, err := s.Advance(b.Context(), ws)
		require.NoError(b, err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "watermarks/s")
}
