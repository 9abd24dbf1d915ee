package hubtest_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/hubtest"
)

func TestCutAndResume(t *testing.T) {
	both(t, func(t *testing.T) {
		hub := hubtest.New(t, gohub.Config{})
		alice, bob := hub.Dial("alice"), hub.Dial("bob")
		for _, room := range []string{"general", "other"} {
			alice.Join(room)
			bob.Join(room)
		}
		alice.Say("general", "one")
		bob.ExpectMessage("general", "one")
		session := bob.Session()

		bob.Cut()
		bob.ExpectClose(1006)
		bob.Cut() // again is no harm
		alice.Say("general", "two")
		alice.Say("other", "three")
		id := bob.Publish("general", "written offline")
		bob.Resume()
		bob.ExpectMessage("general", "two")
		bob.ExpectMessage("other", "three")
		bob.ExpectAck(id)
		bob.ExpectMessage("general", "written offline") // after the ack, if it was left to who tells of members
		require.NotEqual(t, session, bob.Session())
		require.Equal(t, []string{"one", "two", "written offline"}, hubtest.Texts(bob.Messages("general")))

		bob.Leave("other")
		bob.Resume() // from an open connection, and without the room that it left
		alice.Say("other", "four")
		bob.ExpectNo("message", "body", "four")
		require.Len(t, bob.Messages("general"), 3)
	})
}

func TestResumeTellsOfMoreThanItBrings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := hubtest.New(t, gohub.Config{ReplayLimit: 2})
		alice, bob := hub.Dial("alice"), hub.Dial("bob")
		for _, room := range []string{"busy", "calm"} {
			alice.Join(room)
			bob.Join(room)
		}
		bob.Cut()
		for _, text := range []string{"one", "two", "three"} {
			alice.Say("busy", text)
		}
		alice.Say("calm", "one")
		joined := bob.Resume()
		require.Len(t, joined, 2)
		require.True(t, joined[0].Truncated)
		require.False(t, joined[1].Truncated)
		bob.ExpectMessages("busy", "two", "three")
	})
}

func TestResumeComesBackToADirectRoom(t *testing.T) {
	both(t, func(t *testing.T) {
		hub := hubtest.New(t, gohub.Config{})
		alice, bob := hub.Dial("alice"), hub.Dial("bob")
		room := alice.Direct("bob", "hello").Room
		bob.Join(room)
		alice.Resume()
		bob.Say(room, "hello yourself")
		alice.ExpectMessage(room, "hello yourself")
	})
}

// A refused publish is answered: it does not come back.
func TestResumeSendsOnlyWhatIsNotAnswered(t *testing.T) {
	both(t, func(t *testing.T) {
		hub := hubtest.New(t, gohub.Config{})
		alice := hub.Dial("alice")
		alice.Join("general")
		alice.Say("general", "hello")
		alice.Publish("lobby", "hello")
		alice.ExpectError(gohub.CodeNotJoined)
		alice.Resume()
		alice.ExpectNo("ack")
		alice.ExpectNo("error")
	})
}

func TestFrozenClientDoesNotAnswerPings(t *testing.T) {
	virtual(t, func(t *testing.T) {
		hub := hubtest.New(t, gohub.Config{})
		alice, bob := hub.Dial("alice"), hub.Dial("bob")
		alice.Join("general")
		bob.Join("general")
		time.Sleep(10 * time.Minute) // while they answer, they stay
		synctest.Wait()

		alice.Freeze()
		bob.Say("general", "are you there?")
		alice.ExpectNo("message")
		time.Sleep(30 * time.Second) // pinged once
		synctest.Wait()
		alice.Thaw()
		alice.ExpectMessage("general", "are you there?")
		alice.Ping()

		alice.Freeze()
		time.Sleep(52 * time.Second)
		synctest.Wait()
		require.Empty(t, hub.Sessions("", "alice"))
		alice.Thaw()
		alice.ExpectClose(gohub.CloseHeartbeatTimeout)
		require.Len(t, hub.Sessions("", "bob"), 1)
	})
}

func TestSlowClient(t *testing.T) {
	virtual(t, func(t *testing.T) {
		hub := hubtest.New(t, gohub.Config{})
		alice, bob := hub.Dial("alice"), hub.Dial("bob")
		alice.Join("general")
		bob.Join("general")
		bob.Slow(1000)
		start := time.Now()
		alice.Say("general", strings.Repeat("x", 10_000))
		bob.Expect("message")
		require.InDelta(t, 10, time.Since(start).Seconds(), 0.5)

		bob.Thaw()
		start = time.Now()
		alice.Say("general", strings.Repeat("x", 10_000))
		bob.Expect("message")
		require.Less(t, time.Since(start), time.Second)
	})
}

func TestSlowClientIsClosed(t *testing.T) {
	virtual(t, func(t *testing.T) {
		hub := hubtest.New(t, gohub.Config{})
		alice, bob := hub.Dial("alice"), hub.Dial("bob")
		alice.Join("general")
		bob.Join("general")
		bob.Freeze()
		for range 40 { // 64 KiB are on the way, 1 MiB is in the queue
			alice.Say("general", strings.Repeat("x", 32_000))
		}
		time.Sleep(time.Second)
		bob.Thaw()
		bob.ExpectClose(gohub.CloseSlowConsumer)
		bob.Resume()
		require.Len(t, bob.Messages("general"), 40)
	})
}

func TestRestart(t *testing.T) {
	both(t, func(t *testing.T) {
		hub := hubtest.New(t, gohub.Config{})
		before := hub.Hub
		alice, bob := hub.Dial("alice"), hub.Dial("bob")
		alice.Join("general")
		bob.Join("general")
		alice.Say("general", "before")
		hub.Restart()
		require.NotSame(t, before, hub.Hub)
		for _, c := range []*hubtest.Client{alice, bob} {
			c.Expect("goaway")
			c.ExpectClose(gohub.CloseRestart)
			c.Resume()
		}
		alice.Say("general", "after")
		bob.ExpectMessages("general", "before", "after")
		carol := hub.Dial("carol")
		carol.Join("general")
		require.Len(t, carol.History("general").Messages, 2)
	})
}

// Restart leaves nothing unread that the old hub has said.
func TestRestartWaitsForTheClients(t *testing.T) {
	both(t, func(t *testing.T) {
		hub := hubtest.New(t, gohub.Config{})
		alice := hub.Dial("alice")
		for range 20 {
			hub.Restart()
			alice.Resume()
			alice.Expect("goaway")
		}
	})
}

// What is seen and not acked may be lost in a crash; its sender brings it
// back, and nobody has it twice in the end.
func TestCrashLosesWhatIsNotAcked(t *testing.T) {
	both(t, func(t *testing.T) {
		store := hubtest.Faulty(nil)
		hub := hubtest.New(t, gohub.Config{Store: store})
		alice, bob := hub.Dial("alice"), hub.Dial("bob")
		alice.Join("general")
		bob.Join("general")
		acked := alice.Say("general", "stored")

		store.Hold()
		id := alice.Publish("general", "not stored")
		lost := bob.ExpectMessage("general", "not stored")
		alice.ExpectNo("ack")
		hub.Crash()
		store.Release()
		alice.ExpectClose(1006)

		carol := hub.Dial("carol")
		carol.Join("general")
		require.Equal(t, []string{"stored"}, hubtest.Texts(carol.Messages("general")))
		require.Equal(t, acked.Seq, carol.Last("general"))

		bob.Resume()
		alice.Resume()
		again := alice.ExpectAck(id)
		require.False(t, again.Duplicate)
		require.Greater(t, again.Seq, lost.Seq)
		carol.ExpectMessage("general", "not stored")
		bob.ExpectMessage("general", "not stored")
		require.Len(t, carol.Messages("general"), 2)
	})
}

func TestFaultyStore(t *testing.T) {
	both(t, func(t *testing.T) {
		store := hubtest.Faulty(nil)
		hub := hubtest.New(t, gohub.Config{Store: store})
		alice := hub.Dial("alice")
		alice.Join("general")

		store.Hold()
		store.Hold()
		held := alice.Publish("general", "held")
		alice.ExpectMessage("general", "held")
		alice.ExpectNo("ack")
		store.Release()
		store.Release()
		alice.ExpectAck(held)

		store.Fail(errors.New("disk full"))
		failed := alice.Publish("general", "failed")
		alice.ExpectMessage("general", "failed")
		alice.ExpectNo("ack")
		alice.Send("join", "room", "other")
		alice.ExpectError(gohub.CodeUnavailable)
		store.Fail(nil)
		alice.ExpectAck(failed)
	})
}

func TestDelayedStore(t *testing.T) {
	virtual(t, func(t *testing.T) {
		store := hubtest.Faulty(nil)
		hub := hubtest.New(t, gohub.Config{Store: store})
		alice := hub.Dial("alice")
		alice.Join("general")
		store.Delay(3 * time.Second)
		start := time.Now()
		id := alice.Publish("general", "hello")
		alice.ExpectMessage("general", "hello")
		require.Zero(t, time.Since(start))
		alice.ExpectAck(id)
		require.Equal(t, 3*time.Second, time.Since(start))
	})
}

// What was stored while its sender was away is not made again: the repeat says
// that it is one, so the next hub looks for it in the Store.
func TestResumeRepeatsAsARetry(t *testing.T) {
	both(t, func(t *testing.T) {
		store := hubtest.Faulty(nil)
		hub := hubtest.New(t, gohub.Config{Store: store})
		alice, bob := hub.Dial("alice"), hub.Dial("bob")
		alice.Join("general")
		bob.Join("general")
		store.Hold()
		id := alice.Publish("general", "hello")
		bob.ExpectMessage("general", "hello")
		alice.Cut()
		store.Release()
		hub.Restart() // stores it
		hub.Crash()   // forgets that it was there, but for the Store
		bob.Resume()
		alice.Resume()
		require.True(t, alice.ExpectAck(id).Duplicate)
		require.Len(t, bob.Messages("general"), 1)
	})
}
