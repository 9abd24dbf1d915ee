package gohub_test

import (
	"fmt"

	"github.com/gohub/gohub"
)

func ExampleRing() {
	var ring gohub.Ring
	err := ring.Set(
		gohub.RingNode{Name: "chat-1"},
		gohub.RingNode{Name: "chat-2"},
		gohub.RingNode{Name: "chat-3", Weight: 2}, // a machine of twice the size
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, user := range []string{"alice", "bob", "carol"} {
		node, _ := ring.Lookup(user)
		fmt.Println(user, "belongs to", node)
	}
	// Output:
	// alice belongs to chat-2
	// bob belongs to chat-3
	// carol belongs to chat-1
}
