package clustertest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gohub/gohub"
)

// Claims is what [RunClaims] tests: a Directory as two nodes see it.
type Claims struct {
	A, B gohub.Directory
	// Forget makes the Directory forget all, as a server that restarts empty
	// does. Nil: it never does.
	Forget func(t *testing.T)
}

// RunClaims runs the suite for Claim and Lost of a [gohub.Directory] as
// subtests of t. open makes one for a subtest, has it run where it must, and ends
// it with t.Cleanup. Those of several subtests may share one server: each uses a
// tenant that no other has used.
func RunClaims(t *testing.T, open func(t *testing.T) Claims) {
	t.Helper()
	for _, c := range claimCases {
		t.Run(c.name, func(t *testing.T) { c.test(t, open) })
	}
}

type claimCase struct {
	name string
	run  func(*claimRun)
}

func (c claimCase) test(t *testing.T, open func(t *testing.T) Claims) {
	t.Helper()
	c.run(&claimRun{T: t, Claims: open(t), unique: "t" + rand.Text()[:12]})
}

// claimRun is what a subtest has in hand.
type claimRun struct {
	*testing.T
	Claims
	unique string // this subtest's tenant
}

// session makes a session of alice's device that is not claimed yet.
func (r *claimRun) session(device string) gohub.Claim {
	return gohub.Claim{Tenant: r.unique, User: "alice", Device: device, Session: rand.Text()}
}

// claim claims it and gives it its generation.
func (r *claimRun) claim(d gohub.Directory, c gohub.Claim) gohub.Claim {
	r.Helper()
	gen, err := d.Claim(r.Context(), c)
	if err != nil {
		r.Fatalf("Claim(%+v): %v", c, err)
	}
	if gen == 0 {
		r.Fatalf("Claim(%+v): generation 0", c)
	}
	c.Gen, c.Since = gen, time.Time{}
	return c
}

// wantLost asks about held; want are those of them that are to be lost.
func (r *claimRun) wantLost(what string, d gohub.Directory, held []gohub.Claim, want ...gohub.Claim) {
	r.Helper()
	lost, err := d.Lost(r.Context(), held)
	if err != nil {
		r.Fatalf("Lost %s: %v", what, err)
	}
	if len(lost) != len(want) {
		r.Errorf("Lost %s: got %d of %d, want %d", what, len(lost), len(held), len(want))
		return
	}
	for _, w := range want {
		i := slices.IndexFunc(lost, func(c gohub.Claim) bool { return c.Session == w.Session })
		switch {
		case i < 0:
			r.Errorf("Lost %s: %+v is missing", what, w)
		case lost[i].Tenant != w.Tenant || lost[i].User != w.User || lost[i].Device != w.Device || lost[i].Gen <= w.Gen:
			r.Errorf("Lost %s: got %+v of %+v, want the same with a higher generation", what, lost[i], w)
		}
	}
}

var claimCases = []claimCase{
	{"Newer", func(r *claimRun) {
		var all []gohub.Claim
		for i := range 20 {
			all = append(all, r.claim([]gohub.Directory{r.A, r.B}[i/2%2], r.session("phone")))
			if i > 0 && all[i].Gen <= all[i-1].Gen {
				r.Fatalf("Claim: generation %d after %d", all[i].Gen, all[i-1].Gen)
			}
		}
		for _, d := range []gohub.Directory{r.A, r.B} {
			r.wantLost("of all", d, all, all[:len(all)-1]...)
			r.wantLost("of the newest", d, all[len(all)-1:])
			r.wantLost("of none", d, nil)
		}
	}},
	{"Separate", func(r *claimRun) {
		// Whatever their names look like put together.
		device := func(tenant, user, name string) gohub.Claim {
			return gohub.Claim{Tenant: r.unique + tenant, User: user, Device: name, Session: rand.Text()}
		}
		all := []gohub.Claim{
			device("", "alice", "phone"), device("", "alice", "laptop"), device("", "bob", "phone"),
			device("x", "alice", "phone"), device("", "alice", "phone "), device("", "alice", "Phone"),
			device("", "a", "b:c"), device("", "a:b", "c"), device(":a", "b", "c"), device("", "a", "1:b:c"),
			device("", "a", "{1}"), device("", "a", "{2}\x00\xff"), device("", "a", ""),
		}
		for i := range all {
			all[i] = r.claim(r.A, all[i])
		}
		r.wantLost("of different devices", r.B, all)
		newer := all[0]
		newer.Session = rand.Text()
		r.claim(r.B, newer)
		r.wantLost("of different devices, one of which has a newer session", r.A, all, all[0])
	}},
	{"AtOnce", func(r *claimRun) {
		const each = 25
		var wg sync.WaitGroup
		all := make([]gohub.Claim, 8*each)
		for w := range 8 {
			wg.Go(func() {
				for i := range each {
					c := r.session("phone")
					c.Gen, _ = []gohub.Directory{r.A, r.B}[w%2].Claim(r.Context(), c)
					all[w*each+i] = c
				}
			})
		}
		wg.Wait()
		slices.SortFunc(all, func(a, b gohub.Claim) int { return int(a.Gen - b.Gen) })
		for i := range all {
			if all[i].Gen == 0 || i > 0 && all[i].Gen == all[i-1].Gen {
				r.Fatalf("Claims at once: generation %d of two sessions, or none", all[i].Gen)
			}
		}
		r.wantLost("after claims at once", r.A, all, all[:len(all)-1]...)
	}},
	{"SameAgain", func(r *claimRun) {
		c := r.session("phone")
		first := r.claim(r.A, c)
		if again := r.claim(r.A, c); again.Gen != first.Gen {
			r.Errorf("Claim of the same session again: generation %d, before %d", again.Gen, first.Gen)
		}
		c.Since = time.Now()
		if again := r.claim(r.A, c); again.Gen != first.Gen {
			r.Errorf("Claim of the same session again, with Since: generation %d, before %d", again.Gen, first.Gen)
		}
		r.wantLost("of a session that was claimed three times", r.B, []gohub.Claim{first})
	}},
	{"Since", func(r *claimRun) {
		// Minutes apart: what goes by until a claim arrives makes it as much younger.
		now := time.Now()
		before := r.session("phone")
		before.Gen = now.Add(-30 * time.Minute).UnixMicro()
		late := r.session("phone")
		late.Since = now.Add(-20 * time.Minute)
		later := r.session("phone")
		later.Since = now.Add(-10 * time.Minute)
		r.wantLost("before a late claim", r.B, []gohub.Claim{before})
		late = r.claim(r.B, late)
		r.wantLost("after a late claim", r.A, []gohub.Claim{before, late}, before)
		after := r.claim(r.A, r.session("phone"))
		later = r.claim(r.B, later)
		if !(before.Gen < late.Gen && late.Gen < later.Gen && later.Gen < after.Gen) {
			r.Errorf("generations of sessions that came one after the other are %d, %d, %d, %d; the two in between were claimed late",
				before.Gen, late.Gen, later.Gen, after.Gen)
		}
		r.wantLost("after a claim that came later", r.A, []gohub.Claim{later, after}, later)
		if next := r.claim(r.B, r.session("phone")); next.Gen <= after.Gen {
			r.Errorf("Claim: generation %d after %d", next.Gen, after.Gen)
		}
	}},
	{"Unknown", func(r *claimRun) {
		// What nobody has claimed here, as a Directory sees it that has forgotten.
		old := r.session("phone")
		old.Gen = time.Now().Add(-time.Minute).UnixMicro()
		now := r.session("phone")
		now.Gen = old.Gen + 1
		r.wantLost("of what is not known", r.A, []gohub.Claim{old})
		r.wantLost("of what is known to be older", r.B, []gohub.Claim{now})
		r.wantLost("of both", r.A, []gohub.Claim{old, now}, old)
		r.wantLost("of the newer one", r.A, []gohub.Claim{now})
		if next := r.claim(r.A, r.session("phone")); next.Gen <= now.Gen {
			r.Errorf("Claim: generation %d after %d", next.Gen, now.Gen)
		}
	}},
	{"Forgotten", func(r *claimRun) {
		if r.Forget == nil {
			r.Skip("this Directory never forgets")
		}
		first := r.claim(r.A, r.session("phone"))
		for range 1000 { // above the clock
			first = r.claim(r.A, r.session("phone"))
		}
		time.Sleep(50 * time.Millisecond)
		r.Forget(r.T)
		now := r.claim(r.B, r.session("phone"))
		if now.Gen <= first.Gen {
			r.Errorf("Claim after all was forgotten: generation %d, before %d", now.Gen, first.Gen)
		}
		r.wantLost("of what was forgotten", r.A, []gohub.Claim{first}, first)
		r.Forget(r.T)
		r.wantLost("of all, when nothing is known", r.A, []gohub.Claim{first})
		r.wantLost("of the newest, when an older one was told", r.B, []gohub.Claim{now})
		r.wantLost("when the newest was told, too", r.A, []gohub.Claim{first}, first)
	}},
	{"Many", func(r *claimRun) {
		var held, lost []gohub.Claim
		for i := range 5000 {
			c := r.session(fmt.Sprint("device", i))
			c.Gen = time.Now().UnixMicro()
			held = append(held, c)
			if i%50 == 0 {
				lost = append(lost, c)
			}
		}
		r.wantLost("of many", r.A, held)
		for _, c := range lost {
			c.Session = rand.Text()
			r.claim(r.B, c)
		}
		r.wantLost("of many, of which some have newer sessions", r.A, held, lost...)
	}},
	{"Cancelled", func(r *claimRun) {
		ctx, cancel := context.WithCancel(r.Context())
		cancel()
		c := r.session("phone")
		if _, err := r.A.Claim(ctx, c); !errors.Is(err, gohub.ErrUnavailable) {
			r.Errorf("Claim with a cancelled context: %v, want ErrUnavailable", err)
		}
		c = r.claim(r.A, c)
		if _, err := r.A.Lost(ctx, []gohub.Claim{c}); !errors.Is(err, gohub.ErrUnavailable) {
			r.Errorf("Lost with a cancelled context: %v, want ErrUnavailable", err)
		}
	}},
}
