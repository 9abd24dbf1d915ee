//go:build unix

package redistest_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub/internal/redistest"
)

func TestServer(t *testing.T) {
	s := redistest.New(t)
	do := func(want string, words ...string) {
		t.Helper()
		got, err := s.Do(words...)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	do("+OK", "SET", "k", "v")
	do(":1", "EXISTS", "k")

	pid := s.PID()
	require.NoError(t, s.Restart())
	assert.NotEqual(t, pid, s.PID())
	do(":0", "EXISTS", "k")

	do("+OK", "SET", "k", "v")
	require.NoError(t, s.FlushAll())
	do(":0", "EXISTS", "k")

	require.NoError(t, s.Freeze())
	answered := make(chan error, 1)
	go func() { // ends with the answer
		_, err := s.Do("PING")
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Errorf("a frozen server answers: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	require.NoError(t, s.Thaw())
	require.NoError(t, <-answered)

	pid = s.PID()
	require.NoError(t, s.Close())
	assert.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)
}

func TestServerPersists(t *testing.T) {
	s := redistest.New(t, "appendonly yes", "appendfsync always")
	_, err := s.Do("SET", "k", "v")
	require.NoError(t, err)
	require.NoError(t, s.Restart())
	got, err := s.Do("EXISTS", "k")
	require.NoError(t, err)
	assert.Equal(t, ":1", got)
}
