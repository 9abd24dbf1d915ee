// Package storetest is the suite that every [gohub.Store] passes. An adapter,
// inside this project or outside, calls [Run] from a test of its own:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, storetest.Features{Durable: true}, func(t *testing.T) gohub.Store {
//			return mystore.New(t.TempDir())
//		})
//	}
//
// Run it with -race.
package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gohub/gohub"
)

// Features says what a Store promises beyond the contract of [gohub.Store].
// The zero value is a Store that keeps little and forgets it at the end, but
// at least 2,000 messages of 1 KiB a room, or 32 MiB.
type Features struct {
	// Durable is what Store.Durable shall say.
	Durable bool
	// Unbounded: the store evicts nothing. Adds tests with more messages than
	// a bounded store keeps.
	Unbounded bool
	// Reopen closes s and opens the same data again, as after a restart of
	// the process. Nil leaves the tests of that out.
	Reopen func(t *testing.T, s gohub.Store) gohub.Store
	// Second opens the data of s a second time beside it, as another process
	// does. Nil leaves the tests of that out.
	Second func(t *testing.T, s gohub.Store) gohub.Store
}

// Run runs the suite as subtests of t. open makes a Store for one subtest and
// ends it with t.Cleanup. Stores may share one database: each subtest uses
// tenants, rooms and users that no other has used, also of earlier runs.
func Run(t *testing.T, f Features, open func(t *testing.T) gohub.Store) {
	t.Helper()
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) { c.test(t, f, open) })
	}
}

func cases() []testCase {
	return slices.Concat(appendCases, historyCases, markCases, roomCases, raceCases, processCases)
}

// testCase is one subtest.
type testCase struct {
	name  string
	needs func(Features) bool // nil: for every store
	run   func(*run)
}

func (c testCase) test(t *testing.T, f Features, open func(t *testing.T) gohub.Store) {
	t.Helper()
	if c.needs != nil && !c.needs(f) {
		t.Skip("not among the store's features")
	}
	c.run(&run{T: t, f: f, s: open(t), unique: "t" + rand.Text()[:12], seq: time.Now().UnixMicro()})
}

// run is what a subtest has in hand.
type run struct {
	*testing.T
	f      Features
	s      gohub.Store
	unique string // this subtest's tenant, and part of its users' names elsewhere
	seq    int64
}

func (r *run) room(name string) gohub.RoomID {
	return gohub.RoomID{Tenant: r.unique, Name: name}
}

// msg makes a message with a fresh id and the next Seq.
func (r *run) msg(room gohub.RoomID, sender, text string) gohub.Message {
	r.seq += 10
	return gohub.Message{Room: room, ID: newID(), Seq: r.seq, Sender: sender, Kind: "chat", Body: fmt.Appendf(nil, "%q", text)}
}

// msgs makes n messages of one sender.
func (r *run) msgs(room gohub.RoomID, sender string, n int) []gohub.Message {
	ms := make([]gohub.Message, n)
	for i := range ms {
		ms[i] = r.msg(room, sender, fmt.Sprint(sender, " ", i))
	}
	return ms
}

// private makes a message that only its sender and to may see.
func (r *run) private(room gohub.RoomID, sender, to, text string) gohub.Message {
	m := r.msg(room, sender, text)
	m.To = to
	return m
}

// newID makes a UUID.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// try appends as the hub does: it repeats a batch whose error may pass.
func try(ctx context.Context, s gohub.Store, batch []gohub.Message) (out []gohub.Ordered, err error) {
	for wait := 10 * time.Millisecond; ; wait *= 2 {
		out, err = s.Append(ctx, batch)
		var row *gohub.RowError
		if err == nil || errors.As(err, &row) || ctx.Err() != nil || wait > time.Second {
			break
		}
		time.Sleep(wait)
	}
	if err == nil && len(out) != len(batch) {
		err = fmt.Errorf("Append of %d messages returned %d results", len(batch), len(out))
	}
	return out, err
}

// append stores a batch; any error ends the test.
func (r *run) append(batch ...gohub.Message) []gohub.Ordered {
	r.Helper()
	out, err := try(r.Context(), r.s, batch)
	if err != nil {
		r.Fatalf("Append of %d messages: %v", len(batch), err)
	}
	return out
}

// fresh stores a batch that must be new to the store.
func (r *run) fresh(batch ...gohub.Message) {
	r.Helper()
	for i, o := range r.append(batch...) {
		if o != (gohub.Ordered{Seq: batch[i].Seq}) {
			r.Fatalf("Append, message %d of %d with Seq %d and a new id: got %+v, want this Seq, no Duplicate, no Err", i, len(batch), batch[i].Seq, o)
		}
	}
}

func (r *run) history(q gohub.Query) ([]gohub.Message, bool) {
	r.Helper()
	ms, more, err := r.s.History(r.Context(), q)
	if err != nil {
		r.Fatalf("History(%s): %v", show(q), err)
	}
	return ms, more
}

// all reads a whole room, as user sees it.
func (r *run) all(room gohub.RoomID, user string) []gohub.Message {
	r.Helper()
	ms, more := r.history(gohub.Query{Room: room, Viewer: user, Limit: 100_000})
	if more {
		r.Fatalf("History of all of room %v: more is true", room)
	}
	return ms
}

func (r *run) advance(ws ...gohub.Watermark) []gohub.Watermark {
	r.Helper()
	moved, err := r.s.Advance(r.Context(), ws)
	if err != nil {
		r.Fatalf("Advance(%+v): %v", ws, err)
	}
	return moved
}

// mark reads one user's watermark in a room: delivered, seen.
func (r *run) mark(room gohub.RoomID, user string) (delivered, seen int64) {
	r.Helper()
	ws, err := r.s.Watermarks(r.Context(), gohub.MarkQuery{Room: room, Limit: 10_000})
	if err != nil {
		r.Fatalf("Watermarks(%v): %v", room, err)
	}
	for _, w := range ws {
		if w.Room != room {
			r.Fatalf("Watermarks(%v) returned one of room %v", room, w.Room)
		}
		if w.User == user {
			return w.Delivered, w.Seen
		}
	}
	return 0, 0
}

func (r *run) rooms(user string) []gohub.RoomState {
	r.Helper()
	list, err := r.s.Rooms(r.Context(), r.unique, user)
	if err != nil {
		r.Fatalf("Rooms(%s): %v", user, err)
	}
	return list
}

// wantRooms checks a user's list of rooms, in order.
func (r *run) wantRooms(when, user string, want ...gohub.RoomState) {
	r.Helper()
	if got := r.rooms(user); !slices.Equal(got, want) {
		r.Errorf("%s: Rooms of %s:\n got %+v\nwant %+v", when, user, got, want)
	}
}

// wantMessages compares messages, all fields.
func (r *run) wantMessages(what string, got, want []gohub.Message) {
	r.Helper()
	if diff := difference(got, want); diff != "" {
		r.Errorf("%s: %s", what, diff)
	}
}

// difference tells how two lists of messages differ; empty: they do not.
func difference(got, want []gohub.Message) string {
	for i := range min(len(got), len(want)) {
		g, w := got[i], want[i]
		body := bytes.Equal(g.Body, w.Body)
		gb, wb := g.Body, w.Body
		g.Body, w.Body = nil, nil
		switch {
		case g.Room != w.Room || g.ID != w.ID || g.Seq != w.Seq || g.Sender != w.Sender || g.To != w.To || g.Kind != w.Kind || g.Binary != w.Binary:
			return fmt.Sprintf("message %d of %d differs:\n got %+v\nwant %+v", i, len(got), g, w)
		case !body:
			return fmt.Sprintf("body of message %d (Seq %d): got %d bytes %.60q, want %d bytes %.60q", i, g.Seq, len(gb), gb, len(wb), wb)
		}
	}
	if len(got) != len(want) {
		return fmt.Sprintf("got %d messages %v, want %d %v", len(got), seqs(got), len(want), seqs(want))
	}
	return ""
}

// seqs shows the Seqs of messages, the first ones.
func seqs(ms []gohub.Message) string {
	var b bytes.Buffer
	for i, m := range ms {
		if i == 12 {
			b.WriteString(" …")
			break
		}
		fmt.Fprintf(&b, " %d", m.Seq)
	}
	return "[" + b.String() + " ]"
}

func show(q gohub.Query) string {
	return fmt.Sprintf("viewer %q, after %d, before %d, limit %d, newest %t", q.Viewer, q.After, q.Before, q.Limit, q.Newest)
}
