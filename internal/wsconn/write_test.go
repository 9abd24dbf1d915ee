package wsconn

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub/internal/pace/pacetest"
)

// smallBuffers makes a socket take little at a time.
func smallBuffers(t testing.TB, p *peer, s *session) {
	t.Helper()
	type buffers interface {
		SetReadBuffer(int) error
		SetWriteBuffer(int) error
	}
	require.NoError(t, s.nc.(buffers).SetWriteBuffer(4<<10))
	n := 4 << 10
	if _, ok := p.nc.(*net.TCPConn); ok {
		n = 64 << 10 // with less it takes the kernel a while to find the window open
	}
	require.NoError(t, p.nc.(buffers).SetReadBuffer(n))
}

func TestPartialWrites(t *testing.T) {
	for _, way := range []string{overTCP, overUnix} {
		t.Run(way, func(t *testing.T) {
			o := options()
			o.MaxQueue = 16 << 20
			w := start(t, way, o, nil)
			w.hooked = true
			p, s := w.dial()
			smallBuffers(t, p, s)
			var partial atomic.Int64
			s.hook(func() { partial.Add(1) })
			sizes := []int{1, 100, 5000, 40_000, 70_000, 150_000}
			go func() { // ends with the frames
				for i := range 60 {
					s.Send(text(fmt.Sprint(i, " ", filler(sizes[i%len(sizes)]))), false, nil)
				}
			}()
			for i := range 60 {
				p.expect(opText, fmt.Sprint(i, " ", filler(sizes[i%len(sizes)])))
			}
			require.Positive(t, partial.Load())
			s.Shutdown(1000, "")
			p.expectClose(1000)
			require.NoError(t, ignoreLatched(s.ended(t)))
		})
	}
}

func ignoreLatched(err error) error {
	if err == ErrLatched { //nolint:errorlint // exactly
		return nil
	}
	return err
}

// The rest of a frame whose beginning is out goes out whole, whatever happens
// to what waits behind it: even when not a byte of it could be written at the
// second try.
func TestRestOfAFrame(t *testing.T) {
	for _, volatile := range []bool{false, true} {
		t.Run(fmt.Sprintf("volatile %v", volatile), func(t *testing.T) {
			o := options()
			o.MaxQueue = 200 << 10
			w := start(t, overUnix, o, nil)
			w.hooked = true
			uncorked := make(chan struct{})
			once := sync.OnceFunc(func() { close(uncorked) })
			w.idle = func(*session) { once() }
			p, s := w.dial()
			smallBuffers(t, p, s)
			<-uncorked // by the reader, which from now on waits for what does not come
			// A reader at work: the goroutine that would write the rest ends at once,
			// and the rest waits in the queue.
			s.hook(s.Cork)
			big := filler(50_000)
			s.Send(text(big), volatile, nil)
			atRest := func() (partial bool) {
				eventually(t, "nobody writes", func() bool {
					s.out.mu.Lock()
					defer s.out.mu.Unlock()
					partial = s.out.partial
					return !s.out.writing
				})
				return partial
			}
			require.True(t, atRest(), "not what this test is about")
			s.Uncork() // the kernel takes nothing
			require.True(t, atRest())
			s.Send(text("dropped"), true, nil)
			// Nothing is read; the queue overflows.
			for range 100 {
				s.Send(text(filler(5000)), false, nil)
			}
			require.Equal(t, slowCode, s.CloseCode())
			p.expect(opText, big)
			p.expectClose(slowCode)
			require.NoError(t, ignoreLatched(s.ended(t)))
		})
	}
}

// What was joined for one write, and could not be written, is not in the
// pool's hands while the next connection joins its own.
func TestRestOfManyFrames(t *testing.T) {
	w := start(t, overUnix, options(), nil)
	for range 10 {
		p1, s1 := w.dial()
		p2, s2 := w.dial()
		smallBuffers(t, p1, s1)
		for i, s := range []*session{s1, s2} {
			s.Cork()
			for range 8 {
				s.Send(text(fmt.Sprint(i, filler(7000))), false, nil)
			}
			s.Uncork()
		}
		for range 8 {
			p1.expect(opText, "0"+filler(7000))
			p2.expect(opText, "1"+filler(7000))
		}
	}
}

// frozen gives a connection over a pipe whose peer reads nothing: a first
// frame, "held", is in the writer's hands, and the rest of what is sent waits.
func frozen(t *testing.T, o Options) (*peer, *session) {
	t.Helper()
	w := start(t, overPipe, o, nil)
	p, s := w.dial()
	s.Send(text("held"), false, nil)
	synctest.Wait()
	bytes, frames := s.waiting()
	require.Equal(t, len(text("held")), bytes)
	require.Zero(t, frames)
	return p, s
}

func TestVolatileFramesGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.MaxQueue = 1000
		p, s := frozen(t, o)
		for i := range 9 { // 9 times 104 bytes
			s.Send(text(fmt.Sprint(i%3, filler(101))), i%3 != 0, nil)
		}
		bytes, frames := s.waiting()
		require.Equal(t, 9, frames)
		require.Equal(t, 6+9*104, bytes)
		s.Send(text("1"+filler(101)), true, nil) // too much: but now there is room
		_, frames = s.waiting()
		require.Equal(t, 10, frames, "the queue itself is allowed to be full")
		s.Send(text("0"+filler(101)), false, nil)
		bytes, frames = s.waiting()
		require.Equal(t, 4, frames)
		require.Equal(t, 6+4*104, bytes)
		require.Zero(t, s.CloseCode())
		p.expect(opText, "held")
		for range 4 {
			p.expect(opText, "0"+filler(101))
		}
		synctest.Wait()
		bytes, frames = s.waiting()
		require.Zero(t, bytes)
		require.Zero(t, frames)
		s.Send(text("later"), true, nil)
		p.expect(opText, "later")
	})
}

func TestVolatileFramesDoNotOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.MaxQueue = 1000
		p, s := frozen(t, o)
		for range 10 {
			s.Send(text(filler(102)), false, nil)
		}
		for range 1000 {
			s.Send(text("typing"), true, nil)
		}
		bytes, frames := s.waiting()
		require.Equal(t, 10, frames)
		require.Equal(t, 6+10*104, bytes)
		require.Zero(t, s.CloseCode())
		p.expect(opText, "held")
		for range 10 {
			p.expect(opText, filler(102))
		}
	})
}

func TestSlowConsumer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.MaxQueue = 1000
		p, s := frozen(t, o)
		for range 1000 {
			s.Send(text(filler(102)), false, nil)
			bytes, frames := s.waiting()
			require.LessOrEqual(t, bytes, 1000+104)
			require.LessOrEqual(t, frames, 10)
		}
		require.Equal(t, slowCode, s.CloseCode())
		bytes, frames := s.waiting()
		require.Equal(t, 1, frames, "only the Close frame")
		require.Less(t, bytes, 50)
		time.Sleep(time.Minute) // within CloseTimeout
		p.expect(opText, "held")
		op, payload, err := p.read()
		require.NoError(t, err)
		require.Equal(t, byte(opClose), op)
		require.Equal(t, slowCode, closeCode(payload))
		p.send(clientFrame(opClose, true, payload))
		p.expectEnd()
		require.NoError(t, ignoreLatched(s.ended(t)))
	})
}

// A frame of any size may be sent to a client that is not behind, on whatever
// kind of connection, corked or not.
func TestBigFrames(t *testing.T) {
	inEveryWay(t, func(t *testing.T, way string) {
		o := options()
		o.MaxQueue = 100 << 10
		big := filler(1 << 20)
		w := start(t, way, o, func(s *session, _ bool, _ []byte) { // corked
			s.Send(text("first"), false, nil)
			s.Send(text(big), false, nil)
		})
		p, s := w.dial()
		s.Send(text(big), false, nil)
		p.expect(opText, big)
		p.send(clientText("x"))
		p.expect(opText, "first")
		p.expect(opText, big)
		require.Zero(t, s.CloseCode())
	})
}

// Frames of a few bytes take more memory than that; a client that sends pings
// and reads nothing must not have the multiple of the limit wait for it.
func TestPongsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.MaxQueue = 32 << 10
		p, s := frozen(t, o)
		for range 100 {
			for range 50 {
				p.send(clientFrame(opPing, true, nil))
			}
			synctest.Wait()
			_, frames := s.waiting()
			require.LessOrEqual(t, frames, 1<<10)
		}
		require.Zero(t, s.CloseCode())
		p.expect(opText, "held")
		p.expect(opPong, "")
	})
}

// Many frames leave in one write when they have waited for one.
func TestCork(t *testing.T) {
	var writes atomic.Int64
	corked := make(chan struct{})
	w := start(t, overTCP, options(), func(s *session, _ bool, _ []byte) {
		for i := range 100 {
			s.Send(text(fmt.Sprint("answer ", i)), false, nil)
		}
		<-corked
	})
	w.hooked = true
	p, s := w.dial()
	s.hook(func() { writes.Add(1) })
	p.send(clientText("x"))
	var wg sync.WaitGroup
	for i := range 4 { // others send as well, and wait
		wg.Go(func() { s.Send(text(fmt.Sprint("other ", i)), false, nil) })
	}
	wg.Wait()
	eventually(t, "all of it waits", func() bool { _, n := s.waiting(); return n >= 100 })
	before := writes.Load()
	close(corked)
	seen := 0
	for i := 0; i < 100; {
		_, payload, err := p.read()
		require.NoError(t, err)
		if strings.HasPrefix(string(payload), "other") {
			seen++
			continue
		}
		require.Equal(t, fmt.Sprint("answer ", i), string(payload))
		i++
	}
	eventually(t, "the write has returned", func() bool { return writes.Load() > before })
	require.Equal(t, before+1, writes.Load())
	s.Uncork() // not corked: does nothing
	require.Equal(t, before+1, writes.Load())
}

// A cork that is long in place does not make a slow consumer of a client:
// what fills a write goes out.
func TestCorkHoldsLittle(t *testing.T) {
	inEveryWay(t, func(t *testing.T, way string) {
		o := options()
		o.MaxQueue = 256 << 10
		received := make(chan struct{})
		w := start(t, way, o, func(s *session, _ bool, _ []byte) {
			for range 4 {
				s.Send(text(filler(40_000)), false, nil)
			}
			<-received
		})
		p, s := w.dial()
		p.send(clientText("x"))
		for range 2 {
			p.expect(opText, filler(40_000))
		}
		close(received)
		for range 2 {
			p.expect(opText, filler(40_000))
		}
		require.Zero(t, s.CloseCode())
	})
}

// Whoever sends does not have to write for others for ever.
func TestSenderIsLetGo(t *testing.T) {
	w := start(t, overTCP, options(), nil)
	w.hooked = true
	p, s := w.dial()
	const more = 500
	var tries atomic.Int64
	s.hook(func() {
		if tries.Add(1) <= more { // while this is being written, the next comes
			s.Send(text("more"), false, nil)
		}
	})
	s.Send(text("first"), false, nil)
	require.LessOrEqual(t, tries.Load(), int64(mostRounds+1))
	p.expect(opText, "first")
	for range mostRounds {
		p.expect(opText, "more")
	}
}

// A write that finds nothing to write, since what waited has been dropped in
// the meantime, leaves the connection as fit as before.
func TestNothingToWrite(t *testing.T) {
	w := start(t, overTCP, options(), nil)
	p, s := w.dial()
	s.out.mu.Lock()
	s.out.writing = true // by Uncork, which has let go of mu
	s.out.mu.Unlock()
	s.flush(nil)
	s.Send(nil, false, nil)
	s.Queue(nil)
	s.Send([]byte{}, true, nil)
	s.Cork()
	s.Send([]byte{}, false, nil)
	s.Uncork()
	s.Send(text("alive"), false, nil)
	p.expect(opText, "alive")
}

// A frame for a gate is never sent after anything that was sent after Shut.
func TestGate(t *testing.T) {
	w := start(t, overTCP, options(), nil)
	p, s := w.dial()
	const rounds = 300
	go func() { // ends with the rounds
		for i := range rounds {
			var g Gate
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					for range 20 {
						s.Send(text(fmt.Sprint(i)), i%2 == 0, &g)
					}
				})
			}
			if i%3 == 0 {
				s.Shut(&g)
			} else {
				time.Sleep(time.Duration(i) * time.Microsecond)
				s.Shut(&g)
			}
			s.Send(text(fmt.Sprint("shut ", i)), false, nil)
			wg.Wait()
			s.Send(text("never"), false, &g)
		}
	}()
	for shut := -1; shut < rounds-1; {
		_, payload, err := p.read()
		require.NoError(t, err)
		if n, ok := strings.CutPrefix(string(payload), "shut "); ok {
			require.Equal(t, fmt.Sprint(shut+1), n)
			shut++
			continue
		}
		require.Equal(t, fmt.Sprint(shut+1), string(payload), "through a gate that is shut")
	}
}

func TestSendPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.MaxQueue = 1000
		var sent atomic.Int64
		results := make(chan bool, 100)
		w := start(t, overPipe, o, func(s *session, _ bool, _ []byte) {
			for i := range 10 {
				results <- s.SendPaced(text(fmt.Sprint(i, filler(50_000))))
				sent.Add(1)
				s.out.mu.Lock()
				if !s.out.corked {
					t.Error("not corked")
				}
				s.out.mu.Unlock()
			}
			s.Queue(text("and then")) // follows, whatever the limit
			s.Send(text("live"), false, nil)
		})
		p, s := w.dial()
		p.send(clientText("replay"))
		synctest.Wait()
		require.EqualValues(t, 1, sent.Load(), "one piece may wait")
		for i := range 10 {
			bytes, _ := s.waiting()
			require.Less(t, bytes, pacedSize+51_000)
			p.expect(opText, fmt.Sprint(i, filler(50_000)))
			synctest.Wait()
			require.EqualValues(t, min(i+2, 10), sent.Load())
		}
		p.expect(opText, "and then")
		p.expect(opText, "live")
		for range 10 {
			require.True(t, <-results)
		}
	})
}

func TestSendPacedToAClosingConnection(t *testing.T) {
	cases := map[string]struct {
		how   func(p *peer, s *session)
		after time.Duration
		late  time.Duration // at most
	}{
		"peer reads nothing": {func(_ *peer, s *session) { s.Shutdown(1001, "") }, time.Minute, 0},
		"peer reads": {func(p *peer, s *session) {
			s.Shutdown(1001, "")
			p.expect(opText, filler(200_000))
		}, 0, 0},
		"slow consumer": {func(_ *peer, s *session) {
			for s.CloseCode() == 0 {
				s.Send(text("x"), false, nil)
			}
		}, time.Minute, 0},
		"write timeout": {func(*peer, *session) {}, 10 * time.Second, time.Second},
		"abort":         {func(_ *peer, s *session) { s.Abort() }, 0, 0},
		"peer is gone":  {func(p *peer, _ *session) { _ = p.nc.Close() }, 0, 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := options()
				o.CloseTimeout = time.Minute
				o.WriteTimeout = 10 * time.Second
				o.MaxQueue = 1000
				result := make(chan bool, 1)
				w := start(t, overPipe, o, func(s *session, _ bool, _ []byte) {
					result <- s.SendPaced(text(filler(200_000)))
				})
				time.Sleep(700 * time.Millisecond) // between two looks of the sweeper's
				p, s := w.dial()
				p.send(clientText("replay"))
				synctest.Wait()
				began := time.Now()
				tc.how(p, s)
				require.False(t, <-result)
				require.GreaterOrEqual(t, time.Since(began), tc.after)
				require.LessOrEqual(t, time.Since(began), tc.after+tc.late)
				if name == "peer reads" {
					p.expectClose(1001)
				}
				<-s.done
			})
		})
	}
}

func TestQueueIgnoresTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.MaxQueue = 1000
		p, s := frozen(t, o)
		for range 50 {
			s.Queue(text(filler(1000)))
		}
		// Live frames go by the limit, as if the replay were not there.
		for range 9 {
			s.Send(text(filler(108)), true, nil)
		}
		for range 9 {
			s.Send(text(filler(108)), false, nil)
		}
		require.Zero(t, s.CloseCode())
		p.expect(opText, "held")
		for range 50 {
			p.expect(opText, filler(1000))
		}
		for range 9 {
			p.expect(opText, filler(108))
		}
		synctest.Wait()
		s.Send(text("held again"), false, nil)
		synctest.Wait()
		for range 11 {
			s.Send(text(filler(108)), false, nil)
		}
		require.Equal(t, slowCode, s.CloseCode())
	})
}

// Nor do the frames of a replay take the places of what follows it, though they
// are queued one by one: five rooms that are resumed make no slow consumer.
func TestQueueAllTakesNoPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.MaxQueue = 8192 // 256 places
		p, s := frozen(t, o)
		const rooms, frames = 5, 100
		for range rooms {
			require.True(t, s.QueueAll(func(yield func([]byte) bool) {
				for range frames {
					yield(text("old"))
				}
			}))
			s.Send(text("live"), true, nil)
		}
		for range 250 {
			s.Send(text("live"), false, nil)
		}
		require.Zero(t, s.CloseCode())
		p.expect(opText, "held")
		for range rooms {
			for range frames {
				p.expect(opText, "old")
			}
			p.expect(opText, "live")
		}
		for range 250 {
			p.expect(opText, "live")
		}
		for range 1 + 256 { // one is being written
			s.Send(text("live"), false, nil)
			synctest.Wait()
		}
		require.Zero(t, s.CloseCode())
		s.Send(text("live"), false, nil)
		require.Equal(t, slowCode, s.CloseCode(), "what is not a replay's is counted as before")
		require.False(t, s.Queue(text("late")))
	})
}

// Who waits for the queue to become short learns that it has, though nothing
// was written: what waited was dropped.
func TestDroppedFramesAreNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.MaxQueue = 256 << 10
		p, s := frozen(t, o)
		for range 5 {
			s.Send(text(filler(50_000)), true, nil)
		}
		low := make(chan bool)
		go func() { low <- s.waitBelow(pacedSize) }()
		synctest.Wait()
		select {
		case <-low:
			require.FailNow(t, "250 KB are not below 64 KiB")
		default:
		}
		s.Send(text(filler(50_000)), false, nil)
		require.True(t, <-low)
		p.expect(opText, "held")
		p.expect(opText, filler(50_000))
	})
}

// Nothing follows a Close frame, from whichever side it came, and the first
// code is the one that counts.
func TestLatch(t *testing.T) {
	inEveryWay(t, func(t *testing.T, way string) {
		w := start(t, way, options(), nil)
		p, s := w.dial()
		s.Send(text("before"), false, nil)
		var first atomic.Int64
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				if s.Shutdown(4100+i, "reason") {
					first.Add(int64(4100 + i))
				}
				s.Send(text("after"), false, nil)
				s.Queue(text("after"))
				_, _ = s.Write(frame(opPong, ""))
				_, _ = s.Write(frame(opClose, "\x03\xe8"))
			})
		}
		wg.Wait()
		p.expect(opText, "before")
		p.expectClose(int(first.Load()))
		require.ErrorIs(t, s.ended(t), ErrLatched)
		require.EqualValues(t, first.Load(), s.CloseCode())
	})
}

// A peer that accepts nothing for WriteTimeout is a slow consumer, too.
func TestWriteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.WriteTimeout = 10 * time.Second
		p, s := frozen(t, o)
		s.Send(text(filler(100_000)), false, nil)
		began := time.Now()
		time.Sleep(9 * time.Second)
		p.expect(opText, "held")
		for range 10 { // one byte at a time does not help, 16 KiB do
			time.Sleep(9 * time.Second)
			_, err := io.CopyN(io.Discard, p.br, pieceSize)
			require.NoError(t, err)
			if time.Since(began) > 50*time.Second {
				break
			}
		}
		require.Zero(t, s.CloseCode())
		now := time.Now()
		<-s.done
		require.LessOrEqual(t, time.Since(now), 11*time.Second) // the sweeper looks once a second
		require.Equal(t, slowCode, s.CloseCode())
		_, err := io.ReadAll(p.br)
		require.NoError(t, err)
	})
}

// What is over is not overdue, however long nothing follows it.
func TestNothingIsOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.WriteTimeout = 10 * time.Second
		p, s := frozen(t, o)
		began := s.out.turn.Load()
		require.Equal(t, uint64(1), began%2)
		for range 3 {
			p.expect(opText, "held")
			time.Sleep(time.Minute)
			s.overdue(began) // the sweeper has seen that write, and is slow
			s.Send(text("held"), false, nil)
		}
		p.expect(opText, "held")
		require.Zero(t, s.CloseCode())
	})
}

// A write is never cut off before WriteTimeout is over: not one that began just
// before the sweeper looks, nor one that has waited for longer because this
// process stood still, and the sweeper with it.
func TestNothingIsOverdueEarly(t *testing.T) {
	for name, pause := range map[string]time.Duration{"": 0, "paused": time.Minute + 900*time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var looks atomic.Int64
				o := options()
				o.WriteTimeout = 300 * time.Millisecond
				o.Sweeper = NewSweeper(time.Hour, func(Handler, time.Time) {
					if looks.Add(1) == 1 {
						time.Sleep(pause)
					}
				})
				began := time.Now()
				w := start(t, overPipe, o, nil)
				t.Cleanup(o.Sweeper.Stop)
				_, s := w.dial()
				time.Sleep(1700 * time.Millisecond) // between two looks
				require.EqualValues(t, 1, looks.Load())
				s.Send(text("held"), false, nil)
				time.Sleep(pause + 299*time.Millisecond - min(pause, 700*time.Millisecond)) // since it began, or the pause is over
				require.Zero(t, s.CloseCode())
				time.Sleep(301 * time.Millisecond) // the next look, if there was no pause
				require.Zero(t, s.CloseCode())
				<-s.done
				require.Equal(t, slowCode, s.CloseCode())
				require.LessOrEqual(t, time.Since(began), pause+4*time.Second)
			})
		})
	}
}

// Steady sending allocates nothing.
func TestSendAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	w := start(t, overTCP, options(), nil)
	p, s := w.dial()
	go func() { _, _ = io.Copy(io.Discard, onlyReader{p.nc}) }()
	f := text(filler(128))
	send := func() { s.Send(f, false, nil) }
	cork := func() {
		s.Cork()
		for range 8 {
			s.Send(f, false, nil)
		}
		s.Uncork()
		eventually(t, "written", func() bool { n, _ := s.waiting(); return n == 0 })
	}
	require.Zero(t, testing.AllocsPerRun(1000, send))
	require.Zero(t, testing.AllocsPerRun(1000, cork))
}

// Nor does receiving.
func TestNextAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	answer := text(filler(128))
	w := start(t, overTCP, options(), func(s *session, _ bool, _ []byte) { s.Send(answer, false, nil) })
	p, _ := w.dial()
	question, got := clientText(filler(128)), make([]byte, len(answer))
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		_, _ = p.nc.Write(question)
		_, _ = io.ReadFull(p.br, got)
	}))
}

// onlyReader hides the methods by which io.Copy would do something clever.
type onlyReader struct{ io.Reader }

var _ net.Conn = (*Conn)(nil)

// A spinner is a connection whose writes take their time, and keep the
// processor. It notes how many turns others have had before each.
type spinner struct {
	net.Conn
	turns *atomic.Int64
	had   []int64
	more  func() // comes to the queue meanwhile
}

func (s *spinner) Write(p []byte) (int, error) {
	s.had = append(s.had, s.turns.Load())
	s.more()
	for began := time.Now(); time.Since(began) < 300*time.Microsecond; { // the network has to be looked at again
	}
	return len(p), nil
}

// A goroutine that writes makes room for others, but not within a burst:
// of a thousand of them, each would wait for a turn between its two halves.
func TestAWriterMakesRoom(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var turns atomic.Int64
	var others sync.WaitGroup
	var over atomic.Bool
	others.Go(func() {
		for !over.Load() {
			turns.Add(1)
			runtime.Gosched()
		}
	})
	defer others.Wait()
	defer over.Store(true)
	had := func(size, bursts int) []int64 {
		o := options()
		nc := &spinner{turns: &turns}
		c := &Conn{nc: nc, o: &o}
		nc.more = func() {
			if bursts > 0 && len(c.out.queue) == 0 {
				bursts--
				c.out.append(make([]byte, size), false)
			}
		}
		nc.more()
		c.out.writing = true
		time.Sleep(10 * time.Millisecond) // after a slow look nobody looks for up to 4
		c.writeLoop()
		return nc.had
	}
	require.True(t, pacetest.Once(func() bool {
		ns := had(3*pieceSize, 3)
		require.Len(t, ns, 9)
		return ns[0] == ns[5] && ns[5] < ns[6] && ns[6] == ns[8] // twice 48 KiB before others
	}), "each burst is written in one go, and others go first after 64 KiB")
	require.True(t, pacetest.Once(func() bool {
		ns := had(2*turnSize, 1)
		require.Len(t, ns, 2*turnSize/pieceSize)
		return ns[0] < ns[len(ns)-1]
	}), "others go first amid what is larger than a burst")
}
