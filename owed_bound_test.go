package gohub

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// What NewRateLimiter says of the size is so.
func TestSessionBudgetIsSmall(t *testing.T) {
	var s sessionBudget
	require.EqualValues(t, 16, unsafe.Sizeof(s)-unsafe.Sizeof(s.limiter))
	require.EqualValues(t, 16, unsafe.Sizeof(s.frames)+unsafe.Sizeof(s.bytes))
}

// What is remembered of ended sessions is bounded, and the newest stays.
func TestOwedBudgetsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // or it is forgotten while this goes on
		l := NewRateLimiter(Rate{Frames: 0.001}).(*rateLimiter)
		const more = 3 * owedMost
		for i := range more {
			id := Identity{User: strconv.Itoa(i)}
			s := l.Session(id)
			for s.Spend(time.Now(), 0) == 0 {
			}
			l.Ended(id, s, 0)
		}
		require.LessOrEqual(t, len(l.owed.new)+len(l.owed.old), 2*owedMost)
		fresh := func(user int) bool {
			return l.Session(Identity{User: strconv.Itoa(user)}).Spend(time.Now(), 0) == 0
		}
		require.True(t, fresh(0))
		require.False(t, fresh(more-1))
		require.False(t, fresh(more-owedMost))
	})
}
