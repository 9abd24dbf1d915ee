package wsconn

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// The peer closes: it is answered, after what waits for it, and that is that.
func TestPeerCloses(t *testing.T) {
	inEveryWay(t, func(t *testing.T, way string) {
		w := start(t, way, options(), func(s *session, _ bool, _ []byte) {
			s.Send(text("answer"), false, nil)
		})
		p, s := w.dial()
		p.send(clientText("question"), clientFrame(opClose, true, []byte("\x0f\xa1later")))
		p.expect(opText, "answer")
		p.expect(opClose, "\x0f\xa1later")
		p.expectEnd()
		require.ErrorIs(t, s.ended(t), ErrLatched)
		require.Equal(t, 4001, s.CloseCode())
		require.False(t, s.Shutdown(1000, ""))
	})
}

// This side closes: as soon as the peer answers it is over, however long
// CloseTimeout is.
func TestThisSideCloses(t *testing.T) {
	inEveryWay(t, func(t *testing.T, way string) {
		w := start(t, way, options(), nil)
		p, s := w.dial()
		s.Send(text("goodbye"), false, nil)
		began := time.Now()
		require.True(t, s.Shutdown(4001, "token expired"))
		require.False(t, s.Shutdown(4002, "too late"))
		p.expect(opText, "goodbye")
		p.expect(opClose, "\x0f\xa1token expired")
		// Messages under way are read past; so are their beginnings.
		p.send(clientText(filler(100_000)), clientFrame(opText, false, []byte("half")))
		p.send(clientFrame(opClose, true, []byte("\x0f\xa1")))
		p.expectEnd()
		require.ErrorIs(t, s.ended(t), ErrLatched)
		require.Equal(t, 4001, s.CloseCode())
		if way == overPipe {
			require.Zero(t, time.Since(began))
		}
	})
}

// A Close frame that crosses the peer's: the peer's code counts as its answer.
func TestBothClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, overPipe, options(), nil)
		p, s := w.dial()
		began := time.Now()
		s.Shutdown(4001, "")
		synctest.Wait() // the Close frame waits to be read
		p.send(clientFrame(opClose, true, []byte("\x03\xe8")))
		p.expect(opClose, "\x0f\xa1")
		p.expectEnd()
		require.ErrorIs(t, s.ended(t), ErrLatched)
		require.Zero(t, time.Since(began))
	})
}

func TestPeerNeverAnswers(t *testing.T) {
	for name, peer := range map[string]func(p *peer){
		"reads, says nothing": func(p *peer) {
			_, _ = io.Copy(io.Discard, p.br)
		},
		"reads nothing": func(*peer) {},
		"sends for ever": func(p *peer) {
			go func() { _, _ = io.Copy(io.Discard, p.br) }()
			for {
				if _, err := p.nc.Write(clientText("x")); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		},
		"stops in the middle of a frame": func(p *peer) {
			_, _ = p.nc.Write(clientText("xxx")[:7])
			_, _ = io.Copy(io.Discard, p.br)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := options()
				o.CloseTimeout = 5 * time.Second
				w := start(t, overPipe, o, nil)
				p, s := w.dial()
				s.Send(text("before"), false, nil)
				synctest.Wait()
				began := time.Now()
				s.Shutdown(1001, "")
				left := make(chan struct{})
				go func() {
					defer close(left)
					peer(p)
				}()
				<-s.done
				require.Equal(t, o.CloseTimeout, time.Since(began))
				cut(p.nc)
				<-left
			})
		})
	}
	t.Run(overTCP, func(t *testing.T) {
		o := options()
		o.CloseTimeout = 2 * time.Second // the Close frame shall get out though this is stopped for a while
		w := start(t, overTCP, o, nil)
		p, s := w.dial()
		s.Shutdown(1001, "")
		require.ErrorIs(t, s.ended(t), ErrLatched)
		p.expect(opClose, "\x03\xe9")
		p.expectEnd()
	})
}

// The goodbye of a tls.Conn must not add to CloseTimeout, nor make Abort wait.
func TestFrozenTLS(t *testing.T) {
	dial := func(t *testing.T) *session {
		o := options()
		o.CloseTimeout = time.Second
		_, s := start(t, overTLSPipe, o, nil).dial()
		_, isTLS := s.nc.(*tls.Conn)
		require.True(t, isTLS)
		return s
	}
	serverTLS() // outside the bubble
	t.Run("Finish", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := dial(t)
			began := time.Now()
			s.Shutdown(1001, "")
			<-s.done
			require.Equal(t, time.Second, time.Since(began))
		})
	})
	t.Run("Abort", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := dial(t)
			began := time.Now()
			s.Abort()
			<-s.done
			require.Zero(t, time.Since(began))
		})
	})
}

// A peer that does one thing at a time sends all it has before it reads. Were
// its bytes not read, it would never come to the Close frame, or a reset would
// overtake that.
func TestPeerSendsBeforeItReads(t *testing.T) {
	for _, way := range everyWay {
		t.Run(way, func(t *testing.T) {
			test := func(t *testing.T) {
				w := start(t, way, options(), func(s *session, _ bool, _ []byte) {
					s.Send(text("answer"), false, nil)
					s.Shutdown(4001, "enough")
				})
				p, s := w.dial()
				began := time.Now()
				m := clientText(filler(50_000))
				for range 100 {
					p.send(m)
				}
				p.expect(opText, "answer")
				p.expectClose(4001)
				require.ErrorIs(t, s.ended(t), ErrLatched)
				if way == overPipe { // 5 MB, of which 128 KiB for nothing
					require.InDelta(t, 2.3, time.Since(began).Seconds(), 0.2)
				}
			}
			if way == overPipe {
				synctest.Test(t, test)
			} else {
				test(t)
			}
		})
	}
}

// The peer's Close frame is read to its end: what is left unread in a socket
// that is closed makes the kernel send a reset, which would overtake our own.
func TestCloseFrameInPieces(t *testing.T) {
	w := start(t, overTCP, options(), nil)
	for range 20 {
		p, s := w.dial()
		s.Shutdown(4001, "")
		f := clientFrame(opClose, true, []byte("\x03\xe8 and a reason"))
		for i := range f {
			p.send(f[i : i+1])
		}
		p.expect(opClose, "\x0f\xa1")
		p.expectEnd()
		require.ErrorIs(t, s.ended(t), ErrLatched)
	}
}

// Who is not to be told is not told.
func TestFinishWithoutShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		c := conn(t, a, 10)
		go func() { _, _ = b.Write(clientFrame(opText, true, []byte("more than ten"))) }()
		require.ErrorIs(t, c.Serve(), ErrTooBig)
		began := time.Now()
		c.Finish()
		require.Zero(t, time.Since(began))
		_, err := b.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
	})
}

// The ways in which a peer goes without saying so.
func TestPeerGoes(t *testing.T) {
	cases := map[string]func(t *testing.T, p *peer){
		"FIN": func(t *testing.T, p *peer) { require.NoError(t, p.nc.Close()) },
		"half a FIN": func(t *testing.T, p *peer) {
			require.NoError(t, p.nc.(*net.TCPConn).CloseWrite())
		},
		"RST": func(t *testing.T, p *peer) {
			require.NoError(t, p.nc.(*net.TCPConn).SetLinger(0))
			require.NoError(t, p.nc.Close())
		},
		"in the middle of a header": func(t *testing.T, p *peer) {
			p.send(clientText("x")[:1])
			require.NoError(t, p.nc.Close())
		},
		"between fragments": func(t *testing.T, p *peer) {
			p.send(clientFrame(opText, false, []byte("half")))
			require.NoError(t, p.nc.Close())
		},
		"in the middle of a message": func(t *testing.T, p *peer) {
			p.send(clientText(filler(60_000))[:30_000])
			require.NoError(t, p.nc.Close())
		},
		"before a payload": func(t *testing.T, p *peer) {
			p.send(clientText(filler(60_000))[:8])
			require.NoError(t, p.nc.Close())
		},
	}
	for name, goes := range cases {
		t.Run(name, func(t *testing.T) {
			got := make(chan string, 10)
			w := start(t, overTCP, options(), func(_ *session, _ bool, p []byte) { got <- string(p) })
			p, s := w.dial(clientText("before"))
			require.Equal(t, "before", <-got)
			goes(t, p)
			err := s.ended(t)
			require.Error(t, err)
			require.NotErrorIs(t, err, ErrLatched)
			require.NotErrorIs(t, err, ErrProtocol)
			require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
			require.Zero(t, s.CloseCode())
			require.Empty(t, got, "a message that has not come whole")
		})
	}
}

// A peer that has gone while much is sent to it ends the connection, too.
func TestPeerGoesWhileWriting(t *testing.T) {
	w := start(t, overTCP, options(), nil)
	p, s := w.dial()
	smallBuffers(t, p, s)
	for range 10 {
		s.Send(text(filler(50_000)), false, nil)
	}
	require.NoError(t, p.nc.(*net.TCPConn).SetLinger(0))
	require.NoError(t, p.nc.Close())
	require.Error(t, s.ended(t))
	s.Send(text("x"), false, nil)
	s.Queue(text("x"))
	require.False(t, s.Shutdown(1000, ""))
}

// Nor does the peer have to wait for a reader that is busy.
func TestAbortWhileBusy(t *testing.T) {
	inEveryWay(t, func(t *testing.T, way string) {
		busy, free := make(chan struct{}), make(chan struct{})
		w := start(t, way, options(), func(*session, bool, []byte) {
			close(busy)
			<-free
		})
		p, s := w.dial()
		p.send(clientText("work"))
		<-busy
		s.Abort()
		_, err := io.ReadAll(p.br)
		require.True(t, err == nil || errors.Is(err, io.ErrUnexpectedEOF), fmt.Sprint(err))
		close(free)
		require.ErrorIs(t, s.ended(t), ErrLatched)
	})
}

// Abort does not wait for a reader that is busy in Idle, and may be called
// there.
func TestAbortWithinIdle(t *testing.T) {
	inEveryWay(t, func(t *testing.T, way string) {
		w := start(t, way, options(), nil)
		var armed atomic.Bool
		w.idle = func(s *session) {
			if armed.Load() {
				s.Abort()
			}
		}
		p, s := w.dial()
		eventually(t, "Idle", func() bool { return s.idle.Load() > 0 })
		armed.Store(true) // for the first Idle, if that is not over, or the next
		_, _ = p.nc.Write(clientText("x"))
		require.ErrorIs(t, s.ended(t), ErrLatched)
	})
}

func TestAbort(t *testing.T) {
	inEveryWay(t, func(t *testing.T, way string) {
		w := start(t, way, options(), nil)
		p, s := w.dial()
		s.Abort()
		s.Abort()
		require.ErrorIs(t, s.ended(t), ErrLatched)
		_, err := io.ReadAll(p.br)
		if way == overTLS {
			require.True(t, errors.Is(err, io.ErrUnexpectedEOF) || err == nil, fmt.Sprint(err))
			return
		}
		require.NoError(t, err)
	})
}

// A ping of which only half comes makes coder give the connection up after
// five seconds; it hands the socket over for closing, and must not be waited
// for in vain.
func TestHalfAPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, overPipe, options(), nil)
		p, s := w.dial()
		p.send(clientFrame(opPing, true, []byte("payload"))[:8])
		time.Sleep(10 * time.Second)
		select {
		case <-s.done:
			require.FailNow(t, "ended")
		default:
		}
		began := time.Now()
		s.Shutdown(1001, "")
		p.expect(opClose, "\x03\xe9")
		p.send(clientFrame(opPing, true, []byte("payload"))[8:], clientFrame(opClose, true, nil))
		p.expectEnd()
		require.ErrorIs(t, s.ended(t), ErrLatched)
		require.Zero(t, time.Since(began))
	})
}

// What a peer sends after its Close frame, such as a pong it owed, must not
// cost it what is still on its way to it.
func TestPeerSendsAfterItsClose(t *testing.T) {
	w := start(t, overTCP, options(), nil)
	p, s := w.dial()
	require.NoError(t, p.nc.(*net.TCPConn).SetReadBuffer(32<<10))
	require.NoError(t, s.nc.(*net.TCPConn).SetWriteBuffer(1<<20))
	for range 6 { // the kernels take it, but not the peer's alone
		s.Send(text(filler(50_000)), false, nil)
	}
	p.send(clientFrame(opClose, true, []byte("\x03\xe8")))
	eventually(t, "all is written", func() bool { n, _ := s.waiting(); return n == 0 && s.latched() })
	eventually(t, "the end is near", func() bool {
		return len(stacksWith(".(*inbox).discard")) > 0 || len(stacksWith(".(*session).run")) == 0
	})
	p.send(clientFrame(opPong, true, nil))
	p.send(clientFrame(opPong, true, nil))
	for range 6 {
		p.expect(opText, filler(50_000))
	}
	p.expect(opClose, "\x03\xe8")
	p.expectEnd()
	require.ErrorIs(t, s.ended(t), ErrLatched)
}

// Whoever goes on sending whatever it is told is read slowly until
// CloseTimeout, and nothing of it is acted upon, nor of what it had sent
// before.
func TestPeerNeverStopsSending(t *testing.T) {
	inEveryWay(t, func(t *testing.T, way string) {
		var got, sent atomic.Int64
		o := options()
		o.CloseTimeout = 2 * time.Second
		w := start(t, way, o, func(s *session, _ bool, _ []byte) {
			if got.Add(1) == 2 {
				s.Shutdown(4001, "enough")
			}
		})
		p, s := w.dial()
		p.send(clientText("one"), clientText("two"), clientText("three"), clientText("four"))
		stopped := make(chan struct{})
		go func() { // ends with the connection
			defer close(stopped)
			more := clientText(filler(32 << 10))
			for {
				n, err := p.nc.Write(more)
				sent.Add(int64(n))
				if err != nil {
					return
				}
			}
		}()
		p.expect(opClose, "\x0f\xa1enough")
		began := time.Now()
		require.ErrorIs(t, s.ended(t), ErrLatched)
		if way == overPipe {
			require.InDelta(t, o.CloseTimeout, time.Since(began), float64(2*discardPause))
		}
		require.Equal(t, int64(2), got.Load())
		const sockets = 12 << 20 // what both ends may hold
		require.Less(t, sent.Load(), 2*int64(2<<20)+sockets)
		if way == overPipe { // a reader that is stopped for a while reads less, elsewhere
			require.Greater(t, sent.Load(), int64(1<<20))
		}
		cut(p.nc)
		<-stopped
	})
}

// Closing the socket waits for a write on its descriptor that is under way,
// whose number the next socket would get; but Abort does not wait for that:
// the write may be the reader's own, from within its read.
func TestAbortDuringAWrite(t *testing.T) {
	w := start(t, overTCP, options(), func(s *session, _ bool, _ []byte) {
		s.Send(text("answer"), false, nil)
	})
	w.hooked = true
	p, s := w.dial()
	s.hook(func() {
		aborted := make(chan struct{})
		go func() {
			defer close(aborted)
			s.Abort()
		}()
		<-aborted
	})
	p.send(clientText("question")) // answered by Idle
	require.ErrorIs(t, s.ended(t), ErrLatched)
	p.expect(opText, "answer")
	p.expectEnd()
	eventually(t, "the socket is closed", func() bool { return s.raw.Control(func(uintptr) {}) != nil })
}
