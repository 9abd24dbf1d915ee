package gohub

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// Two hubs hear of a revocation at different times. What counts is whether the
// one that gave the ticket had heard of it before it asked who this is.
func TestTicketsAndRevocationsThatOverlap(t *testing.T) {
	who := Identity{User: "alice", Login: "l1"}
	hubs := func() (a, b *revocations) {
		return &revocations{keep: true, newest: new(revoked)}, &revocations{keep: true, newest: new(revoked)}
	}
	order := &Revocation{User: "alice"}
	t.Run("heard here first", func(t *testing.T) {
		a, b := hubs()
		b.add(order, "1", time.Now())
		link := a.now()
		assert.True(t, b.beyond(a.known(link, &who), &who), "it was given without knowing")
		a.add(order, "1", time.Now())
		assert.True(t, b.beyond(a.known(link, &who), &who), "who was authenticated before")
		assert.False(t, b.beyond(a.known(a.now(), &who), &who))
	})
	t.Run("heard there first", func(t *testing.T) {
		a, b := hubs()
		a.add(order, "1", time.Now())
		knew := a.known(a.now(), &who)
		assert.False(t, b.beyond(knew, &who))
		b.add(order, "1", time.Now())
		assert.False(t, b.beyond(knew, &who))
		b.add(order, "2", time.Now())
		assert.True(t, b.beyond(knew, &who), "one more")
	})
	t.Run("of others", func(t *testing.T) {
		a, b := hubs()
		a.add(&Revocation{User: "bob"}, "1", time.Now())
		b.add(&Revocation{User: "bob"}, "1", time.Now())
		b.add(&Revocation{User: "alice", Login: "l2"}, "2", time.Now())
		assert.Empty(t, a.known(a.now(), &who))
		assert.False(t, b.beyond(nil, &who))
	})
	t.Run("in time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a, b := hubs()
			a.add(order, "1", time.Now())
			time.Sleep(time.Minute) // b hears of it late
			b.add(order, "1", time.Now())
			time.Sleep(ticketLife)
			assert.True(t, b.beyond(nil, &who), "a ticket from before may still be good")
			assert.False(t, b.beyond(a.known(a.now(), &who), &who), "and a knows still")
			time.Sleep(ticketLife)
			assert.False(t, b.beyond(nil, &who))
			time.Sleep(revokedKept)
			b.add(order, "2", time.Now())
			assert.Len(t, b.recent, 1)
		})
	})
	t.Run("alone", func(t *testing.T) {
		v := revocations{newest: new(revoked)}
		v.add(order, "1", time.Now())
		assert.Empty(t, v.recent)
	})
}
