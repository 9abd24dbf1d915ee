package clustertest

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// The grace of a MemoryDirectory.
var presenceFeatures = PresenceFeatures{Linger: 5 * time.Second}

func memoryNodes(wrap func(gohub.Directory) gohub.Directory) []PresenceNode {
	b, d := gohub.NewMemoryBroker(), gohub.NewMemoryDirectory()
	nodes := make([]PresenceNode, 3)
	for i := range nodes {
		nodes[i] = PresenceNode{b, wrap(d.Node())}
	}
	return nodes
}

func TestPresence(t *testing.T) {
	t.Parallel()
	RunPresence(t, presenceFeatures, func(*testing.T) []PresenceNode {
		return memoryNodes(func(d gohub.Directory) gohub.Directory { return d })
	})
}

// A wrongDirectory has one mistake.
type wrongDirectory struct {
	gohub.Directory
	announce func(d *wrongDirectory, ctx context.Context, room gohub.RoomID, users []gohub.PresentUser, again bool) (int, error)
	present  func(d *wrongDirectory, ctx context.Context, room gohub.RoomID, cursor string, limit int) (gohub.PresencePage, error)
	members  func(d *wrongDirectory, room gohub.RoomID, joined, left []string, count int)
	stays    bool

	gohub.Listener
	mu    sync.Mutex // guards names and told
	names map[string]string
	told  int
}

func (d *wrongDirectory) Serve(l gohub.Listener, self gohub.Node) {
	d.Listener = l
	d.Directory.Serve(d, self)
}

func (d *wrongDirectory) Leave(ctx context.Context, _ gohub.Listener) {
	if !d.stays {
		d.Directory.Leave(ctx, d)
	}
}

func (d *wrongDirectory) Announce(ctx context.Context, room gohub.RoomID, users []gohub.PresentUser, again bool) (int, error) {
	if d.announce != nil {
		return d.announce(d, ctx, room, users, again)
	}
	return d.Directory.Announce(ctx, room, users, again)
}

func (d *wrongDirectory) Present(ctx context.Context, room gohub.RoomID, cursor string, limit int) (gohub.PresencePage, error) {
	if d.present != nil {
		return d.present(d, ctx, room, cursor, limit)
	}
	return d.Directory.Present(ctx, room, cursor, limit)
}

func (d *wrongDirectory) Members(room gohub.RoomID, joined, left []string, count int) {
	if d.members != nil {
		d.members(d, room, joined, left, count)
		return
	}
	d.Listener.Members(room, joined, left, count)
}

func presenceMutants() map[string]*wrongDirectory {
	return map[string]*wrongDirectory{
		"Distinct": {announce: func(d *wrongDirectory, ctx context.Context, room gohub.RoomID, users []gohub.PresentUser, again bool) (int, error) {
			n, err := d.Directory.Announce(ctx, room, users, again)
			if users[0].Sessions == 0 {
				d.Listener.Members(room, nil, []string{users[0].User}, n) // though it is elsewhere, too
			}
			return n, err
		}},
		"BothWays": {members: func(d *wrongDirectory, room gohub.RoomID, joined, left []string, count int) {
			if len(joined) > 0 {
				left = nil
			}
			d.Listener.Members(room, joined, left, count)
		}},
		"Sessions": {present: func(d *wrongDirectory, ctx context.Context, room gohub.RoomID, cursor string, limit int) (gohub.PresencePage, error) {
			p, err := d.Directory.Present(ctx, room, cursor, limit)
			for i := range p.Users {
				p.Users[i].Sessions = 1
			}
			return p, err
		}},
		"Names": {announce: func(d *wrongDirectory, ctx context.Context, room gohub.RoomID, users []gohub.PresentUser, again bool) (int, error) {
			d.mu.Lock()
			for i, u := range users {
				if d.names[u.User] == "" {
					d.names[u.User] = u.Name
				}
				users[i].Name = d.names[u.User] // the oldest wins
			}
			d.mu.Unlock()
			return d.Directory.Announce(ctx, room, users, again)
		}},
		"Rooms": {announce: func(d *wrongDirectory, ctx context.Context, room gohub.RoomID, users []gohub.PresentUser, again bool) (int, error) {
			room.Tenant = strings.TrimSuffix(room.Tenant, "x")
			return d.Directory.Announce(ctx, room, users, again)
		}},
		"Pages": {present: func(d *wrongDirectory, ctx context.Context, room gohub.RoomID, cursor string, limit int) (gohub.PresencePage, error) {
			p, err := d.Directory.Present(ctx, room, cursor, limit)
			if p.Cursor != "" {
				p.Cursor += "0" // skips nobody, but for who is named like that
				p.Users = p.Users[:len(p.Users)-1]
			}
			return p, err
		}},
		"Many": {members: func(d *wrongDirectory, room gohub.RoomID, joined, left []string, count int) {
			d.mu.Lock()
			d.told++
			lost := d.told%10 == 0
			d.mu.Unlock()
			if !lost {
				d.Listener.Members(room, joined, left, count)
			}
		}},
		"Leave": {stays: true},
		"AgainHarmless": {announce: func(d *wrongDirectory, ctx context.Context, room gohub.RoomID, users []gohub.PresentUser, again bool) (int, error) {
			n, err := d.Directory.Announce(ctx, room, users, again)
			if again {
				d.Listener.Members(room, []string{users[0].User}, nil, n)
			}
			return n, err
		}},
		"Unavailable": {announce: func(d *wrongDirectory, _ context.Context, room gohub.RoomID, users []gohub.PresentUser, again bool) (int, error) {
			return d.Directory.Announce(context.Background(), room, users, again)
		}},
	}
}

// TestPresenceMutantsChild fails on purpose, as TestMutantsChild does.
func TestPresenceMutantsChild(t *testing.T) {
	if os.Getenv(child) == "" {
		t.Skip("run by TestPresenceMutants")
	}
	f := presenceFeatures
	f.Patience = time.Second
	RunPresence(t, f, func(t *testing.T) []PresenceNode {
		name := t.Name()[strings.LastIndexByte(t.Name(), '/')+1:]
		return memoryNodes(func(inner gohub.Directory) gohub.Directory {
			d := presenceMutants()[name]
			if d == nil {
				return inner
			}
			d.Directory, d.names = inner, map[string]string{}
			return d
		})
	})
}

func TestPresenceMutants(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPresenceMutantsChild$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "the suite passed every mutant")
	raced := strings.Contains(string(out), "DATA RACE")
	require.False(t, raced, "a race fails every subtest, found or not")
	for _, c := range presenceCases {
		found := strings.Contains(string(out), "--- FAIL: TestPresenceMutantsChild/"+c.name+" (")
		assert.Equal(t, c.name != "Forget", found, c.name) // which a MemoryDirectory does not
	}
}
