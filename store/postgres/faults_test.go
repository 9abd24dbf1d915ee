//go:build unix

package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/hubtest"
	"github.com/gohub/gohub/internal/pgtest"
	"github.com/gohub/gohub/store/postgres"
)

// recovery is how soon after the server's return there are acks again. The hub
// tries at least once a second, and connects; the rest is for a machine that runs
// all tests at once. What only Options.Timeout ends, 15 s, takes longer.
const recovery = 10 * time.Second

// A publisher publishes as clients do: with ids of its own, each repeated
// until it is answered for good.
type publishers struct {
	hub   *gohub.Hub
	wg    sync.WaitGroup
	stop  atomic.Bool
	acks  atomic.Int64
	mu    sync.Mutex       // guards what follows
	acked map[string]int64 // id → seq
	bad   []error
}

func (p *publishers) run(ctx context.Context, n int, rooms ...gohub.RoomID) {
	for i := range n {
		p.wg.Go(func() {
			for !p.stop.Load() {
				m := gohub.Message{Room: rooms[i%len(rooms)], ID: gohub.NewID(), Sender: fmt.Sprint("writer-", i), Body: []byte(`"hi"`)}
				for {
					sent, err := p.hub.Publish(ctx, m)
					var e *gohub.Error
					if err == nil {
						p.acks.Add(1)
						p.mu.Lock()
						p.acked[m.ID] = sent.Seq
						p.mu.Unlock()
						break
					}
					if forGood := errors.As(err, &e) && e.RetryAfter == 0 && !errors.Is(err, gohub.ErrUnavailable); forGood {
						p.mu.Lock()
						p.bad = append(p.bad, err)
						p.mu.Unlock()
						break
					}
					select { // as a client that was told to come back
					case <-ctx.Done():
						return
					case <-time.After(20 * time.Millisecond):
					}
				}
			}
		})
	}
}

// Whatever happens to the server: members see messages meanwhile, what was
// acked is stored, what was not acked is stored once when it is, the queue is
// bounded, and all goes on by itself.
func TestServerFails(t *testing.T) {
	must := func(t *testing.T, err error) {
		t.Helper()
		require.NoError(t, err)
	}
	for _, c := range []struct {
		name       string
		fail, heal func(t *testing.T, s *pgtest.Server, admin *pgx.Conn)
		slow       time.Duration // how long it stays so
		o          postgres.Options
	}{
		{
			name: "killed",
			fail: func(t *testing.T, s *pgtest.Server, _ *pgx.Conn) { t.Helper(); must(t, s.Kill9()) },
			heal: func(t *testing.T, s *pgtest.Server, _ *pgx.Conn) { t.Helper(); must(t, s.Start()) },
			slow: 2500 * time.Millisecond, // the hub has come to its longest pauses
		},
		{
			name: "stopped at once",
			fail: func(t *testing.T, s *pgtest.Server, _ *pgx.Conn) { t.Helper(); must(t, s.Stop(true)) },
			heal: func(t *testing.T, s *pgtest.Server, _ *pgx.Conn) { t.Helper(); must(t, s.Start()) },
			slow: time.Second,
		},
		{
			name: "restarted",
			fail: func(t *testing.T, s *pgtest.Server, _ *pgx.Conn) { t.Helper(); must(t, s.Stop(false)) },
			heal: func(t *testing.T, s *pgtest.Server, _ *pgx.Conn) { t.Helper(); must(t, s.Start()) },
		},
		{
			name: "frozen",
			fail: func(t *testing.T, s *pgtest.Server, _ *pgx.Conn) { t.Helper(); must(t, s.Freeze()) },
			heal: func(t *testing.T, s *pgtest.Server, _ *pgx.Conn) { t.Helper(); must(t, s.Thaw()) },
			slow: 5 * time.Second,
		},
		{
			name: "out of connections",
			fail: func(t *testing.T, s *pgtest.Server, _ *pgx.Conn) {
				t.Helper()
				s.SQL(t, "alter role app connection limit 0; select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = 'app'")
			},
			heal: func(t *testing.T, s *pgtest.Server, _ *pgx.Conn) {
				t.Helper()
				s.SQL(t, "alter role app connection limit -1")
			},
			slow: time.Second,
		},
		{
			name: "statements time out",
			fail: func(t *testing.T, s *pgtest.Server, admin *pgx.Conn) {
				t.Helper()
				s.SQL(t, "alter role app set statement_timeout = 100; select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = 'app'")
				_, err := admin.Exec(t.Context(), "begin; lock table gohub.messages in access exclusive mode")
				must(t, err)
			},
			heal: func(t *testing.T, s *pgtest.Server, admin *pgx.Conn) {
				t.Helper()
				s.SQL(t, "alter role app reset statement_timeout") // of new connections, such as those that read in the end
				_, err := admin.Exec(t.Context(), "rollback")
				must(t, err)
			},
			slow: time.Second,
		},
		{
			name: "disk full",
			fail: func(t *testing.T, _ *pgtest.Server, admin *pgx.Conn) {
				t.Helper()
				_, err := admin.Exec(t.Context(), `create or replace function disk_is_full() returns trigger language plpgsql as $$
begin
	raise exception 'could not extend file: No space left on device' using errcode = 'disk_full';
end $$;
create trigger disk_is_full before insert on gohub.messages for each statement execute function disk_is_full()`)
				must(t, err)
			},
			heal: func(t *testing.T, _ *pgtest.Server, admin *pgx.Conn) {
				t.Helper()
				_, err := admin.Exec(t.Context(), "drop trigger disk_is_full on gohub.messages")
				must(t, err)
			},
			slow: time.Second,
		},
		{
			// Statements are given up and repeated, and go on when it thaws.
			name: "frozen for longer than it is waited for",
			fail: func(t *testing.T, s *pgtest.Server, _ *pgx.Conn) { t.Helper(); must(t, s.Freeze()) },
			heal: func(t *testing.T, s *pgtest.Server, _ *pgx.Conn) { t.Helper(); must(t, s.Thaw()) },
			slow: 4 * time.Second,
			o:    postgres.Options{Timeout: 2 * time.Second}, // more than joins take before, and History in the end
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := pgtest.New(t)
			server.SQL(t, "create role app login superuser")
			admin, err := pgx.Connect(t.Context(), server.URL("postgres"))
			require.NoError(t, err)
			t.Cleanup(func() { _ = admin.Close(context.Background()) })
			pool := connect(t, strings.Replace(server.URL("postgres"), "postgres@", "app@", 1))
			store := open(t, pool, c.o)
			const most, mostBytes = 64, 16 << 10
			hub := hubtest.New(t, gohub.Config{
				Store: store, MaxPending: most, MaxPendingBytes: mostBytes, MaxBody: 1024, Logger: slog.New(slog.DiscardHandler),
			})
			hub.Patience = patience
			rooms := []gohub.RoomID{{Name: "a"}, {Name: "b"}, {Name: "c"}}
			alice := hub.Dial("alice")
			for _, r := range rooms {
				alice.Join(r.Name)
			}
			bob := hub.Dial("bob")
			bob.Join("a")

			ctx, cancel := context.WithCancel(context.Background())
			p := &publishers{hub: hub.Hub, acked: make(map[string]int64)}
			t.Cleanup(func() { cancel(); p.wg.Wait() })
			p.run(ctx, 48, rooms[1:]...)
			acked := func(n int64) {
				t.Helper()
				want := p.acks.Load() + n
				require.Eventually(t, func() bool { return p.acks.Load() >= want }, patience, time.Millisecond)
			}
			acked(200)

			c.fail(t, server, admin)
			down := time.Now()
			live := alice.Publish("a", "while it is down") // its ack comes when the server is back
			alice.Expect("message", "id", live)
			flood := make([]string, 100) // more than may wait
			for i := range flood {
				flood[i] = bob.Publish("a", strings.Repeat("x", i%1000))
			}
			busy := bob.ExpectError(gohub.CodeBusy)
			require.GreaterOrEqual(t, busy.RetryMS, int64(100))
			require.LessOrEqual(t, busy.RetryMS, int64(5000))
			for time.Since(down) < c.slow {
				waiting := hub.Hub.Stats()
				require.LessOrEqual(t, int(waiting.Uncommitted), most)
				require.LessOrEqual(t, int(waiting.UncommittedBytes), mostBytes)
				time.Sleep(10 * time.Millisecond) // sampling
			}
			c.heal(t, server, admin)
			back := time.Now()
			acked(1)
			t.Logf("acks again %v after its return", time.Since(back).Round(time.Millisecond))
			require.Less(t, time.Since(back), recovery)
			alice.ExpectAck(live)
			t.Logf("the message of the meantime is acked %v after its return", time.Since(back).Round(time.Millisecond))
			require.Less(t, time.Since(back), recovery)
			acked(200)
			p.stop.Store(true)
			p.wg.Wait()
			pool.Reset() // a connection that nobody has used since may be dead, or have a time limit

			require.Empty(t, p.bad)
			p.acked[live] = 0
			stored := make(map[string]int64)
			for _, r := range rooms {
				ms, more, err := store.History(t.Context(), gohub.Query{Room: r, Limit: 1_000_000})
				require.NoError(t, err)
				require.False(t, more)
				var order []string
				for _, m := range ms {
					require.NotContains(t, stored, m.ID)
					stored[m.ID] = m.Seq
					order = append(order, m.ID)
				}
				var seen []string
				for _, f := range alice.Messages(r.Name) {
					seen = append(seen, f.ID)
				}
				require.Equal(t, order, seen, "members saw what is stored, in its order")
			}
			refused := 0
			for _, id := range flood {
				if _, found := stored[id]; found {
					bob.ExpectAck(id)
					p.acked[id] = 0
				} else if refused++; refused > 1 { // the first has been taken
					bob.Expect("error", "id", id, "code", "busy")
				}
			}
			require.Positive(t, refused)
			require.Len(t, stored, len(p.acked))
			for id, seq := range p.acked {
				require.Contains(t, stored, id, "acked and not stored")
				if seq != 0 {
					require.Equal(t, seq, stored[id])
				}
			}
		})
	}
}

// However much is published while the server is away, what the process holds
// is what fits into the queue: all else is refused, with a time to come back.
func TestMemoryWhileServerIsAway(t *testing.T) { // alone: it looks at the heap
	const most, body, rooms, flooders, each = 8 << 20, 16 << 10, 16, 16, 300
	server := pgtest.New(t)
	hub := hubtest.New(t, gohub.Config{
		Store: open(t, connect(t, server.URL("postgres")), postgres.Options{}), MaxPendingBytes: most, Logger: slog.New(slog.DiscardHandler),
	})
	alice := hub.Dial("alice") // somebody is in the rooms, and is shown nothing
	for i := range rooms {
		alice.Join(fmt.Sprint("r", i))
	}
	publish := func(ctx context.Context, i int) error {
		_, err := hub.Publish(ctx, gohub.Message{
			Room: gohub.RoomID{Name: fmt.Sprint("r", i%rooms)}, Sender: "bot", To: "bob", Body: []byte(`"` + strings.Repeat("x", body) + `"`),
		})
		return err
	}
	busy := func(err error) bool {
		var e *gohub.Error
		return errors.As(err, &e) && e.Code == gohub.CodeBusy && e.RetryAfter >= 100*time.Millisecond
	}
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}

	require.NoError(t, server.Kill9())
	before := heap()
	var queued, flood sync.WaitGroup
	for i := range most / body {
		queued.Go(func() {
			if err := publish(t.Context(), i); err != nil && !busy(err) {
				t.Errorf("neither stored nor busy: %v", err)
			}
		})
	}
	require.Eventually(t, func() bool { return hub.Hub.Stats().UncommittedBytes > most-2*body }, patience, time.Millisecond)
	full := heap()
	soon, cancel := context.WithTimeout(t.Context(), 2*patience) // busy is told at once
	defer cancel()
	for range flooders {
		flood.Go(func() {
			for i := range each {
				if err := publish(soon, i); !busy(err) {
					t.Errorf("not busy: %v", err)
				}
			}
		})
	}
	flood.Wait()
	require.LessOrEqual(t, hub.Hub.Stats().UncommittedBytes, int64(most))
	after := heap()
	t.Logf("%d MiB wait: the heap has %+d KiB; %d MiB were refused: %+d KiB", most>>20, (full-before)>>10, flooders*each*body>>20, (after-full)>>10)
	require.Less(t, full-before, int64(4*most), "in the queue, for joins, and on its way to the server")
	require.Less(t, after-full, int64(most))

	require.NoError(t, server.Start())
	queued.Wait()
	var err error
	require.Eventually(t, func() bool { // a place is free a moment after its ack
		err = publish(t.Context(), 0)
		return !busy(err)
	}, patience, time.Millisecond)
	require.NoError(t, err)
}

// A cutter is a proxy in front of the server. A connection that carries its
// word to the server is cut when the server has answered, before the answer
// reaches anybody: the statement has committed, and its client cannot know.
type cutter struct {
	word []byte
	cuts atomic.Int64
	most int64
}

func (c *cutter) serve(t *testing.T, to string) (addr string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { c.carry(ctx, client, to) })
		}
	})
	return l.Addr().String()
}

func (c *cutter) carry(ctx context.Context, client net.Conn, to string) {
	server, err := (&net.Dialer{}).DialContext(ctx, "tcp", to)
	if err != nil {
		_ = client.Close()
		return
	}
	end := func() { _ = client.Close(); _ = server.Close() }
	defer end()
	defer context.AfterFunc(ctx, end)()
	var armed atomic.Bool
	copyTo := func(dst, src net.Conn, look func([]byte) bool) {
		defer end()
		buf := make([]byte, 64<<10)
		for {
			n, err := src.Read(buf)
			if err != nil || !look(buf[:n]) {
				return
			}
			if _, err := dst.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		copyTo(server, client, func(b []byte) bool {
			if bytes.Contains(b, c.word) && c.cuts.Add(1) <= c.most {
				armed.Store(true)
			}
			return true
		})
	})
	copyTo(client, server, func([]byte) bool { return !armed.Load() })
	wg.Wait()
}

func TestAnswerLost(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	cut := &cutter{word: []byte("cut me"), most: 3}
	cfg, err := pgxpool.ParseConfig(server.Database(t))
	require.NoError(t, err)
	host, port, err := net.SplitHostPort(cut.serve(t, server.Addr()))
	require.NoError(t, err)
	cfg.ConnConfig.Host = host
	_, err = fmt.Sscan(port, &cfg.ConnConfig.Port)
	require.NoError(t, err)
	cfg.MaxConns = 1 // so that its statements are prepared
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	defer pool.Close()
	s := open(t, pool, postgres.Options{})
	room := gohub.RoomID{Name: "r"}
	hub := newHub(t, s, nil)
	_, err = hub.Publish(t.Context(), gohub.Message{Room: room, Sender: "alice", Body: []byte(`"first"`)})
	require.NoError(t, err)
	m, err := hub.Publish(t.Context(), gohub.Message{Room: room, Sender: "alice", Body: []byte(`"cut me"`)})
	require.NoError(t, err)
	require.Greater(t, cut.cuts.Load(), cut.most, "it was cut")
	require.Equal(t, []string{`"first"`, `"cut me"`}, bodies(t, s, room))
	stored, found, err := s.Lookup(t.Context(), room, m.ID)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, m.Seq, stored.Seq, "the ack says what is stored")

	// The whole batch is known when it is repeated, with what it got first.
	cut.cuts.Store(0)
	cut.most = 1
	var batch []gohub.Message
	for i := range 50 {
		batch = append(batch, gohub.Message{Room: room, ID: gohub.NewID(), Seq: m.Seq + int64(i) + 1, Sender: "alice", Kind: "chat", Body: []byte(`"cut me"`)})
	}
	require.NoError(t, pgx.BeginFunc(t.Context(), pool, func(pgx.Tx) error { return nil })) // the connection lives
	_, err = s.Append(t.Context(), batch[:1])
	require.Error(t, err)
	out, err := s.Append(t.Context(), batch)
	require.NoError(t, err)
	for i, o := range out {
		require.Equal(t, gohub.Ordered{Seq: batch[i].Seq, Duplicate: i == 0}, o)
	}
}
