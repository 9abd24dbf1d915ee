package hubtest

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// An ack may come before the session's own copy of the message, and a cut
// between the two.
func TestAnAckTellsOfADirectRoom(t *testing.T) {
	t.Parallel()
	c := &Client{last: make(map[string]int64), outbox: []outgoing{{id: "a"}, {id: "b"}}}
	c.note(&Frame{Type: "ack", ID: "a", Room: "@alice,bob", Seq: 100})
	require.Equal(t, map[string]int64{"@alice,bob": 99}, c.last)
	require.Len(t, c.outbox, 1)
	c.note(&Frame{Type: "message", ID: "a", Room: "@alice,bob", Seq: 100})
	c.note(&Frame{Type: "ack", ID: "b", Room: "@alice,bob", Seq: 200})
	require.Equal(t, map[string]int64{"@alice,bob": 100}, c.last, "an ack is no message")
	require.Empty(t, c.outbox)
}
