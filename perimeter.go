package gohub

import (
	"hash/maphash"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// fullRetry is when a client that found no free place is asked to try again.
const fullRetry = 5 * time.Second

// ClientAddr is the address that a request comes from: the peer's, or what the
// proxies say that [Config].TrustedProxies names. It is what limits by address
// go by. The zero Addr: the peer has none, as over a Unix socket.
func (h *Hub) ClientAddr(r *http.Request) netip.Addr { return h.perimeter.proxies.client(r) }

// A perimeter decides which requests are let through to the Authenticator: by
// how many connections there are, and how often was asked for one, over all
// and by each address.
//
// A refused request takes nothing from any budget: one who asks steadily gets
// the rate. The address's own limits are looked at before the rate over all,
// so that one who is refused for them leaves that to the others.
type perimeter struct {
	log       *slog.Logger
	start     time.Time // monotonic; times below are in 1/rateUnit ns since then
	proxies   proxies
	most      int64 // connections; 0: no limit
	mostPerIP int   // the same an address
	all       bucket
	perIP     bucket

	conns  atomic.Int64
	tat    atomic.Int64 // of all
	warned atomic.Bool  // of a header that nobody is trusted to send
	addrs  *addrTable   // nil: no limit by address
}

func newPerimeter(cfg *Config) (*perimeter, error) {
	trusted, err := parseProxies(cfg.TrustedProxies)
	if err != nil {
		return nil, err
	}
	p := &perimeter{
		log:       cfg.Logger,
		start:     time.Now(),
		proxies:   trusted,
		most:      int64(cfg.MaxConns),
		mostPerIP: cfg.MaxConnsPerIP,
		all:       handshakes(cfg.HandshakeRate),
		perIP:     handshakes(cfg.HandshakeRatePerIP),
	}
	if p.mostPerIP > 0 || p.perIP.cost > 0 {
		p.addrs = newAddrTable()
	}
	return p, nil
}

// handshakes is the bucket of so many a second; cost 0: no limit.
func handshakes(rate float64) bucket {
	b := bucket{cost: int64(math.Ceil(rateCost(rate))), burst: rateBurst}
	if n := math.Floor(2 * rate); b.cost != 0 && n < 1e12 {
		b.burst = max(b.burst, int64(n)*b.cost) // their rounding shall not eat the last one
	}
	return b
}

func (p *perimeter) now() int64 { return int64(time.Since(p.start)) * rateUnit }

// admit lets a request through, or says why not. A connection gets a pass,
// which must be released when it has ended; negotiate needs no place, so that
// a session can renew its ticket while all of them are taken.
func (p *perimeter) admit(r *http.Request, connect bool) (pass, *Error) {
	var held pass
	if connect && p.most > 0 {
		if p.conns.Add(1) > p.most {
			p.conns.Add(-1)
			return pass{}, &Error{Code: CodeBusy, Message: "all connections of this node are taken", RetryAfter: fullRetry}
		}
		held.p = p
	}
	var retry time.Duration
	switch {
	case p.addrs != nil:
		p.warn(r)
		var full bool
		if held.at, full, retry = p.enter(keyOf(p.proxies.client(r)), connect); full {
			held.release()
			return pass{}, &Error{Code: CodeRateLimited, Message: "too many connections from your address", RetryAfter: fullRetry}
		}
		if held.at != nil {
			held.p = p
		}
	case p.all.cost > 0:
		retry = spend(&p.tat, p.now(), p.all.cost, p.all.burst)
	}
	if retry > 0 {
		held.release()
		return pass{}, &Error{Code: CodeRateLimited, Message: "too many attempts to connect", RetryAfter: retry}
	}
	return held, nil
}

// enter counts a request in at its address, if the limits by address and the
// rate over all have room for it. The entry is returned if it holds a
// connection. full: the address has all the connections it may have.
func (p *perimeter) enter(key addrKey, connect bool) (at *addrEntry, full bool, retry time.Duration) {
	connect = connect && p.mostPerIP > 0
	s := p.addrs.shard(key)
	now := p.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.m[key]
	if e != nil {
		if connect && e.conns >= p.mostPerIP {
			return nil, true, 0
		}
		if p.perIP.cost > 0 {
			if wait := overdraft(e.tat, now, p.perIP.cost, p.perIP.burst); wait > 0 {
				return nil, false, rateWait(wait)
			}
		}
	}
	if p.all.cost > 0 {
		if retry = spend(&p.tat, now, p.all.cost, p.all.burst); retry > 0 {
			return nil, false, retry
		}
	}
	if e == nil {
		if !connect && p.perIP.cost == 0 {
			return nil, false, 0 // nothing to remember
		}
		e = s.add(key, now)
	}
	if p.perIP.cost > 0 {
		e.tat = max(e.tat, now) + p.perIP.cost
	}
	if connect {
		if e.conns == 0 {
			s.unlink(e)
		}
		e.conns++
		return e, false, 0
	}
	if e.conns == 0 { // to the end of those that may be forgotten
		s.unlink(e)
		s.link(e)
	}
	return nil, false, 0
}

// warn says once what makes limits by address refuse everybody: a proxy that
// has not been named. Anybody can send the header, so once is enough.
func (p *perimeter) warn(r *http.Request) {
	if len(p.proxies) > 0 || len(r.Header[forwardedFor]) == 0 || p.warned.Load() || p.warned.Swap(true) {
		return
	}
	p.log.Warn("limits by address are on and a request has X-Forwarded-For, which nobody is trusted to send: "+
		"if this is a proxy, name it in Config.TrustedProxies, or all its clients count as one address", "remote", r.RemoteAddr)
}

// A pass is a connection's place inside. The zero pass holds none.
type pass struct {
	p  *perimeter
	at *addrEntry // nil: not counted by address
}

// take hands the place over: releasing the old pass does nothing any more.
func (a *pass) take() pass {
	t := *a
	*a = pass{}
	return t
}

// release gives the place back, once.
func (a *pass) release() {
	t := a.take()
	if t.p == nil {
		return
	}
	if t.p.most > 0 {
		t.p.conns.Add(-1)
	}
	if t.at != nil {
		t.p.addrs.release(t.at, t.p.now())
	}
}

const (
	addrShards = 64
	// addrIdle is how many addresses without a connection a shard remembers
	// for their rate: 65,536 over all, some 8 MB. When they are more, the one
	// that has been silent for the longest is forgotten, and gets its burst
	// anew. So an attacker with more addresses than that gains nothing that
	// the addresses have not given him already, and locks nobody out.
	// Addresses with connections are not counted: those cost far more.
	addrIdle = 1024
)

// An addrTable knows what each address has used. Nothing runs in the
// background: whoever is new makes the shard forget some that owe nothing.
type addrTable struct {
	seed   maphash.Seed
	shards [addrShards]addrShard
}

type addrShard struct {
	mu   sync.Mutex // guards all below and the entries; a leaf
	m    map[addrKey]*addrEntry
	idle addrEntry // ring of those without a connection; next was let through the longest ago
	size int       // of the ring
}

type addrEntry struct {
	key        addrKey
	tat        int64 // when its bucket will have run empty
	conns      int
	prev, next *addrEntry // in idle
}

var addrEntries = sync.Pool{New: func() any { return new(addrEntry) }}

func newAddrTable() *addrTable {
	t := &addrTable{seed: maphash.MakeSeed()}
	for i := range t.shards {
		s := &t.shards[i]
		s.m = make(map[addrKey]*addrEntry)
		s.idle.prev, s.idle.next = &s.idle, &s.idle
	}
	return t
}

func (t *addrTable) shard(key addrKey) *addrShard {
	return &t.shards[maphash.Comparable(t.seed, key)%addrShards]
}

// release takes a connection off its address.
func (t *addrTable) release(e *addrEntry, now int64) {
	s := t.shard(e.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.conns--; e.conns > 0 {
		return
	}
	s.link(e)
	s.forget(now)
}

// add makes an entry, idle at first.
func (s *addrShard) add(key addrKey, now int64) *addrEntry {
	s.forget(now)
	e := addrEntries.Get().(*addrEntry)
	e.key = key
	s.m[key] = e
	s.link(e)
	return e
}

// forget drops entries that owe nothing, two at a time so that it is never
// much work and yet more than come, and the oldest when they are too many.
func (s *addrShard) forget(now int64) {
	for range 2 {
		e := s.idle.next
		if e == &s.idle || e.tat > now && s.size < addrIdle {
			return
		}
		s.unlink(e)
		delete(s.m, e.key)
		*e = addrEntry{}
		addrEntries.Put(e)
	}
}

func (s *addrShard) link(e *addrEntry) {
	e.prev, e.next = s.idle.prev, &s.idle
	e.prev.next, e.next.prev = e, e
	s.size++
}

func (s *addrShard) unlink(e *addrEntry) {
	e.prev.next, e.next.prev = e.next, e.prev
	e.prev, e.next = nil, nil
	s.size--
}
