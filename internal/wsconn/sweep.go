package wsconn

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gohub/gohub/internal/pace"
	"github.com/gohub/gohub/internal/wire"
)

// A Sweeper looks at every connection once a tick: one goroutine a shard for
// thousands of connections, in place of timers for each. It sends a ping to a
// client that has been silent for the ping interval and closes it with
// SilentCode after twice that. It ends a write that it has seen under way for
// WriteTimeout: it counts its looks, so that neither a pause of the process nor
// what came before the first of them is held against the client.
//
// It also sees to it that an idle connection's goroutine has a small stack. A
// stack grows with the first message to 4 or 8 KiB, and the runtime never shrinks it
// to less than 4. After a message that follows a silence the reader goes on in a new
// goroutine by itself; one that has been silent after several is woken, by a
// read deadline, to do so: see ErrGrown.
type Sweeper struct {
	now    atomic.Int64 // coarse clock, ns since start, set each tick
	start  time.Time
	shards []shard
	next   atomic.Uint64
	wg     sync.WaitGroup
	stop   chan struct{}
	ping   time.Duration
	tick   time.Duration // at least, between two looks at a connection
	look   func(h Handler, now time.Time)

	discards turns
}

type shard struct {
	mu    sync.Mutex
	conns []*Conn // each knows its place
}

var pingFrame = wire.AppendPing(nil)

// NewSweeper starts the sweeper; Stop ends its goroutines. look is called for
// every connection on every tick and must not block.
func NewSweeper(ping time.Duration, look func(h Handler, now time.Time)) *Sweeper {
	s := &Sweeper{
		shards: make([]shard, runtime.GOMAXPROCS(0)),
		stop:   make(chan struct{}),
		start:  time.Now(),
		ping:   ping,
		tick:   min(time.Second, max(ping/8, time.Millisecond)),
		look:   look,
	}
	s.now.Store(1)
	for i := range s.shards {
		s.wg.Add(1)
		go s.run(&s.shards[i])
	}
	return s
}

// Stop ends the sweeping and waits for it.
func (s *Sweeper) Stop() {
	close(s.stop)
	s.wg.Wait()
}

func (s *Sweeper) add(c *Conn) {
	c.lastRead.Store(s.now.Load())
	sh := &s.shards[s.next.Add(1)%uint64(len(s.shards))]
	sh.mu.Lock()
	c.shard, c.place = sh, len(sh.conns)
	sh.conns = append(sh.conns, c)
	sh.mu.Unlock()
}

func (s *Sweeper) remove(c *Conn) {
	sh := c.shard
	if sh == nil {
		return
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	last := sh.conns[len(sh.conns)-1]
	sh.conns[c.place], last.place = last, c.place
	sh.conns[len(sh.conns)-1] = nil
	sh.conns = sh.conns[:len(sh.conns)-1]
}

func (s *Sweeper) run(sh *shard) {
	defer s.wg.Done()
	t := time.NewTimer(s.tick) // a Ticker's next one may come at once when one was late
	defer t.Stop()
	var seen []*Conn
	for {
		select {
		case <-s.stop:
			return
		case <-t.C:
		}
		sh.mu.Lock()
		seen = append(seen[:0], sh.conns...)
		sh.mu.Unlock()
		s.round(seen)
		clear(seen)
		t.Reset(s.tick)
	}
}

// round looks at each of conns.
func (s *Sweeper) round(conns []*Conn) {
	wall := time.Now()
	now := int64(wall.Sub(s.start)) + 1
	s.now.Store(now)
	for i, c := range conns {
		if i%16 == 15 {
			pace.Step() // each of them may be written to
		}
		s.sweep(c, now)
		s.look(c.h, wall)
	}
}

// calm is the silence after which a reader gets a new goroutine: at once, or with the
// next message if it has one that is new.
const calm = 2 * time.Second

// poke wakes the reader. One that is in the middle of a message goes on
// waiting there.
func (c *Conn) poke() {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if !c.out.latched {
		_ = c.nc.SetReadDeadline(longAgo)
	}
}

// lookBroken wakes the reader of a connection that was reset right behind what
// was last read. The runtime hears once of bytes and of a reset that comes before
// they are read; and reading them tells of an orderly end behind them, at least on
// a Linux that is not old, but not of a reset. A reader that has tried to read again
// before it waits knows.
func (c *Conn) lookBroken() {
	if c.raw == nil {
		return
	}
	gone := false
	if c.raw.Control(func(fd uintptr) { gone = goneFD(fd) }) == nil && gone {
		c.poke()
	}
}

func (s *Sweeper) sweep(c *Conn, now int64) {
	switch turn := c.out.turn.Load(); {
	case turn%2 == 0: // nobody writes
	case turn != c.turn:
		c.turn, c.looks = turn, 0
	default:
		if c.looks++; time.Duration(c.looks)*s.tick >= c.o.WriteTimeout {
			c.overdue(turn)
		}
	}
	if c.busy.Load() {
		return // pongs may be waiting to be read
	}
	last := c.lastRead.Load()
	if c.unsure.Load() {
		c.unsure.Store(false)
		c.lookBroken()
	}
	switch silent := time.Duration(now - last); {
	case silent >= 2*s.ping && c.pinged == last: // after a pause of the process it is pinged first
		c.Shutdown(c.o.SilentCode, "heartbeat timeout")
	case silent >= s.ping && c.pinged != last:
		c.pinged = last
		c.Send(pingFrame, true, nil)
	case silent >= calm && c.raw != nil && c.grown.Load():
		c.poke()
	}
}
