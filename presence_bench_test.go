package gohub

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func crowdedRoom(users int) *room {
	r := &room{users: make(map[string]*occupant)}
	for i := range users {
		r.users[fmt.Sprintf("user-%06d", i)] = &occupant{name: "A Name", sessions: 1}
	}
	return r
}

// Pages of any size list every user once, in order.
func TestPresencePages(t *testing.T) {
	const users = 1000
	r := crowdedRoom(users)
	for _, limit := range []int{1, 7, 99, 100, 500, users - 1, users, users + 1, 1 << 40} {
		var got []string
		for cursor, pages := "", 0; ; pages++ {
			require.LessOrEqual(t, pages, users)
			p := r.present(cursor, limit)
			require.Equal(t, users, p.Count)
			require.LessOrEqual(t, len(p.Users), limit)
			for _, u := range p.Users {
				got = append(got, u.User)
			}
			if cursor = p.Cursor; cursor == "" {
				break
			}
			require.Len(t, p.Users, limit)
		}
		require.Len(t, got, users)
		require.True(t, slices.IsSorted(got))
	}
}

func BenchmarkPresencePage(b *testing.B) {
	for _, users := range []int{100, 2_000, 100_000} {
		b.Run(fmt.Sprint(users), func(b *testing.B) {
			r := crowdedRoom(users)
			b.ReportAllocs()
			for b.Loop() {
				r.present("", presencePage)
			}
		})
	}
}
