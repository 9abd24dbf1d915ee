package wsconn

import (
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A message is one read, where that tells that nothing else has come, and two
// elsewhere.
func TestOneReadAMessage(t *testing.T) {
	o := options()
	o.Sweeper = stillSweeper() // or the reader is exchanged, and tries again
	w := start(t, overTCP, o, echo)
	w.hooked = true
	p, s := w.dial()
	eventually(t, "the first wait", func() bool { return s.idle.Load() == 1 })
	idle := int64(1)
	say := func() {
		t.Helper()
		p.send(clientText("message"))
		p.expect(opText, "message")
		idle++
		eventually(t, "Idle", func() bool { return s.idle.Load() == idle })
	}
	say() // a new goroutine goes on
	require.False(t, s.knowsMore(t), "one message and silence is how most sessions begin")
	say() // and asks the socket to tell
	require.Equal(t, canTell(t), s.knowsMore(t))
	require.False(t, s.unsure.Load(), "it has looked again, each time")
	most := s.reads.Load() + 110 // an event may come late
	if !canTell(t) {
		most += 100
	}
	for range 100 {
		say()
	}
	require.LessOrEqual(t, s.reads.Load(), most)
	require.Equal(t, idle, s.idle.Load(), "once for each wait")
	require.Equal(t, canTell(t), s.unsure.Load())
}

// What came while a message was handled is read without another word from the
// runtime, which has told of all of it at once.
func TestComesMeanwhile(t *testing.T) {
	cases := map[string]struct {
		more func(t *testing.T, p *peer) (then []byte)
		want []string
		goes bool
		look bool // where the socket tells what is left, the sweeper may have to
	}{
		"messages": {more: func(_ *testing.T, p *peer) []byte {
			p.send(clientText("second"))
			p.send(clientText("third"))
			return nil
		}, want: []string{"second", "third"}},
		"a part of one": {more: func(_ *testing.T, p *peer) []byte {
			third := clientText("third")
			p.send(clientText("second"), third[:3])
			return third[3:]
		}, want: []string{"second", "third"}},
		"a message and the end": {more: func(t *testing.T, p *peer) []byte {
			p.send(clientText("second"))
			require.NoError(t, p.nc.(*net.TCPConn).CloseWrite())
			return nil
		}, want: []string{"second"}, goes: true, look: true},
		"a message and a reset": {more: func(t *testing.T, p *peer) []byte {
			p.send(clientText("second"))
			require.NoError(t, p.nc.(*net.TCPConn).SetLinger(0))
			require.NoError(t, p.nc.Close())
			return nil
		}, want: []string{"second"}, goes: true, look: true},
	}
	for name, tc := range cases {
		for how, busy := range map[string]bool{"after a silence": false, "after others": true} {
			t.Run(name+" "+how, func(t *testing.T) {
				o := options()
				o.Sweeper = stillSweeper()
				at, got, wait := make(chan struct{}), make(chan string, 9), make(chan struct{})
				free := sync.OnceFunc(func() { close(wait) })
				w := start(t, overTCP, o, func(_ *session, _ bool, p []byte) {
					if string(p) == "first" {
						close(at)
						<-wait
					}
					got <- string(p)
				})
				defer free()
				next := func() string {
					t.Helper()
					select {
					case m := <-got:
						return m
					case <-time.After(patience):
						require.FailNow(t, "it does not come")
						return ""
					}
				}
				p, s := w.dial()
				if tc.goes && runtime.GOOS != "linux" {
					t.Skip("nothing tells that the end has come behind what was not read")
				}
				for range 2 { // after these the socket tells what is left, where it can
					if busy {
						p.send(clientText("before"))
						require.Equal(t, "before", next())
					}
				}
				p.send(clientText("first"))
				<-at
				then := tc.more(t, p)
				if tc.goes {
					eventually(t, "it has come", s.Gone)
				}
				free()
				require.Equal(t, "first", next())
				require.Equal(t, tc.want[0], next())
				if then != nil {
					p.send(then)
				}
				for _, want := range tc.want[1:] {
					require.Equal(t, want, next())
				}
				if !tc.goes {
					return
				}
				if tc.look && busy && canTell(t) {
					eventually(t, "the end", func() bool {
						o.Sweeper.sweep(s.Conn, s.lastRead.Load())
						select {
						case <-s.done:
							return true
						default:
							return false
						}
					})
				}
				require.Error(t, s.ended(t))
				require.Zero(t, s.CloseCode())
			})
		}
	}
}
