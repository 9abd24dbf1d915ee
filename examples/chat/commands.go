package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gohub/gohub"
)

// commands are the standard ones, which answer in the language of the page that
// calls them: the hub's own words are English.
func commands(hub *gohub.Hub) []gohub.Command {
	all := gohub.StandardCommands()
	for i := range all {
		name, run := all[i].Name, all[i].Run
		switch name {
		case "who":
			run = whoCommand(hub)
		case "help":
			run = helpCommand(all)
		}
		all[i].Run = func(ctx context.Context, p *gohub.Publish, args string) error {
			err := run(ctx, p, args)
			if errors.Is(err, gohub.ErrUsage) {
				l := localeFor(p.Client.Identity())
				return gohub.Errorf(gohub.CodeBadRequest, "%s", l.T("command.wrong", "usage", l.usage(name)))
			}
			return err
		}
	}
	return all
}

func whoCommand(hub *gohub.Hub) func(context.Context, *gohub.Publish, string) error {
	const named = 20 // users
	return func(ctx context.Context, p *gohub.Publish, args string) error {
		if args != "" {
			return gohub.ErrUsage
		}
		page, err := hub.Presence(ctx, p.Message.Room, "", named)
		if err != nil {
			return fmt.Errorf("who is in %s: %w", p.Message.Room.Name, err)
		}
		var users []string
		for _, u := range page.Users {
			users = append(users, u.User)
		}
		l := localeFor(p.Client.Identity())
		text := l.N("command.who.here", page.Count, "users", strings.Join(users, ", "))
		if more := page.Count - len(users); more > 0 {
			text += l.N("command.who.more", more)
		}
		p.Reply(text)
		return nil
	}
}

func helpCommand(all []gohub.Command) func(context.Context, *gohub.Publish, string) error {
	return func(_ context.Context, p *gohub.Publish, args string) error {
		l := localeFor(p.Client.Identity())
		about := func(name string) string { return l.usage(name) + ": " + l.T("command."+name+".help") }
		if args != "" {
			name := strings.ToLower(strings.TrimPrefix(args, "/"))
			if !slices.ContainsFunc(all, func(c gohub.Command) bool { return c.Name == name }) {
				return gohub.Errorf(gohub.CodeBadRequest, "%s", l.T("commands.unknown", "name", "/"+name))
			}
			p.Reply(about(name))
			return nil
		}
		var lines []string
		for _, c := range all {
			lines = append(lines, about(c.Name))
		}
		p.Reply(strings.Join(append(lines, l.T("command.slash")), "\n"))
		return nil
	}
}

// usage is how a command is written.
func (l *locale) usage(name string) string {
	return strings.TrimSpace("/" + name + " " + l.T("command."+name+".usage"))
}
