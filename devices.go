package gohub

import (
	"cmp"
	"context"
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

const (
	claimWait  = time.Second     // for so long a new session waits for its generation
	claimBeat  = 5 * time.Second // between two looks at the claims held here
	claimParts = 12              // a look is at one in so many: at each once a minute
	claimSoon  = time.Second     // between a reason to look and the look
	claimBatch = 1000            // claims in one call of Lost
	claimsLate = 32              // late claims under way at a time
	claimsTime = claimBeat / 2   // for so long a look makes late claims
)

// devices sees to it that a device of a user has one session in the cluster,
// the newest. Who is newer, generations from the Directory say.
//
// A session is claimed, then registered, and then the other hubs are told by
// an order to close what they have with a lower generation. On one hub the
// claims of a device come one after the other, each up to its registration: so
// there the one that is registered last has the highest generation. An order
// that comes meanwhile, with a higher one, is noted for the registration. A
// lost order is healed by the beat, which asks the Directory what is newer.
//
// A session whose claim has failed has generation 0: here it is the newest, no
// order ends it, and a beat claims it as of when it began. Once a
// session has a generation it keeps it, and only a higher one, known for sure,
// ends it. So whoever has the highest stays.
type devices struct {
	hub  *Hub
	all  atomic.Bool // the next look is at all claims
	wake chan struct{}
	rest bool // of run alone: a look at all claims has failed for some
}

type deviceID struct {
	userID
	device string
}

// A claiming is a device whose sessions are being claimed on this hub.
type claiming struct {
	turn    chan struct{} // holds a token while one is
	count   int           // how many sessions have it or wait for it
	highest int64         // generation of the orders that have come meanwhile
}

func newDevices(h *Hub) *devices { return &devices{hub: h, wake: make(chan struct{}, 1)} }

func (c *Client) deviceID() deviceID {
	return deviceID{userID{c.who.Tenant, c.who.User}, c.who.Device}
}

// claim is what the Directory is told of c; its user's shard is locked, or c
// not registered yet.
func (c *Client) claim() Claim {
	return Claim{Tenant: c.who.Tenant, User: c.who.User, Device: c.who.Device, Session: c.id, Gen: max(c.gen, 0)}
}

// asks reports whether c is to be claimed. It does not become true.
func (d *devices) asks(c *Client) bool {
	return d.hub.dir != nil && c.who.Device != "" && !d.hub.draining.Load()
}

// claim gives a session that is about to be registered its generation, if it
// can be had in time. registered is to be called when it is, or is not to be.
//
// there: its client is. Else the session is not to be registered, nor has it
// been claimed: this process may have been stopped for longer than the client
// waits, which is with another hub then. So that it may be stopped at any time,
// the claim is void claimWait after the look at the client, and a session
// without one is as old as the look before its registration.
func (d *devices) claim(c *Client) (registered func(), there bool) {
	h := d.hub
	c.since = time.Now() // before the look
	if c.conn.Gone() {
		return func() {}, false
	}
	if !d.asks(c) {
		return func() {}, true
	}
	c.conn.Uncork() // only "welcome" waits for it, not the answer to the handshake
	ctx, cancel := context.WithDeadline(h.ctx, c.since.Add(claimWait))
	defer cancel()
	done, err := d.enter(ctx, c)
	if err == nil {
		c.gen, err = h.dir.Claim(ctx, c.claim())
	}
	if err == nil {
		return done, true
	}
	c.gen, c.since = 0, time.Now()
	if c.conn.Gone() {
		return done, false
	}
	h.log.Debug("a session starts unclaimed", "session", c.id, "user", c.who.User, "err", err)
	return done, true
}

// enter waits for c's turn to be claimed. done is to be called in any case.
func (d *devices) enter(ctx context.Context, c *Client) (done func(), err error) {
	id, s := c.deviceID(), d.hub.shard(c.who.Tenant, c.who.User)
	s.mu.Lock()
	p := s.claiming[id]
	if p == nil {
		p = &claiming{turn: make(chan struct{}, 1)}
		s.claiming[id] = p
	}
	p.count++
	s.mu.Unlock()
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		err = ctx.Err()
	}
	return func() {
		if err == nil {
			<-p.turn
		}
		s.mu.Lock()
		if p.count--; p.count == 0 {
			delete(s.claiming, id)
		}
		s.mu.Unlock()
	}, err
}

// overtaken reports whether an order has come, since c's claim began, from a
// newer session. mu is held.
func (s *hubShard) overtaken(c *Client) bool {
	p := s.claiming[c.deviceID()]
	return p != nil && c.gen > 0 && c.gen < p.highest
}

// registered tells the other hubs of a session that has been claimed, and has
// one that has not been claimed soon.
func (d *devices) registered(c Claim) {
	switch {
	case d.hub.dir == nil || c.Device == "":
	case c.Gen > 0:
		d.tell(c)
	default:
		d.poke()
	}
}

func (d *devices) tell(c Claim) { d.hub.broadcast(c.Tenant, order{Replace: &c}) }

// replace closes what is older here than another hub's session.
func (d *devices) replace(by *Claim) {
	id := deviceID{userID{by.Tenant, by.User}, by.Device}
	var older []*Client
	s := d.hub.shard(by.Tenant, by.User)
	s.mu.Lock()
	if p := s.claiming[id]; p != nil {
		p.highest = max(p.highest, by.Gen)
	}
	for _, c := range s.users[id.userID] {
		switch {
		case c.who.Device != by.Device || c.ended.Load():
		case c.gen <= 0:
			d.poke() // it may be the newer one
		case c.gen < by.Gen:
			older = append(older, c)
		}
	}
	s.mu.Unlock()
	for _, c := range older {
		c.close(CloseSessionReplaced, replacedReason)
	}
}

const replacedReason = "replaced by a newer session"

// poke has those claimed soon that are not yet.
func (d *devices) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// doubt has all claims looked at soon: orders may have been lost, or the
// Directory may have forgotten.
func (d *devices) doubt() {
	if d.hub.dir != nil {
		d.all.Store(true)
		d.poke()
	}
}

// run looks at the claims held here; it ends with ctx.
func (d *devices) run(ctx context.Context) {
	tick := time.NewTicker(claimBeat)
	defer tick.Stop()
	troubled := false
	for part := 0; ; {
		now := claimParts // none
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			part = (part + 1) % claimParts
			now = part
		case <-d.wake:
			select {
			case <-ctx.Done():
				return
			case <-time.After(claimSoon):
			}
		}
		err := d.look(ctx, now)
		if ctx.Err() != nil {
			return
		}
		if (err != nil) != troubled {
			if troubled = err != nil; troubled {
				d.hub.log.Warn("the Directory does not say which sessions of devices are the newest", "err", err)
			} else {
				d.hub.log.Info("the Directory says again which sessions of devices are the newest")
			}
		}
	}
}

// look claims who is not claimed yet, and closes who is not the newest, of a
// part of the sessions, or of all if there is doubt. What the Directory could
// not say of all then, it is asked when it answers of a part again.
func (d *devices) look(ctx context.Context, part int) error {
	all := d.all.Swap(false)
	late, held := d.held(part, all)
	claimed, err := d.claimLate(ctx, late)
	failed := d.ask(ctx, append(held, claimed...))
	if failed == nil && d.rest && !all && part < claimParts {
		all = true
		_, held = d.held(part, all)
		failed = d.ask(ctx, held)
	}
	if all {
		d.rest = failed != nil
	}
	return cmp.Or(failed, err)
}

// held lists the sessions that are to be claimed, and the claims to look at.
func (d *devices) held(part int, all bool) (late []*Client, held []Claim) {
	for i := range d.hub.shards {
		s := &d.hub.shards[i]
		s.mu.RLock()
		for _, list := range s.users {
			for _, c := range list {
				switch {
				case c.who.Device == "" || c.ended.Load():
				case c.gen <= 0:
					late = append(late, c)
				case all || maphash.String(d.hub.seed, c.id)%claimParts == uint64(part): //nolint:gosec // small
					held = append(held, c.claim())
				}
			}
		}
		s.mu.RUnlock()
	}
	return late, held
}

// claimLate claims sessions that could not be when they began, and gives what
// it has claimed. It gives up after claimsTime, or claimsLate errors with nothing
// claimed in between: where a part of the Directory is away, the rest is claimed.
func (d *devices) claimLate(ctx context.Context, late []*Client) (claimed []Claim, err error) {
	var mu sync.Mutex // guards claimed, err and failures
	failures := 0
	ctx, cancel := context.WithTimeout(ctx, claimsTime)
	defer cancel()
	var wg sync.WaitGroup
	next := make(chan *Client)
	for range min(claimsLate, len(late)) {
		wg.Go(func() {
			for c := range next {
				claim, e := d.claimAgain(ctx, c)
				mu.Lock()
				switch {
				case e != nil:
					err = cmp.Or(err, e)
					if failures++; failures == claimsLate {
						cancel()
					}
				case claim.Gen > 0:
					failures = 0
					claimed = append(claimed, claim)
				}
				mu.Unlock()
			}
		})
	}
	// One that can never be claimed is not before the same ones each time.
	rand.Shuffle(len(late), func(i, j int) { late[i], late[j] = late[j], late[i] }) //nolint:gosec // fairness, no secret
	for _, c := range late {
		if ctx.Err() != nil {
			break
		}
		next <- c
	}
	close(next)
	wg.Wait()
	return claimed, err
}

// claimAgain claims one. Gen 0: there was nothing to be done.
func (d *devices) claimAgain(ctx context.Context, c *Client) (Claim, error) {
	ctx, cancel := context.WithTimeout(ctx, claimWait)
	defer cancel()
	done, err := d.enter(ctx, c)
	defer done()
	if err != nil {
		return Claim{}, nil // who has the turn will see
	}
	s := d.hub.shard(c.who.Tenant, c.who.User)
	s.mu.RLock()
	claim, above := c.claim(), -c.gen
	s.mu.RUnlock()
	if claim.Gen > 0 || c.ended.Load() {
		return Claim{}, nil
	}
	claim.Since, claim.Gen = c.since, above
	gen, err := d.hub.dir.Claim(ctx, claim)
	if err != nil {
		return Claim{}, err
	}
	s.mu.Lock()
	c.gen = gen
	claim = c.claim()
	late := s.overtaken(c)
	s.mu.Unlock()
	if late {
		c.close(CloseSessionReplaced, replacedReason)
		return Claim{}, nil
	}
	d.tell(claim)
	return claim, nil
}

// ask closes those that the Directory knows newer ones of. It has claimBeat for
// all: what fails of some keeps the others from nothing, and each time it is
// others that are first.
func (d *devices) ask(ctx context.Context, held []Claim) (err error) {
	ctx, cancel := context.WithTimeout(ctx, claimBeat)
	defer cancel()
	rand.Shuffle(len(held), func(i, j int) { held[i], held[j] = held[j], held[i] }) //nolint:gosec // fairness, no secret
	for len(held) > 0 {
		if ctx.Err() != nil {
			return cmp.Or(err, ctx.Err())
		}
		n := min(claimBatch, len(held))
		lost, e := d.hub.dir.Lost(ctx, held[:n]) // some, where there is an error
		d.end(lost)
		held, err = held[n:], cmp.Or(err, e)
	}
	return err
}

// end closes sessions of whose devices there are newer ones.
func (d *devices) end(lost []Claim) {
	for i := range lost {
		c := d.hub.session(lost[i].Session)
		if c == nil {
			continue
		}
		s := d.hub.shard(c.who.Tenant, c.who.User)
		s.mu.RLock()
		older := c.gen < lost[i].Gen
		s.mu.RUnlock()
		if older {
			c.close(CloseSessionReplaced, replacedReason)
		}
	}
}
