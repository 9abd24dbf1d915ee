package main

import (
	"context"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// spoken is what a client of each protocol says, and what it then waits for.
type spoken struct {
	open, join, publish string // %s: the room, and what is published
	opened, joined, got string
}

var (
	bare = spoken{
		join: `{"type":"join","room":"%s"}`, publish: `{"type":"publish","id":"1","room":"%s","body":{"t":"%s"}}`,
		opened: `"welcome"`, joined: `"joined"`, got: `{"type":"message","id":"1","room":"%s","body":{"t":"%s"}}`,
	}
	json = spoken{
		open: `{"id":1,"connect":{}}`, join: `{"id":2,"subscribe":{"channel":"%s"}}`, publish: `{"id":3,"publish":{"channel":"%s","data":{"t":"%s"}}}`,
		opened: `"connect":{`, joined: `"subscribe":{`, got: `"push":{"channel":"%s","pub":{"data":{"t":"%s"}`,
	}
)

func TestEveryPeerDeliversToItsRoomAlone(t *testing.T) {
	for name, make := range peers {
		for _, o := range []options{{}, {tuned: true}, {history: true}, {tuned: true, history: true}} {
			if o.tuned && name != "centrifuge" && name != "gorilla" || o.history && name != "centrifuge" {
				continue // it has no such options
			}
			t.Run(fmt.Sprintf("%s/tuned=%t/history=%t", name, o.tuned, o.history), func(t *testing.T) {
				h, err := make(o)
				if err != nil {
					t.Fatal(err)
				}
				s := httptest.NewServer(h)
				defer s.Close()
				say := bare
				if name == "centrifuge" {
					say = json
				}
				var clients []*client
				for i, room := range []string{"here", "here", "there"} {
					c := dial(t, s.URL, fmt.Sprint("u", i))
					if say.open != "" {
						c.say(say.open)
					}
					c.await(say.opened)
					c.say(fmt.Sprintf(say.join, room))
					c.await(say.joined)
					// gorilla answers a join before its hub knows: who hears itself is in.
					c.say(fmt.Sprintf(say.publish, room, "here I am"))
					c.await(fmt.Sprintf(say.got, room, "here I am"))
					clients = append(clients, c)
				}
				// A message of the other room after one of this: what has not come then does not come.
				clients[0].say(fmt.Sprintf(say.publish, "here", "hello"))
				for _, c := range clients[:2] {
					c.await(fmt.Sprintf(say.got, "here", "hello"))
				}
				clients[2].say(fmt.Sprintf(say.publish, "there", "hello"))
				clients[2].await(fmt.Sprintf(say.got, "there", "hello"))
				if i := slices.IndexFunc(clients[2].heard, func(m string) bool { return strings.Contains(m, fmt.Sprintf(say.got, "here", "hello")) }); i >= 0 {
					t.Errorf("heard another room: %s", clients[2].heard[i])
				}
			})
		}
	}
}

type client struct {
	*testing.T
	conn  *websocket.Conn
	heard []string
}

func dial(t *testing.T, url, user string) *client {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, url+"/ws?user="+user, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &client{T: t, conn: conn}
}

func (c *client) say(text string) {
	if err := c.conn.Write(c.Context(), websocket.MessageText, []byte(text)); err != nil {
		c.Fatal(err)
	}
}

func (c *client) await(part string) {
	ctx, cancel := context.WithTimeout(c.Context(), 20*time.Second)
	defer cancel()
	for {
		_, b, err := c.conn.Read(ctx)
		if err != nil {
			c.Fatalf("no %s: %v; heard %q", part, err, c.heard)
		}
		c.heard = append(c.heard, string(b))
		if strings.Contains(string(b), part) {
			return
		}
	}
}
