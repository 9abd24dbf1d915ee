package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

const patience = 30 * time.Second

func openHere(t *testing.T) (s *Store, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "chat.db")
	s, err := Open(path, Options{})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s, path
}

var lobby = gohub.RoomID{Tenant: "acme", Name: "lobby"}

func note(seq int64, id string) gohub.Message {
	return gohub.Message{Room: lobby, ID: id, Seq: seq, Sender: "alice", Kind: "chat", Body: []byte(`"hi"`)}
}

func (s *Store) ids(t *testing.T) (ids []string) {
	t.Helper()
	ms, _, err := s.History(t.Context(), gohub.Query{Room: lobby, Limit: 1000})
	require.NoError(t, err)
	for _, m := range ms {
		ids = append(ids, m.ID)
	}
	return ids
}

// lock takes the file's write lock as another process does.
func lock(t *testing.T, path string) (unlock func()) {
	t.Helper()
	db, err := sql.Open("sqlite", dsn(path))
	require.NoError(t, err)
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	_, err = conn.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	require.NoError(t, err)
	unlock = sync.OnceFunc(func() {
		_, err := conn.ExecContext(context.Background(), "COMMIT")
		assert.NoError(t, errors.Join(err, conn.Close(), db.Close()))
	})
	t.Cleanup(unlock)
	return unlock
}

// A store that always has something to write lets another process write,
// whether many write to it or one who waits for each write. Its transactions
// take a quarter of a second here, as on a slow disk.
func TestTurns(t *testing.T) {
	for name, writers := range map[string]int{"many": groupMost, "one": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, path := openHere(t)
			stop := make(chan struct{})
			var writes sync.WaitGroup
			defer writes.Wait()
			defer close(stop)
			for range writers {
				writes.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
							assert.NoError(t, s.w.do(context.Background(), func(context.Context) error {
								time.Sleep(turn / time.Duration(writers))
								return nil
							}))
						}
					}
				})
			}
			other, err := sql.Open("sqlite", dsn(path))
			require.NoError(t, err)
			conn, err := other.Conn(t.Context())
			require.NoError(t, err)
			defer func() { assert.NoError(t, errors.Join(conn.Close(), other.Close())) }()
			_, err = conn.ExecContext(t.Context(), lookOnce)
			require.NoError(t, err)
			// In tries and not in time, so that the machine's pace is nothing to it: the
			// lock is free for one 64th. Without rests it would be for one 5,000th.
			got := 0
			for try := 0; got < 3 && try < 1000; try++ {
				time.Sleep(2 * time.Millisecond)
				if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); busy(err) {
					continue
				}
				require.NoError(t, err)
				_, err := conn.ExecContext(t.Context(), "COMMIT")
				require.NoError(t, err)
				got++
			}
			require.Equal(t, 3, got, "turns of another process, of a thousand tries")
		})
	}
}

// Who has waited for another process's turn has a whole one, and is due for a
// rest then; who was idle for that long has rested.
func TestTurnsBegin(t *testing.T) {
	s, path := openHere(t)
	w := s.w
	write := func() { require.NoError(t, w.do(t.Context(), func(context.Context) error { return nil })) }
	state := func() (began, freed time.Time) { // the writer is not at work between two writes
		require.NoError(t, w.do(t.Context(), func(context.Context) error {
			began, freed = w.began, w.freed
			return nil
		}))
		return began, freed
	}
	write()
	first, _ := state()
	require.False(t, first.IsZero())

	unlock := lock(t, path)
	locked := time.Now()
	done := make(chan struct{})
	go func() {
		defer close(done)
		write()
	}()
	time.Sleep(rest)
	unlock()
	<-done
	began, _ := state()
	require.False(t, began.Before(locked.Add(rest)), "a turn begins with the lock")

	require.NoError(t, w.do(t.Context(), func(context.Context) error {
		was := time.Now()
		w.began, w.freed = was, was.Add(time.Hour) // the lock has just been let go of
		w.rest()
		assert.Equal(t, was, w.began, "a transaction after another goes on with its turn")
		w.began = was.Add(-turn) // long ago
		return nil
	}))
	began, freed := state()
	require.False(t, began.Before(freed.Add(rest)), "a rest came between")
}

// A store finds the short rests of one that writes all the time.
func TestFindsARest(t *testing.T) {
	s, path := openHere(t)
	other, err := sql.Open("sqlite", dsn(path))
	require.NoError(t, err)
	conn, err := other.Conn(t.Context())
	require.NoError(t, err)
	stop, has := make(chan struct{}), make(chan struct{})
	began := sync.OnceFunc(func() { close(has) })
	var holder sync.WaitGroup
	defer func() {
		close(stop)
		holder.Wait()
		assert.NoError(t, errors.Join(conn.Close(), other.Close()))
	}()
	holder.Go(func() {
		for {
			_, begin := conn.ExecContext(context.Background(), "BEGIN IMMEDIATE")
			began()
			select {
			case <-stop:
			case <-time.After(turn):
			}
			_, commit := conn.ExecContext(context.Background(), "COMMIT")
			if err := errors.Join(begin, commit); err != nil {
				t.Error(err)
			}
			select {
			case <-stop:
				return
			case <-time.After(rest):
			}
		}
	})
	<-has
	for i := range 10 {
		_, err := s.Append(t.Context(), []gohub.Message{note(int64(i+1), fmt.Sprint(i))})
		require.NoError(t, err)
	}
}

// queued waits until so many writes wait.
func (w *writer) queued(t *testing.T, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.queue) == n
	}, patience, time.Millisecond)
}

// Nothing that a test can kill tells whether a commit is on the disk.
func TestCommitsAreSynced(t *testing.T) {
	s, _ := openHere(t)
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "fullfsync": "1"} {
		var got string
		require.NoError(t, s.w.do(t.Context(), func(ctx context.Context) error {
			return s.w.conn.QueryRowContext(ctx, "PRAGMA "+pragma).Scan(&got)
		}))
		require.Equal(t, want, got, pragma)
	}
}

// Readers that are never all away do not keep the log from being emptied.
func TestLogStaysSmall(t *testing.T) {
	s, path := openHere(t)
	const limit = 1 << 19
	require.NoError(t, s.w.do(t.Context(), func(ctx context.Context) error {
		s.w.logLimit = limit
		_, err := s.w.conn.ExecContext(ctx, "PRAGMA wal_autocheckpoint = 100")
		return err
	}))
	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	defer readers.Wait()
	defer stop()
	for range 4 {
		readers.Go(func() {
			for ctx.Err() == nil {
				_, _, err := s.History(t.Context(), gohub.Query{Room: lobby, Limit: 40, Newest: true}) // short, so that a slow machine does not wait for it in vain
				assert.NoError(t, err)
			}
		})
	}
	var most int64
	for i := range 30 { // of a quarter of a megabyte
		batch := make([]gohub.Message, 16)
		for j := range batch {
			n := i*len(batch) + j
			batch[j] = note(int64(n+1), fmt.Sprint(n))
			batch[j].Body = make([]byte, 16<<10)
		}
		_, err := s.Append(t.Context(), batch)
		require.NoError(t, err)
		info, err := os.Stat(path + "-wal")
		require.NoError(t, err)
		most = max(most, info.Size())
	}
	assert.Less(t, most, int64(8*limit), "of 8 MiB that were written")
}

func TestRowError(t *testing.T) {
	s, _ := openHere(t)
	_, err := s.Append(t.Context(), []gohub.Message{note(1, "a"), note(2, "b"), note(0, "bad"), note(3, "c")})
	var row *gohub.RowError
	require.ErrorAs(t, err, &row)
	require.Equal(t, 2, row.Index)
	require.Empty(t, s.ids(t), "nothing of the batch is stored")
	out, err := s.Append(t.Context(), []gohub.Message{note(1, "a"), note(2, "b"), note(3, "c")})
	require.NoError(t, err)
	require.Equal(t, []gohub.Ordered{{Seq: 1}, {Seq: 2}, {Seq: 3}}, out)
}

// Writes that wait share a transaction, but not each other's errors.
func TestGroup(t *testing.T) {
	s, path := openHere(t)
	unlock := lock(t, path)
	const n = 12
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			batch := []gohub.Message{note(int64(10+i), fmt.Sprint("id", i)), note(int64(50+i), fmt.Sprint("second", i))}
			if i%4 == 2 {
				batch[1].Seq = -1
			}
			var out []gohub.Ordered
			out, errs[i] = s.Append(t.Context(), batch)
			if errs[i] == nil {
				assert.Equal(t, []gohub.Ordered{{Seq: batch[0].Seq}, {Seq: batch[1].Seq}}, out)
			}
		})
	}
	s.w.queued(t, n)
	unlock()
	wg.Wait()
	stored := s.ids(t)
	for i, err := range errs {
		if i%4 != 2 {
			require.NoError(t, err)
			require.Contains(t, stored, fmt.Sprint("id", i))
			require.Contains(t, stored, fmt.Sprint("second", i))
			continue
		}
		var row *gohub.RowError
		require.ErrorAs(t, err, &row)
		require.Equal(t, 1, row.Index)
		require.NotContains(t, stored, fmt.Sprint("id", i))
	}
}

// While another process writes, reads go on, and who waits may stop waiting:
// what was given up is not written later.
func TestLocked(t *testing.T) {
	s, path := openHere(t)
	_, err := s.Append(t.Context(), []gohub.Message{note(1, "before")})
	require.NoError(t, err)
	unlock := lock(t, path)

	ctx, cancel := context.WithCancel(t.Context())
	given := make(chan error, 1)
	go func() {
		_, err := s.Append(ctx, []gohub.Message{note(2, "given up")})
		given <- err
	}()
	kept := make(chan error, 1)
	go func() {
		_, err := s.Append(context.WithoutCancel(ctx), []gohub.Message{note(3, "kept")})
		kept <- err
	}()
	s.w.queued(t, 2)
	require.Equal(t, []string{"before"}, s.ids(t))
	cancel()
	require.ErrorIs(t, <-given, context.Canceled)
	unlock()
	require.NoError(t, <-kept)
	require.Equal(t, []string{"before", "kept"}, s.ids(t))
}

func TestLockedForLong(t *testing.T) {
	t.Parallel()
	s, path := openHere(t)
	unlock := lock(t, path)
	_, err := s.Append(t.Context(), []gohub.Message{note(1, "a")})
	require.ErrorContains(t, err, "append 1 messages: another process has held the file locked for 5s")
	var row *gohub.RowError
	require.NotErrorAs(t, err, &row, "it may pass")
	unlock()
	_, err = s.Append(t.Context(), []gohub.Message{note(1, "a")})
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, s.ids(t))
}

func TestFullDisk(t *testing.T) {
	s, _ := openHere(t)
	pages := func(n int) {
		require.NoError(t, s.w.do(t.Context(), func(ctx context.Context) error {
			_, err := s.w.conn.ExecContext(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", n))
			return err
		}))
	}
	pages(1) // no more than there are
	large := note(1, "large")
	large.Body = make([]byte, 1<<20)
	batch := []gohub.Message{note(2, "small"), large}
	for range 2 {
		_, err := s.Append(t.Context(), batch)
		require.ErrorContains(t, err, "append 2 messages: no space left")
		var row *gohub.RowError
		require.NotErrorAs(t, err, &row, "it may pass")
		require.Empty(t, s.ids(t))
	}
	pages(1 << 30)
	_, err := s.Append(t.Context(), batch)
	require.NoError(t, err)
	require.Equal(t, []string{"large", "small"}, s.ids(t))
}

// A write that has begun ends as its transaction does, whatever its context.
func TestCancelledTooLate(t *testing.T) {
	s, _ := openHere(t)
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	err := s.w.do(ctx, func(inside context.Context) error {
		cancel()
		ran <- inside.Err()
		_, err := s.w.append(inside, []gohub.Message{note(1, "a")})
		return err
	})
	require.NoError(t, err)
	require.NoError(t, <-ran)
	require.Equal(t, []string{"a"}, s.ids(t))
}

// Close refuses what waits, and nobody waits for ever.
func TestCloseWhileWritesWait(t *testing.T) {
	s, path := openHere(t)
	inside, release := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		first <- s.w.do(context.Background(), func(ctx context.Context) error {
			close(inside)
			<-release
			_, err := s.w.append(ctx, []gohub.Message{note(1, "under way")})
			return err
		})
	}()
	<-inside
	second := make(chan error, 1)
	go func() {
		_, err := s.Append(context.Background(), []gohub.Message{note(2, "waits")})
		second <- err
	}()
	s.w.queued(t, 1)
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	require.Eventually(t, func() bool {
		_, closed := s.w.waiting()
		return closed
	}, patience, time.Millisecond)
	close(release)
	require.NoError(t, <-closed)
	require.NoError(t, <-first)
	require.ErrorIs(t, <-second, gohub.ErrClosed)

	again, err := Open(path, Options{})
	require.NoError(t, err)
	require.Equal(t, []string{"under way"}, again.ids(t))
	require.NoError(t, again.Close())
}

// Two processes without a common order may give one Seq twice: neither
// message is lost.
func TestOneSeqTwice(t *testing.T) {
	s, _ := openHere(t)
	out, err := s.Append(t.Context(), []gohub.Message{note(5, "b"), note(5, "a"), note(4, "c")})
	require.NoError(t, err)
	require.Equal(t, []gohub.Ordered{{Seq: 5}, {Seq: 5}, {Seq: 4}}, out)
	require.Equal(t, []string{"c", "a", "b"}, s.ids(t))
}

// Messages that others sent each other in private cost a reader nothing,
// however many they are.
func TestHiddenMessagesCostNothing(t *testing.T) {
	s, _ := openHere(t)
	const hidden = 8_000
	quiet := gohub.RoomID{Tenant: lobby.Tenant, Name: "quiet"}
	batch := make([]gohub.Message, 0, hidden+4)
	for i := range hidden {
		m := note(int64(10+i), fmt.Sprint(i))
		m.To = "bob"
		batch = append(batch, m)
	}
	batch = append(batch, note(1, "first"), note(hidden+100, "last"), note(1, "first"), note(hidden+100, "last"))
	batch[hidden+2].Room, batch[hidden+3].Room = quiet, quiet
	_, err := s.Append(t.Context(), batch)
	require.NoError(t, err)
	_, err = s.Advance(t.Context(), []gohub.Watermark{
		{Room: lobby, User: "dave", Listing: gohub.ListJoin},
		{Room: quiet, User: "erin", Listing: gohub.ListJoin},
	})
	require.NoError(t, err)
	// The least of many times is the work itself, on a busy machine too.
	least := func(f func()) time.Duration {
		least := time.Hour
		for range 30 {
			start := time.Now()
			f()
			least = min(least, time.Since(start))
		}
		return least
	}
	page := func(room gohub.RoomID, newest bool) func() {
		return func() {
			ms, more, err := s.History(t.Context(), gohub.Query{Room: room, Viewer: "dave", Limit: 10, Newest: newest})
			require.NoError(t, err)
			require.Len(t, ms, 2)
			require.False(t, more)
		}
	}
	rooms := func(room gohub.RoomID, user string) func() {
		return func() {
			list, err := s.Rooms(t.Context(), lobby.Tenant, user)
			require.NoError(t, err)
			require.Equal(t, []gohub.RoomState{{Room: room, Head: hidden + 100, Unread: 2}}, list)
		}
	}
	const most = 8 // times as long; a walk over all of them takes much more
	assert.Less(t, least(page(lobby, false)), most*least(page(quiet, false)), "page forward")
	assert.Less(t, least(page(lobby, true)), most*least(page(quiet, true)), "page back")
	assert.Less(t, least(rooms(lobby, "dave")), most*least(rooms(quiet, "erin")), "rooms")
}

// Unread messages are looked for among the newest thousand that all may see, and
// the newest thousand to the user alone: own ones are stepped over no further.
func TestUnreadLooksNoFurther(t *testing.T) {
	s, _ := openHere(t)
	unread := func() int {
		list, err := s.Rooms(t.Context(), lobby.Tenant, "alice")
		require.NoError(t, err)
		require.Len(t, list, 1)
		return list[0].Unread
	}
	_, err := s.Advance(t.Context(), []gohub.Watermark{{Room: lobby, User: "alice", Listing: gohub.ListJoin}})
	require.NoError(t, err)
	for i, to := range []string{"", "alice"} {
		seq := int64(1 + i*10_000)
		batch := []gohub.Message{note(seq, fmt.Sprint("bob's", i))}
		batch[0].Sender = "bob"
		for n := range int64(10*gohub.MaxUnread - 1) {
			batch = append(batch, note(seq+1+n, fmt.Sprint(i, "-", n)))
		}
		for j := range batch {
			batch[j].To = to
		}
		_, err := s.Append(t.Context(), batch)
		require.NoError(t, err)
		require.Equal(t, 1, unread(), "to %q", to)
		one := note(seq+5000, fmt.Sprint("one too many", i))
		one.To = to
		_, err = s.Append(t.Context(), []gohub.Message{one})
		require.NoError(t, err)
		require.Zero(t, unread(), "to %q", to)
	}
}

// What Trim removes in one transaction is bounded in messages and in bytes.
func TestTrimChunks(t *testing.T) {
	tests := []struct {
		name  string
		sizes []int // of the bodies, the oldest first
		want  []int // messages in each transaction
	}{
		{"none", nil, []int{0}},
		{"few", []int{1, 2, 3}, []int{3}},
		{"many", slices.Repeat([]int{1}, trimChunk+3), []int{trimChunk, 3}},
		{"just as many as fit", slices.Repeat([]int{1}, trimChunk), []int{trimChunk, 0}},
		{"large ones", slices.Repeat([]int{trimBytes / 4}, 10), []int{4, 4, 2}},
		{"just over", []int{trimBytes/2 + 1, trimBytes / 2, 1, 1}, []int{2, 2}},
		{"each too large", []int{trimBytes + 1, trimBytes + 1, 1}, []int{1, 1, 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := openHere(t)
			var batch []gohub.Message
			for i, size := range tt.sizes {
				m := note(int64(i+1), fmt.Sprint(i))
				m.Body = make([]byte, size)
				if i%2 == 0 {
					m.To = "bob"
				}
				batch = append(batch, m)
			}
			newest := note(int64(len(batch)+1), "stays")
			_, err := s.Append(t.Context(), append(batch, newest))
			require.NoError(t, err)
			var got []int
			for more := true; more && len(got) < 10; {
				var n int64
				require.NoError(t, s.w.do(t.Context(), func(ctx context.Context) (err error) {
					n, more, err = s.w.trimOldest(ctx, lobby, newest.Seq-1)
					return err
				}))
				got = append(got, int(n))
			}
			require.Equal(t, tt.want, got)
			require.Equal(t, []string{"stays"}, s.ids(t))
		})
	}
}

func TestNilBody(t *testing.T) {
	s, _ := openHere(t)
	m := note(1, "a")
	m.Binary, m.Body = true, nil
	_, err := s.Append(t.Context(), []gohub.Message{m})
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, s.ids(t))
}
