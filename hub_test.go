package gohub_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

func TestPublishReachesMembersAndIsAcked(t *testing.T) {
	w := start(t, gohub.Config{})
	alice, bob := w.as("alice", "general"), w.as("bob", "general")
	carol := w.as("carol", "other")

	ack := alice.say("general", "hello")
	require.Equal(t, "ack", ack["type"])
	for _, u := range []*user{alice, bob} {
		m := u.expect("message", "id", ack["id"])
		require.Equal(t, ack["seq"], m["seq"])
		require.Equal(t, "alice", m["sender"])
		require.Equal(t, "chat", m["kind"])
		require.Equal(t, "hello", m["body"])
	}
	carol.sync()
	require.Empty(t, carol.messages("general"))
}
