package wsconn

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// What the package rests on: a control frame, be it coder's or ours, is one entry of
// the queue. coder's are those within a message in fragments.
func TestControlFramesAreWhole(t *testing.T) {
	for _, within := range []bool{false, true} {
		t.Run(fmt.Sprintf("within a message %t", within), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, overPipe, options(), nil)
				p, s := w.dial()
				s.out.mu.Lock()
				s.out.writing = true // nobody writes: all of it stays in the queue
				s.out.mu.Unlock()
				if within {
					p.send(clientFrame(opText, false, nil))
				}
				for n := range 126 {
					p.send(clientFrame(opPing, true, []byte(filler(n))))
				}
				synctest.Wait()
				require.Equal(t, within, s.slowly != nil)
				reason := "\x03\xe8" + filler(123)
				p.send(clientFrame(opClose, true, []byte(reason)))
				synctest.Wait()
				s.out.mu.Lock()
				require.Len(t, s.out.queue, 127)
				for n := range 126 {
					require.Equal(t, string(frame(opPong, filler(n))), string(s.out.queue[n].b))
				}
				require.Equal(t, string(frame(opClose, reason)), string(s.out.queue[126].b))
				require.True(t, s.out.latched)
				s.out.writing = false
				s.wake()
				s.out.mu.Unlock()
				for n := range 126 {
					p.expect(opPong, filler(n))
				}
				p.expect(opClose, reason)
				p.expectEnd()
			})
		})
	}
}

// A control frame that comes in two parts makes coder ask for the next header, and get
// errBetween. The messages after it are none the worse for it, however they
// arrive.
func TestReaderSurvivesErrBetween(t *testing.T) {
	inEveryWay(t, func(t *testing.T, way string) {
		w := start(t, way, options(), echo)
		p, s := w.dial()
		for i := range 20 {
			ping := fmt.Sprintf("ping %d", i)
			f := clientFrame(opPing, true, []byte(ping))
			p.send(f[:3])
			p.send(f[3:])
			p.expect(opPong, ping)
			for _, b := range clientText("byte by byte") {
				p.send([]byte{b})
			}
			p.expect(opText, "byte by byte")
			p.send(clientFrame(opPong, true, nil), clientText("in one go"))
			p.expect(opText, "in one go")
		}
		_ = s
	})
}

func TestMessages(t *testing.T) {
	text := func(fin bool, p string) []byte { return clientFrame(opText, fin, []byte(p)) }
	more := func(fin bool, p string) []byte { return clientFrame(opContinuation, fin, []byte(p)) }
	unmasked := frame(opText, "unmasked")
	big := clientHeader(opText, true, 101)
	cases := []struct {
		name string
		send [][]byte
		want []string // echoed
		err  error
		code int // of the Close frame that comes
	}{
		{"fragments", [][]byte{text(false, "a"), more(false, "b"), more(false, ""), more(true, "c")}, []string{"abc"}, nil, 0},
		{"control frames between fragments", [][]byte{
			text(false, "a"), clientFrame(opPing, true, []byte("1")), more(false, "b"),
			clientFrame(opPong, true, []byte("2")), more(true, "c"),
		}, []string{"pong 1", "abc"}, nil, 0},
		{"as big as allowed", [][]byte{text(true, filler(100))}, []string{filler(100)}, nil, 0},
		{"as big as allowed in fragments", [][]byte{text(false, filler(60)), more(true, filler(100)[60:])}, []string{filler(100)}, nil, 0},
		{"too big", [][]byte{text(true, "ok"), text(true, filler(101))}, []string{"ok"}, ErrTooBig, 1009},
		{"too big, of which only the length has come", [][]byte{text(true, "ok"), big}, []string{"ok"}, ErrTooBig, 1009},
		{"too big in fragments", [][]byte{text(false, filler(100)), more(false, ""), clientHeader(opContinuation, true, 1)}, nil, ErrTooBig, 1009},
		{"too big by a fragment that came whole", [][]byte{text(false, filler(100)), more(true, "x")}, nil, ErrTooBig, 1009},
		{"longest length", [][]byte{clientHeader(opText, true, math.MaxInt64)}, nil, ErrTooBig, 1009},
		{"length of 2^63", [][]byte{clientHeader(opBinary, true, 1<<63)}, nil, ErrTooBig, 1009},
		{"length of 2^64-1", [][]byte{clientHeader(opBinary, true, math.MaxUint64)}, nil, ErrTooBig, 1009},
		{"not UTF-8", [][]byte{text(true, "ok"), text(true, "\xc3\x28")}, []string{"ok"}, ErrInvalidUTF8, 1007},
		{"UTF-8 over fragments", [][]byte{text(false, "\xe2\x82"), more(true, "\xac")}, []string{"€"}, nil, 0},
		{"not UTF-8 over fragments", [][]byte{text(false, "\xe2\x82"), more(true, "a")}, nil, ErrInvalidUTF8, 1007},
		{"anything goes in binary", [][]byte{clientFrame(opBinary, true, []byte("\xc3\x28"))}, []string{"\xc3\x28"}, nil, 0},
		{"not masked", [][]byte{unmasked}, nil, ErrProtocol, 1002},
		{"continuation of nothing", [][]byte{more(true, "a")}, nil, ErrLatched, 1002},
		{"a message within another", [][]byte{text(false, "a"), text(true, "b")}, nil, ErrLatched, 1002},
		{"unknown opcode", [][]byte{clientFrame(3, true, nil)}, nil, ErrLatched, 1002},
		{"reserved bits", [][]byte{{0xc1, 0x80, 1, 2, 3, 4}}, nil, ErrLatched, 1002},
		{"ping in fragments", [][]byte{clientFrame(opPing, false, nil)}, nil, ErrLatched, 1002},
		{"long ping", [][]byte{clientFrame(opPing, true, []byte(filler(126)))}, nil, ErrLatched, 1002},
		{"endless ping", [][]byte{clientHeader(opPing, true, math.MaxUint64)}, nil, ErrProtocol, 1002},
		{"Close of one byte", [][]byte{clientFrame(opClose, true, []byte{3})}, nil, ErrLatched, 1002},
		{"Close that is no code", [][]byte{clientFrame(opClose, true, []byte{3, 0xee})}, nil, ErrLatched, 1002},
		{"Close", [][]byte{text(true, "ok"), clientFrame(opClose, true, []byte("\x03\xe9bye"))}, []string{"ok"}, ErrLatched, 1001},
	}
	for _, way := range []string{overTCP, overPipe} {
		for _, tc := range cases {
			t.Run(way+"/"+tc.name, func(t *testing.T) {
				run := func(t *testing.T) {
					o := options()
					o.MaxMessage = 100
					w := start(t, way, o, echo)
					p, s := w.dial()
					p.send(tc.send...)
					for _, want := range tc.want {
						op, got, err := p.read()
						require.NoError(t, err)
						if op == opPong {
							got = append([]byte("pong "), got...)
						}
						require.Equal(t, want, string(got))
					}
					if tc.code == 0 {
						p.send(clientFrame(opClose, true, []byte("\x03\xe8")))
						p.expect(opClose, "\x03\xe8")
						p.expectEnd()
						require.ErrorIs(t, s.ended(t), ErrLatched)
						return
					}
					op, payload, err := p.read()
					require.NoError(t, err)
					require.Equal(t, byte(opClose), op)
					require.Equal(t, tc.code, closeCode(payload))
					require.Equal(t, tc.code, s.CloseCode())
					require.NoError(t, p.nc.Close())
					require.ErrorIs(t, s.ended(t), tc.err)
				}
				if way == overPipe {
					synctest.Test(t, run)
				} else {
					run(t)
				}
			})
		}
	}
}

// The size is judged by the length a frame declares: the peer has sent no
// byte of the payload, not even the mask, and waits.
func TestTooBigBeforeThePayload(t *testing.T) {
	o := options()
	o.MaxMessage = 1000
	w := start(t, overTCP, o, nil)
	p, s := w.dial()
	p.send(clientFrame(opText, false, []byte(filler(600))), clientFrame(opPing, true, nil))
	p.expect(opPong, "")
	p.send(clientHeader(opContinuation, true, 401))
	p.expect(opClose, "\x03\xf1")
	require.NoError(t, p.nc.Close())
	require.ErrorIs(t, s.ended(t), ErrTooBig)
}

// Idle comes when all that had arrived has been returned, and in between when
// the client never pauses.
func TestIdle(t *testing.T) {
	seen := make(chan int64, 4*burst)
	w := start(t, overTCP, options(), func(s *session, _ bool, p []byte) {
		seen <- s.idle.Load()
		echo(s, false, p)
	})
	p, s := w.dial()
	eventually(t, "Idle before the first message", func() bool { return s.idle.Load() == 1 })
	p.send(bytes.Repeat(clientText("x"), 3*burst))
	for range 3 * burst {
		p.expect(opText, "x")
	}
	first, last := <-seen, int64(0)
	for range 3*burst - 1 {
		last = <-seen
	}
	require.EqualValues(t, 1, first)
	require.GreaterOrEqual(t, last, first+2, "the client has to stop before it is answered")
	eventually(t, "Idle after the last message", func() bool { return s.idle.Load() > last })
}

// Who makes room for others between two messages tells nobody of the first one
// yet: 64 broadcasts that came together are one write to each member.
func TestABurstIsWhole(t *testing.T) {
	seen := make(chan int64, burst)
	w := start(t, overTCP, options(), func(s *session, _ bool, _ []byte) {
		seen <- s.idle.Load()
		time.Sleep(time.Millisecond) // the network has to be looked at again
	})
	p, s := w.dial()
	eventually(t, "Idle before the first message", func() bool { return s.idle.Load() == 1 })
	p.send(bytes.Repeat(clientText("x"), burst-1))
	for range burst - 1 {
		require.EqualValues(t, 1, <-seen)
	}
	eventually(t, "Idle after the last message", func() bool { return s.idle.Load() > 1 })
}

// An idle connection is one goroutine, with no buffer of the pools', outside
// coder's code.
func TestIdleHoldsNothing(t *testing.T) {
	for _, way := range []string{overTCP, overUnix} {
		t.Run(way, func(t *testing.T) {
			o := options()
			o.Sweeper = stillSweeper() // or the reader is exchanged while it is looked at
			w := start(t, way, o, echo)
			p, s := w.dial(clientText("early"))
			p.expect(opText, "early")
			p.send(clientText(filler(4000)))
			p.expect(opText, filler(4000))
			idle := s.idle.Load()
			p.send(clientFrame(opPing, true, nil), clientFrame(opPong, true, nil))
			p.expect(opPong, "")
			eventually(t, "Idle after the pong", func() bool { return s.idle.Load() > idle })

			var stack string
			eventually(t, "the reader waits, and nobody else", func() bool {
				of := stacksWith(".(*session).run", ".(*Conn).", "net/http.(*conn).serve")
				stack = strings.Join(of, "\n")
				return len(of) == 1 && strings.Contains(stack, "[IO wait")
			})
			require.NotContains(t, stack, "coder/websocket")
			require.Contains(t, stack, "wsconn.(*Conn).fill")

			// Idle is the last thing the reader did; what it wrote before can be seen.
			require.Nil(t, s.in.buf)
			require.Nil(t, s.in.payload)
			require.Nil(t, s.slowly, "nothing of this is coder's")
			s.out.mu.Lock()
			defer s.out.mu.Unlock()
			require.Nil(t, s.out.queue)
			require.Nil(t, s.out.box)
			require.False(t, s.out.writing)
			require.Zero(t, s.out.bytes)
		})
	}
}

// stacksWith gives the stacks of the goroutines that have any of fs in them; in
// virtual time of those that are in it.
func stacksWith(fs ...string) (stacks []string) {
	buf := make([]byte, 1<<20)
	all := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
	head := func(g string) string { line, _, _ := strings.Cut(g, "\n"); return line }
	_, bubble, _ := strings.Cut(head(all[0]), "synctest ") // this one's
	for _, g := range all {
		if strings.HasSuffix(head(g), bubble) && slices.ContainsFunc(fs, func(f string) bool { return strings.Contains(g, f) }) {
			stacks = append(stacks, g)
		}
	}
	return stacks
}

// A reader that has grown its stack goes on in a new goroutine, and loses nothing by it: at
// once if nothing had come for long, else it is woken to; one in the middle of a message stays.
func TestGrown(t *testing.T) {
	o := options()
	o.Sweeper = stillSweeper()
	w := start(t, overTCP, o, echo)
	p, s := w.dial()
	now := w.o.Sweeper.now.Load()
	later := now + int64(calm)
	poke := func() { w.o.Sweeper.sweep(s.Conn, s.lastRead.Load()+later-now) }
	poke()
	require.False(t, s.grown.Load() > 0 || s.Conn.grown.Load(), "nothing has come yet: nothing has grown")
	grown := int64(0)
	another := func() {
		t.Helper()
		grown++
		eventually(t, "a new goroutine", func() bool { return s.grown.Load() == grown })
		poke() // nothing has grown since
	}
	say := func() {
		t.Helper()
		require.Equal(t, grown, s.grown.Load(), "woken though nothing had grown")
		p.send(clientText("message"))
		p.expect(opText, "message")
	}
	say()
	another()
	for range 20 {
		say()
		say()
		require.Equal(t, grown, s.grown.Load(), "who talks keeps its goroutine")
		poke()
		another()
	}
	for range 20 {
		w.o.Sweeper.now.Add(int64(calm))
		say()
		another()
	}
	m := clientText("message")
	for i := range m {
		p.send(m[i : i+1])
		s.poke()
	}
	p.expect(opText, "message")
	s.poke()
	p.send(clientText("another"))
	p.expect(opText, "another")
	s.poke()
	s.Shutdown(1001, "")
	s.poke()
	p.expectClose(1001)
	require.ErrorIs(t, s.ended(t), ErrLatched)
}

// empties is a connection whose reads bring nothing now and then.
type empties struct {
	net.Conn
	n int
}

func (e *empties) Read(p []byte) (int, error) {
	if e.n++; e.n%2 == 1 {
		return 0, nil
	}
	return e.Conn.Read(p)
}

func TestReadOfNothingIsNotTheEnd(t *testing.T) {
	w := start(t, overPipe, options(), echo)
	dial := w.dialer
	_ = dial
	ln := w.ln.(*pipeListener)
	w.dialer = func() (net.Conn, error) {
		a, b := net.Pipe()
		ln.conns <- &empties{Conn: a}
		return b, nil
	}
	p, _ := w.dial()
	p.send(clientText("one"))
	p.expect(opText, "one")
	p.send(clientFrame(opClose, true, nil))
	p.expect(opClose, "")
	p.expectEnd()
}

// handled keeps the messages.
type handled struct {
	messages []string
	extras   int
}

func (h *handled) Message(binary bool, p []byte) {
	h.messages = append(h.messages, fmt.Sprint(binary, string(p)))
}
func (*handled) Idle()         {}
func (h *handled) Extra(n int) { h.extras += n }

// script is a socket from which a client's bytes come in given pieces.
type script struct {
	net.Conn
	pieces [][]byte
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.pieces[0])
	if s.pieces[0] = s.pieces[0][n:]; len(s.pieces[0]) == 0 {
		s.pieces = s.pieces[1:]
	}
	return n, nil
}

// Whatever the frames and however they are cut into pieces, the messages are
// those of a straightforward reading.
func TestAnyFramesInAnyPieces(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	all := make(chan []string, 1)
	w := start(t, overTCP, options(), func(s *session, binary bool, p []byte) {
		if string(p) == "the end" {
			all <- s.got
		} else {
			s.got = append(s.got, fmt.Sprint(binary, string(p)))
		}
	})
	for range 300 {
		var stream []byte
		var want handled
		var cur []byte
		open := byte(0)
		for range 1 + rnd.IntN(12) {
			payload := []byte(filler([]int{0, 1, 3, 10, 125, 126, 300, 5000}[rnd.IntN(8)]))
			if rnd.IntN(3) == 0 {
				payload = payload[:min(len(payload), 125)]
				stream = append(stream, clientFrame([]byte{opPing, opPong}[rnd.IntN(2)], true, payload)...)
				want.extras++
				continue
			}
			fin := rnd.IntN(2) == 0
			op := open
			if op == 0 {
				op = []byte{opText, opBinary}[rnd.IntN(2)]
				stream = append(stream, clientFrame(op, fin, payload)...)
			} else {
				stream = append(stream, clientFrame(opContinuation, fin, payload)...)
				want.extras++
			}
			open = op
			cur = append(cur, payload...)
			if fin {
				want.messages = append(want.messages, fmt.Sprint(op == opBinary, string(cur)))
				open, cur = 0, nil
			}
		}
		a, b := net.Pipe()
		var pieces [][]byte
		for rest := stream; len(rest) > 0; {
			n := min(len(rest), 1+rnd.IntN([]int{1, 4, 20, 6000}[rnd.IntN(4)]))
			pieces = append(pieces, slices.Clone(rest[:n]))
			rest = rest[n:]
		}
		var got handled
		c := connTo(t, &script{Conn: a, pieces: slices.Clone(pieces)}, len(stream), &got)
		require.ErrorIs(t, c.Serve(), io.EOF)
		require.Equal(t, want, got)
		c.Finish()
		require.NoError(t, b.Close())

		// A socket that is read without waiting.
		if open != 0 {
			pieces = append(pieces, clientFrame(opContinuation, true, nil))
			want.messages = append(want.messages, fmt.Sprint(open == opBinary, string(cur)))
			want.extras++
		}
		p, s := w.dial()
		for _, piece := range pieces {
			p.send(piece)
		}
		p.send(clientText("the end"))
		select {
		case got := <-all:
			require.Equal(t, want.messages, got)
			require.EqualValues(t, want.extras, s.extra.Load())
		case <-time.After(patience):
			require.FailNow(t, "not all of it comes")
		}
		cut(p.nc)
	}
}

// What waits in the socket is not looked at any more once the connection is closing.
func TestFloodEndsWithTheLatch(t *testing.T) {
	sent := make(chan struct{})
	var before int64
	o := options()
	o.CloseTimeout = 100 * time.Millisecond // the peer says nothing more
	w := start(t, overTCP, o, func(s *session, _ bool, _ []byte) {
		<-sent
		before = s.extra.Load()
		s.Shutdown(1001, "")
	})
	p, s := w.dial()
	p.send(append(clientText("close"), bytes.Repeat(clientFrame(opPong, true, nil), 3_000)...))
	close(sent)
	require.ErrorIs(t, s.ended(t), ErrLatched)
	require.Equal(t, before, s.extra.Load())
}
