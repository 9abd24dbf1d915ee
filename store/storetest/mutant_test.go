package storetest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// features of a memory store without bounds, so that every subtest runs. It
// cannot be reopened, so that is only simulated.
var features = Features{
	Unbounded: true,
	Reopen:    func(_ *testing.T, s gohub.Store) gohub.Store { return s },
	Second:    func(_ *testing.T, s gohub.Store) gohub.Store { return s },
}

func TestSuite(t *testing.T) { Run(t, features, memory) }

func memory(*testing.T) gohub.Store {
	return gohub.NewMemoryStore(gohub.MemoryStoreOptions{PerRoom: -1})
}

// A mutant is a store with one mistake. The suite must find it, in the
// subtest that is there for it.
type mutant struct {
	gohub.Store
	append     func(gohub.Store, context.Context, []gohub.Message) ([]gohub.Ordered, error)
	lookup     func(gohub.Store, context.Context, gohub.RoomID, string) (gohub.Message, bool, error)
	history    func(gohub.Store, context.Context, gohub.Query) ([]gohub.Message, bool, error)
	advance    func(gohub.Store, context.Context, []gohub.Watermark) ([]gohub.Watermark, error)
	watermarks func(gohub.Store, context.Context, gohub.MarkQuery) ([]gohub.Watermark, error)
	rooms      func(gohub.Store, context.Context, string, string) ([]gohub.RoomState, error)
	durable    bool
	forgetful  bool
}

func (m *mutant) Append(ctx context.Context, batch []gohub.Message) ([]gohub.Ordered, error) {
	if m.append != nil {
		return m.append(m.Store, ctx, batch)
	}
	return m.Store.Append(ctx, batch)
}

func (m *mutant) Lookup(ctx context.Context, room gohub.RoomID, id string) (gohub.Message, bool, error) {
	if m.lookup != nil {
		return m.lookup(m.Store, ctx, room, id)
	}
	return m.Store.Lookup(ctx, room, id)
}

func (m *mutant) History(ctx context.Context, q gohub.Query) ([]gohub.Message, bool, error) {
	if m.history != nil {
		return m.history(m.Store, ctx, q)
	}
	return m.Store.History(ctx, q)
}

func (m *mutant) Advance(ctx context.Context, ws []gohub.Watermark) ([]gohub.Watermark, error) {
	if m.advance != nil {
		return m.advance(m.Store, ctx, ws)
	}
	return m.Store.Advance(ctx, ws)
}

func (m *mutant) Watermarks(ctx context.Context, q gohub.MarkQuery) ([]gohub.Watermark, error) {
	if m.watermarks != nil {
		return m.watermarks(m.Store, ctx, q)
	}
	return m.Store.Watermarks(ctx, q)
}

func (m *mutant) Rooms(ctx context.Context, tenant, user string) ([]gohub.RoomState, error) {
	if m.rooms != nil {
		return m.rooms(m.Store, ctx, tenant, user)
	}
	return m.Store.Rooms(ctx, tenant, user)
}

func (m *mutant) Durable() bool { return m.durable }

// edit makes an Append that changes messages on their way in.
func edit(f func(*gohub.Message)) func(gohub.Store, context.Context, []gohub.Message) ([]gohub.Ordered, error) {
	return func(s gohub.Store, ctx context.Context, batch []gohub.Message) ([]gohub.Ordered, error) {
		batch = slices.Clone(batch)
		for i := range batch {
			f(&batch[i])
		}
		return s.Append(ctx, batch)
	}
}

// answer makes an Append that changes what is answered for a message.
func answer(f func(*gohub.Message, *gohub.Ordered)) func(gohub.Store, context.Context, []gohub.Message) ([]gohub.Ordered, error) {
	return func(s gohub.Store, ctx context.Context, batch []gohub.Message) ([]gohub.Ordered, error) {
		out, err := s.Append(ctx, batch)
		for i := range out {
			f(&batch[i], &out[i])
		}
		return out, err
	}
}

// query makes a History that changes the question.
func query(f func(*gohub.Query)) func(gohub.Store, context.Context, gohub.Query) ([]gohub.Message, bool, error) {
	return func(s gohub.Store, ctx context.Context, q gohub.Query) ([]gohub.Message, bool, error) {
		f(&q)
		return s.History(ctx, q)
	}
}

// page makes a History that changes the answer.
func page(f func(gohub.Query, []gohub.Message, bool) ([]gohub.Message, bool)) func(gohub.Store, context.Context, gohub.Query) ([]gohub.Message, bool, error) {
	return func(s gohub.Store, ctx context.Context, q gohub.Query) ([]gohub.Message, bool, error) {
		ms, more, err := s.History(ctx, q)
		ms, more = f(q, ms, more)
		return ms, more, err
	}
}

// list makes a Rooms that changes the answer.
func list(f func(s gohub.Store, user string, l *gohub.RoomState)) func(gohub.Store, context.Context, string, string) ([]gohub.RoomState, error) {
	return func(s gohub.Store, ctx context.Context, tenant, user string) ([]gohub.RoomState, error) {
		ls, err := s.Rooms(ctx, tenant, user)
		for i := range ls {
			f(s, user, &ls[i])
		}
		return ls, err
	}
}

// count is how many messages of a room user may see after a Seq.
func count(s gohub.Store, l *gohub.RoomState, viewer string, counts func(gohub.Message) bool) (n int) {
	ms, _, _ := s.History(context.Background(), gohub.Query{Room: l.Room, Viewer: viewer, After: l.Seen, Limit: 10_000})
	for _, m := range ms {
		if counts(m) {
			n++
		}
	}
	return n
}

// marks makes an Advance that changes single watermarks first.
func marks(f func(*gohub.Watermark)) func(gohub.Store, context.Context, []gohub.Watermark) ([]gohub.Watermark, error) {
	return func(s gohub.Store, ctx context.Context, ws []gohub.Watermark) ([]gohub.Watermark, error) {
		ws = slices.Clone(ws)
		for i := range ws {
			f(&ws[i])
		}
		return s.Advance(ctx, ws)
	}
}

// byUser makes a Watermarks that lists other users by their names.
func byUser(counts func(gohub.MarkQuery, gohub.Watermark) bool) func(gohub.Store, context.Context, gohub.MarkQuery) ([]gohub.Watermark, error) {
	return func(s gohub.Store, ctx context.Context, q gohub.MarkQuery) ([]gohub.Watermark, error) {
		if q.Seq == 0 {
			return s.Watermarks(ctx, q)
		}
		asked := q
		q.Seq, q.Limit = 1, 1000
		ws, err := s.Watermarks(ctx, q)
		ws = slices.DeleteFunc(ws, func(w gohub.Watermark) bool { return !counts(asked, w) })
		return ws[:min(asked.Limit, len(ws))], err
	}
}

func tenantless(id gohub.RoomID) gohub.RoomID { return gohub.RoomID{Name: id.Name} }

func glued(id gohub.RoomID) gohub.RoomID { return gohub.RoomID{Name: id.Tenant + ":" + id.Name} }

func folded(id gohub.RoomID) gohub.RoomID {
	return gohub.RoomID{Tenant: id.Tenant, Name: strings.ToLower(id.Name)}
}

// rekeyed is a store whose messages are found by another key than the room's.
func rekeyed(key func(gohub.RoomID) gohub.RoomID) *mutant {
	return &mutant{
		append: edit(func(m *gohub.Message) { m.Room = key(m.Room) }),
		lookup: func(s gohub.Store, ctx context.Context, room gohub.RoomID, id string) (gohub.Message, bool, error) {
			m, found, err := s.Lookup(ctx, key(room), id)
			m.Room = room
			return m, found, err
		},
		history: func(s gohub.Store, ctx context.Context, q gohub.Query) ([]gohub.Message, bool, error) {
			room := q.Room
			q.Room = key(room)
			ms, more, err := s.History(ctx, q)
			for i := range ms {
				ms[i].Room = room
			}
			return ms, more, err
		},
	}
}

// pause is the time that a store takes between looking and acting.
func pause() { time.Sleep(time.Millisecond) }

const child = "GOHUB_STORETEST_MUTANTS"

// TestMutantsChild fails on purpose: TestMutants runs it in a process of its
// own and reads which mutants were found.
func TestMutantsChild(t *testing.T) {
	if os.Getenv(child) == "" {
		t.Skip("run by TestMutants")
	}
	for test, ms := range mutants() {
		i := slices.IndexFunc(cases(), func(c testCase) bool { return c.name == test })
		require.GreaterOrEqual(t, i, 0, "no subtest %s", test)
		for name, m := range ms {
			t.Run(test+": "+name, func(t *testing.T) {
				f := features
				if m.forgetful {
					f.Reopen = func(t *testing.T, _ gohub.Store) gohub.Store { return memory(t) }
					f.Second = f.Reopen
				}
				cases()[i].test(t, f, func(t *testing.T) gohub.Store {
					m := *m
					m.Store = memory(t)
					return &m
				})
			})
		}
	}
}

func TestMutants(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMutantsChild$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "the suite passed every mutant")
	raced := strings.Contains(string(out), "DATA RACE")
	require.False(t, raced, "a race fails every subtest, found or not")
	tried := 0
	for test, ms := range mutants() {
		for name := range ms {
			tried++
			line := fmt.Sprintf("--- FAIL: TestMutantsChild/%s:_%s (", test, strings.ReplaceAll(name, " ", "_"))
			found := strings.Contains(string(out), line)
			assert.True(t, found, "the subtest %s passed a store with this mistake: %s", test, name)
		}
	}
	for _, c := range cases() {
		assert.NotEmpty(t, mutants()[c.name], "no mutant shows that the subtest %s finds anything", c.name)
	}
	t.Logf("%d mutants", tried)
}
