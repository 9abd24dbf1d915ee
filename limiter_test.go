package gohub_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

func limiter(r gohub.Rate) gohub.SessionLimiter {
	return gohub.NewRateLimiter(r).Session(gohub.Identity{User: "alice"})
}

// burst spends frames of a size until one is refused.
func burst(s gohub.SessionLimiter, size int) (n int) {
	for s.Spend(time.Now(), size) == 0 {
		n++
	}
	return n
}

// In virtual time nothing leaks between two calls.
func TestLimiterBurst(t *testing.T) {
	for _, c := range []struct {
		rate gohub.Rate
		size int
		want int
	}{
		{gohub.Rate{Frames: 1}, 100, 2},
		{gohub.Rate{Frames: 3}, 100, 6},
		{gohub.Rate{Frames: 7}, 0, 14},
		{gohub.Rate{Frames: 2.5}, 100, 5},
		{gohub.Rate{Frames: 1.9}, 100, 3},
		{gohub.Rate{Frames: 0.5}, 100, 1},
		{gohub.Rate{Frames: 0.1}, 100, 1},
		{gohub.Rate{Frames: 12345}, 100, 24690},
		{gohub.Rate{Bytes: 1000}, 100, 20},
		{gohub.Rate{Bytes: 1000}, 2000, 1},
		{gohub.Rate{Bytes: 1000}, 2001, 1}, // larger than the burst: once
		{gohub.Rate{Bytes: 3000}, 6000, 1},
		{gohub.Rate{Bytes: 3000}, 2000, 3},
		{gohub.Rate{Bytes: 1 << 20}, 1 << 16, 32},
		{gohub.Rate{Frames: 10, Bytes: 1000}, 10, 20},
		{gohub.Rate{Frames: 10, Bytes: 1000}, 500, 4},
	} {
		t.Run(fmt.Sprint(c.rate, c.size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := limiter(c.rate)
				assert.Equal(t, c.want, burst(s, c.size))
				time.Sleep(time.Hour)
				assert.Equal(t, c.want, burst(s, c.size), "a long rest gives the same burst, no more")
			})
		})
	}
}

func TestLimiterUnlimited(t *testing.T) {
	for _, r := range []gohub.Rate{{}, {Frames: -1, Bytes: -1}, {Frames: math.NaN(), Bytes: math.Inf(-1)}, {Frames: math.Inf(1)}} {
		s := limiter(r)
		for range 10_000 {
			require.Zero(t, s.Spend(time.Now(), math.MaxInt), "%v", r)
		}
	}
}

func TestLimiterExtremes(t *testing.T) {
	for _, r := range []gohub.Rate{{Frames: math.SmallestNonzeroFloat64}, {Bytes: math.SmallestNonzeroFloat64}, {Frames: 1e-9, Bytes: 1e300}, {Frames: 1e300, Bytes: 1e-9}} {
		synctest.Test(t, func(t *testing.T) {
			s := limiter(r)
			assert.Zero(t, s.Spend(time.Now(), math.MaxInt), "%v: the first frame always passes", r)
			retry := s.Spend(time.Now(), math.MaxInt)
			assert.True(t, retry > time.Hour || r.Frames > 1 || r.Bytes > 1, "%v: %v", r, retry)
			assert.GreaterOrEqual(t, s.Spend(time.Now(), -5), time.Duration(0))
		})
	}
}

// spent is one frame that was let through.
type spent struct {
	at    time.Duration
	bytes int
}

// Whatever a session does: in no stretch of time does it get more through
// than the burst and what the rate brings, and after retry it goes on.
func TestLimiterNeverMore(t *testing.T) {
	for range 60 {
		r := gohub.Rate{Frames: math.Exp(rand.Float64()*9 - 2), Bytes: math.Exp(rand.Float64()*12 + 3)}
		switch rand.IntN(3) {
		case 0:
			r.Bytes = 0
		case 1:
			r.Frames = 0
		}
		synctest.Test(t, func(t *testing.T) {
			s := limiter(r)
			start := time.Now()
			var got []spent
			largest := 0
			pace := time.Duration(math.Exp(rand.Float64()*14 + 8)) // 3 µs to 3 s
			for range 600 {
				size := rand.IntN(1 << (1 + rand.IntN(12)))
				if rand.IntN(3) > 0 {
					time.Sleep(time.Duration(rand.Float64() * float64(pace)))
				}
				retry := s.Spend(time.Now(), size)
				if retry > 0 && rand.IntN(5) == 0 {
					time.Sleep(retry - 1)
					require.NotZero(t, s.Spend(time.Now(), size), "%v: before retry", r)
					time.Sleep(time.Nanosecond)
					retry = s.Spend(time.Now(), size)
					require.Zero(t, retry, "%v: after retry", r)
				}
				if retry == 0 {
					got = append(got, spent{time.Since(start), size})
					largest = max(largest, size)
				}
			}
			frames := max(2*r.Frames, 1)
			bytes := max(2*r.Bytes, float64(largest)) + r.Bytes*1e-6
			for i := range got {
				total := 0
				for j := i; j < len(got); j++ {
					total += got[j].bytes
					seconds := (got[j].at - got[i].at).Seconds()
					if n := float64(j - i + 1); r.Frames > 0 && n > (frames+r.Frames*seconds)*(1+1e-9) {
						t.Fatalf("%v: %v frames within %v s", r, n, seconds)
					}
					if r.Bytes > 0 && float64(total) > (bytes+r.Bytes*seconds)*(1+1e-9) {
						t.Fatalf("%v: %d bytes within %v s", r, total, seconds)
					}
				}
			}
		})
	}
}

// Who asks steadily for no more than the rate is never refused; who asks for
// more gets the rate.
func TestLimiterNeverLess(t *testing.T) {
	for _, c := range []struct {
		rate gohub.Rate
		size int
		per  float64 // such frames a second
	}{
		{gohub.Rate{Frames: 0.6}, 100, 0.6},
		{gohub.Rate{Frames: 7}, 100, 7},
		{gohub.Rate{Frames: 100}, 100, 100},
		{gohub.Rate{Frames: 30_000}, 100, 30_000},
		{gohub.Rate{Bytes: 1000}, 100, 10},
		{gohub.Rate{Bytes: 1 << 20}, 777, 1 << 20 / 777.0},
		{gohub.Rate{Frames: 10, Bytes: 1000}, 100, 10},
		{gohub.Rate{Frames: 10, Bytes: 1000}, 300, 1000 / 300.0},
		{gohub.Rate{Frames: 10, Bytes: 1000}, 10, 10},
	} {
		t.Run(fmt.Sprint(c.rate, c.size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := limiter(c.rate)
				for range 5000 {
					require.Zero(t, s.Spend(time.Now(), c.size))
					time.Sleep(time.Duration(math.Ceil(1e9 / c.per)))
				}
			})
			synctest.Test(t, func(t *testing.T) {
				s := limiter(c.rate)
				start := time.Now()
				n := 0
				for range 10_000 {
					if s.Spend(time.Now(), c.size) == 0 {
						n++
					}
					time.Sleep(time.Duration(1e9 / c.per / 5))
				}
				assert.GreaterOrEqual(t, float64(n), c.per*time.Since(start).Seconds()*(1-1e-4), "asking five times too often")
			})
		})
	}
}

func TestLimiterRefusedCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := limiter(gohub.Rate{Frames: 10, Bytes: 1000})
		require.Zero(t, s.Spend(time.Now(), 1900))
		for range 1000 {
			require.NotZero(t, s.Spend(time.Now(), 101), "refused for its bytes")
		}
		assert.Equal(t, 19, burst(s, 1), "no frames were spent")
		time.Sleep(time.Hour)
		require.Equal(t, 20, burst(s, 1))
		for range 1000 {
			require.NotZero(t, s.Spend(time.Now(), 100), "refused for its frame")
		}
		time.Sleep(200 * time.Millisecond) // two frames, 200 bytes
		assert.Zero(t, s.Spend(time.Now(), 1990))
		assert.Zero(t, s.Spend(time.Now(), 10))
	})
}

func TestLimiterSessionsAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := gohub.NewRateLimiter(gohub.Rate{Frames: 5})
		a, b := l.Session(gohub.Identity{User: "alice"}), l.Session(gohub.Identity{User: "alice"})
		assert.Equal(t, 10, burst(a, 1))
		assert.Equal(t, 10, burst(b, 1))
	})
}

// Many goroutines on one budget, at one frozen moment: exactly the burst
// passes, and what was refused for its bytes has cost no frames.
func TestLimiterRace(t *testing.T) {
	for range 30 {
		synctest.Test(t, func(t *testing.T) {
			s := limiter(gohub.Rate{Frames: 1000, Bytes: 5000})
			var passed atomic.Int64
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for range 200 {
						if s.Spend(time.Now(), 100) == 0 {
							passed.Add(1)
						}
					}
				})
			}
			wg.Wait()
			assert.EqualValues(t, 100, passed.Load())
			assert.Equal(t, 1900, burst(s, 0))
		})
	}
}

// The same on a running clock.
func TestLimiterRaceInRealTime(t *testing.T) {
	for _, r := range []gohub.Rate{{Frames: 2000}, {Frames: 2000, Bytes: 50_000}, {Bytes: 50_000}} {
		start := time.Now()
		s := limiter(r)
		var passed atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 3000 {
					if s.Spend(time.Now(), 50) == 0 {
						passed.Add(1)
					}
				}
			})
		}
		wg.Wait()
		seconds := time.Since(start).Seconds()
		rate := r.Frames
		if r.Bytes > 0 {
			rate = r.Bytes / 50
		}
		assert.LessOrEqual(t, float64(passed.Load()), rate*(2+seconds), "%v", r)
		assert.GreaterOrEqual(t, float64(passed.Load()), rate*2, "%v", r)
	}
}

func TestLimiterAllocatesNothing(t *testing.T) {
	s := limiter(gohub.Rate{Frames: 100, Bytes: 10_000})
	assert.Zero(t, testing.AllocsPerRun(1000, func() { s.Spend(time.Now(), 10) }))
}

// The clock is not in it: the hub reads it once for all that a socket had
// waiting; "clock alone" is what that costs.
func BenchmarkLimiterSpend(b *testing.B) {
	for _, c := range []struct {
		name string
		rate gohub.Rate
	}{
		{"frames", gohub.Rate{Frames: 1e9}},
		{"both", gohub.Rate{Frames: 1e9, Bytes: 1e12}},
		{"refused", gohub.Rate{Frames: 1, Bytes: 1}},
		{"unlimited", gohub.Rate{}},
	} {
		s := limiter(c.rate)
		b.Run(c.name, func(b *testing.B) {
			now, n := time.Now(), 0
			b.ReportAllocs()
			for b.Loop() {
				if n++; n%64 == 0 { // as often as the hub reads it
					now = now.Add(time.Microsecond)
				}
				s.Spend(now, 100)
			}
		})
		if c.name == "unlimited" {
			continue
		}
		b.Run(c.name+"/parallel", func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				now := time.Now()
				for pb.Next() {
					now = now.Add(10 * time.Nanosecond)
					s.Spend(now, 100)
				}
			})
		})
	}
	b.Run("clock alone", func(b *testing.B) {
		for b.Loop() {
			_ = time.Now()
		}
	})
}
