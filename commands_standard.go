package gohub

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// whoNames is how many users /who names.
const whoNames = 20

// StandardCommands gives the commands that come with the hub, for
// [Hub.Commands]: those named, or all. They may be changed before, to be called
// or explained otherwise.
//
//   - shrug [text] appends ¯\_(ツ)_/¯.
//   - me text sends the text with kind "me": what the sender does.
//   - msg user text publishes the text into the direct room with that user, as
//     a publish with "to" and no room does.
//   - who answers with how many users are in the room, and the first 20 by name.
//   - help [command] answers with the commands, or one of them.
//
// It panics if there is no command of a name.
func StandardCommands(names ...string) []Command {
	all := []Command{
		{Name: "shrug", Usage: "[text]", Help: `appends ¯\_(ツ)_/¯`, Run: shrug},
		{Name: "me", Usage: "text", Help: "says what you do", Run: me},
		{Name: "msg", Usage: "user text", Help: "writes to one user, in the room you share with them", Run: msg},
		{Name: "who", Help: "tells you who is here", Run: who},
		{Name: "help", Usage: "[command]", Help: "tells you the commands", Run: help},
	}
	if len(names) == 0 {
		return all
	}
	some := make([]Command, len(names))
	for i, name := range names {
		k := slices.IndexFunc(all, func(c Command) bool { return c.Name == name })
		if k < 0 {
			panic(fmt.Sprintf("gohub: no standard command is named %q", name))
		}
		some[i] = all[k]
	}
	return some
}

func shrug(_ context.Context, p *Publish, args string) error {
	p.SetText(strings.TrimSpace(args + ` ¯\_(ツ)_/¯`))
	return nil
}

func me(_ context.Context, p *Publish, args string) error {
	if args == "" {
		return ErrUsage
	}
	p.Message.Kind = "me"
	p.SetText(args)
	return nil
}

func msg(_ context.Context, p *Publish, args string) error {
	i := strings.IndexFunc(args, unicode.IsSpace)
	if i < 0 {
		return ErrUsage
	}
	user := strings.TrimPrefix(args[:i], "@") // as in the name of the room
	if !validUser(user) {
		return Errorf(CodeBadRequest, "user %q: 1 to 63 of A-Z a-z 0-9 . _ : -", clip(user))
	}
	mem, err := p.Client.direct(user)
	if err != nil {
		return err
	}
	p.room = mem.room
	p.Message.Room, p.Message.To = mem.room.id, user
	p.SetText(strings.TrimSpace(args[i:]))
	return nil
}

func who(ctx context.Context, p *Publish, args string) error {
	if args != "" {
		return ErrUsage
	}
	page, err := p.Client.hub.present(ctx, p.room.id, "", whoNames)
	if err != nil {
		return p.Client.hub.blame(err, "who", p.room.id)
	}
	names := make([]string, len(page.Users))
	for i, u := range page.Users {
		names[i] = u.User
		if u.Name != u.User {
			names[i] = fmt.Sprintf("%s (%s)", clip(u.Name), u.User)
		}
	}
	more := ""
	if n := page.Count - len(names); n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	p.Reply(fmt.Sprintf("%d here: %s%s", page.Count, strings.Join(names, ", "), more))
	return nil
}

func help(_ context.Context, p *Publish, args string) error {
	h := p.Client.hub
	if args != "" {
		name := strings.TrimPrefix(args, "/")
		c := h.findCommand(name)
		if c == nil {
			return h.unknownCommand(name)
		}
		p.Reply(c.usage() + ": " + c.Help)
		return nil
	}
	var b strings.Builder
	for _, c := range h.commands {
		fmt.Fprintf(&b, "%s: %s\n", c.usage(), c.Help)
	}
	b.WriteString("// begins a text with a slash")
	p.Reply(b.String())
	return nil
}
