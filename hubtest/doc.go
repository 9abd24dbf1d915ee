// Package hubtest is for the tests of programs that embed gohub: a hub in one
// line, clients that speak to it over a real handshake, expectations that say
// what came instead, and faults on purpose.
//
//	func TestGreeting(t *testing.T) {
//		hub := hubtest.New(t, gohub.Config{})
//		alice, bob := hub.Dial("alice"), hub.Dial("bob")
//		alice.Join("general")
//		bob.Join("general")
//		alice.Say("general", "hello")
//		bob.ExpectMessage("general", "hello")
//	}
//
// [New] makes a hub, [NewCluster] several that share a Store, a Broker and a
// Directory, and [Serve] takes the program's own handler, with its mux and
// middleware. All end with the test, and nothing listens on a port: connections are in memory.
//
// # Time
//
// Everything works in a testing/synctest bubble, where a heartbeat's fifty
// seconds pass at once; New and Dial must be called inside it. An expectation
// waits for up to [Server.Patience]. What must not come is shown without
// waiting: see [Client.ExpectNothing].
//
// # Failing
//
// What fails, fails the test at once with t.Fatalf. So methods that take no
// error back belong on the test's goroutine, as for Fatalf itself; those of
// different clients may otherwise be used concurrently.
//
// # Faults
//
// [Client.Cut], [Client.Freeze] and [Client.Slow] are a bad network's and a
// bad client's. [Client.Resume] is what a good client does next.
// [Hub.Restart] and [Hub.Crash] end a hub and bring up the next one over what
// it stored. [Faulty] makes a Store that fails, or waits. Faults of a Broker
// are not here: wrap one, as Faulty does, where you need them.
package hubtest
