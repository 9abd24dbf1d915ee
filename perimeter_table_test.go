package gohub

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func perimeterOf(tb testing.TB, cfg Config) *perimeter {
	tb.Helper()
	cfg.AllowAnonymous, cfg.Logger = true, slog.New(slog.DiscardHandler)
	cfg, err := cfg.resolve()
	require.NoError(tb, err)
	p, err := newPerimeter(&cfg)
	require.NoError(tb, err)
	return p
}

// count checks that the table's books agree, and counts what is in it.
func (t *addrTable) count(tb testing.TB) (conns, idle, all int) {
	tb.Helper()
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		ring := 0
		for e := s.idle.next; e != &s.idle; e = e.next {
			if s.m[e.key] != e || e.conns != 0 || e.next.prev != e {
				tb.Fatalf("%v is idle and is not", e.key)
			}
			ring++
		}
		require.Equal(tb, ring, s.size)
		for k, e := range s.m {
			if e.key != k || e.conns < 0 || (e.conns == 0) != (e.next != nil) {
				tb.Fatalf("the entry of %v is wrong: %+v", k, e)
			}
			conns += e.conns
		}
		all += len(s.m)
		idle += ring
		s.mu.Unlock()
	}
	return conns, idle, all
}

func from(addr string) *http.Request {
	return &http.Request{RemoteAddr: addr, Header: http.Header{}}
}

// nth is an address of its own for every i.
func nth(i int) *http.Request {
	return from(fmt.Sprintf("[2001:db8:%x:%x::1]:80", i>>16, i&0xffff))
}

// More addresses than the table remembers: it stays as large as it may be,
// keeps those with connections, and gets small again.
func TestAddressTableIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := perimeterOf(t, Config{MaxConnsPerIP: 1, HandshakeRatePerIP: 0.01})
		const most = addrShards * addrIdle
		held := make([]pass, 100)
		for i := range held {
			var err *Error
			held[i], err = p.admit(nth(i), true)
			require.Nil(t, err)
		}
		for i := range 2 * most {
			_, err := p.admit(nth(1000+i), false)
			require.Nil(t, err, "nobody is locked out")
		}
		conns, idle, all := p.addrs.count(t)
		require.Equal(t, len(held), conns)
		require.Equal(t, idle+len(held), all)
		require.LessOrEqual(t, idle, most)
		require.Greater(t, idle, most*9/10)
		time.Sleep(time.Hour) // their rate allows it again
		for i := range held {
			_, err := p.admit(nth(i), true)
			require.NotNil(t, err, "its connection has not been forgotten")
			require.Equal(t, "too many connections from your address", err.Message)
		}
		_, err := p.admit(nth(1000+2*most-1), false)
		require.Nil(t, err)
		for i := range most + addrShards {
			_, err := p.admit(nth(10_000_000+i%(most/2)), false)
			require.True(t, err == nil || i >= most/2)
		}
		for i := range held {
			held[i].release()
			held[i].release() // does nothing
		}
		conns, idle, all = p.addrs.count(t)
		require.Zero(t, conns)
		require.Equal(t, idle, all)
		require.Less(t, idle, most*6/10, "the old ones have gone")
		require.Zero(t, p.conns.Load())
	})
}

// An address that owes nothing and has no connection is not kept.
func TestAddressesAreForgotten(t *testing.T) {
	t.Parallel()
	p := perimeterOf(t, Config{MaxConnsPerIP: 1})
	for i := range 10_000 {
		a, err := p.admit(nth(i), true)
		require.Nil(t, err)
		_, err = p.admit(nth(i), false)
		require.Nil(t, err)
		a.release()
	}
	_, _, all := p.addrs.count(t)
	require.Zero(t, all)
}

// Whatever comes and goes in whatever order: what is counted is what is held,
// and the limits hold.
func TestPlacesProperty(t *testing.T) {
	t.Parallel()
	for range 30 {
		synctest.Test(t, func(t *testing.T) {
			cfg := Config{MaxConns: rand.IntN(40) - 1, MaxConnsPerIP: rand.IntN(6) - 1}
			if rand.IntN(2) == 0 {
				cfg.HandshakeRatePerIP = 1 + rand.Float64()*10
			}
			if rand.IntN(2) == 0 {
				cfg.HandshakeRate = 1 + rand.Float64()*50
			}
			p := perimeterOf(t, cfg)
			held := make(map[int][]pass)
			live := 0
			for range 1000 {
				who := rand.IntN(12)
				switch rand.IntN(5) {
				case 0, 1:
					a, err := p.admit(nth(who), true)
					if err == nil {
						held[who] = append(held[who], a)
						live++
						break
					}
					require.Zero(t, a, "refused, and holds something")
					require.Positive(t, err.RetryAfter)
				case 2:
					a, _ := p.admit(nth(who), false)
					require.Zero(t, a, "negotiate holds nothing")
				case 3:
					if n := len(held[who]); n > 0 {
						last := held[who][n-1]
						moved := last.take()
						last.release() // it has been taken over
						moved.release()
						moved.release()
						held[who] = held[who][:n-1]
						live--
					}
				case 4:
					time.Sleep(time.Duration(rand.IntN(int(time.Second))))
				}
				if cfg.MaxConns > 0 {
					require.EqualValues(t, live, p.conns.Load())
					require.LessOrEqual(t, live, cfg.MaxConns)
				}
				if cfg.MaxConnsPerIP > 0 && rand.IntN(10) == 0 {
					conns, _, _ := p.addrs.count(t)
					require.Equal(t, live, conns)
					require.LessOrEqual(t, len(held[who]), cfg.MaxConnsPerIP)
				}
			}
			for _, list := range held {
				for i := range list {
					list[i].release()
				}
			}
			require.Zero(t, p.conns.Load())
			if p.addrs != nil {
				conns, _, _ := p.addrs.count(t)
				require.Zero(t, conns)
			}
		})
	}
}

// Many at once never hold more than the limits say, nor leave anything taken.
func TestPlacesRace(t *testing.T) {
	t.Parallel()
	p := perimeterOf(t, Config{MaxConns: 20, MaxConnsPerIP: 3, HandshakeRatePerIP: 1e6, HandshakeRate: 1e7})
	var all atomic.Int64
	var each [10]atomic.Int64
	var admitted atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 3000 {
				who := rand.IntN(len(each))
				a, err := p.admit(nth(who), rand.IntN(4) > 0)
				if err != nil || a.p == nil {
					continue
				}
				admitted.Add(1)
				if all.Add(1) > 20 || each[who].Add(1) > 3 {
					t.Error("more than there may be")
				}
				all.Add(-1)
				each[who].Add(-1)
				a.release()
			}
		})
	}
	wg.Wait()
	require.Positive(t, admitted.Load())
	require.Zero(t, p.conns.Load())
	conns, _, _ := p.addrs.count(t)
	require.Zero(t, conns)
}

// fullPerimeter has every limit on, and refuses nobody.
func fullPerimeter(tb testing.TB) *perimeter {
	tb.Helper()
	return perimeterOf(tb, Config{
		MaxConns: 1e9, MaxConnsPerIP: 1e9, HandshakeRate: 1e9, HandshakeRatePerIP: 1e9,
		TrustedProxies: []string{"10.0.0.0/8", "2001:db8:ffff::/48"},
	})
}

func proxied(r *http.Request) *http.Request {
	r.RemoteAddr = "10.1.2.3:80"
	r.Header.Set(forwardedFor, "1.1.1.1, 2001:db8:1:2::7, 10.2.3.4")
	return r
}

func TestAdmitAllocatesNothing(t *testing.T) {
	p := fullPerimeter(t)
	for _, r := range []*http.Request{from("203.0.113.5:4711"), nth(1), proxied(from(""))} {
		first, err := p.admit(r, true)
		require.Nil(t, err)
		require.Zero(t, testing.AllocsPerRun(1000, func() {
			a, _ := p.admit(r, true)
			a.release()
		}), r.RemoteAddr)
		first.release()
	}
}

// A handshake let through, and its place given back when the session ends.
func BenchmarkAdmit(b *testing.B) {
	full := fullPerimeter(b)
	for _, c := range []struct {
		name string
		p    *perimeter
		r    *http.Request
	}{
		{"off", perimeterOf(b, Config{}), from("203.0.113.5:4711")},
		{"all limits", full, from("203.0.113.5:4711")},
		{"all limits, behind two proxies", full, proxied(from(""))},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				a, _ := c.p.admit(c.r, true)
				a.release()
			}
		})
		b.Run(c.name+"/admit alone", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = c.p.admit(c.r, true)
			}
		})
	}
	b.Run("new addresses", func(b *testing.B) {
		p := perimeterOf(b, Config{MaxConnsPerIP: 1, HandshakeRatePerIP: 0.001})
		rs := make([]*http.Request, 4*addrShards*addrIdle)
		for i := range rs {
			rs[i] = nth(i)
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			a, _ := p.admit(rs[i%len(rs)], true)
			a.release()
		}
	})
}
