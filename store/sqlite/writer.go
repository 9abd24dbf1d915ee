package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/gohub/gohub"
)

const (
	// groupMost is how many waiting writes share a transaction. A hub has 8
	// Appends under way at most; the rest are watermarks.
	groupMost = 32
	// turn is how long a writer may go on without leaving the lock free for a
	// rest. Between two transactions of a busy hub it is free for some hundredths
	// of a millisecond, which another process meets by chance, and on a slow
	// disk hardly ever.
	turn, rest = 250 * time.Millisecond, 4 * time.Millisecond
	// lookEvery is how long a writer sleeps between two looks whether the lock
	// of another process is free: less than a rest. SQLite's own wait
	// (sqlite3_busy_timeout) comes to sleep for 100 ms.
	lookEvery = time.Millisecond
)

// A writer owns the connection that writes, and the goroutine that uses it.
// Writes that wait share a transaction, without a timer: while one is being
// synced the next group gathers.
type writer struct {
	conn                  *sql.Conn
	insert, known, list   *sql.Stmt // messages
	mark, advance, relist *sql.Stmt // watermarks
	sizes, trim           *sql.Stmt

	log      string // the WAL's file
	logLimit int64  // how large it gets before readers are waited for,
	logDue   int64  // and when that is tried next; of the goroutine

	began time.Time // its turn; of the goroutine,
	freed time.Time // and when it last let go of the lock

	mu     sync.Mutex // protects queue, closed and each job's taken
	queue  []*job
	closed bool
	wake   chan struct{} // of one place: there is something to do
	ended  chan struct{} // closed with the goroutine
	err    error         // of closing the connection; read after ended
}

// A job is one write on its way into a transaction.
type job struct {
	apply func(context.Context) error // may run again, after its transaction was rolled back
	taken bool                        // the outcome is the transaction's now
	err   error                       // read after done
	done  chan struct{}
}

func newWriter(ctx context.Context, name string, conn *sql.Conn) (*writer, error) {
	w := &writer{conn: conn, log: name + "-wal", logLimit: walLimit, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	for stmt, query := range w.statements() {
		var err error
		if *stmt, err = conn.PrepareContext(ctx, query); err != nil {
			return nil, errors.Join(err, w.finalize())
		}
	}
	if _, err := conn.ExecContext(ctx, lookOnce); err != nil {
		return nil, errors.Join(err, w.finalize())
	}
	return w, nil
}

func (w *writer) statements() map[**sql.Stmt]string {
	return map[**sql.Stmt]string{
		&w.insert:  insertSQL,
		&w.known:   knownSQL,
		&w.list:    listSQL,
		&w.mark:    markSQL,
		&w.advance: advanceSQL,
		&w.relist:  relistSQL,
		&w.sizes:   sizesSQL,
		&w.trim:    trimSQL,
	}
}

// finalize closes the statements. A connection with one left would stay open.
func (w *writer) finalize() (err error) {
	for stmt := range w.statements() {
		if *stmt != nil {
			err = errors.Join(err, (*stmt).Close())
		}
	}
	return err
}

// start runs the writer; done closes its connection in the end.
func (w *writer) start(done func() error) {
	go func() {
		defer close(w.ended)
		w.run()
		w.err = errors.Join(w.finalize(), done())
	}()
}

// close ends the writer and waits for it.
func (w *writer) close() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.nudge()
	<-w.ended
	return w.err
}

func (w *writer) nudge() {
	select {
	case w.wake <- struct{}{}:
	default: // it is awake already
	}
}

// do has apply run in a transaction and returns when that is on the disk. When
// ctx ends before apply was begun it never is; after that ctx is not looked at,
// and apply gets one that does not end: its transaction is others', too.
func (w *writer) do(ctx context.Context, apply func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{apply: apply, done: make(chan struct{})}
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return gohub.ErrClosed
	}
	w.queue = append(w.queue, j)
	w.mu.Unlock()
	w.nudge()
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
	}
	w.mu.Lock()
	if !j.taken {
		w.queue = slices.DeleteFunc(w.queue, func(q *job) bool { return q == j })
		w.mu.Unlock()
		return ctx.Err()
	}
	w.mu.Unlock()
	<-j.done
	return j.err
}

// take gives the jobs that waited longest.
func (w *writer) take() []*job {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(len(w.queue), groupMost)
	group := slices.Clone(w.queue[:n])
	w.queue = slices.Delete(w.queue, 0, n)
	for _, j := range group {
		j.taken = true
	}
	return group
}

// waiting reports whether there is something to write, and whether it is all
// over.
func (w *writer) waiting() (some, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue) > 0, w.closed
}

func (w *writer) run() {
	for range w.wake {
		for {
			some, closed := w.waiting()
			if closed {
				for _, j := range w.take() {
					j.finish(gohub.ErrClosed)
				}
			}
			if !some {
				if closed {
					return
				}
				break
			}
			if closed {
				continue
			}
			w.rest()
			w.group()
			w.truncate()
			w.freed = time.Now()
		}
	}
}

// rest leaves the lock free where it has not been for a turn.
func (w *writer) rest() {
	free := time.Since(w.freed)
	if free < rest && time.Since(w.began) > turn {
		time.Sleep(rest - free)
		free = rest
	}
	if free >= rest {
		w.began = time.Now()
	}
}

func (j *job) finish(err error) {
	j.err = err
	close(j.done)
}

// group writes what waits in one transaction. A job that fails takes nobody
// along: the others are done again without it.
func (w *writer) group() {
	// The lock first: while another process has it, who waits may still leave.
	err := w.begin()
	for jobs := w.take(); len(jobs) > 0; {
		bad := -1
		if err == nil {
			bad, err = w.attempt(jobs)
		}
		if err == nil || bad < 0 {
			for _, j := range jobs {
				j.finish(err)
			}
			return
		}
		jobs[bad].finish(err)
		if jobs = slices.Delete(jobs, bad, bad+1); len(jobs) > 0 {
			err = w.begin()
		}
	}
	if err == nil {
		w.rollback() // all have left
	}
}

// attempt runs jobs in the transaction that has begun, and ends that. bad is
// the job that failed; -1: the transaction did, or nothing.
func (w *writer) attempt(jobs []*job) (bad int, err error) {
	for i, j := range jobs {
		if err := j.apply(context.Background()); err != nil {
			w.rollback()
			return i, err
		}
	}
	if err := w.exec("COMMIT"); err != nil {
		w.rollback()
		return -1, err
	}
	return -1, nil
}

// truncate empties the WAL when it has become too large. As a rule it never
// does: SQLite moves its content to the file after each 4,000 pages and begins
// again. But only in a moment when nobody reads what is in it, and where
// reads overlap all the time there is none. Then it takes a checkpoint that has
// new readers use the file, and waits for the last of the old.
func (w *writer) truncate() {
	info, err := os.Stat(w.log)
	if err != nil || info.Size() < max(w.logDue, w.logLimit) {
		return
	}
	// Not for long: another process's reader may be somebody at a shell.
	_ = w.exec("PRAGMA busy_timeout = 200")
	var busy, frames, moved int
	err = w.conn.QueryRowContext(context.Background(), "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &moved)
	_ = w.exec(lookOnce)
	w.logDue = 0
	if err != nil || busy != 0 {
		w.logDue = info.Size() + w.logLimit
	}
}

// begin takes the file's lock, waiting while another process has it: its turn
// is none of this one's.
func (w *writer) begin() error {
	waited, err := lockFile(w.exec)
	if waited {
		w.began = time.Now()
	}
	if err != nil {
		w.rollback() // should an earlier one have stayed open, the next attempt works
	}
	return err
}

// lookOnce has SQLite say at once that a lock is not free, for lockFile.
const lookOnce = "PRAGMA busy_timeout = 0"

// lockFile begins a transaction that has the file's lock, on a connection that
// looks once. waited: another process had it.
func lockFile(exec func(query string) error) (waited bool, err error) {
	for until := time.Now().Add(busyTimeout); ; time.Sleep(lookEvery) {
		if err = exec("BEGIN IMMEDIATE"); !busy(err) || time.Now().After(until) {
			return waited, err
		}
		waited = true
	}
}

// rollback ends a transaction that failed. SQLite may have done so itself.
func (w *writer) rollback() { _ = w.exec("ROLLBACK") }

func (w *writer) exec(query string) error {
	_, err := w.conn.ExecContext(context.Background(), query)
	return err
}
