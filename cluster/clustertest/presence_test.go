package clustertest

import (
	"testing"
	"time"

	"github.com/gohub/gohub"
)

func TestPresence(t *testing.T) {
	t.Parallel()
	RunPresence(t, PresenceFeatures{Linger: 5 * time.Second}, func(*testing.T) []PresenceNode {
		b, d := gohub.NewMemoryBroker(), gohub.NewMemoryDirectory()
		return []PresenceNode{{b, d.Node()}, {b, d.Node()}, {b, d.Node()}}
	})
}
