package main

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/gohub/gohub/bench/internal/frame"
)

// socketDialect is Socket.IO 4 over WebSocket alone: Engine.IO's packet type,
// Socket.IO's, then JSON.
type socketDialect struct{}

func (socketDialect) upgrade(b *bench, c *conn) (target, protocol string) {
	return fmt.Sprintf("/socket.io/?EIO=4&transport=websocket&user=u%d", c.user), ""
}

func (socketDialect) first(*conn) string { return "" }

func (socketDialect) greet(c *conn, payload []byte) (say string, joined bool, err error) {
	switch {
	case bytes.HasPrefix(payload, event): // what was missed comes before the connection is confirmed
		c.got++
	case bytes.HasPrefix(payload, []byte("0{")):
		if c.since != "" {
			return `40{"pid":"` + c.session + `","offset":"` + c.since + `"}`, false, nil
		}
		return "40", false, nil
	case bytes.HasPrefix(payload, []byte("40")):
		session := string(frame.Field(payload, `"pid":"`))
		if c.since != "" { // its rooms are the old session's
			if session != c.session {
				return "", false, fmt.Errorf("not recovered: %s", payload)
			}
			return "", true, nil
		}
		c.session = session
		return `420["join","` + roomName(c.room) + `"]`, false, nil
	case bytes.HasPrefix(payload, []byte("430[")):
		return "", true, nil
	case bytes.HasPrefix(payload, []byte("44")):
		return "", false, fmt.Errorf("before it had joined: %s", payload)
	}
	return "", false, nil
}

func (socketDialect) publish(dst []byte, c *conn, p *publisher, number int64) []byte {
	dst = append(dst, "42"...)
	dst = strconv.AppendInt(dst, number+1, 10)
	dst = append(dst, `["publish","`...)
	dst = append(dst, roomName(c.room)...)
	dst = append(dst, `",`...)
	dst = append(dst, p.body...)
	return append(dst, ']')
}

var event = []byte(`42["message",`)

func (socketDialect) kind(payload []byte) kind {
	switch {
	case bytes.HasPrefix(payload, event):
		return message
	case bytes.HasPrefix(payload, []byte("43")):
		return ack
	case len(payload) == 1 && payload[0] == '2':
		return ping
	case bytes.HasPrefix(payload, []byte("44")):
		return failure
	}
	return other
}

func (socketDialect) pong() string { return "3" }

// position is an argument that connection state recovery adds to each event:
// 42["message",{…},"offset"].
func (socketDialect) position(payload []byte) string {
	end, ok := bytes.CutSuffix(payload, []byte(`"]`))
	if !ok {
		return ""
	}
	return string(end[bytes.LastIndexByte(end, '"')+1:])
}
