package main

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/gohub/gohub/bench/internal/frame"
)

// centrifugeDialect is the JSON protocol of centrifuge: the one that its
// JavaScript client speaks by default.
type centrifugeDialect struct{}

func (centrifugeDialect) upgrade(b *bench, c *conn) (target, protocol string) {
	return fmt.Sprintf("%s?user=u%d", b.path, c.user), ""
}

func (centrifugeDialect) first(*conn) string { return `{"id":1,"connect":{}}` }

var (
	connected  = []byte(`"connect":{`)
	subscribed = []byte(`"subscribe":{`)
	published  = []byte(`"publish":{`)
	pushed     = []byte(`{"push":{"channel":"`)
	failed     = []byte(`"error":{`)
	recovered  = []byte(`"data":{"t":"`)
)

func (centrifugeDialect) greet(c *conn, payload []byte) (say string, joined bool, err error) {
	switch {
	case bytes.Contains(payload, failed):
		return "", false, fmt.Errorf("before it had joined: %s", payload)
	case bytes.HasPrefix(payload, []byte(`{"id":1,`)) && bytes.Contains(payload, connected):
		if c.since != "" {
			return `{"id":2,"subscribe":{"channel":"` + roomName(c.room) + `","recover":true,"epoch":"` + c.session + `","offset":` + c.since + `}}`, false, nil
		}
		return `{"id":2,"subscribe":{"channel":"` + roomName(c.room) + `"}}`, false, nil
	case bytes.HasPrefix(payload, []byte(`{"id":2,`)) && bytes.Contains(payload, subscribed):
		c.session = string(frame.Field(payload, `"epoch":"`))
		c.got += bytes.Count(payload, recovered) // what was missed is in the answer
		return "", true, nil
	}
	return "", false, nil
}

func (centrifugeDialect) publish(dst []byte, c *conn, p *publisher, number int64) []byte {
	dst = append(dst, `{"id":`...)
	dst = strconv.AppendInt(dst, number+3, 10)
	dst = append(dst, `,"publish":{"channel":"`...)
	dst = append(dst, roomName(c.room)...)
	dst = append(dst, `","data":`...)
	dst = append(dst, p.body...)
	return append(dst, `}}`...)
}

func (centrifugeDialect) kind(payload []byte) kind {
	switch {
	case bytes.HasPrefix(payload, pushed):
		return pushKind(payload)
	case len(payload) == 2:
		return ping
	case bytes.Contains(payload, failed):
		return failure
	case bytes.Contains(payload, published):
		return ack
	}
	return other
}

// pushKind tells a message from somebody who comes or goes, by what follows the
// channel's name.
func pushKind(payload []byte) kind {
	_, what, _ := bytes.Cut(payload[len(pushed):], []byte(`","`))
	switch {
	case bytes.HasPrefix(what, []byte(`pub":`)):
		return message
	case bytes.HasPrefix(what, []byte(`leave":`)):
		return departure
	}
	return other
}

func (centrifugeDialect) pong() string { return "{}" }

func (centrifugeDialect) position(payload []byte) string { return number(payload, `"offset":`) }
