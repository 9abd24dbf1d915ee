package gohub_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/gohub/gohub"
)

// A service that has its own users and its own mux gains a hub.
func Example() {
	// Whatever tells your users apart today: a session cookie, a token.
	whoIs := func(r *http.Request) (gohub.Identity, error) {
		name, _, ok := r.BasicAuth()
		if !ok {
			return gohub.Identity{}, gohub.Errorf(gohub.CodeUnauthorized, "log in first")
		}
		return gohub.Identity{User: name}, nil
	}
	hub, err := gohub.New(gohub.Config{Authenticator: gohub.AuthenticatorFunc(whoIs)})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/ws", hub.Handler())
	server := &http.Server{Addr: "127.0.0.1:8080", Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		log.Print(server.ListenAndServe())
		stop()
	}()
	<-ctx.Done()

	// The hub first: it knows its connections, the server does not.
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := hub.Shutdown(ctx); err != nil {
		log.Print(err) // a *gohub.DrainError: what it had to give up
	}
	ctx, cancel = context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = server.Shutdown(ctx)
}

// The program publishes like a user, and learns where the message stands.
func ExampleHub_Publish() {
	hub, err := gohub.New(gohub.Config{AllowAnonymous: true})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	sent, err := hub.Publish(ctx, gohub.Message{
		Room:   gohub.RoomID{Name: "orders"},
		ID:     "01938f9e-7a00-7000-8000-0000000004d2", // your own id of the event: repeating is safe
		Sender: "shop",
		Kind:   "order",
		Body:   []byte(`{"order": 1234}`),
	})
	if err != nil {
		log.Fatal(err)
	}
	again, err := hub.Publish(ctx, gohub.Message{
		Room: sent.Room, ID: sent.ID, Sender: "shop", Kind: "order", Body: []byte(`{"order": 1234}`),
	})
	fmt.Println(err, again.Seq == sent.Seq)
	fmt.Println(hub.Shutdown(ctx))
	// Output:
	// <nil> true
	// <nil>
}

// Middleware sees every message of a client before anybody else does.
func ExampleHub_Use() {
	hub, err := gohub.New(gohub.Config{AllowAnonymous: true})
	if err != nil {
		log.Fatal(err)
	}
	hub.Use(func(next gohub.PublishFunc) gohub.PublishFunc {
		return func(ctx context.Context, p *gohub.Publish) error {
			if strings.Contains(string(p.Message.Body), "spam") {
				return gohub.Errorf(gohub.CodeForbidden, "no spam in %s", p.Message.Room.Name)
			}
			return next(ctx, p)
		}
	})
	_ = hub.Shutdown(context.Background())
}

// Calls are typed on the server and plain JSON on the wire: a client sends
// {"type":"call","ref":1,"name":"add","body":{"a":1,"b":2}} and gets
// {"type":"result","ref":1,"body":3}.
func ExampleHandle() {
	hub, err := gohub.New(gohub.Config{AllowAnonymous: true})
	if err != nil {
		log.Fatal(err)
	}
	type sum struct{ A, B int }
	gohub.Handle(hub, "add", func(_ context.Context, c *gohub.Client, in sum) (int, error) {
		if in.A > 1000 {
			return 0, gohub.Errorf(gohub.CodeBadRequest, "%s, that is too much", c.User())
		}
		return in.A + in.B, nil
	})
	_ = hub.Shutdown(context.Background())
}
