package gohub_test

import (
	"context"
	"fmt"
	"log"
	"math/rand/v2"
	"strconv"

	"github.com/gohub/gohub"
)

// The commands that come with the hub, and one of the program's own.
func ExampleHub_Commands() {
	hub, err := gohub.New(gohub.Config{AllowAnonymous: true})
	if err != nil {
		log.Fatal(err)
	}
	hub.Commands(gohub.StandardCommands()...)
	hub.Commands(gohub.Command{
		Name: "roll", Usage: "sides", Help: "rolls a die for all to see",
		Run: func(_ context.Context, p *gohub.Publish, args string) error {
			sides, err := strconv.Atoi(args)
			if err != nil || sides < 2 {
				return gohub.ErrUsage
			}
			p.Message.Kind = "me"
			p.SetText(fmt.Sprintf("rolls %d of %d", 1+rand.IntN(sides), sides))
			return nil
		},
	})
	_ = hub.Shutdown(context.Background())
}
