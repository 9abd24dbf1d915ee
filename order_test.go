package gohub_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// A hub that was out of touch when somebody was revoked or kicked learns of it,
// and leaves alone who has come since.
func TestOrdersAreToldAgain(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(w *world)
		code int
	}{
		"revoke": {func(w *world) { require.NoError(t, w.hub.Revoke(t.Context(), gohub.Revocation{User: "alice"})) }, gohub.CloseUnauthorized},
		"kick":   {func(w *world) { w.hub.Kick("", "alice", "out") }, gohub.CloseKicked},
	} {
		for away, lasts := range map[string]time.Duration{"a moment": 2 * time.Second, "a minute": time.Minute} {
			t.Run(name+", away for "+away, func(t *testing.T) {
				inCluster(t, 2, func(t *testing.T, cl *cluster) {
					old, bob := cl.hubs[1].as("alice"), cl.hubs[1].as("bob")
					pass(time.Second)
					cl.links[0].mute.Store(true)
					c.do(cl.hubs[0])
					pass(lasts / 2)
					require.False(t, old.isClosed(), "nobody has told this hub")
					since := cl.hubs[1].as("alice")
					pass(lasts / 2)
					cl.links[0].mute.Store(false)
					pass(40 * time.Second)
					old.closes(c.code)
					pass(2 * time.Minute)
					require.False(t, since.isClosed(), "it has come since")
					require.False(t, bob.isClosed())
				})
			})
		}
	}
}
