package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gohub/gohub"
)

// key is what makes a message the same message.
type key struct {
	room gohub.RoomID
	id   string
}

// Append stores batch; see [gohub.Store]. It takes one statement, hence one
// round trip and one commit; one more statement reads what others had stored
// before.
func (s *Store) Append(ctx context.Context, batch []gohub.Message) ([]gohub.Ordered, error) {
	if err := ctx.Err(); err != nil || len(batch) == 0 {
		return nil, err
	}
	given := ctx
	ctx, cancel := graceful(given)
	defer cancel()
	// The first of each key, sorted: two processes that store the same
	// messages wait for each other then, and never in a circle.
	first := make(map[key]int, len(batch))
	order := make([]int, 0, len(batch))
	for i := range batch {
		k := key{batch[i].Room, batch[i].ID}
		if _, twice := first[k]; !twice {
			first[k] = i
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(i, j int) int {
		a, b := &batch[i], &batch[j]
		return cmp.Or(cmp.Compare(a.Room.Tenant, b.Room.Tenant), cmp.Compare(a.Room.Name, b.Room.Name), cmp.Compare(a.ID, b.ID))
	})
	at := make([]place, len(batch)) // of those in order
	for left := order; len(left) > 0; {
		known, err := s.insert(ctx, s.pool, batch, left)
		if err != nil {
			err = s.blame(ctx, batch, left, err)
			if given.Err() != nil {
				err = given.Err() // what the caller knows
			}
			return nil, fmt.Errorf("postgres: append: %w", err)
		}
		for _, i := range left {
			at[i] = place{seq: batch[i].Seq, sender: batch[i].Sender}
		}
		if len(known) == 0 {
			break
		}
		// What was there is committed, and a new statement sees it: the insert
		// itself would still look at the database as it was before it waited.
		// left are then those that Trim has deleted in between.
		if left, err = s.readKnown(ctx, batch, known, at); err != nil {
			return nil, fmt.Errorf("postgres: append: read what was known: %w", err)
		}
	}
	out := make([]gohub.Ordered, len(batch))
	for i := range batch {
		j := first[key{batch[i].Room, batch[i].ID}]
		if at[j].sender != batch[i].Sender {
			out[i].Err = gohub.ErrIDConflict
			continue
		}
		out[i] = gohub.Ordered{Seq: at[j].seq, Duplicate: at[j].known || i != j}
	}
	return out, nil
}

// A place is where the message of a key is stored, and whose it is.
type place struct {
	seq    int64
	sender string
	known  bool // before
}

// cancelGrace is for how long Append goes on when its context has ended. A
// statement that is given up may still commit a moment later, so its end is
// worth waiting for, unless the server does not answer.
const cancelGrace = 500 * time.Millisecond

// graceful is ctx, ending cancelGrace later.
func graceful(ctx context.Context) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(cancelGrace, func() { cancel(ctx.Err()) })
	})
	return late, func() {
		stop()
		cancel(nil)
	}
}

type conn interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// insert stores those of batch, and gives those whose key was known already.
func (s *Store) insert(ctx context.Context, c conn, batch []gohub.Message, which []int) (known []int, err error) {
	n := len(which)
	tenants, rooms, ids, senders, recipients, kinds := make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	seqs, bodies, binary := make([]int64, n), make([][]byte, n), make([]bool, n)
	sql := s.sql.insert
	for at, i := range which {
		m := &batch[i]
		tenants[at], rooms[at], ids[at], seqs[at] = m.Room.Tenant, m.Room.Name, m.ID, m.Seq
		senders[at], recipients[at], kinds[at], bodies[at], binary[at] = m.Sender, m.To, m.Kind, m.Body, m.Binary
		if m.Body == nil {
			bodies[at] = []byte{} // nil would be NULL
		}
		if _, _, ok := m.Room.Direct(); ok {
			sql = s.sql.insertDirect
		}
	}
	ctx, cancel := s.within(ctx)
	defer cancel()
	rows, err := c.Query(ctx, sql, tenants, rooms, ids, seqs, senders, recipients, kinds, bodies, binary)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	stored := make(map[key]bool)
	count := 0
	for rows.Next() {
		var tenant, room, id *string
		if err := rows.Scan(&count, &tenant, &room, &id); err != nil {
			return nil, err
		}
		if id != nil {
			stored[key{gohub.RoomID{Tenant: *tenant, Name: *room}, *id}] = true
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if count < n {
		for _, i := range which {
			if !stored[key{batch[i].Room, batch[i].ID}] {
				known = append(known, i)
			}
		}
	}
	return known, nil
}

// readKnown reads those whose key was known, and gives those that are gone.
func (s *Store) readKnown(ctx context.Context, batch []gohub.Message, known []int, places []place) (gone []int, err error) {
	tenants, rooms, ids := make([]string, len(known)), make([]string, len(known)), make([]string, len(known))
	for at, i := range known {
		tenants[at], rooms[at], ids[at] = batch[i].Room.Tenant, batch[i].Room.Name, batch[i].ID
	}
	err = s.query(ctx, s.sql.known, []any{tenants, rooms, ids}, func(r pgx.Rows) error {
		var at int
		p := place{known: true}
		if err := r.Scan(&at, &p.seq, &p.sender); err != nil {
			return err
		}
		places[known[at-1]] = p
		return nil
	})
	for _, i := range known {
		if !places[i].known {
			gone = append(gone, i)
		}
	}
	return gone, err
}

// blame makes of err a *gohub.RowError if it says that the server will never
// take one of those messages. It finds the message by halves, each tried and
// taken back; what gets in between is returned as it is.
func (s *Store) blame(ctx context.Context, batch []gohub.Message, which []int, err error) error {
	for isDataError(err) && len(which) > 1 {
		half := which[:len(which)/2]
		if tried := s.try(ctx, batch, half); tried != nil {
			which, err = half, tried
		} else {
			which = which[len(half):]
		}
	}
	if !isDataError(err) {
		return err
	}
	// The last half was only found by leaving out, or its batch had changed.
	if err = s.try(ctx, batch, which); isDataError(err) {
		return &gohub.RowError{Index: which[0], Err: err}
	}
	return cmp.Or(err, errGone)
}

// errGone: what the server would not take, it takes now.
var errGone = errors.New("the error is gone")

var errTried = errors.New("tried")

// try is insert, taken back.
func (s *Store) try(ctx context.Context, batch []gohub.Message, which []int) error {
	ctx, cancel := s.within(ctx)
	defer cancel()
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := s.insert(ctx, tx, batch, which); err != nil {
			return err
		}
		return errTried
	})
	if errors.Is(err, errTried) {
		return nil
	}
	return err
}
