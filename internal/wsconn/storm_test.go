package wsconn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The kinds of peers in a storm.
const (
	good     = "good"     // reads all; closed by this side in the end
	leaves   = "leaves"   // closes at a random moment
	expelled = "expelled" // closed by this side at a random moment
	slow     = "slow"     // reads a little at a time
	frozen1  = "frozen"   // stops reading, until it has overflowed
	stuck    = "stuck"    // stops reading for good
	dead     = "dead"     // resets at a random moment
	vanishes = "vanishes" // says nothing any more and reads nothing
	aborted  = "aborted"  // cut by this side at a random moment
)

var stormKinds = []string{good, leaves, expelled, slow, frozen1, stuck, dead, vanishes, aborted}

const (
	stormSenders = 3
	stormFrames  = 40 // of each sender
	stormQueue   = 512 << 10
)

// A storm of everything at once. What each peer gets is whole frames, those of
// one sender in order and without a gap, up to the Close frame or the cut; and
// in the end nothing is left.
func TestStorm(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	o := options()
	o.MaxQueue = stormQueue
	o.Sweeper = newTestSweeper(t, time.Hour)
	impatient := o
	impatient.CloseTimeout = 100 * time.Millisecond
	impatient.WriteTimeout = 100 * time.Millisecond
	watched := impatient
	watched.Sweeper = NewSweeper(40*time.Millisecond, func(Handler, time.Time) {})
	ways := []string{overTCP, overTCP, overUnix, overTLS}
	var worlds []*world
	for _, way := range ways {
		w := start(t, way, o, stormReader)
		w.options = func(r *http.Request) *Options {
			switch strings.Trim(r.URL.Path, "/") {
			case stuck:
				return &impatient
			case vanishes:
				return &watched
			}
			return &o
		}
		worlds = append(worlds, w)
	}
	t.Cleanup(watched.Sweeper.Stop)
	const conns = 72
	all := make([]*stormConn, conns)
	for i := range all {
		kind := stormKinds[i%len(stormKinds)]
		w := worlds[i/len(stormKinds)%len(worlds)]
		p, s := w.dialPath("/" + kind)
		all[i] = &stormConn{
			kind: kind, way: w.way, p: p, s: s, over: make(chan struct{}),
			rnd: rand.New(rand.NewPCG(seed, uint64(i))),
		}
		if i%2 == 0 && w.way != overTLS {
			smallBuffers(t, p, s)
		}
	}
	var wg sync.WaitGroup
	for _, c := range all {
		c.start(&wg)
	}
	wg.Wait()
	for i, c := range all {
		err := c.s.ended(t)
		require.NoError(t, c.err, "connection %d, %s over %s: %v", i, c.kind, c.way, err)
		c.s.empty(t)
	}
	eventually(t, "no goroutine of a connection is left", func() bool {
		return len(stacksWith(".(*session).run", ".(*Conn).writeLoop")) == 0
	})
}

// stormReader answers a client's message with one of sender 0, which has the
// message's number; now and then by way of a replay.
func stormReader(s *session, _ bool, p []byte) {
	n := int(binary.BigEndian.Uint32(p))
	switch {
	case n%7 == 0:
		s.SendPaced(stormFrame(0, n, 3000))
	case n%7 == 1:
		s.Queue(stormFrame(0, n, 100))
	case n%7 == 2:
		s.Uncork()
		s.Send(stormFrame(0, n, 100), false, nil)
		s.Cork()
	default:
		s.Send(stormFrame(0, n, 500), false, nil)
	}
}

// stormFrame says whose it is and which, and is filled with a pattern.
func stormFrame(sender, n, size int) []byte {
	f := header(opBinary, uint64(8+size))
	f = binary.BigEndian.AppendUint32(f, uint32(sender))
	f = binary.BigEndian.AppendUint32(f, uint32(n))
	return append(f, filler(size + n)[n:]...)
}

type stormConn struct {
	kind, way string
	p         *peer
	s         *session
	rnd       *rand.Rand

	sent  atomic.Int64 // bytes of the senders
	got   atomic.Int64 // bytes of theirs that the peer has read
	alive atomic.Int64 // goroutines that send
	pings atomic.Int64
	over  chan struct{} // the peer reads no more
	err   error         // what the peer found wrong
}

func (c *stormConn) start(wg *sync.WaitGroup) {
	// Senders on this side. They do not outrun a peer that reads, but they do
	// outrun one that does not.
	seeds := make([]uint64, stormSenders+2)
	for i := range seeds {
		seeds[i] = c.rnd.Uint64()
	}
	frames := stormFrames
	patient := true
	switch c.kind {
	case frozen1, stuck:
		frames, patient = 10_000, false // more than sockets and queue hold
	}
	c.alive.Store(stormSenders)
	for i := range stormSenders {
		wg.Go(func() {
			defer c.alive.Add(-1)
			rnd := rand.New(rand.NewPCG(seeds[i], 0))
			for n := range frames {
				if c.s.latched() {
					return
				}
				f := stormFrame(i+1, n, stormSize(rnd))
				c.sent.Add(int64(len(f)))
				c.s.Send(f, false, nil)
				switch rnd.IntN(8) {
				case 0:
					c.s.Send(frame(opText, "volatile"), true, nil)
				case 1:
					c.s.Send(pingFrame, true, nil)
				case 2:
					runtime.Gosched()
				}
				for patient && c.sent.Load()-c.got.Load() > stormQueue/8 && !c.s.latched() {
					time.Sleep(100 * time.Microsecond)
				}
			}
		})
	}
	// The moment of this side's own.
	wg.Go(func() {
		rnd := rand.New(rand.NewPCG(seeds[stormSenders], 0))
		switch c.kind {
		case good, slow:
			for c.alive.Load() > 0 || c.sent.Load() > c.got.Load() && !c.s.latched() {
				time.Sleep(time.Millisecond)
			}
			c.s.Shutdown(1001, "end")
		case expelled, aborted:
			for at := rnd.Int64N(400_000); c.got.Load() < at && c.alive.Load() > 0; {
				time.Sleep(100 * time.Microsecond)
			}
			if c.kind == expelled {
				c.s.Shutdown(4503, "kicked")
			} else {
				c.s.Abort()
			}
		}
	})
	// The peer writes and reads at the same time, like a browser.
	var writing sync.Mutex
	write := func(pieces ...[]byte) bool {
		writing.Lock()
		defer writing.Unlock()
		for _, b := range pieces {
			if _, err := c.p.nc.Write(b); err != nil {
				return false
			}
		}
		return true
	}
	wg.Go(func() {
		rnd := rand.New(rand.NewPCG(seeds[stormSenders+1], 0))
		c.talk(rnd, write)
	})
	wg.Go(func() {
		defer close(c.over)
		c.err = c.listen(write)
		if c.kind != stuck && c.kind != vanishes {
			cut(c.p.nc)
		}
	})
}

func stormSize(rnd *rand.Rand) int {
	switch rnd.IntN(12) {
	case 0:
		return 10_000 + rnd.IntN(60_000)
	case 1, 2:
		return rnd.IntN(5000)
	}
	return rnd.IntN(200)
}

// talk is the peer's sending half.
func (c *stormConn) talk(rnd *rand.Rand, write func(...[]byte) bool) {
	if c.kind == vanishes || c.kind == stuck || c.kind == frozen1 {
		return
	}
	gone := rnd.IntN(stormFrames)
	for n := range stormFrames {
		if n == gone {
			switch c.kind {
			case leaves:
				write(clientFrame(opClose, true, []byte("\x03\xe8bye")))
				return
			case dead:
				if tc, ok := c.p.nc.(*net.TCPConn); ok {
					_ = tc.SetLinger(0)
				}
				cut(c.p.nc)
				return
			}
		}
		payload := binary.BigEndian.AppendUint32(nil, uint32(n))
		payload = append(payload, filler(rnd.IntN(3000))...)
		m := clientFrame(opBinary, true, payload)
		if rnd.IntN(4) == 0 { // in fragments, with a ping between
			k := rnd.IntN(len(payload))
			m = clientFrame(opBinary, false, payload[:k])
			c.pings.Add(1)
			m = append(m, clientFrame(opPing, true, []byte("ping"))...)
			m = append(m, clientFrame(opContinuation, true, payload[k:])...)
		}
		var pieces [][]byte
		for len(m) > 0 {
			k := min(len(m), 1+rnd.IntN(2000))
			pieces = append(pieces, m[:k])
			m = m[k:]
		}
		if !write(pieces...) {
			return
		}
	}
	select { // a peer that was to leave and had nothing left to say has left above
	case <-c.over:
	case <-c.s.done:
	}
}

// listen is the peer's reading half: the error is what is wrong with what it
// was sent.
func (c *stormConn) listen(write func(...[]byte) bool) error {
	next := make([]int, stormSenders+1)
	pongs := int64(0)
	for read := 0; ; read++ {
		switch {
		case c.kind == vanishes, c.kind == stuck && read == 5:
			return c.untilCut()
		case c.kind == frozen1 && read == 5:
			for c.s.CloseCode() == 0 {
				time.Sleep(time.Millisecond)
			}
		case c.kind == slow:
			time.Sleep(50 * time.Microsecond)
		}
		op, payload, err := c.p.read()
		if err != nil {
			return c.mayBeCut(err)
		}
		switch op {
		case opClose:
			return c.closed(payload, next, write)
		case opPing:
			write(clientFrame(opPong, true, payload))
		case opPong:
			if pongs++; string(payload) != "ping" || pongs > c.pings.Load() {
				return fmt.Errorf("pong %q, the %dth of %d", payload, pongs, c.pings.Load())
			}
		case opText:
			if string(payload) != "volatile" {
				return fmt.Errorf("text %q", brief(payload))
			}
		case opBinary:
			if err := c.inOrder(payload, next); err != nil {
				return err
			}
		}
	}
}

func (c *stormConn) inOrder(payload []byte, next []int) error {
	if len(payload) < 8 {
		return fmt.Errorf("a frame of %d bytes", len(payload))
	}
	sender := binary.BigEndian.Uint32(payload)
	n := int(binary.BigEndian.Uint32(payload[4:]))
	if int(sender) >= len(next) || next[sender] != n {
		return fmt.Errorf("sender %d: %d, after %v", sender, n, next)
	}
	next[sender]++
	if sender > 0 {
		c.got.Add(int64(len(header(opBinary, uint64(len(payload)))) + len(payload)))
	}
	if string(payload[8:]) != filler(len(payload) - 8 + n)[n:] {
		return fmt.Errorf("sender %d: %d is not intact", sender, n)
	}
	return nil
}

// closed is what follows a Close frame: nothing. The peer answers it.
func (c *stormConn) closed(payload []byte, next []int, write func(...[]byte) bool) error {
	want := map[string]int{good: 1001, slow: 1001, leaves: 1000, expelled: 4503, frozen1: slowCode, stuck: slowCode}[c.kind]
	code := closeCode(payload)
	if code != want {
		return fmt.Errorf("closed with %d", code)
	}
	if c.kind == good || c.kind == slow {
		for i, n := range next[1:] {
			if n != stormFrames {
				return fmt.Errorf("only %d frames of sender %d", n, i+1)
			}
		}
	}
	if c.kind != leaves {
		write(clientFrame(opClose, true, payload[:2]))
	}
	rest, err := io.ReadAll(c.p.br)
	if len(rest) > 0 {
		return fmt.Errorf("%d bytes after the Close frame", len(rest))
	}
	if c.kind == stuck { // it may have come to the Close frame too late to be waited for
		return nil
	}
	return err
}

// untilCut waits for this side to end the connection of a peer that does not
// read.
func (c *stormConn) untilCut() error {
	select {
	case <-c.s.done:
		return nil
	case <-time.After(patience):
		return errors.New("not cut")
	}
}

func (c *stormConn) mayBeCut(err error) error {
	switch c.kind {
	case dead, aborted, stuck:
		return nil
	}
	return fmt.Errorf("cut: %w", err)
}
