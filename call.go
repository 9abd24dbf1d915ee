package gohub

import (
	"context"
	"encoding/json"
	"time"

	"github.com/gohub/gohub/internal/wire"
)

type callHandler func(ctx context.Context, c *Client, body []byte) ([]byte, error)

// Handle registers f for the calls named name: a client's "call" frame with
// that name is decoded from JSON into T, and what f returns is sent back as
// "result". A body that does not fit T is refused with bad_request. To choose
// what the client is told, return an [*Error].
//
// f runs in a goroutine of its own, up to eight at a time for a session
// (beyond that: busy); ctx ends with the session. Registering a name again
// replaces its handler.
func Handle[T, R any](h *Hub, name string, f func(ctx context.Context, c *Client, in T) (R, error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handlers[name] = func(ctx context.Context, c *Client, body []byte) ([]byte, error) {
		var in T
		if len(body) > 0 {
			if err := json.Unmarshal(body, &in); err != nil {
				return nil, Errorf(CodeBadRequest, "call %s: %v", clip(name), err)
			}
		}
		out, err := f(ctx, c, in)
		if err != nil {
			return nil, err
		}
		return json.Marshal(out)
	}
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
		defer c.endCall()
		out, err := f(ctx, c, body)
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
