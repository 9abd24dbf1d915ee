package hubtest_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/hubtest"
)

// A client that loses its connection comes back and misses nothing.
func Example() {
	run(func(t testing.TB) { // func TestResume(t *testing.T) {
		hub := hubtest.New(t, gohub.Config{})
		alice, bob := hub.Dial("alice"), hub.Dial("bob")
		alice.Join("general")
		bob.Join("general")

		alice.Say("general", "one")
		bob.ExpectMessage("general", "one")
		bob.Cut()
		alice.Say("general", "two")
		bob.Resume()
		bob.ExpectMessage("general", "two")
		fmt.Println(hubtest.Texts(bob.Messages("general")))
	})
	// Output: [one two]
}

// A failure says who waited for what, and what had come instead.
func ExampleClient_ExpectMessage() {
	run(func(t testing.TB) {
		hub := hubtest.New(t, gohub.Config{})
		alice := hub.Dial("alice")
		alice.Send("ping", "ref", "mine")
		alice.Ping()
		hub.Kick("", "alice", "enough")
		alice.ExpectClose(gohub.CloseKicked)
		alice.ExpectMessage("general", "hello")
	})
	// Output:
	// hubtest: alice waited for message room="general" body="hello": the connection has ended, closed with 4503 "enough"
	// These came and were not expected:
	//	{"type":"pong","ref":"mine"}
}

// In a synctest bubble time costs nothing: who does not answer pings for twice
// Config.PingInterval is closed at once.
func ExampleClient_Freeze() {
	TestHeartbeat := func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			hub := hubtest.New(t, gohub.Config{PingInterval: 25 * time.Second})
			alice := hub.Dial("alice")
			alice.Freeze()
			time.Sleep(52 * time.Second) // it is looked after once a second
			alice.Thaw()
			alice.ExpectClose(gohub.CloseHeartbeatTimeout)
		})
	}
	_ = TestHeartbeat // go test calls it
}

// run runs what would be a test, and prints how it fails.
func run(f func(t testing.TB)) {
	r := &recorder{}
	r.run(f)
	if r.fatal != "" {
		fmt.Println(r.fatal)
	}
}
