package clustertest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// claimNode is a node of a Directory that can be made to forget, and to be
// wrong.
type claimNode struct {
	gohub.Directory // unused

	d     *atomic.Pointer[gohub.MemoryDirectory]
	claim func(d gohub.Directory, ctx context.Context, c gohub.Claim) (int64, error)
	lost  func(d gohub.Directory, ctx context.Context, held []gohub.Claim) ([]gohub.Claim, error)
}

func (n *claimNode) Claim(ctx context.Context, c gohub.Claim) (int64, error) {
	if n.claim != nil {
		return n.claim(n.d.Load().Node(), ctx, c)
	}
	return n.d.Load().Node().Claim(ctx, c)
}

func (n *claimNode) Lost(ctx context.Context, held []gohub.Claim) ([]gohub.Claim, error) {
	if n.lost != nil {
		return n.lost(n.d.Load().Node(), ctx, held)
	}
	return n.d.Load().Node().Lost(ctx, held)
}

func claimsOf(n claimNode) Claims {
	n.d = new(atomic.Pointer[gohub.MemoryDirectory])
	forget := func(*testing.T) { n.d.Store(gohub.NewMemoryDirectory()) }
	forget(nil)
	a, b := n, n
	return Claims{A: &a, B: &b, Forget: forget}
}

func TestClaims(t *testing.T) {
	RunClaims(t, func(*testing.T) Claims { return claimsOf(claimNode{}) })
}

type (
	claimFunc = func(d gohub.Directory, ctx context.Context, c gohub.Claim) (int64, error)
	lostFunc  = func(d gohub.Directory, ctx context.Context, held []gohub.Claim) ([]gohub.Claim, error)
)

// claimMutants are Directories with one mistake, by the subtest that must find
// it.
func claimMutants() map[string]map[string]claimNode {
	counted := func(d gohub.Directory, ctx context.Context, c gohub.Claim) (int64, error) {
		c.Gen = 0
		known, err := d.Lost(ctx, []gohub.Claim{c})
		if c.Gen = 1; len(known) > 0 {
			c.Gen = known[0].Gen + 1
		}
		if err == nil {
			_, err = d.Lost(ctx, []gohub.Claim{c})
		}
		return c.Gen, err
	}
	return map[string]map[string]claimNode{
		"Newer": {
			"one generation": {claim: func(gohub.Directory, context.Context, gohub.Claim) (int64, error) { return 1, nil }},
			"nobody is lost": {lost: func(gohub.Directory, context.Context, []gohub.Claim) ([]gohub.Claim, error) { return nil, nil }},
			"everybody is lost": {lost: func(_ gohub.Directory, _ context.Context, held []gohub.Claim) ([]gohub.Claim, error) {
				return held, nil
			}},
			"its own generation is told": {lost: func(d gohub.Directory, ctx context.Context, held []gohub.Claim) ([]gohub.Claim, error) {
				lost, err := d.Lost(ctx, held)
				for i := range lost {
					for _, h := range held {
						if h.Session == lost[i].Session {
							lost[i].Gen = h.Gen
						}
					}
				}
				return lost, err
			}},
		},
		"Separate": {
			"tenants share a device": renamed(func(c *gohub.Claim) { c.Tenant = c.Tenant[:13] }),
			"users share a device":   renamed(func(c *gohub.Claim) { c.User = "" }),
			"joined with a colon":    renamed(func(c *gohub.Claim) { c.Device, c.User = c.User+":"+c.Device, "" }),
		},
		"AtOnce": {"the clock alone": {claim: func(d gohub.Directory, ctx context.Context, c gohub.Claim) (int64, error) {
			c.Gen = time.Now().UnixMilli() * 1000
			_, err := d.Lost(ctx, []gohub.Claim{c})
			return c.Gen, err
		}}},
		"SameAgain": {"always a new one": {claim: func(d gohub.Directory, ctx context.Context, c gohub.Claim) (int64, error) {
			c.Session += fmt.Sprint(time.Now().UnixNano())
			return d.Claim(ctx, c)
		}}},
		"Since": {
			"late claims are the newest": {claim: func(d gohub.Directory, ctx context.Context, c gohub.Claim) (int64, error) {
				c.Since = time.Time{}
				return d.Claim(ctx, c)
			}},
			"late claims are the oldest": {claim: func(d gohub.Directory, ctx context.Context, c gohub.Claim) (int64, error) {
				if !c.Since.IsZero() {
					c.Since = c.Since.Add(-time.Hour)
				}
				return d.Claim(ctx, c)
			}},
		},
		"Unknown": {"nothing is written": {lost: func(d gohub.Directory, ctx context.Context, held []gohub.Claim) ([]gohub.Claim, error) {
			var lost []gohub.Claim
			for _, c := range held {
				c.Gen-- // asks, and is lost to itself at most
				if c.Gen > time.Now().Add(-time.Second).UnixMicro() {
					l, _ := d.Lost(ctx, []gohub.Claim{c})
					lost = append(lost, l...)
				}
			}
			return lost, nil
		}}},
		"Forgotten": {"a counter": {claim: counted}},
		"Many": {"the first thousand": {lost: func(d gohub.Directory, ctx context.Context, held []gohub.Claim) ([]gohub.Claim, error) {
			return d.Lost(ctx, held[:min(1000, len(held))])
		}}},
		"Cancelled": {
			"claimed all the same": {claim: func(d gohub.Directory, _ context.Context, c gohub.Claim) (int64, error) {
				return d.Claim(context.Background(), c)
			}},
			"asked all the same": {lost: func(d gohub.Directory, _ context.Context, held []gohub.Claim) ([]gohub.Claim, error) {
				return d.Lost(context.Background(), held)
			}},
		},
	}
}

// renamed takes devices for others.
func renamed(f func(*gohub.Claim)) claimNode {
	var claim claimFunc = func(d gohub.Directory, ctx context.Context, c gohub.Claim) (int64, error) {
		f(&c)
		return d.Claim(ctx, c)
	}
	var lost lostFunc = func(d gohub.Directory, ctx context.Context, held []gohub.Claim) (out []gohub.Claim, err error) {
		for _, c := range held {
			as := c
			f(&as)
			l, err := d.Lost(ctx, []gohub.Claim{as})
			if err != nil {
				return nil, err
			}
			if len(l) > 0 {
				c.Gen = l[0].Gen
				out = append(out, c)
			}
		}
		return out, nil
	}
	return claimNode{claim: claim, lost: lost}
}

const claimChild = "GOHUB_CLUSTERTEST_CLAIM_MUTANTS"

// TestClaimMutantsChild fails on purpose, as TestMutantsChild.
func TestClaimMutantsChild(t *testing.T) {
	if os.Getenv(claimChild) == "" {
		t.Skip("run by TestClaimMutants")
	}
	for _, c := range claimCases {
		for name, m := range claimMutants()[c.name] {
			t.Run(c.name+": "+name, func(t *testing.T) {
				c.test(t, func(*testing.T) Claims { return claimsOf(m) })
			})
		}
	}
}

func TestClaimMutants(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestClaimMutantsChild$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), claimChild+"=1")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "the suite passed every mutant")
	for _, c := range claimCases {
		assert.NotEmpty(t, claimMutants()[c.name], "no mutant shows that the subtest %s finds anything", c.name)
		for name := range claimMutants()[c.name] {
			line := fmt.Sprintf("--- FAIL: TestClaimMutantsChild/%s:_%s (", c.name, strings.ReplaceAll(name, " ", "_"))
			found := strings.Contains(string(out), line)
			assert.True(t, found, "the subtest %s passed a Directory with this mistake: %s", c.name, name)
		}
	}
}
