package gohub_test

import (
	"fmt"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/internal/pace/pacetest"
)

// Who waits for the network does not wait until all members of a large room
// have been written to.
func TestFanOutMakesRoom(t *testing.T) {
	hub, err := gohub.New(gohub.Config{Authenticator: gohub.AuthenticatorFunc(byQuery)})
	require.NoError(t, err)
	gohub.Hasten(hub)
	srv := httptest.NewServer(hub.Handler())
	defer srv.Close()
	defer func() { require.NoError(t, hub.Shutdown(t.Context())) }()
	for i := range 100 {
		c := rawDial(t, srv.Listener.Addr().String(), fmt.Sprintf("u%d", i))
		defer c.Close()
		rawSend(t, c, []byte(`{"type":"join","room":"large"}`))
		rawUntil(t, c, `"joined"`)
	}
	assert.True(t, pacetest.MakesRoom(t, func() { gohub.FanOut(hub, gohub.RoomID{Name: "large"}) }))
}

// Nor until many sessions have ended.
func TestEndsMakeRoom(t *testing.T) {
	const many, tries = 50, 9 // as often as Heard tries
	var closed sync.WaitGroup
	hub, err := gohub.New(gohub.Config{
		Authenticator: gohub.AuthenticatorFunc(byQuery),
		Observer: gohub.Observer{SessionClosed: func(*gohub.Client, gohub.SessionEnd) {
			for began := time.Now(); time.Since(began) < 50*time.Microsecond; {
			}
			closed.Done()
		}},
	})
	require.NoError(t, err)
	srv := httptest.NewServer(hub.Handler())
	defer srv.Close()
	defer func() { require.NoError(t, hub.Shutdown(t.Context())) }()
	next := 0
	assert.True(t, pacetest.Once(func() bool {
		for i := range many * tries {
			defer rawDial(t, srv.Listener.Addr().String(), fmt.Sprintf("u%d", next+i/many)).Close()
		}
		return pacetest.Heard(t, func() {
			closed.Add(many)
			hub.Kick("", fmt.Sprintf("u%d", next), "")
			next++
			closed.Wait()
		})
	}))
}
