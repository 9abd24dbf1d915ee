package main

import (
	"bytes"
	"fmt"

	"github.com/gohub/gohub/bench/internal/frame"
)

// A dialect is what a server's clients say to it and what they hear. It keeps
// nothing itself: what belongs to a connection is in conn. A payload is a text
// frame's, or one line of it where frames are several messages joined.
type dialect interface {
	// upgrade is the handshake's target and the subprotocol that it asks for.
	upgrade(b *bench, c *conn) (target, protocol string)
	// first is what the client says when the WebSocket is open; empty: the
	// server speaks first.
	first(c *conn) string
	// greet takes what comes until c has joined its room.
	greet(c *conn, payload []byte) (say string, joined bool, err error)
	// publish appends a publish with an id of its own, the number'th of this run.
	publish(dst []byte, c *conn, p *publisher, number int64) []byte
	kind(payload []byte) kind
	// pong answers a ping.
	pong() string
	// position is where a message stands in its room, for a later greet to go
	// on from (conn.since); empty: this server does not resume.
	position(payload []byte) string
}

// kind is what a payload is.
type kind byte

const (
	other     kind = iota
	message        // somebody's publish
	ack            // the oldest unacked publish is taken
	failure        // an error
	ping           // to be answered
	departure      // somebody has left the room
)

type spoken struct {
	dialect
	lines bool // a frame may hold several payloads, with newlines between them
}

var dialects = map[string]spoken{
	"gohub":      {hubDialect{}, false},
	"lines":      {hubDialect{}, true}, // of gorilla's chat example
	"centrifuge": {centrifugeDialect{}, true},
	"socketio":   {socketDialect{}, false},
}

// hubDialect is gohub.v1, and as much of it as floors and adapters of bare
// WebSocket libraries speak.
type hubDialect struct{}

func (hubDialect) upgrade(b *bench, c *conn) (target, protocol string) {
	return fmt.Sprintf("%s?user=u%d&frame=%d&body=%d", b.path, c.user, b.frame, b.Body), "gohub.v1"
}

func (hubDialect) first(*conn) string { return "" }

func (hubDialect) greet(c *conn, payload []byte) (say string, joined bool, err error) {
	switch string(frame.Type(payload)) {
	case "welcome":
		if c.since != "" {
			return `{"type":"join","ref":1,"room":"` + roomName(c.room) + `","since":` + c.since + `}`, false, nil
		}
		return `{"type":"join","ref":1,"room":"` + roomName(c.room) + `"}`, false, nil
	case "joined":
		return "", true, nil
	case "error":
		return "", false, fmt.Errorf("before it had joined: %s", payload)
	}
	return "", false, nil
}

func (hubDialect) publish(dst []byte, c *conn, p *publisher, number int64) []byte {
	dst = append(dst, `{"type":"publish","id":"`...)
	dst = p.appendID(dst, number)
	dst = append(dst, `","room":"`...)
	dst = append(dst, roomName(c.room)...)
	dst = append(dst, `","body":`...)
	dst = append(dst, p.body...)
	return append(dst, '}')
}

var somebodyLeft = []byte(`"left":["`)

func (hubDialect) kind(payload []byte) kind {
	if frame.IsMessage(payload) {
		return message
	}
	switch string(frame.Type(payload)) {
	case "ack":
		return ack
	case "error":
		return failure
	case "members":
		if bytes.Contains(payload, somebodyLeft) {
			return departure
		}
	}
	return other
}

func (hubDialect) pong() string { return "" } // WebSocket's own pings do

func (hubDialect) position(payload []byte) string { return number(payload, `"seq":`) }

// number is the one that follows the last occurrence of key, as text.
func number(payload []byte, key string) string {
	i := bytes.LastIndex(payload, []byte(key))
	if i < 0 {
		return ""
	}
	from := i + len(key)
	to := from
	for to < len(payload) && payload[to] >= '0' && payload[to] <= '9' {
		to++
	}
	return string(payload[from:to])
}
