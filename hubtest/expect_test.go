package hubtest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/hubtest"
)

func TestExpectationsFail(t *testing.T) {
	t.Parallel()
	// alice and bob are in general, where alice has said one and then two, and
	// both have taken their welcome and joined.
	tests := []struct {
		name string
		do   func(hub *hubtest.Hub, alice, bob *hubtest.Client)
		says []string // all of these
	}{
		{"another body", func(_ *hubtest.Hub, _, bob *hubtest.Client) {
			bob.ExpectMessage("general", "three")
		}, []string{`bob waited for message room="general" body="three": it did not come in 1h`, `"body":"one"`, `"body":"two"`}},
		{"another room", func(_ *hubtest.Hub, _, bob *hubtest.Client) {
			bob.ExpectMessage("lobby", "one")
		}, []string{`room="lobby"`}},
		{"taken already", func(_ *hubtest.Hub, _, bob *hubtest.Client) {
			bob.ExpectMessage("general", "one")
			bob.ExpectMessage("general", "one")
		}, []string{
			`body="one": it did not come`, `"body":"two"`,
			"One like it had come, and was taken when message room=\"general\" body=\"one\" was expected:\n\t{",
		}},
		{"another order", func(_ *hubtest.Hub, _, bob *hubtest.Client) {
			bob.ExpectMessages("general", "two", "one")
		}, []string{`message 1 of 2 in general with body="two" and got {`, `"body":"one"`}},
		{"one message too few", func(_ *hubtest.Hub, _, bob *hubtest.Client) {
			bob.ExpectMessages("general", "one", "two", "three")
		}, []string{`bob waited for message 3 of 3 in general with body="three": it did not come`}},
		{"frozen", func(_ *hubtest.Hub, alice, bob *hubtest.Client) {
			bob.Freeze()
			alice.Say("general", "three")
			bob.ExpectMessage("general", "three")
		}, []string{`bob reads little, or nothing: see Freeze and Slow.`}},
		{"a field that is not as expected", func(_ *hubtest.Hub, _, bob *hubtest.Client) {
			bob.Expect("message", "body", "one", "sender", "bob")
		}, []string{`sender="bob"`}},
		{"a field that is missing", func(_ *hubtest.Hub, _, bob *hubtest.Client) {
			bob.Expect("message", "body", "one", "to", "bob")
		}, []string{`to="bob"`}},
		{"no ack", func(_ *hubtest.Hub, alice, _ *hubtest.Client) {
			alice.ExpectAck("nothing of that id")
		}, []string{`alice waited for the ack of nothing of that id`}},
		{"an error in place of an ack", func(_ *hubtest.Hub, alice, _ *hubtest.Client) {
			alice.Say("lobby", "hello")
		}, []string{`waited for the ack of`, `"code":"not_joined"`}},
		{"another error", func(_ *hubtest.Hub, alice, _ *hubtest.Client) {
			alice.Publish("lobby", "hello")
			alice.ExpectError(gohub.CodeForbidden)
		}, []string{`waited for error code="forbidden"`, `"code":"not_joined"`}},
		{"a refused command", func(_ *hubtest.Hub, alice, _ *hubtest.Client) {
			alice.Join("not a room")
		}, []string{`alice sent join {"room":"not a room"} and waited for joined: refused with {`, `refused with`, `bad_room`}},
		{"an unknown call", func(_ *hubtest.Hub, alice, _ *hubtest.Client) {
			alice.Call("add", 1)
		}, []string{`not_found`}},
		{"open, not closed", func(_ *hubtest.Hub, alice, _ *hubtest.Client) {
			alice.ExpectClose(gohub.CloseKicked)
		}, []string{`alice waited for close 4503: the connection is still open after 1h`}},
		{"closed with another code", func(hub *hubtest.Hub, alice, _ *hubtest.Client) {
			hub.Kick("", "alice", "out")
			alice.ExpectClose(gohub.CloseRestart)
		}, []string{`waited for close 1012`, `closed with 4503 "out"`}},
		{"cut, not closed", func(_ *hubtest.Hub, alice, _ *hubtest.Client) {
			alice.Cut()
			alice.ExpectClose(gohub.CloseRestart)
		}, []string{`without a Close frame`}},
		{"closed, not cut", func(hub *hubtest.Hub, alice, _ *hubtest.Client) {
			hub.Kick("", "alice", "out")
			alice.ExpectClose(1006)
		}, []string{`closed with 4503`}},
		{"waiting on a closed connection", func(hub *hubtest.Hub, alice, _ *hubtest.Client) {
			hub.Kick("", "alice", "out")
			alice.ExpectMessage("general", "three")
		}, []string{`the connection has ended, closed with 4503 "out"`}},
		{"sending on a closed connection", func(_ *hubtest.Hub, alice, _ *hubtest.Client) {
			alice.Cut()
			alice.Typing("general", true)
		}, []string{`alice sends typing room="general" active=true`, `without a Close frame`}},
		{"something, not nothing", func(_ *hubtest.Hub, _, bob *hubtest.Client) {
			bob.ExpectNothing()
		}, []string{`bob expected nothing`, `"body":"one"`, `"body":"two"`}},
		{"just sent by another", func(_ *hubtest.Hub, alice, bob *hubtest.Client) {
			bob.ExpectMessages("general", "one", "two")
			alice.Publish("general", "three")
			bob.ExpectNo("message")
		}, []string{`bob expected no message, and got`, `"body":"three"`}},
		{"fields that are no pairs", func(_ *hubtest.Hub, alice, _ *hubtest.Client) {
			alice.Expect("message", "room")
		}, []string{`pairs`}},
		{"a field that is no name", func(_ *hubtest.Hub, alice, _ *hubtest.Client) {
			alice.Send("join", 1, 2)
		}, []string{`a field's name is a string, not 1`}},
		{"a body that is no JSON", func(_ *hubtest.Hub, alice, _ *hubtest.Client) {
			alice.Publish("general", func() {})
		}, []string{`alice publishes: json: unsupported type`}},
		{"a client that is not let in", func(hub *hubtest.Hub, _, _ *hubtest.Client) {
			hub.Dial("")
		}, []string{`cannot connect: / answered 401 Unauthorized: hubtest: no user was given to Dial`}},
		{"a client that is let in", func(hub *hubtest.Hub, _, _ *hubtest.Client) {
			hub.ExpectRefused("carol", 401)
		}, []string{`carol was let in, not refused with 401`}},
		{"a client that is refused in another way", func(hub *hubtest.Hub, _, _ *hubtest.Client) {
			hub.ExpectRefused("", 403)
		}, []string{`was to be refused with 403`, `401`}},
		{"an answer that is no error", func(_ *hubtest.Hub, alice, _ *hubtest.Client) {
			alice.Send("join", "room", "lobby")
			alice.ExpectError(gohub.CodeForbidden)
		}, []string{`waited for error code="forbidden": join has been answered, by`, `"type":"joined","room":"lobby"`}},
		{"an ack that is no error", func(_ *hubtest.Hub, alice, _ *hubtest.Client) {
			alice.Say("general", "three")
			alice.ExpectError(gohub.CodeForbidden)
		}, []string{`publish has been answered, by`, `"type":"ack"`}},
		{"a type that no frame has", func(_ *hubtest.Hub, _, bob *hubtest.Client) {
			bob.ExpectNo("mesage")
		}, []string{`bob expects mesage: the hub sends no frame of type "mesage"`}},
		{"a field that no frame has", func(_ *hubtest.Hub, _, bob *hubtest.Client) {
			bob.ExpectNo("message", "romo", "general")
		}, []string{`bob expects message romo="general": no frame has a field "romo"`}},
		{"long and many", func(_ *hubtest.Hub, alice, bob *hubtest.Client) {
			for range 20 {
				alice.Say("general", string(make([]byte, 1000)))
			}
			bob.ExpectMessage("general", "three")
		}, []string{`the last 10 of 2`, `…`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				r := try(t, func(t testing.TB) {
					hub := hubtest.New(t, gohub.Config{})
					alice, bob := hub.Dial("alice"), hub.Dial("bob")
					alice.Join("general")
					bob.Join("general")
					alice.Say("general", "one")
					alice.Say("general", "two")
					tt.do(hub, alice, bob)
					t.Errorf("it did not fail")
				})
				for _, s := range tt.says {
					require.Contains(t, r.fatal, s)
				}
				require.Less(t, len(r.fatal), 4000)
				require.Empty(t, r.errors)
			})
		})
	}
}

func TestABadConfigFailsTheTest(t *testing.T) {
	t.Parallel()
	r := try(t, func(t testing.TB) { hubtest.New(t, gohub.Config{MaxRooms: -2}) })
	require.Contains(t, r.fatal, "Config.MaxRooms is -2")
}

func TestPatienceIsTheTestsOwn(t *testing.T) {
	t.Parallel()
	r := try(t, func(t testing.TB) {
		hub := hubtest.New(t, gohub.Config{})
		alice := hub.Dial("alice")
		hub.Patience = 20 * time.Millisecond
		alice.Expect("pong")
	})
	require.Contains(t, r.fatal, "it did not come in 20ms")
}

// What is to show that nothing has come must wait for what is on its way.
func TestExpectNoLooksAfterWhatWasSent(t *testing.T) {
	both(t, func(t *testing.T) {
		hub := hubtest.New(t, gohub.Config{})
		alice, bob := hub.Dial("alice"), hub.Dial("bob")
		alice.Join("general")
		bob.Join("general")
		alice.Expect("members", "count", 2)
		nobodyTells()
		for i := range 50 {
			alice.Publish("general", i)
			require.Len(t, bob.Messages("general"), i+1)
		}
		alice.Cut() // one that cannot be asked is in nobody's way
		bob.Freeze()
		carol, start := hub.Dial("carol"), time.Now()
		carol.ExpectNothing()
		require.Less(t, time.Since(start), hub.Patience)
	})
}

// In virtual time an expectation sees timers of the hub at their time.
func TestVirtualTime(t *testing.T) {
	virtual(t, func(t *testing.T) {
		hub := hubtest.New(t, gohub.Config{})
		alice, bob := hub.Dial("alice"), hub.Dial("bob")
		alice.Join("general")
		bob.Join("general")
		start := time.Now()
		alice.Typing("general", true)
		bob.Expect("typing", "active", true)
		time.Sleep(5*time.Second - time.Nanosecond)
		bob.ExpectNo("typing")
		bob.Expect("typing", "active", false)
		require.Equal(t, 5*time.Second, time.Since(start))
		synctest.Wait()
	})
}

// ExpectError ends early only when no error can come any more.
func TestExpectErrorWaitsForLateErrors(t *testing.T) {
	both(t, func(t *testing.T) {
		goOn := make(chan struct{})
		hub := hubtest.New(t, gohub.Config{}, func(h *gohub.Hub) {
			gohub.Handle(h, "slow", func(context.Context, *gohub.Client, struct{}) (int, error) {
				<-goOn
				return 0, gohub.Errorf(gohub.CodeForbidden, "not you")
			})
		})
		alice := hub.Dial("alice")
		for _, ref := range [][]any{{"ref", 1}, nil} {
			alice.Send("call", append([]any{"name", "slow"}, ref...)...)
			alice.Typing("general", true) // refused, without a ref
			alice.Send("join", "room", "general")
			alice.Expect("joined", "room", "general")
			go func() { goOn <- struct{}{} }()
			alice.ExpectError(gohub.CodeForbidden)
			alice.ExpectError(gohub.CodeNotJoined)
			alice.Leave("general")
		}
	})
}

// A refusingStore takes its time, and then no message.
type refusingStore struct {
	gohub.Store
	goOn chan struct{}
}

func (s refusingStore) Append(context.Context, []gohub.Message) ([]gohub.Ordered, error) {
	<-s.goOn
	return nil, &gohub.RowError{Err: errors.New("too blue")}
}

// What Resume sends again may be refused after what is sent next.
func TestExpectErrorWaitsForWhatIsSentAgain(t *testing.T) {
	both(t, func(t *testing.T) {
		store := refusingStore{gohub.NewMemoryStore(gohub.MemoryStoreOptions{}), make(chan struct{})}
		hub := hubtest.New(t, gohub.Config{Store: store})
		alice := hub.Dial("alice")
		alice.Join("general")
		alice.Cut()
		alice.Publish("general", "written offline")
		alice.Resume()
		alice.Send("join", "room", "other")
		alice.Expect("joined", "room", "other")
		go func() { store.goOn <- struct{}{} }()
		alice.ExpectError(gohub.CodeBadRequest)
	})
}
