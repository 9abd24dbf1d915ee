//go:build unix

package chaos

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A direction is one of a proxy's two.
type direction int

const (
	toServer direction = iota
	toClient
)

// A proxy stands between one node and one server. Held, a direction is as in a
// partition: nothing arrives, what was sent does later, and new connections are
// taken by nobody who answers.
type proxy struct {
	l net.Listener

	mu     sync.Mutex // guards all below
	freed  *sync.Cond // a direction was let go, or all ended
	target string
	held   [2]bool
	delay  [2]time.Duration
	conns  map[net.Conn]struct{}
	ended  bool
	wg     sync.WaitGroup
}

func newProxy(tb testing.TB, target string) *proxy {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	p := &proxy{l: l, target: target, conns: map[net.Conn]struct{}{}}
	p.freed = sync.NewCond(&p.mu)
	p.wg.Go(p.accept)
	tb.Cleanup(func() {
		p.mu.Lock()
		p.ended = true
		p.mu.Unlock()
		p.freed.Broadcast()
		_ = l.Close()
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.l.Addr().String() }

// hold stops or lets go what travels in the given directions.
func (p *proxy) hold(on bool, ds ...direction) {
	p.mu.Lock()
	for _, d := range ds {
		p.held[d] = on
	}
	p.mu.Unlock()
	p.freed.Broadcast()
}

// slow delays what travels in each direction.
func (p *proxy) slow(d time.Duration) {
	p.mu.Lock()
	p.delay = [2]time.Duration{d, d}
	p.mu.Unlock()
}

// point sends new connections to another server, and cuts those there are.
func (p *proxy) point(target string) {
	p.mu.Lock()
	p.target = target
	p.mu.Unlock()
	p.cut()
}

// cut closes all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

// pass waits until a direction is free, and says how late it is. false: all ended.
func (p *proxy) pass(d direction) (delay time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.held[d] && !p.ended {
		p.freed.Wait()
	}
	return p.delay[d], !p.ended
}

func (p *proxy) accept() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(c) })
	}
}

// keep lists a connection for cut; false: all ended.
func (p *proxy) keep(c net.Conn) (target string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = struct{}{}
	return p.target, !p.ended
}

func (p *proxy) serve(c net.Conn) {
	drop := func(c net.Conn) {
		_ = c.Close()
		p.mu.Lock()
		delete(p.conns, c)
		p.mu.Unlock()
	}
	target, ok := p.keep(c)
	defer drop(c)
	if !ok {
		return
	}
	s, err := net.DialTimeout("tcp", target, time.Second)
	if err != nil {
		return
	}
	_, ok = p.keep(s)
	defer drop(s)
	if !ok {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { p.pump(s, c, toServer) })
	wg.Go(func() { p.pump(c, s, toClient) })
	wg.Wait()
}

// pump copies until either end closes, and then closes both.
func (p *proxy) pump(dst, src net.Conn, d direction) {
	type piece struct {
		b  []byte
		at time.Time
	}
	pieces := make(chan piece, 256)
	done := make(chan struct{})
	go func() { // ends when pieces is closed
		defer close(done)
		for x := range pieces {
			delay, ok := p.pass(d)
			time.Sleep(time.Until(x.at.Add(delay)))
			if _, err := dst.Write(x.b); err != nil || !ok {
				break
			}
		}
		_ = dst.Close()
		_ = src.Close()
		for range pieces {
		}
	}()
	for {
		b := make([]byte, 32<<10)
		n, err := src.Read(b)
		if n > 0 {
			pieces <- piece{b[:n], time.Now()}
		}
		if err != nil {
			break
		}
	}
	close(pieces)
	<-done
}

func TestProxy(t *testing.T) {
	echo := func(mark byte) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { _ = l.Close() })
		go func() { // ends with the listener
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() { // ends with the connection
					defer c.Close()
					b := make([]byte, 1)
					for {
						if _, err := io.ReadFull(c, b); err != nil {
							return
						}
						if _, err := c.Write([]byte{mark, b[0]}); err != nil {
							return
						}
					}
				}()
			}
		}()
		return l.Addr().String()
	}
	p := newProxy(t, echo('1'))
	dial := func() net.Conn {
		c, err := net.Dial("tcp", p.addr())
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	ask := func(c net.Conn, wait time.Duration) (string, error) {
		b := make([]byte, 2)
		_ = c.SetReadDeadline(time.Now().Add(wait))
		_, err := io.ReadFull(c, b)
		return string(b), err
	}
	c := dial()
	say := func(b byte) {
		_, err := c.Write([]byte{b})
		require.NoError(t, err)
	}
	for i, d := range [][]direction{{toServer}, {toClient}, {toServer, toClient}} {
		p.hold(true, d...)
		say(byte('a' + i))
		_, err := ask(c, 50*time.Millisecond)
		require.Error(t, err, "held")
		p.hold(false, d...)
		got, err := ask(c, patience)
		require.NoError(t, err)
		require.Equal(t, "1"+string(rune('a'+i)), got)
	}
	p.slow(30 * time.Millisecond)
	began := time.Now()
	say('x')
	_, err := ask(c, patience)
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(began), 60*time.Millisecond)
	p.slow(0)
	p.point(echo('2'))
	_, err = ask(c, patience)
	require.ErrorIs(t, err, io.EOF)
	c = dial()
	say('y')
	got, err := ask(c, patience)
	require.NoError(t, err)
	require.Equal(t, "2y", got)
}
