package gohub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/gohub/gohub/internal/wire"
)

type callHandler func(ctx context.Context, c *Client, body []byte) ([]byte, error)

// Handle registers f for the calls named name: a client's "call" frame with
// that name is decoded from JSON into T, and what f returns is sent back as
// "result". A body that does not fit T is refused with bad_request. To choose
// what the client is told, return an [*Error]. A call without a body gets the
// zero T.
//
// f runs in a goroutine of its own, up to eight at a time for a session
// (beyond that: busy); ctx ends with the session. Registering a name again
// replaces its handler; that may be done at any time. Handle panics without a
// name or a function: that is a mistake in the program.
func Handle[T, R any](h *Hub, name string, f func(ctx context.Context, c *Client, in T) (R, error)) {
	if name == "" || f == nil {
		panic("gohub: Handle needs a name and a function")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handlers[name] = func(ctx context.Context, c *Client, body []byte) ([]byte, error) {
		var answer []byte
		err := guard(c.hub, "call "+clip(name), func() error { // T and R may have code of their own
			var in T
			if len(body) > 0 {
				if err := json.Unmarshal(body, &in); err != nil {
					var field string
					if te := new(json.UnmarshalTypeError); errors.As(err, &te) {
						field = te.Field
					}
					return Errorf(CodeBadRequest, "call %s: the body does not fit %s", clip(name), field)
				}
			}
			out, err := f(ctx, c, in)
			if err != nil {
				return err
			}
			answer, err = json.Marshal(out)
			return err
		})
		return answer, err
	}
}

// guard runs the program's code and turns a panic into an error, as net/http
// does for its handlers: one client's message must not end the process.
func guard(h *Hub, what string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			h.log.Log(h.ctx, h.panicked.At(slog.LevelError), "panic", "in", what, "value", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic in %s", what)
		}
	}()
	return notNil(f())
}

// notNil makes an error of a nil *Error in an error: it is meant as none, and
// would be found to be one where that is too late.
func notNil(err error) error {
	if e, ok := err.(*Error); ok && e == nil { //nolint:errorlint // this very value
		return errors.New("a nil *gohub.Error was returned as an error: return nil")
	}
	return err
}

func (c *Client) call(cmd *wire.Command) error {
	name := string(cmd.Name)
	c.hub.mu.RLock()
	f := c.hub.handlers[name]
	c.hub.mu.RUnlock()
	if f == nil {
		return Errorf(CodeNotFound, "no call is named %q", clip(name))
	}
	ctx, err := c.startCall()
	if err != nil {
		return err
	}
	again := wire.Command{Type: wire.Call, Ref: append([]byte(nil), cmd.Ref...)}
	body := append([]byte(nil), cmd.Body...)
	c.hub.run(func() { // ends when f returns
		out, err := func() ([]byte, error) {
			defer c.endCall() // before the answer: who has that may call again
			return f(ctx, c, body)
		}()
		if err != nil {
			c.fail(&again, err)
			return
		}
		c.send(wire.AppendResult(nil, again.Ref, out))
	})
	return nil
}

func (c *Client) startCall() (context.Context, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls >= mostCalls {
		return nil, &Error{Code: CodeBusy, Message: "too many calls under way", RetryAfter: 100 * time.Millisecond}
	}
	if c.ended.Load() {
		return nil, ErrClosed
	}
	c.calls++
	if c.ctx == nil {
		c.ctx, c.stop = context.WithCancel(c.hub.ctx)
	}
	return c.ctx, nil
}

func (c *Client) endCall() {
	c.mu.Lock()
	c.calls--
	c.mu.Unlock()
}
