package gohub_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

func TestCall(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	type in struct {
		A, B int
		Name string `json:"name"`
	}
	type out struct {
		Sum int    `json:"sum"`
		By  string `json:"by"`
	}
	gohub.Handle(w.hub, "add", func(_ context.Context, c *gohub.Client, x in) (out, error) {
		return out{x.A + x.B, c.User() + x.Name}, nil
	})
	gohub.Handle(w.hub, "text", func(_ context.Context, _ *gohub.Client, s *string) (any, error) {
		if s == nil {
			return nil, nil
		}
		return *s + "!", nil
	})
	gohub.Handle(w.hub, "refuse", func(_ context.Context, _ *gohub.Client, how string) (int, error) {
		e := &gohub.Error{Code: gohub.CodeForbidden, Message: "not you", RetryAfter: 2 * time.Second}
		switch how {
		case "wrapped":
			return 0, fmt.Errorf("while at it: %w", e)
		case "plain":
			return 0, errors.New("dial tcp 10.0.0.7: password hunter2 refused")
		}
		return 0, e
	})
	gohub.Handle(w.hub, "cannot", func(context.Context, *gohub.Client, any) (any, error) {
		return make(chan int), nil
	})
	u := w.as("alice")
	call := func(name string, fields ...any) frame {
		t.Helper()
		f := frame{"type": "call", "name": name}
		for i := 0; i < len(fields); i += 2 {
			f[fields[i].(string)] = fields[i+1]
		}
		return u.ask(f, "result")
	}
	require.Equal(t, map[string]any{"sum": 5.0, "by": "alice!"}, call("add", "body", frame{"a": 2, "B": 3, "name": "!"})["body"])
	require.Equal(t, map[string]any{"sum": 0.0, "by": "alice"}, call("add")["body"], "without a body, the zero value")
	require.Equal(t, "hi!", call("text", "body", "hi")["body"])
	require.Contains(t, call("text", "body", nil), "body")
	require.Nil(t, call("text", "body", nil)["body"])

	require.Equal(t, "bad_request", call("add", "body", "two")["code"])
	require.Equal(t, "bad_request", call("add", "body", frame{"a": 1.5})["code"])
	require.Equal(t, "not_found", call("subtract", "body", 1)["code"])
	require.Equal(t, "not_found", call("")["code"])
	for _, how := range []string{"bare", "wrapped"} {
		e := call("refuse", "body", how)
		require.Equal(t, []any{"forbidden", "not you", 2000.0}, []any{e["code"], e["message"], e["retry_ms"]}, how)
	}
	for _, e := range []frame{call("refuse", "body", "plain"), call("cannot")} {
		require.Equal(t, "internal", e["code"])
		require.NotContains(t, fmt.Sprint(e), "hunter2")
		require.NotContains(t, fmt.Sprint(e), "chan")
	}
	// Registering again replaces.
	gohub.Handle(w.hub, "text", func(context.Context, *gohub.Client, any) (int, error) { return 7, nil })
	require.EqualValues(t, 7, call("text")["body"])

	// Any ref comes back as it was.
	u.text(`{"type":"call","name":"text","ref":12345678901234567890}`)
	require.InEpsilon(t, 1.2345678901234567e19, u.expect("result")["ref"], 1e-15)
	u.text(`{"type":"call","name":"text"}`)
	require.NotContains(t, u.expect("result"), "ref")
}

func TestCallsDoNotHoldUpTheSession(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	release := make(chan struct{})
	gohub.Handle(w.hub, "wait", func(ctx context.Context, _ *gohub.Client, n int) (int, error) {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return n, nil
	})
	u := w.as("alice", "r")
	for i := range 8 {
		u.send(frame{"type": "call", "name": "wait", "ref": i, "body": i})
	}
	require.Equal(t, "ack", u.say("r", "meanwhile")["type"])
	busy := u.ask(frame{"type": "call", "name": "wait"}, "result")
	require.Equal(t, "busy", busy["code"], "a ninth")
	require.Positive(t, busy.num("retry_ms"))
	require.Empty(t, u.all("result"))
	close(release)
	for i := range 8 {
		require.EqualValues(t, i, u.expect("result", "ref", i)["body"])
	}
	require.EqualValues(t, 9, u.ask(frame{"type": "call", "name": "wait", "body": 9}, "result")["body"], "there is room again")
}

// Who has an answer may make the next call, though it is one of as many as there may be.
func TestAnAnsweredCallIsOver(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	gohub.Handle(w.hub, "wait", func(ctx context.Context, _ *gohub.Client, _ any) (int, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	})
	gohub.Handle(w.hub, "add", func(_ context.Context, _ *gohub.Client, n int) (int, error) { return n + 1, nil })
	u := w.as("alice")
	for range 7 {
		u.send(frame{"type": "call", "name": "wait"})
	}
	for i := range 1000 {
		require.EqualValues(t, i+1, u.ask(frame{"type": "call", "name": "add", "body": i}, "result")["body"])
	}
}

func TestCallEndsWithItsSession(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	began, ended := make(chan struct{}, 4), make(chan error, 4)
	gohub.Handle(w.hub, "wait", func(ctx context.Context, _ *gohub.Client, _ any) (int, error) {
		began <- struct{}{}
		<-ctx.Done()
		ended <- ctx.Err()
		return 0, ctx.Err()
	})
	other := w.as("bob")
	other.send(frame{"type": "call", "name": "wait", "ref": 1})
	<-began
	for name, end := range map[string]func(u *user){
		"cut":    func(u *user) { require.NoError(t, u.ws.CloseNow()) },
		"kicked": func(*user) { w.hub.Kick("", "alice", "") },
	} {
		u := w.as("alice")
		u.send(frame{"type": "call", "name": "wait", "ref": 1})
		<-began
		end(u)
		select {
		case err := <-ended:
			require.ErrorIs(t, err, context.Canceled, name)
		case <-time.After(patience):
			require.FailNow(t, "the call goes on", name)
		}
	}
	require.Empty(t, ended, "the other session's goes on")
	other.sync()
	require.Empty(t, other.all("result"))
	require.Empty(t, other.all("error"))
}
