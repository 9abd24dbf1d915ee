package gohub

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func readRoom(tb testing.TB, users int) (*MemoryStore, RoomID) {
	s, room := NewMemoryStore(MemoryStoreOptions{}), RoomID{Name: "r"}
	r := rand.New(rand.NewPCG(1, 2))
	ws := make([]Watermark, users)
	for i := range ws {
		seen := r.Int64N(100)
		ws[i] = Watermark{Room: room, User: fmt.Sprintf("user-%06d", i), Seen: seen, Delivered: seen + r.Int64N(100)}
	}
	_, err := s.Advance(context.Background(), ws)
	require.NoError(tb, err)
	return s, room
}

// However few are asked for, they are the first of all.
func TestNewestWatermarks(t *testing.T) {
	const users = 3000
	s, room := readRoom(t, users)
	all, err := s.Watermarks(t.Context(), MarkQuery{Room: room, Limit: 1 << 40})
	require.NoError(t, err)
	require.Greater(t, len(all), users*9/10) // some have read nothing
	for i := range all[1:] {
		a, b := all[i], all[i+1]
		later := b.Seen > a.Seen || b.Seen == a.Seen && (b.Delivered > a.Delivered || b.Delivered == a.Delivered && b.User < a.User)
		require.False(t, later, "%v before %v", a, b)
	}
	for _, limit := range []int{1, 2, 199, 200, 1000, len(all) - 1, len(all), len(all) + 1} {
		ws, err := s.Watermarks(t.Context(), MarkQuery{Room: room, Limit: limit})
		require.NoError(t, err)
		require.Equal(t, all[:min(limit, len(all))], ws, "limit %d", limit)
	}
	for _, none := range []int{0, -1} {
		ws, err := s.Watermarks(t.Context(), MarkQuery{Room: room, Limit: none})
		require.NoError(t, err)
		require.Empty(t, ws)
	}
}

func BenchmarkWatermarks(b *testing.B) {
	for _, users := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprint(users), func(b *testing.B) {
			s, room := readRoom(b, users)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = s.Watermarks(context.Background(), MarkQuery{Room: room, Limit: marksMost})
			}
		})
	}
}
