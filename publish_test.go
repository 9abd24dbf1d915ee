package gohub_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

func TestOneOrderForAll(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, kind func(gohub.Config) gohub.Config) {
		w := start(t, kind(gohub.Config{}))
		const writers, each = 4, 100
		watchers := []*user{w.as("ann", "r"), w.as("ben", "r"), w.as("ben", "r")}
		acks := make([]map[string]int64, writers) // seq by id
		for i := range writers {
			watchers = append(watchers, w.as(fmt.Sprint("writer-", i), "r"))
		}
		var wg sync.WaitGroup
		for i, u := range watchers[len(watchers)-writers:] {
			acks[i] = make(map[string]int64)
			wg.Go(func() {
				ids := make([]string, each)
				for n := range ids {
					ids[n] = u.publish("r", n)
				}
				var last int64
				for _, id := range ids {
					ack := u.expect("ack", "id", id)
					if ack.num("seq") <= last {
						t.Errorf("%s: acks are out of order", u.name)
					}
					last = ack.num("seq")
					acks[i][id] = last
				}
			})
		}
		wg.Wait()
		var want []int64
		for i, u := range watchers {
			ms := u.collect("r", writers*each)
			if i == 0 {
				want = seqsOf(ms)
				require.IsIncreasing(t, want)
				next := make(map[string]int) // by sender
				for _, m := range ms {
					sender := m.str("sender")
					require.EqualValues(t, next[sender], m["body"], "a client's messages keep their order")
					next[sender]++
					var n int
					_, err := fmt.Sscanf(sender, "writer-%d", &n)
					require.NoError(t, err)
					require.Equal(t, acks[n][m.str("id")], m.num("seq"), "ack and message agree")
				}
			}
			require.Equal(t, want, seqsOf(ms), "%s sees another order", u.name)
		}
		late := w.as("late")
		late.join("r", 0)
		require.Equal(t, want, seqsOf(late.collect("r", writers*each)), "replayed in the same order")
	})
}

// In a room where nothing else happens a message does not wait for anything,
// the Store least of all.
func TestMessagesDoNotWait(t *testing.T) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				store := newSlowStore()
				cfg := gohub.Config{}
				if name == "plain" {
					cfg.Store = store
				}
				w := startVirtual(t, kind(cfg))
				alice, bob := w.as("alice", "r"), w.as("bob", "r")
				pass(time.Minute)
				store.hold()
				began := time.Now()
				alice.publish("r", "from a client")
				synctest.Wait()
				require.Len(t, bob.messages("r"), 1)
				go func() { // ends with the Store's answer
					_, _ = w.hub.Publish(t.Context(), gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "bot", Body: []byte("1")})
				}()
				synctest.Wait()
				require.Len(t, bob.messages("r"), 1, "from the program")
				for i := range 200 { // more than a batch
					alice.publish("r", i)
				}
				synctest.Wait()
				require.Len(t, bob.messages("r"), 200)
				require.Equal(t, name == "memory", len(alice.all("ack")) == 201, "ack after the Store has it")
				require.Zero(t, time.Since(began))
				store.release()
			})
		})
	}
}

func TestSeqIsTheTime(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	u := w.as("alice", "r")
	before := u.welcome.num("time")
	seq := u.say("r", 1).num("seq")
	require.GreaterOrEqual(t, seq/1000, before-1)
	require.Less(t, seq/1000, before+60_000)
	require.Less(t, seq, int64(1)<<53)
}

func TestDuplicateIsAckedWithTheFirstSeq(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, kind func(gohub.Config) gohub.Config) {
		w := start(t, kind(gohub.Config{}))
		alice, bob := w.as("alice", "r"), w.as("bob", "r")
		id := alice.publish("r", "first")
		first := alice.expect("ack", "id", id)
		require.NotContains(t, first, "duplicate")
		for _, retry := range []bool{false, true} {
			alice.send(frame{"type": "publish", "id": id, "room": "r", "body": "second", "retry": retry})
			again := alice.expect("ack", "id", id)
			require.Equal(t, true, again["duplicate"], "retry %t", retry)
			require.Equal(t, first["seq"], again["seq"], "retry %t", retry)
		}
		// Also from another session of the user, with other things changed.
		alice.sync()
		other := w.as("alice", "r")
		other.send(frame{"type": "publish", "id": id, "room": "r", "body": 3, "retry": true, "kind": "x", "to": "bob"})
		require.Equal(t, first["seq"], other.expect("ack", "id", id, "duplicate", true)["seq"])

		last := alice.say("r", "last")
		ms := bob.collect("r", 2)
		require.Equal(t, []any{"first", "last"}, bodiesOf(ms), "once, and the first body wins")
		require.Equal(t, []int64{first.num("seq"), last.num("seq")}, seqsOf(ms))

		// The same id in another room is another message.
		alice.join("q")
		alice.send(frame{"type": "publish", "id": id, "room": "q", "body": 1})
		require.NotContains(t, alice.expect("ack", "id", id, "room", "q"), "duplicate")
	})
}

func TestRetryOfWhatNeverCameIsPublished(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, kind func(gohub.Config) gohub.Config) {
		w := start(t, kind(gohub.Config{}))
		alice, bob := w.as("alice", "r"), w.as("bob", "r")
		ack := alice.say("r", "lost on the way", "retry", true)
		require.Equal(t, "ack", ack["type"])
		require.NotContains(t, ack, "duplicate")
		bob.expect("message", "id", ack["id"])
	})
}

// A resend long after: the broker has forgotten the id, the Store has not.
func TestRetryAsksTheStore(t *testing.T) {
	t.Parallel()
	store := gohub.NewMemoryStore(gohub.MemoryStoreOptions{})
	w := start(t, gohub.Config{Store: store})
	alice := w.as("alice", "r")
	id := alice.publish("r", "first")
	first := alice.expect("ack", "id", id)

	later := start(t, gohub.Config{Store: store}) // the process was restarted, say
	alice, bob := later.as("alice", "r"), later.as("bob")
	bob.join("r", first.num("seq"))
	alice.send(frame{"type": "publish", "id": id, "room": "r", "body": "second", "retry": true})
	require.Equal(t, first["seq"], alice.expect("ack", "id", id, "duplicate", true)["seq"])
	mallory := later.as("mallory", "r")
	mallory.send(frame{"type": "publish", "id": id, "room": "r", "body": "mine", "retry": true})
	mallory.expect("error", "id", id, "code", "id_conflict")
	last := alice.say("r", "last")
	require.Equal(t, []int64{last.num("seq")}, seqsOf(bob.collect("r", 1)))
}

func TestIDOfAnotherSender(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, kind func(gohub.Config) gohub.Config) {
		w := start(t, kind(gohub.Config{}))
		alice, mallory := w.as("alice", "r"), w.as("mallory", "r")
		ack := alice.say("r", "hers")
		for _, retry := range []bool{false, true} {
			mallory.send(frame{"type": "publish", "id": ack["id"], "room": "r", "body": "mine", "retry": retry})
			e := mallory.expect("error", "id", ack["id"])
			require.Equal(t, "id_conflict", e["code"], "retry %t", retry)
			require.NotContains(t, e, "retry_ms")
		}
		mallory.say("r", "end")
		require.Equal(t, []any{"hers", "end"}, bodiesOf(alice.collect("r", 2)))
	})
}

func TestPublishRefusals(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{MaxBody: 100})
	alice, bob := w.as("alice", "r"), w.as("bob", "r")
	id := gohub.NewID()
	for name, c := range map[string]struct {
		frame string // after "type"
		code  string
		noID  bool // the error cannot name one
	}{
		"body too large":        {`"id":"` + id + `","room":"r","body":"` + strings.Repeat("x", 99) + `"`, "too_large", false},
		"no id":                 {`"room":"r","body":1`, "bad_request", true},
		"id is no UUID":         {`"id":"7","room":"r","body":1`, "bad_request", false},
		"id without dashes":     {`"id":"` + strings.ReplaceAll(id, "-", "") + `","room":"r","body":1`, "bad_request", false},
		"id is a number":        {`"id":7,"room":"r","body":1`, "bad_request", true},
		"kind in capitals":      {`"id":"` + id + `","room":"r","body":1,"kind":"Chat"`, "bad_request", false},
		"kind empty":            {`"id":"` + id + `","room":"r","body":1,"kind":""`, "bad_request", false},
		"kind of 33":            {`"id":"` + id + `","room":"r","body":1,"kind":"` + strings.Repeat("k", 33) + `"`, "bad_request", false},
		"no body":               {`"id":"` + id + `","room":"r"`, "bad_request", false},
		"no room and no to":     {`"id":"` + id + `","body":1`, "bad_request", false},
		"empty room":            {`"id":"` + id + `","room":"","body":1`, "bad_room", false},
		"bad room":              {`"id":"` + id + `","room":"a b","body":1`, "bad_room", false},
		"unsorted direct room":  {`"id":"` + id + `","room":"@bob,alice","body":1`, "bad_room", false},
		"to is no user id":      {`"id":"` + id + `","room":"r","body":1,"to":"a@b"`, "bad_request", false},
		"to is empty":           {`"id":"` + id + `","room":"r","body":1,"to":""`, "bad_request", false},
		"to of 64":              {`"id":"` + id + `","room":"r","body":1,"to":"` + strings.Repeat("u", 64) + `"`, "bad_request", false},
		"room not joined":       {`"id":"` + id + `","room":"q","body":1`, "not_joined", false},
		"direct room of others": {`"id":"` + id + `","room":"@bob,carol","body":1`, "not_joined", false},
		"direct room, unjoined": {`"id":"` + id + `","room":"@alice,bob","body":1`, "not_joined", false},
	} {
		t.Run(name, func(t *testing.T) {
			alice.text(`{"type":"publish",` + c.frame + `}`)
			e := alice.until("an error", func(f frame) bool { return f["type"] == "error" })
			require.Equal(t, c.code, e["code"], "%v", e)
			require.Equal(t, !c.noID, e["id"] != nil, "%v", e)
			require.NotContains(t, e, "retry_ms", "trying again does not help")
		})
	}
	// None of them was seen, and at the limits it works.
	alice.text(`{"type":"publish","id":"` + strings.ToUpper(id) + `","room":"r","body":"` + strings.Repeat("x", 98) +
		`","kind":"` + strings.Repeat("k", 32) + `","to":"` + strings.Repeat("u", 63) + `"}`)
	alice.expect("ack", "id", strings.ToUpper(id))
	last := alice.say("r", nil)
	require.Equal(t, "ack", last["type"], "null is a body")
	require.Equal(t, []int64{last.num("seq")}, seqsOf(bob.collect("r", 1)))
	bob.sync()
	require.Empty(t, bob.messages("r"))
}

func TestClientsCannotForgeFields(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	mallory, bob := w.as("mallory", "r"), w.as("bob", "r")
	ack := mallory.say("r", "hi", "sender", "alice", "seq", 5, "tenant", "other", "user", "alice",
		"device", "d", "session", "s", "binary", true)
	m := bob.expect("message", "id", ack["id"])
	require.Equal(t, frame{
		"type": "message", "id": ack["id"], "room": "r", "seq": ack["seq"], "sender": "mallory",
		"kind": "chat", "body": "hi",
	}, m)
	require.Greater(t, m.num("seq"), int64(5))
}

func TestBodiesAreCarriedAsTheyAre(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	alice, bob := w.as("alice", "r"), w.bare("user=bob")
	bob.text(`{"type":"join","room":"r"}`)
	for _, body := range []string{
		`null`, `true`, `-0.0e+10`, `12345678901234567890123`, `""`, `"\u0000\ud800 é \/"`,
		`{ "a" : [ 1 , { } ] ,"a":2}`, `[]`, `"</script>"`,
	} {
		alice.text(`{"type":"publish","room":"r","id":"` + gohub.NewID() + `","body":` + body + `}`)
		for {
			_, p, err := bob.read()
			require.NoError(t, err)
			if strings.HasPrefix(string(p), `{"type":"message"`) {
				require.Contains(t, string(p), `"body":`+body+`}`)
				break
			}
		}
	}
}

// sendBinary sends a binary frame.
func (u *user) sendBinary(header frame, body []byte) {
	u.t.Helper()
	h, err := json.Marshal(header)
	require.NoError(u.t, err)
	p := binary.BigEndian.AppendUint16([]byte{1}, uint16(len(h)))
	require.NoError(u.t, u.ws.Write(context.Background(), websocket.MessageBinary, append(append(p, h...), body...)))
}

func TestBinaryBothWays(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, kind func(gohub.Config) gohub.Config) {
		w := start(t, kind(gohub.Config{}))
		alice, bob := w.as("alice", "r"), w.as("bob", "r")
		bodies := []string{"", "\x00\xff\xfe not UTF-8", `{"type":"message"}`, strings.Repeat("\x80", 3000)}
		var ids []string
		for _, body := range bodies {
			id := gohub.NewID()
			ids = append(ids, id)
			alice.sendBinary(frame{"type": "publish", "id": id, "room": "r", "kind": "image", "sender": "eve"}, []byte(body))
			ack := alice.expect("ack", "id", id)
			for _, u := range []*user{alice, bob} {
				require.Equal(t, frame{
					"type": "message", "id": id, "room": "r", "seq": ack["seq"], "sender": "alice",
					"kind": "image", "binary": body,
				}, u.expect("message", "id", id))
			}
		}
		for name, u := range map[string]*user{"the last 20": w.as("late", "r"), "since": w.as("later")} {
			if name == "since" {
				u.join("r", 0)
			}
			for i, m := range u.collect("r", len(bodies)) {
				require.Equal(t, ids[i], m["id"], "replayed, %s", name)
				require.Equal(t, bodies[i], m["binary"], "replayed as a binary frame, %s", name)
			}
		}
		// A private one, and too large a one.
		id := gohub.NewID()
		alice.sendBinary(frame{"type": "publish", "id": id, "room": "r", "to": "bob"}, []byte("psst"))
		require.Equal(t, "psst", bob.expect("message", "id", id)["binary"])
		alice.sendBinary(frame{"type": "publish", "id": id, "room": "r"}, make([]byte, 65_000))
		alice.expect("error", "id", id, "code", "too_large")
		// From the program.
		w.post(gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "bot", Binary: true, Body: []byte{7}})
		require.Equal(t, "\x07", bob.expect("message", "sender", "bot")["binary"])
	})
}

// Rule 5: private stays private: live, replayed, paged, counted and previewed.
func TestPrivateStaysPrivate(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, kind func(gohub.Config) gohub.Config) {
		w := start(t, kind(gohub.Config{}))
		alice, bob, carol := w.as("alice", "r"), w.as("bob", "r"), w.as("carol", "r")
		alice2, bob2 := w.as("alice", "r"), w.as("bob", "r")
		public := alice.say("r", "public").num("seq")
		secret := alice.say("r", "secret", "to", "bob").num("seq")
		note := alice.say("r", "note", "to", "alice").num("seq")
		last := bob.say("r", "last").num("seq")
		seen := map[string][]int64{
			"alice": {public, secret, note, last}, "bob": {public, secret, last},
			"carol": {public, last}, "dave": {public, last},
		}
		for _, u := range []*user{alice, alice2, bob, bob2, carol} {
			name := strings.TrimPrefix(u.name, "user=")
			require.Equal(t, seen[name], seqsOf(u.collect("r", len(seen[name]))), "live, %s", name)
		}
		trailing := alice.say("r", "trailing secret", "to", "bob").num("seq")
		seen["alice"], seen["bob"] = append(seen["alice"], trailing), append(seen["bob"], trailing)
		require.Equal(t, "bob", bob.expect("message", "seq", trailing)["to"])

		for name, want := range seen {
			head := want[len(want)-1]
			u := w.as(name)
			for _, since := range [][]int64{nil, {0}, {public - 1}} {
				require.Equal(t, head, u.join("r", since...).num("head"), "%s since %v", name, since)
				require.Equal(t, want, seqsOf(u.collect("r", len(want))), "replayed to %s since %v", name, since)
			}
			for _, q := range []frame{{}, {"before": trailing + 1}, {"after": 0}, {"limit": len(want)}} {
				q["type"], q["room"] = "history", "r"
				page := u.ask(q, "history")
				require.Equal(t, want, seqsOf(messagesIn(page)), "paged by %s with %v", name, q)
				require.Equal(t, false, page["more"], "paged by %s with %v", name, q)
			}
			page := u.ask(frame{"type": "history", "room": "r", "after": public - 1, "before": nil, "limit": 1}, "history")
			require.Equal(t, true, page["more"])
		}
		dave := w.as("dave", "r")
		for u, unread := range map[*user]int{alice: 1, bob: 3, carol: 2, dave: 2} {
			name := strings.TrimPrefix(u.name, "user=")
			r := roomIn(t, u.ask(frame{"type": "rooms"}, "rooms"), "r")
			require.EqualValues(t, unread, r["unread"], name)
			require.Equal(t, seen[name][len(seen[name])-1], r.num("head"), name)
		}
		// Once she has read all she can see, nothing is left to count.
		carol.send(frame{"type": "receipt", "room": "r", "seen": last})
		r := roomIn(t, carol.ask(frame{"type": "rooms"}, "rooms"), "r")
		require.Zero(t, r.num("unread"))
		require.Equal(t, last, r.num("seen"))

		carol.sync()
		require.Empty(t, carol.messages("r"))
	})
}

func messagesIn(history frame) []frame {
	list, _ := history["messages"].([]any)
	ms := make([]frame, len(list))
	for i, m := range list {
		ms[i], _ = m.(map[string]any)
	}
	return ms
}

func roomIn(t *testing.T, rooms frame, name string) frame {
	t.Helper()
	list, ok := rooms["rooms"].([]any)
	require.True(t, ok, "%v", rooms)
	for _, r := range list {
		if r, _ := r.(map[string]any); r["room"] == name {
			return r
		}
	}
	return nil
}

func TestHubPublish(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, kind func(gohub.Config) gohub.Config) {
		w := start(t, kind(gohub.Config{}))
		room := gohub.RoomID{Name: "r"}
		body := []byte(`{"n":1}`)
		m, err := w.hub.Publish(t.Context(), gohub.Message{Room: room, Sender: "bot", Body: body, Seq: 7})
		require.NoError(t, err)
		require.Len(t, m.ID, 36)
		require.Equal(t, "chat", m.Kind)
		require.Greater(t, m.Seq, int64(7))
		copy(body, "XXXXXXX") // the caller's own again

		again, err := w.hub.Publish(t.Context(), gohub.Message{Room: room, Sender: "bot", ID: m.ID, Body: []byte("2")})
		require.NoError(t, err)
		require.Equal(t, m.Seq, again.Seq, "idempotent by id")
		_, err = w.hub.Publish(t.Context(), gohub.Message{Room: room, Sender: "other", ID: m.ID, Body: []byte("2")})
		require.ErrorIs(t, err, gohub.ErrIDConflict)

		u := w.as("alice", "r")
		got := u.expect("message")
		require.Equal(t, map[string]any{"n": 1.0}, got["body"])
		live, err := w.hub.Publish(t.Context(), gohub.Message{Room: room, Sender: "bot", To: "alice", Kind: "note", Body: []byte(`"x"`)})
		require.NoError(t, err)
		got = u.expect("message")
		require.Equal(t, []any{"note", "alice", "bot", live.ID}, []any{got["kind"], got["to"], got["sender"], got["id"]})
		require.Equal(t, live.Seq, got.num("seq"))
	})
}

func TestHubPublishValidates(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{MaxBody: 100})
	for name, c := range map[string]struct {
		change func(m *gohub.Message)
		code   gohub.Code
	}{
		"id":                {func(m *gohub.Message) { m.ID = "7" }, gohub.CodeBadRequest},
		"no sender":         {func(m *gohub.Message) { m.Sender = "" }, gohub.CodeBadRequest},
		"sender":            {func(m *gohub.Message) { m.Sender = "a,b" }, gohub.CodeBadRequest},
		"to":                {func(m *gohub.Message) { m.To = "a b" }, gohub.CodeBadRequest},
		"kind":              {func(m *gohub.Message) { m.Kind = "No" }, gohub.CodeBadRequest},
		"no body":           {func(m *gohub.Message) { m.Body = nil }, gohub.CodeBadRequest},
		"body is no JSON":   {func(m *gohub.Message) { m.Body = []byte("{") }, gohub.CodeBadRequest},
		"body is two JSONs": {func(m *gohub.Message) { m.Body = []byte("1 2") }, gohub.CodeBadRequest},
		"body is too large": {func(m *gohub.Message) { m.Body = []byte(strings.Repeat("1", 101)) }, gohub.CodeTooLarge},
		"no room":           {func(m *gohub.Message) { m.Room.Name = "" }, gohub.CodeBadRoom},
		"room":              {func(m *gohub.Message) { m.Room.Name = "a b" }, gohub.CodeBadRoom},
		"unsorted":          {func(m *gohub.Message) { m.Room.Name = "@b,a" }, gohub.CodeBadRoom},
	} {
		t.Run(name, func(t *testing.T) {
			m := gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "bot", Body: []byte("1")}
			c.change(&m)
			_, err := w.hub.Publish(t.Context(), m)
			var e *gohub.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, c.code, e.Code)
		})
	}
	require.Zero(t, w.as("alice").join("r", 0).num("head"))
	require.Equal(t, gohub.Stats{Sessions: 1, Rooms: 1}, w.hub.Stats())
}

func TestMiddleware(t *testing.T) {
	t.Parallel()
	w := start(t, gohub.Config{})
	var mu sync.Mutex
	var order []string
	passed := func() []string {
		mu.Lock()
		defer mu.Unlock()
		names := order
		order = nil
		return names
	}
	trace := func(name string) func(gohub.PublishFunc) gohub.PublishFunc {
		return func(next gohub.PublishFunc) gohub.PublishFunc {
			return func(ctx context.Context, p *gohub.Publish) error {
				mu.Lock()
				order = append(order, name)
				mu.Unlock()
				return next(ctx, p)
			}
		}
	}
	w.hub.Use(trace("first"), trace("second"))
	w.hub.Use(func(next gohub.PublishFunc) gohub.PublishFunc {
		return func(ctx context.Context, p *gohub.Publish) error {
			var body string
			if json.Unmarshal(p.Message.Body, &body) != nil {
				body = "?"
			}
			switch body {
			case "secret of the house":
				return errors.New("password is hunter2")
			case "forbid":
				return gohub.Errorf(gohub.CodeForbidden, "not here, %s", p.Client.User())
			case "wait":
				return fmt.Errorf("wrapped: %w", &gohub.Error{Code: gohub.CodeBusy, Message: "later", RetryAfter: 1500_000_000})
			case "grow":
				p.Message.Body = []byte(`"` + strings.Repeat("x", 70_000) + `"`)
			case "rewrite":
				p.Message.Body, p.Message.Kind = []byte(`"rewritten"`), "seen"
			case "whisper":
				p.Message.To = "bob"
			case "retried":
				p.Message.Body = fmt.Append(nil, p.Retry)
			}
			return next(ctx, p)
		}
	})
	alice, bob, carol := w.as("alice", "r"), w.as("bob", "r"), w.as("carol", "r")

	e := alice.say("r", "secret of the house")
	require.Equal(t, []string{"first", "second"}, passed(), "the first one used is the outermost")
	require.Equal(t, "internal", e["code"])
	require.NotContains(t, fmt.Sprint(e), "hunter2")
	e = alice.say("r", "forbid")
	require.Equal(t, []any{"forbidden", "not here, alice"}, []any{e["code"], e["message"]})
	require.NotContains(t, e, "retry_ms")
	e = alice.say("r", "wait")
	require.Equal(t, []any{"busy", "later"}, []any{e["code"], e["message"]})
	require.EqualValues(t, 1500, e["retry_ms"])
	require.Equal(t, "too_large", alice.say("r", "grow")["code"])

	rewritten := alice.say("r", "rewrite")
	whisper := alice.say("r", "whisper")
	alice.say("r", "retried", "retry", true)
	passed()
	require.Equal(t, "not_joined", alice.say("q", "x")["code"])
	require.Equal(t, "bad_request", alice.say("r", "x", "kind", "NO")["code"])
	require.Empty(t, passed(), "what is wrong anyway does not come here")

	// The program's own messages do not pass through it.
	w.post(gohub.Message{Room: gohub.RoomID{Name: "r"}, Sender: "bot", Body: []byte(`"forbid"`)})
	require.Empty(t, passed())

	ms := carol.collect("r", 3)
	require.Equal(t, []any{"rewritten", true, "forbid"}, bodiesOf(ms))
	require.Equal(t, "seen", ms[0]["kind"])
	require.Equal(t, rewritten["seq"], ms[0]["seq"])
	require.Equal(t, "bob", bob.expect("message", "seq", whisper["seq"])["to"])
}
