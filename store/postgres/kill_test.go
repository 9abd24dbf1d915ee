//go:build unix

package postgres_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/internal/killtest"
	"github.com/gohub/gohub/internal/pgtest"
	"github.com/gohub/gohub/store/postgres"
)

func openURL(url string) (gohub.Store, func() error, error) {
	pool, err := pgxpool.New(context.Background(), url)
	if err != nil {
		return nil, nil, err
	}
	s, err := postgres.New(context.Background(), pool, postgres.Options{})
	if err != nil {
		pool.Close()
		return nil, nil, err
	}
	return s, func() error { pool.Close(); return nil }, nil
}

// A hub is killed 50 times in the middle of its work.
func TestKill9(t *testing.T) {
	t.Parallel()
	killtest.Run(t, pgtest.New(t).URL("postgres")+"&pool_max_conns=12", openURL)
}

// What a killed process was writing may be committed after its end. The next
// one begins after that, so that it knows the message, and nothing comes up
// below what its members have been shown.
func TestLastWritesOfTheDead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		o     postgres.Options
		ended bool // the write, before New gives up
	}{
		{"one table", postgres.Options{}, true},
		{"partitions", postgres.Options{Partitions: 3}, true},
		{"forever", postgres.Options{Timeout: 2 * time.Second, Logger: slog.New(slog.DiscardHandler)}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			url := pgtest.Shared(t).Database(t)
			room := gohub.RoomID{Name: "r"}
			m := gohub.Message{Room: room, ID: gohub.NewID(), Seq: 1, Sender: "alice", Kind: "chat", Body: []byte("1")}

			// The process that will die has its last message written, and not
			// committed: a transaction is before it.
			cfg, err := pgxpool.ParseConfig(url)
			require.NoError(t, err)
			var mu sync.Mutex
			var conns []net.Conn
			died := false
			cfg.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
				mu.Lock()
				defer mu.Unlock()
				if died {
					return nil, net.ErrClosed // nor does it cancel what it has begun
				}
				conn, err := new(net.Dialer).DialContext(ctx, network, addr)
				conns = append(conns, conn)
				return conn, err
			}
			pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
			require.NoError(t, err)
			defer pool.Close()
			old := open(t, pool, postgres.Options{Partitions: c.o.Partitions})
			before, err := connect(t, url).Begin(t.Context())
			require.NoError(t, err)
			defer func() { _ = before.Rollback(context.Background()) }()
			_, err = before.Exec(t.Context(), fmt.Sprintf(`insert into gohub.messages (tenant, room, id, seq, sender, recipient, kind, body, is_binary)
				values ('', 'r', '%s', 7, 'other', '', 'chat', '', false)`, m.ID))
			require.NoError(t, err)
			dead := make(chan error, 1)
			go func() { _, err := old.Append(context.Background(), []gohub.Message{m}); dead <- err }() // ends with its connection
			next := connect(t, url)
			await := func(query string) {
				t.Helper()
				require.Eventually(t, func() bool {
					var there bool
					err := next.QueryRow(t.Context(), `select exists (select from pg_stat_activity
						where datname = current_database() and pid <> pg_backend_pid() and `+query+")").Scan(&there)
					require.NoError(t, err)
					return there
				}, patience, time.Millisecond)
			}
			await("wait_event_type = 'Lock'")
			mu.Lock()
			died = true
			for _, conn := range conns {
				_ = conn.Close() // as the kernel does for the dead
			}
			mu.Unlock()
			require.Error(t, <-dead)

			found := make(chan bool, 1)
			go func() { // ends with New's patience
				defer close(found)
				s, err := postgres.New(context.Background(), next, c.o)
				if err != nil {
					t.Error(err)
					return
				}
				got, ok, err := s.Lookup(context.Background(), room, m.ID)
				if err != nil || ok && got.Seq != m.Seq {
					t.Error(got, err)
				}
				found <- ok
			}()
			if c.ended {
				await("query like '%pg_locks%' and query not like '%pg_stat_activity%'")
				require.NoError(t, before.Rollback(t.Context()))
			}
			require.Equal(t, c.ended, <-found)
		})
	}
}
