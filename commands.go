package gohub

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/gohub/gohub/internal/wire"
)

// A Command is what users call by a message "/name args". Register commands
// with [Hub.Commands].
type Command struct {
	// Name is what follows the slash: 1 to 32 of a-z 0-9 _ -, the first one a
	// letter or a digit. Users may write it in capitals.
	Name string
	// Usage names the arguments, as "user text" or "[text]" do. It is shown by
	// /help, and to who gets them wrong.
	Usage string
	// Help says in a line what the command does.
	Help string
	// Run makes of the message that called the command the one that is sent:
	// it changes what middleware may change in p.Message, most easily with
	// [Publish.SetText], or answers its sender alone with [Publish.Reply]. args
	// is what was written after the name, without the space around it.
	//
	// An error refuses the message, as in a [PublishFunc]; [ErrUsage] tells the
	// sender how the command is used. It runs on the session's goroutine, for
	// different sessions concurrently. A client that got no answer sends its
	// message again, and Run then runs again unless the message was stored:
	// what else Run does should be harmless to repeat. ctx ends with the hub.
	Run func(ctx context.Context, p *Publish, args string) error
}

var commandName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

// Commands makes slash commands of clients' messages whose text begins with
// "/". That is every message of kind "chat", not binary, whose body is a JSON
// string or an object with a string under "text". An unknown command is
// refused with bad_request; "//x" is sent as "/x". While there is no command,
// bodies are not looked into.
//
// A command runs before the middleware of [Hub.Use], which sees what it made
// of the message. Messages that the program publishes with [Hub.Publish] are
// never commands.
//
// Call Commands before the hub serves connections. It panics if a name is not
// one or is registered already, or Run is nil.
func (h *Hub) Commands(cmds ...Command) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range cmds {
		switch {
		case !commandName.MatchString(c.Name):
			panic(fmt.Sprintf("gohub: command name %q: 1 to 32 of a-z 0-9 _ -, the first one a letter or a digit", c.Name))
		case c.Run == nil:
			panic("gohub: command /" + c.Name + " has no Run")
		case h.findCommand(c.Name) != nil:
			panic("gohub: command /" + c.Name + " is registered already")
		}
		h.commands = append(h.commands, c)
	}
}

// findCommand gives a command by its name, or nil.
func (h *Hub) findCommand(name string) *Command {
	i := slices.IndexFunc(h.commands, func(c Command) bool { return strings.EqualFold(c.Name, name) })
	if i < 0 {
		return nil
	}
	return &h.commands[i]
}

// isCommand reports whether m calls a command, or escapes from that by "//".
func (h *Hub) isCommand(m *Message) bool {
	return len(h.commands) > 0 && !m.Binary && m.Kind == "chat" && wire.TextSlash(m.Body)
}

// command does what the text of p, which isCommand, asks for.
func (h *Hub) command(ctx context.Context, p *Publish) error {
	text, _ := p.Text()
	if strings.HasPrefix(text, "//") {
		p.SetText(text[1:])
		return nil
	}
	name, args := splitCommand(text)
	c := h.findCommand(name)
	if c == nil {
		return h.unknownCommand(name)
	}
	err := guard(h, "command /"+c.Name, func() error { return c.Run(ctx, p, args) })
	if errors.Is(err, ErrUsage) {
		return Errorf(CodeBadRequest, "usage: %s", c.usage())
	}
	return err
}

// splitCommand splits "/name args", where any white space ends the name.
func splitCommand(text string) (name, args string) {
	name = text[1:]
	if i := strings.IndexFunc(name, unicode.IsSpace); i >= 0 {
		name, args = name[:i], strings.TrimSpace(name[i:])
	}
	return name, args
}

// usage is how the command is written.
func (c *Command) usage() string {
	if c.Usage == "" {
		return "/" + c.Name
	}
	return "/" + c.Name + " " + c.Usage
}

func (h *Hub) unknownCommand(name string) error {
	hint := "; "
	if near := h.nearCommand(name); near != "" {
		hint = "; did you mean /" + near + "? "
	}
	if h.findCommand("help") != nil {
		hint += "/help lists the commands, "
	}
	return Errorf(CodeBadRequest, "no command is named %q%s// begins a text with a slash", "/"+clip(name), hint)
}

// nearCommand gives the name that was probably meant: it begins with what was
// written, or differs from it by one slip in three letters.
func (h *Hub) nearCommand(name string) (near string) {
	if name == "" || len(name) > 40 { // the longest name, and slips
		return ""
	}
	name = strings.ToLower(name)
	least := max(1, len(name)/3) + 1
	for _, c := range h.commands {
		if strings.HasPrefix(c.Name, name) {
			return c.Name
		}
		if d := slips(name, c.Name); d < least && d < len(c.Name) {
			near, least = c.Name, d
		}
	}
	return near
}

// slips counts the letters that are wrong, missing, too many or swapped with
// the next one between a and b: their restricted Damerau–Levenshtein distance.
func slips(a, b string) int {
	before, row, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next[0] = i
		for j := 1; j <= len(b); j++ {
			wrong := 1
			if a[i-1] == b[j-1] {
				wrong = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+wrong)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row, next = row, next, before
	}
	return row[len(b)]
}
