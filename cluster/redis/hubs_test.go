//go:build unix

package redis

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/hubtest"
	"github.com/gohub/gohub/internal/redistest"
)

// slowStore is a Store that two hubs share, and which takes a while: messages
// are ordered and not yet stored for long enough to matter.
type slowStore struct {
	gohub.Store
	takes time.Duration
}

func (s slowStore) Append(ctx context.Context, batch []gohub.Message) ([]gohub.Ordered, error) {
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return s.Store.Append(ctx, batch)
}

func newSlowStore() slowStore {
	return slowStore{gohub.NewMemoryStore(gohub.MemoryStoreOptions{}), 3 * time.Millisecond}
}

// twoHubs are two processes' hubs, but for being in one process.
func twoHubs(t *testing.T, s *redistest.Server, store gohub.Store) (a, b *hubtest.Hub) {
	t.Helper()
	p := prefix()
	a = hubtest.New(t, gohub.Config{Node: "a", Store: store, Broker: broker(t, s, p)})
	b = hubtest.New(t, gohub.Config{Node: "b", Store: store, Broker: broker(t, s, p)})
	a.Patience, b.Patience = patience, patience
	return a, b
}

func TestTwoHubs(t *testing.T) {
	a, b := twoHubs(t, redistest.New(t), newSlowStore())
	alice, bob, carol := a.Dial("alice"), b.Dial("bob"), b.Dial("carol")
	for _, c := range []*hubtest.Client{alice, bob, carol} {
		c.Join("general")
	}

	t.Run("order", func(t *testing.T) {
		const each = 50
		for i := range each {
			alice.Publish("general", fmt.Sprint("a", i))
			bob.Publish("general", fmt.Sprint("b", i))
		}
		texts := func(c *hubtest.Client) []string {
			require.Eventually(t, func() bool { return len(c.Messages("general")) == 2*each }, patience, time.Millisecond)
			return hubtest.Texts(c.Messages("general"))
		}
		want := texts(alice)
		require.Equal(t, want, texts(bob))
		require.Equal(t, want, texts(carol))
		for _, c := range []*hubtest.Client{alice, bob, carol} {
			c.Leave("general")
			c.Join("general")
		}
	})
	t.Run("private", func(t *testing.T) {
		alice.Say("general", "for bob", "to", "bob")
		alice.Say("general", "for all")
		bob.ExpectMessage("general", "for bob")
		bob.ExpectMessage("general", "for all")
		carol.ExpectMessage("general", "for all")
		for _, m := range carol.Messages("general") {
			require.NotEqual(t, "bob", m.To)
		}
	})
	t.Run("retry on the other hub", func(t *testing.T) {
		ack := alice.Say("general", "once")
		again := b.Dial("alice", hubtest.Device("phone"))
		again.Join("general")
		for _, retry := range []bool{true, false} { // by the Store, and by Redis
			again.Publish("general", "once", "id", ack.ID, "retry", retry)
			dup := again.ExpectAck(ack.ID)
			require.Equal(t, ack.Seq, dup.Seq)
			require.True(t, dup.Duplicate)
		}
	})
	t.Run("since", func(t *testing.T) {
		from := alice.Say("general", "0").Seq
		for i := range 5 {
			alice.Say("general", fmt.Sprint("later ", i))
		}
		dave := b.Dial("dave")
		dave.JoinSince("general", from)
		dave.ExpectMessages("general", "later 0", "later 1", "later 2", "later 3", "later 4")
		alice.Say("general", "live")
		dave.ExpectMessage("general", "live")
	})
	t.Run("typing and invites", func(t *testing.T) {
		alice.Typing("general", true)
		bob.Expect("typing", "user", "alice")
		alice.Direct("carol", "psst")
		carol.Expect("invite", "from", "alice")
	})
	t.Run("revocation", func(t *testing.T) {
		require.NoError(t, a.Revoke(t.Context(), gohub.Revocation{User: "carol"}))
		carol.ExpectClose(gohub.CloseUnauthorized)
		bob.Typing("general", true)
		alice.Expect("typing", "user", "bob") // and nobody else's is
	})
}

// What is ordered and not stored is in the log for the other hub's joins.
func TestUnstoredMessagesOnTheOtherHub(t *testing.T) {
	store := hubtest.Faulty(gohub.NewMemoryStore(gohub.MemoryStoreOptions{}))
	a, b := twoHubs(t, redistest.New(t), store)
	alice := a.Dial("alice")
	alice.Join("general")
	first := alice.Say("general", "stored")
	store.Hold()
	id := alice.Publish("general", "not stored")
	alice.ExpectMessage("general", "not stored")
	bob := b.Dial("bob")
	bob.JoinSince("general", first.Seq)
	bob.ExpectMessage("general", "not stored")
	store.Release()
	alice.ExpectAck(id)
}

// That the first message of a room follows all that was before costs nothing
// where a hub has read that.
func TestAFirstMessageIsNoReasonToRead(t *testing.T) {
	a, b := twoHubs(t, redistest.New(t), newSlowStore())
	alice, bob := a.Dial("alice"), b.Dial("bob")
	for _, room := range []string{"new", "@alice,bob"} {
		alice.Join(room)
		bob.Join(room)
		bob.Say(room, "hello")
		alice.ExpectMessage(room, "hello")
	}
	require.Zero(t, a.Totals().Repairs+b.Totals().Repairs)
}
