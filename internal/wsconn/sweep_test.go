package wsconn

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub/internal/pace/pacetest"
)

// sweeping starts a world whose sweeper pings after ping.
func sweeping(t *testing.T, ping time.Duration, look func(h Handler, now time.Time)) *world {
	t.Helper()
	o := options()
	o.CloseTimeout = 5 * time.Second
	o.Sweeper = NewSweeper(ping, look)
	w := start(t, overPipe, o, nil)
	t.Cleanup(o.Sweeper.Stop) // before the world's own: nobody looks at what is being taken down
	return w
}

func TestSweeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ping = 20 * time.Second
		const tick = time.Second
		var looks atomic.Int64
		w := sweeping(t, ping, func(h Handler, now time.Time) {
			if now == time.Now() && h.(*session) != nil {
				looks.Add(1)
			}
		})
		p, s := w.dial()
		began := time.Now()
		elapsed := func() time.Duration { return time.Since(began) }

		p.expect(opPing, "")
		require.InDelta(t, ping, elapsed(), float64(tick))
		p.send(clientFrame(opPong, true, nil))
		began = time.Now()
		require.InDelta(t, 20, looks.Load(), 1, "once a tick")

		p.expect(opPing, "") // a pong is a sign of life, no more
		require.InDelta(t, ping, elapsed(), float64(tick))
		time.Sleep(ping / 2)
		p.send(clientFrame(opText, false, []byte("so is half a message")))
		began = time.Now()

		p.expect(opPing, "")
		require.InDelta(t, ping, elapsed(), float64(tick))
		op, payload, err := p.read() // no second ping
		require.NoError(t, err)
		require.Equal(t, byte(opClose), op)
		require.Equal(t, silentCode, closeCode(payload))
		require.InDelta(t, 2*ping, elapsed(), float64(tick))
		<-s.done
		require.InDelta(t, 2*ping+5*time.Second, elapsed(), float64(tick))
		require.Equal(t, silentCode, s.CloseCode())
	})
}

// A client that does not even read is ended as well, and the ping waits for
// its place among what is sent to it.
func TestSweeperFrozenPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := sweeping(t, 20*time.Second, func(Handler, time.Time) {})
		_, s := w.dial()
		began := time.Now()
		s.Send(text("held"), false, nil)
		<-s.done
		require.InDelta(t, 45*time.Second, time.Since(began), float64(time.Second))
		require.Equal(t, silentCode, s.CloseCode())
	})
}

// After a pause of the whole process nobody is thrown out before the pings
// have been sent and the answers had their time.
func TestSweeperAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ping = time.Hour
		w := sweeping(t, ping, func(Handler, time.Time) {})
		p, s := w.dial()
		s.lastRead.Store(s.lastRead.Load() - int64(5*ping)) // as if the ticks in between had not come
		began := time.Now()
		p.expect(opPing, "")
		p.send(clientFrame(opPong, true, nil))
		require.LessOrEqual(t, time.Since(began), time.Second)
		time.Sleep(10 * time.Second)
		require.Zero(t, s.CloseCode())
		p.expect(opPing, "")
		require.InDelta(t, ping, time.Since(began), float64(2*time.Second))
	})
}

// Thousands of idle connections take a goroutine a shard, no more.
func TestSweeperGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := sweeping(t, time.Minute, func(Handler, time.Time) {})
		for range 100 {
			p, _ := w.dial()
			go func() { // ends with the connection
				for {
					op, _, err := p.read()
					if err != nil {
						return
					}
					if op == opPing {
						_, _ = p.nc.Write(clientFrame(opPong, true, nil))
					}
				}
			}()
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.Len(t, stacksWith(".(*Sweeper).run("), len(w.o.Sweeper.shards))
		require.Empty(t, stacksWith(".(*Conn).writeLoop"))
		for _, s := range w.sessions {
			require.Zero(t, s.CloseCode())
		}
	})
}

// Connections come and go while the sweeper looks at them; each is in one
// shard, at the place it knows.
func TestSweeperRemoval(t *testing.T) {
	var looks atomic.Int64
	s := NewSweeper(8*time.Millisecond, func(Handler, time.Time) { looks.Add(1) })
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			var mine []*Conn
			for i := range 500 {
				c := &Conn{o: &Options{Sweeper: s}, h: nobody{}}
				c.out.latched = true // nothing to send, and no socket for it
				s.add(c)
				if mine = append(mine, c); i%3 != g%3 {
					k := i * 7 % len(mine)
					s.remove(mine[k])
					mine = append(mine[:k], mine[k+1:]...)
				}
			}
			for _, c := range mine {
				s.remove(c)
			}
		})
	}
	for range 200 {
		for i := range s.shards {
			sh := &s.shards[i]
			sh.mu.Lock()
			for place, c := range sh.conns {
				if c.place != place || c.shard != sh {
					t.Errorf("at %d of shard %p: thinks it is at %d of %p", place, sh, c.place, c.shard)
				}
			}
			sh.mu.Unlock()
		}
	}
	wg.Wait()
	seen := looks.Load()
	eventually(t, "a tick", func() bool {
		for i := range s.shards {
			sh := &s.shards[i]
			sh.mu.Lock()
			require.Empty(t, sh.conns)
			sh.mu.Unlock()
		}
		return looks.Load() >= seen
	})
	s.Stop()
}

// Who waits for the network does not wait until all connections were looked at.
func TestSweepMakesRoom(t *testing.T) {
	s := NewSweeper(time.Hour, func(Handler, time.Time) {
		for began := time.Now(); time.Since(began) < 20*time.Microsecond; {
		}
	})
	defer s.Stop()
	conns := make([]*Conn, 200)
	for i := range conns {
		conns[i] = new(Conn)
	}
	require.True(t, pacetest.MakesRoom(t, func() { s.round(conns) }))
}
