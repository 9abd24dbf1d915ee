//go:build unix

package redis

import (
	"testing"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/cluster/clustertest"
	"github.com/gohub/gohub/internal/redistest"
)

func TestBroker(t *testing.T) {
	s := redistest.New(t)
	p := prefix()
	f := clustertest.Features{
		DedupMessages: 5000,
		Second:        func(t *testing.T, _ gohub.Broker) gohub.Broker { return broker(t, s, p) },
	}
	clustertest.Run(t, f, func(t *testing.T) gohub.Broker { return broker(t, s, p) })
}
