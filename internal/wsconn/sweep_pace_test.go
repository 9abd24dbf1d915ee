package wsconn

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/gohub/gohub/internal/pace/pacetest"
)

// Who waits for the network does not wait until all connections were looked at.
func TestSweepMakesRoom(t *testing.T) {
	s := NewSweeper(time.Hour, func(Handler, time.Time) {
		for began := time.Now(); time.Since(began) < 20*time.Microsecond; {
		}
	})
	defer s.Stop()
	conns := make([]*Conn, 200)
	for i := range conns {
		conns[i] = new(Conn)
	}
	assert.True(t, pacetest.Heard(t, func() { s.round(conns) }))
}
