package sqlite_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/store/sqlite"
)

// fill stores n messages a room, each a minute older than the next, of which
// every third is private. The newest are half a minute old.
func fill(t *testing.T, s gohub.Store, n int, rooms ...gohub.RoomID) {
	t.Helper()
	now := time.Now()
	for _, room := range rooms {
		var batch []gohub.Message
		for i := range n {
			m := message("", now.Add(30*time.Second-time.Duration(n-i)*time.Minute).UnixMicro(), gohub.NewID())
			m.Room = room
			if i%3 == 0 {
				m.To = fmt.Sprint("user", i%2)
			}
			batch = append(batch, m)
		}
		_, err := s.Append(t.Context(), batch)
		require.NoError(t, err)
	}
}

func seqsOf(t *testing.T, s gohub.Store, room gohub.RoomID) (seqs []int64) {
	t.Helper()
	ms, more, err := s.History(t.Context(), gohub.Query{Room: room, Limit: 100_000})
	require.NoError(t, err)
	require.False(t, more)
	for _, m := range ms {
		seqs = append(seqs, m.Seq)
	}
	return seqs
}

func TestTrim(t *testing.T) {
	rooms := []gohub.RoomID{{Name: "a"}, {Name: "b"}, {Tenant: "x", Name: "a"}, {Tenant: "x", Name: "@a,b"}}
	const n = 1300 // more than two transactions take
	tests := []struct {
		name string
		r    sqlite.Retention
		left int // of each room
	}{
		{"nothing", sqlite.Retention{}, n},
		{"number", sqlite.Retention{MaxPerRoom: 100}, 100},
		{"number that is not reached", sqlite.Retention{MaxPerRoom: n}, n},
		{"one", sqlite.Retention{MaxPerRoom: 1}, 1},
		{"age", sqlite.Retention{MaxAge: 600 * time.Minute}, 600},
		{"age that is not reached", sqlite.Retention{MaxAge: 24 * time.Hour}, n},
		{"all are too old", sqlite.Retention{MaxAge: time.Microsecond}, 0},
		{"both, age first", sqlite.Retention{MaxAge: 50 * time.Minute, MaxPerRoom: 100}, 50},
		{"both, number first", sqlite.Retention{MaxAge: 500 * time.Minute, MaxPerRoom: 100}, 100},
	}
	full := filepath.Join(t.TempDir(), "full.db")
	s := open(t, full)
	fill(t, s, n, rooms...)
	_, err := s.Advance(t.Context(), []gohub.Watermark{{Room: rooms[0], User: "bob", Seen: 5, Listing: gohub.ListJoin}})
	require.NoError(t, err)
	before := make([][]int64, len(rooms))
	for i, room := range rooms {
		before[i] = seqsOf(t, s, room)
	}
	require.NoError(t, s.Close())
	file, err := os.ReadFile(full)
	require.NoError(t, err)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "chat.db")
			require.NoError(t, os.WriteFile(path, file, 0o600))
			s := open(t, path)
			removed, err := s.Trim(t.Context(), tt.r)
			require.NoError(t, err)
			for i, room := range rooms {
				got := seqsOf(t, s, room)
				if tt.r.MaxAge > 0 {
					require.InDelta(t, tt.left, len(got), 5) // the test may take its minutes
				} else {
					require.Len(t, got, tt.left)
				}
				require.True(t, slices.Equal(before[i][n-len(got):], got), "the newest stay")
				removed -= int64(n - len(got))
			}
			require.Zero(t, removed, "what it said it removed")
			list, err := s.Rooms(t.Context(), "", "bob")
			require.NoError(t, err)
			require.Len(t, list, 1, "lists stay")
			require.Equal(t, int64(5), list[0].Seen)
			require.Equal(t, "ok", ask(t, path, "PRAGMA integrity_check"))
			again, err := s.Trim(t.Context(), sqlite.Retention{MaxPerRoom: tt.r.MaxPerRoom})
			require.NoError(t, err)
			require.Zero(t, again)
		})
	}
	s = open(t, filepath.Join(t.TempDir(), "chat.db"))
	for _, r := range []sqlite.Retention{{MaxAge: -1}, {MaxPerRoom: -1}} {
		_, err := s.Trim(t.Context(), r)
		require.ErrorContains(t, err, "Retention")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, r := range []sqlite.Retention{{}, {MaxPerRoom: 1}} {
		_, err := s.Trim(ctx, r)
		require.ErrorIs(t, err, context.Canceled)
	}
}

// Trim takes nothing from those who write and read at the same time but the
// oldest messages.
func TestTrimBesideOthers(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "chat.db"))
	room := gohub.RoomID{Name: "lobby"}
	const batches, size, keep = 60, 50, 200
	var wg sync.WaitGroup
	written := make(chan struct{})
	wg.Go(func() {
		defer close(written)
		for i := range batches {
			var batch []gohub.Message
			for j := range size {
				batch = append(batch, message(room.Name, int64(1+i*size+j), gohub.NewID()))
			}
			if _, err := s.Append(t.Context(), batch); err != nil {
				t.Error(err)
			}
		}
	})
	var removed int64
	for done := false; !done; {
		select {
		case <-written:
			done = true // and once more
		default:
		}
		n, err := s.Trim(t.Context(), sqlite.Retention{MaxPerRoom: keep})
		require.NoError(t, err)
		removed += n
		seqs := seqsOf(t, s, room)
		for i := range seqs {
			require.Equal(t, seqs[0]+int64(i), seqs[i], "a hole")
		}
	}
	wg.Wait()
	require.Equal(t, int64(batches*size-keep), removed)
	seqs := seqsOf(t, s, room)
	require.Len(t, seqs, keep)
	require.Equal(t, int64(batches*size), seqs[keep-1])
}
