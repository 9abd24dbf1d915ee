package gohub_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"

	"github.com/coder/websocket"

	"github.com/gohub/gohub"
)

// The protocol has no command for who has seen a message. A service that wants
// its clients to ask registers a call: a client sends
// {"type":"call","ref":2,"name":"seen_by","body":{"room":"general","seq":…}}
// and, for the next page, the last user of the answer in "after".
func ExampleHub_SeenBy() {
	whoIs := func(r *http.Request) (gohub.Identity, error) { return gohub.Identity{User: r.FormValue("user")}, nil }
	hub, err := gohub.New(gohub.Config{Authenticator: gohub.AuthenticatorFunc(whoIs)})
	if err != nil {
		log.Fatal(err)
	}
	type question struct {
		Room  string
		Seq   int64
		After string
	}
	type page struct {
		SeenBy []gohub.Receipt `json:"seen_by"`
		More   bool            `json:"more"`
	}
	gohub.Handle(hub, "seen_by", func(ctx context.Context, c *gohub.Client, in question) (page, error) {
		out := page{SeenBy: []gohub.Receipt{}}
		if !slices.Contains(c.Rooms(), in.Room) {
			return out, gohub.Errorf(gohub.CodeNotJoined, "join the room first")
		}
		room := gohub.RoomID{Tenant: c.Identity().Tenant, Name: in.Room}
		for r, err := range hub.SeenBy(ctx, c.User(), gohub.MarkQuery{Room: room, Seq: in.Seq, After: in.After, Limit: 101}) {
			if err != nil {
				return out, err
			}
			if len(out.SeenBy) == 100 {
				out.More = true
				break
			}
			out.SeenBy = append(out.SeenBy, r)
		}
		return out, nil
	})

	server := httptest.NewServer(hub.Handler())
	defer server.Close()
	ctx := context.Background()
	defer func() { _ = hub.Shutdown(ctx) }()
	sent, err := hub.Publish(ctx, gohub.Message{Room: gohub.RoomID{Name: "general"}, Sender: "alice", Body: []byte(`"hello"`)})
	if err != nil {
		log.Fatal(err)
	}
	bob, _, err := websocket.Dial(ctx, server.URL+"?user=bob", nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, frame := range []string{
		`{"type":"join","ref":1,"room":"general"}`,
		fmt.Sprintf(`{"type":"receipt","room":"general","seen":%d}`, sent.Seq),
		fmt.Sprintf(`{"type":"call","ref":2,"name":"seen_by","body":{"room":"general","seq":%d}}`, sent.Seq),
	} {
		if err := bob.Write(ctx, websocket.MessageText, []byte(frame)); err != nil {
			log.Fatal(err)
		}
	}
	for {
		_, frame, err := bob.Read(ctx)
		if err != nil {
			log.Fatal(err)
		}
		if bytes.Contains(frame, []byte(`"result"`)) {
			fmt.Printf("%s\n", frame)
			break
		}
	}
	_ = bob.CloseNow()
	// Output:
	// {"type":"result","ref":2,"body":{"seen_by":[{"user":"bob","status":"seen"}],"more":false}}
}
