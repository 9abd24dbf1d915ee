package gohub_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// Readers whose connections are cut again and again, in all the ways there
// are, while somebody publishes as fast as the hub takes it. Each of them must
// end up with every message it may see, once and in order. Where more was
// missed than a join replays, "truncated" must say so, and history has it.
func TestResumeGetsEachMessageOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		replay, body int
		plain, lossy bool
	}{
		"small messages":          {replay: 500, body: 40},
		"large messages":          {replay: 500, body: 6000},
		"short replay":            {replay: 7, body: 40},
		"small messages, plain":   {replay: 500, body: 40, plain: true},
		"large messages, plain":   {replay: 500, body: 6000, plain: true},
		"one by one, plain":       {replay: 1, body: 40, plain: true},
		"frames lost on the way":  {replay: 500, body: 40, plain: true, lossy: true},
		"and with a short replay": {replay: 7, body: 40, plain: true, lossy: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := gohub.Config{
				ReplayLimit:  c.replay,
				CloseTimeout: time.Minute, // a reader that was too slow shall find out why
				Store:        gohub.NewMemoryStore(gohub.MemoryStoreOptions{PerRoom: -1, Bytes: -1}),
			}
			if c.plain {
				cfg = plain(cfg)
			}
			var lossy *droppingBroker
			if c.lossy {
				lossy = newDroppingBroker(cfg.Broker, 1, 20)
				cfg.Broker = lossy
			}
			w := start(t, cfg)
			ctx, cancel := context.WithTimeout(t.Context(), 6*patience)
			defer cancel()

			var readers []*reader
			var busy atomic.Int32 // readers that have not been cut often enough
			var wg sync.WaitGroup
			for i, user := range []string{"ann", "ann", "ben", "cat"} {
				r := &reader{w: w, user: user, rng: rand.New(rand.NewPCG(1, uint64(i))), enough: 8, busy: &busy}
				readers = append(readers, r)
				busy.Add(1)
				wg.Go(func() { r.err = r.run(ctx) })
			}
			sent := flood(ctx, t, w, &busy, c.body)
			if lossy != nil { // as a broker does that knows what may be lost
				lossy.to().Suspect()
			}
			wg.Wait()
			for i, r := range readers {
				require.NoError(t, r.err, "reader %d, %s", i, r.user)
				var want []int
				for n, to := range sent {
					if to == "" || to == r.user {
						want = append(want, n)
					}
				}
				require.Equal(t, want, r.got, "reader %d, %s", i, r.user)
				require.GreaterOrEqual(t, r.cuts, r.enough, "reader %d, %s", i, r.user)
			}
		})
	}
}

// flood publishes until nobody is busy any more, messages numbered from 0 and
// slowly when there are many, and returns whom each was for: nobody in particular,
// or one of the readers.
func flood(ctx context.Context, t *testing.T, w *world, busy *atomic.Int32, body int) (sent []string) {
	t.Helper()
	const (
		window = 64 // unacked at a time
		least  = 500
		many   = 10_000
	)
	rng := rand.New(rand.NewPCG(2, 2))
	ws, _, err := w.handshake("user=pub")
	require.NoError(t, err)
	defer func() { _ = ws.CloseNow() }()
	ws.SetReadLimit(-1)
	require.NoError(t, ws.Write(ctx, websocket.MessageText, []byte(`{"type":"join","room":"r","ref":0}`)))
	var own []int // the publisher's copies: it sees them all
	var last int64
	acked := 0
	read := func() {
		_, p, err := ws.Read(ctx)
		require.NoError(t, err)
		var f frame
		require.NoError(t, json.Unmarshal(p, &f))
		switch f["type"] {
		case "error":
			require.FailNow(t, "error", "%v", f)
		case "ack":
			acked++
		case "message":
			require.Greater(t, f.num("seq"), last)
			last = f.num("seq")
			own = append(own, numberOf(f))
		}
	}
	publish := func(to string) {
		pad := strings.Repeat("x", rng.IntN(body))
		f := fmt.Sprintf(`{"type":"publish","id":%q,"room":"r","body":"%d %s"`, gohub.NewID(), len(sent), pad)
		if to != "" {
			f += `,"to":"` + to + `"`
		}
		require.NoError(t, ws.Write(ctx, websocket.MessageText, []byte(f+"}")))
		sent = append(sent, to)
	}
	for len(sent) < least || busy.Load() > 0 {
		if len(sent) >= many { // a reader that was stopped is to be cut all the same
			time.Sleep(time.Millisecond)
		}
		publish([]string{"", "", "", "", "ann", "ben", "cat", "nobody"}[rng.IntN(8)])
		for len(sent)-acked >= window {
			read()
		}
	}
	publish("")
	for acked < len(sent) {
		read()
	}
	f := `{"type":"publish","id":"` + gohub.NewID() + `","room":"r","kind":"end","body":null}`
	require.NoError(t, ws.Write(ctx, websocket.MessageText, []byte(f)))
	for acked == len(sent) {
		read()
	}
	for i, n := range own {
		if i < len(sent) {
			require.Equal(t, i, n, "a client's messages are ordered as it sent them")
		}
	}
	return sent
}

func numberOf(f frame) int {
	s, _, _ := strings.Cut(f.str("body"), " ")
	n, err := strconv.Atoi(s)
	if err != nil {
		return -1
	}
	return n
}

// A reader keeps what it got of a room through any number of connections, as
// a client should: it knows the last seq, and no more.
type reader struct {
	w      *world
	user   string
	rng    *rand.Rand
	enough int // cuts, after which it is not busy any more
	busy   *atomic.Int32

	ws   *websocket.Conn
	ref  int
	last int64
	got  []int
	cuts int
	done bool
	err  error
}

var errCut = errors.New("cut")

func (r *reader) run(ctx context.Context) error {
	defer func() {
		if r.cuts < r.enough {
			r.busy.Add(-1)
		}
	}()
	for !r.done {
		err := r.connect(ctx)
		if err != nil && !errors.Is(err, errCut) {
			return fmt.Errorf("after %d messages and %d cuts: %w", len(r.got), r.cuts, err)
		}
		r.cut()
	}
	return nil
}

func (r *reader) cut() {
	if r.cuts++; r.cuts == r.enough {
		r.busy.Add(-1)
	}
}

// connect lives through one connection.
func (r *reader) connect(ctx context.Context) (err error) {
	r.ws, _, err = r.w.handshake("user=" + r.user)
	if err != nil {
		return err
	}
	defer func() { _ = r.ws.CloseNow() }()
	r.ws.SetReadLimit(-1)
	for {
		if err := r.join(ctx); err != nil {
			return err
		}
		for n := r.rng.IntN(150); n > 0 && !r.done; n-- {
			f, err := r.next(ctx)
			if err != nil {
				return err
			}
			if f["type"] == "message" {
				if err := r.keep(f); err != nil {
					return err
				}
			}
		}
		if r.done {
			return nil
		}
		switch r.rng.IntN(4) {
		case 0: // join again, on top of the membership
		case 1:
			if err := r.leave(ctx); err != nil {
				return err
			}
		case 2: // in the middle of a message, as far as TCP is concerned
			return errCut
		case 3: // a goodbye, with the frames on their way thrown away
			_ = r.ws.Close(websocket.StatusNormalClosure, "")
			return errCut
		}
		r.cut()
	}
}

// next reads a frame. The hub may cut off a reader that is too slow: it
// resumes then like after any other cut.
func (r *reader) next(ctx context.Context) (frame, error) {
	_, p, err := r.ws.Read(ctx)
	if websocket.CloseStatus(err) == gohub.CloseSlowConsumer {
		return nil, errCut
	}
	if err != nil {
		return nil, err
	}
	var f frame
	if err := json.Unmarshal(p, &f); err != nil {
		return nil, err
	}
	if f["type"] == "error" {
		return nil, fmt.Errorf("error: %v", f)
	}
	return f, nil
}

func (r *reader) command(ctx context.Context, format string, args ...any) (ref int, err error) {
	r.ref++
	err = r.ws.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `{"ref":%d,`+format+`}`, append([]any{r.ref}, args...)...))
	if err != nil {
		return 0, errCut
	}
	return r.ref, nil
}

// keep takes a message.
func (r *reader) keep(f frame) error {
	seq := f.num("seq")
	if seq <= r.last {
		return fmt.Errorf("message %d (%.20s) after %d", seq, f["body"], r.last)
	}
	r.last = seq
	if f["kind"] == "end" {
		r.done = true
		return nil
	}
	r.got = append(r.got, numberOf(f))
	return nil
}

// join joins since the last seq, and fetches what a truncated replay lacks.
func (r *reader) join(ctx context.Context) error {
	ref, err := r.command(ctx, `"type":"join","room":"r","since":%d`, r.last)
	if err != nil {
		return err
	}
	var joined frame
	for joined == nil { // messages before it are of the membership before
		f, err := r.next(ctx)
		if err != nil {
			return err
		}
		if f["type"] == "joined" && f.num("ref") == int64(ref) {
			joined = f
		}
	}
	if joined["truncated"] != true {
		return nil
	}
	var ahead []frame // of the gap
	for more := true; more; {
		if ref, err = r.command(ctx, `"type":"history","room":"r","after":%d,"limit":200`, r.last); err != nil {
			return err
		}
		var page frame
		for page == nil {
			f, err := r.next(ctx)
			switch {
			case err != nil:
				return err
			case f["type"] == "message":
				ahead = append(ahead, f)
			case f["type"] == "history" && f.num("ref") == int64(ref):
				page = f
			}
		}
		if len(ahead) == 0 {
			return errors.New("truncated, and no replay")
		}
		for _, m := range page["messages"].([]any) {
			if m := frame(m.(map[string]any)); m.num("seq") < ahead[0].num("seq") {
				if err := r.keep(m); err != nil {
					return fmt.Errorf("history: %w", err)
				}
			} else {
				more = false
			}
		}
		more = more && page["more"] == true
	}
	for _, m := range ahead {
		if err := r.keep(m); err != nil {
			return fmt.Errorf("after history: %w", err)
		}
	}
	return nil
}

// leave leaves the room, after which nothing of it may come.
func (r *reader) leave(ctx context.Context) error {
	ref, err := r.command(ctx, `"type":"leave","room":"r"`)
	if err != nil {
		return err
	}
	for {
		f, err := r.next(ctx)
		if err != nil {
			return err
		}
		if f["type"] == "message" {
			if err := r.keep(f); err != nil {
				return err
			}
		}
		if f["type"] == "left" && f.num("ref") == int64(ref) {
			break
		}
	}
	time.Sleep(time.Duration(r.rng.IntN(20)) * time.Millisecond) // to miss something
	if ref, err = r.command(ctx, `"type":"ping"`); err != nil {
		return err
	}
	f, err := r.next(ctx)
	if err == nil && (f["type"] != "pong" || f.num("ref") != int64(ref)) {
		err = fmt.Errorf("after left: %v", f)
	}
	return err
}
