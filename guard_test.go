package gohub_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

func TestMayJoinDecides(t *testing.T) {
	w := start(t, gohub.Config{MayJoin: func(_ context.Context, who gohub.Identity, room gohub.RoomID) error {
		switch {
		case room.Name == "staff" && who.User != "alice":
			return gohub.Errorf(gohub.CodeForbidden, "staff only")
		case room.Name == "broken":
			return errors.New("policy server at 10.0.0.1 is down")
		case room.Name == "@alice,mallory":
			return gohub.Errorf(gohub.CodeForbidden, "blocked")
		}
		return nil
	}})
	alice, bob, mallory := w.as("alice", "staff", "general"), w.as("bob", "general"), w.as("mallory")
	no := bob.ask(frame{"type": "join", "room": "staff"}, "joined")
	require.Equal(t, "forbidden", no["code"])
	require.Equal(t, "staff only", no["message"])
	no = bob.ask(frame{"type": "join", "room": "broken"}, "joined")
	require.Equal(t, "internal", no["code"])
	require.NotContains(t, no["message"], "policy")
	require.Equal(t, "not_joined", bob.say("staff", "let me in")["code"])
	require.Equal(t, "forbidden", mallory.say("", "hi", "to", "alice")["code"], "also the room that a publish names by its user")
	alice.sync()
	require.Empty(t, alice.messages("@alice,mallory"))
	require.Equal(t, "ack", alice.say("staff", "hello")["type"])
}

func TestPanicsOfTheProgramAreContained(t *testing.T) {
	w := start(t, gohub.Config{})
	w.hub.Use(func(next gohub.PublishFunc) gohub.PublishFunc {
		return func(ctx context.Context, p *gohub.Publish) error {
			if string(p.Message.Body) == `"boom"` {
				panic("secret of the program")
			}
			return next(ctx, p)
		}
	})
	gohub.Handle(w.hub, "boom", func(context.Context, *gohub.Client, struct{}) (int, error) { panic("secret of the program") })
	alice := w.as("alice", "r")
	no := alice.say("r", "boom")
	require.Equal(t, "internal", no["code"])
	require.NotContains(t, no["message"], "secret")
	no = alice.ask(frame{"type": "call", "name": "boom"}, "result")
	require.Equal(t, "internal", no["code"])
	require.NotContains(t, no["message"], "secret")
	require.Equal(t, "ack", alice.say("r", "still here")["type"])
}

func TestMiddlewareCannotLeaveAClientWithoutAnAnswer(t *testing.T) {
	w := start(t, gohub.Config{})
	var strict atomic.Bool
	w.hub.Use(func(next gohub.PublishFunc) gohub.PublishFunc {
		return func(ctx context.Context, p *gohub.Publish) error {
			switch {
			case string(p.Message.Body) == `"swallowed"`:
				return nil
			case strict.Load():
				return gohub.Errorf(gohub.CodeForbidden, "closed")
			}
			p.Message.ID, p.Message.Sender, p.Message.Room = gohub.NewID(), "mallory", gohub.RoomID{Tenant: "other", Name: "x"}
			return next(ctx, p)
		}
	})
	alice := w.as("alice", "r")
	require.Equal(t, "internal", alice.say("r", "swallowed")["code"])
	id := alice.publish("r", "mine")
	ack := alice.expect("ack", "id", id)
	m := alice.expect("message", "id", id)
	require.Equal(t, "alice", m["sender"])
	require.Equal(t, "r", m["room"])

	strict.Store(true) // what is stored is acked, whatever the rules are by now
	alice.send(frame{"type": "publish", "room": "r", "id": id, "body": "mine", "retry": true})
	again := alice.until("an answer", func(f frame) bool { return f["id"] == id && f["type"] != "message" })
	require.Equal(t, true, again["duplicate"], "%v", again)
	require.Equal(t, ack["seq"], again["seq"])
	require.Equal(t, "forbidden", alice.say("r", "new")["code"])
}

func TestDrainingIsClosed(t *testing.T) {
	hub, err := gohub.New(gohub.Config{AllowAnonymous: true})
	require.NoError(t, err)
	require.NoError(t, hub.Shutdown(t.Context()))
	_, err = hub.Publish(t.Context(), gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "a", Body: []byte("1")})
	require.ErrorIs(t, err, gohub.ErrClosed)
}
