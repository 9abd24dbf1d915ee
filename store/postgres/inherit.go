package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// inheritPoll is how often inherit looks.
const inheritPoll = 10 * time.Millisecond

// inherit waits until every transaction has ended that is writing messages
// now. A process that was killed leaves some behind: the server notices its
// end only when it has the answer ready, and commits first. A hub that begins
// before that could show a room's newest messages and, below them, get one
// more; or order a client's retry anew, while its first attempt is stored.
//
// Others write on meanwhile, and nobody waits for this. It gives up after
// Options.Timeout, for somebody's long transaction on the table.
func inherit(ctx context.Context, pool *pgxpool.Pool, o Options) error {
	within, cancel := (&Store{o: o}).within(ctx)
	defer cancel()
	const writing = `select l.virtualtransaction from pg_catalog.pg_locks l
where l.locktype = 'relation' and l.mode = 'RowExclusiveLock' and l.relation = $1::regclass
and l.database = (select oid from pg_catalog.pg_database where datname = current_database())
and ($2::text[] is null or l.virtualtransaction = any ($2))`
	table := pgx.Identifier{o.Schema, "messages"}.Sanitize()
	var left []string // nil: all
	for {
		rows, err := pool.Query(within, writing, table, left)
		if err == nil {
			left, err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
		if err == nil {
			if len(left) == 0 {
				return nil
			}
			select {
			case <-time.After(inheritPoll):
				continue
			case <-within.Done():
				err = within.Err()
			}
		}
		if errors.Is(within.Err(), context.DeadlineExceeded) && ctx.Err() == nil {
			o.Logger.Warn("a transaction on the messages does not end; what it writes may come late", "table", table)
			return nil
		}
		return fmt.Errorf("postgres: wait for what is being written: %w", err)
	}
}
