package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/internal/wire"
)

const (
	relayBatch = 256 // rows taken at a time
	relayRooms = 16  // rooms published in at a time

	// How long Relay waits before it looks again: the least after a PublishTx
	// of this process, whose transaction commits soon, then twice as long each
	// time that there is nothing.
	relaySoon = 2 * time.Millisecond
	relayLate = time.Second

	// relayHold is how long a Relay whose process stands still keeps the others
	// from taking over.
	relayHold = 30 * time.Second
)

// PublishTx writes m in the caller's transaction. It is published if and when
// that commits, by whichever process runs [Store.Relay]: after a crash too, and
// once. m is as for [gohub.Hub.Publish]: it needs Room, Sender and Body; ID
// defaults to gohub.NewID, Kind to "chat", and Seq is ignored. An ID that
// Sender has used in this room before publishes nothing.
//
// Messages of one transaction are published in the order of their PublishTx,
// and after those of transactions that had committed before it began. The
// message's Seq, and so its time, is that of its publishing.
//
// Errors are tx's, or a *gohub.Error when m can never be published (bad_request,
// bad_room, forbidden); the transaction goes on then. A body that is larger than the
// hub's MaxBody is found out only by Relay.
func (s *Store) PublishTx(ctx context.Context, tx pgx.Tx, m gohub.Message) error {
	if m.ID == "" {
		m.ID = gohub.NewID()
	}
	if m.Kind == "" {
		m.Kind = "chat"
	}
	a, b, direct := m.Room.Direct()
	switch {
	case !wire.ValidRoom(m.Room.Name):
		return gohub.Errorf(gohub.CodeBadRoom, "room %.40q: 1 to 128 of A-Z a-z 0-9 . _ : @ , - are allowed", m.Room.Name)
	case !direct && m.Room.Name[0] == '@':
		return gohub.Errorf(gohub.CodeBadRoom, "room %.40q: a direct room is named @ and its two users, sorted, with a comma between", m.Room.Name)
	case direct && m.To != "" && m.To != a && m.To != b:
		return gohub.Errorf(gohub.CodeForbidden, "%.40q cannot see a direct room of others", m.To)
	case !wire.ValidUUID(m.ID):
		return gohub.Errorf(gohub.CodeBadRequest, "id %.40q is not a UUID", m.ID)
	case !wire.ValidUser(m.Sender):
		return gohub.Errorf(gohub.CodeBadRequest, "sender %.40q: 1 to 63 of A-Z a-z 0-9 . _ : -", m.Sender)
	case m.To != "" && !wire.ValidUser(m.To):
		return gohub.Errorf(gohub.CodeBadRequest, "to %.40q: 1 to 63 of A-Z a-z 0-9 . _ : -", m.To)
	case !wire.ValidKind(m.Kind):
		return gohub.Errorf(gohub.CodeBadRequest, "kind %.40q: 1 to 32 of a-z 0-9 . _ -", m.Kind)
	case !m.Binary && !(wire.Valid(m.Body) && utf8.Valid(m.Body)):
		return gohub.Errorf(gohub.CodeBadRequest, "the body is not JSON")
	}
	body := m.Body
	if body == nil {
		body = []byte{} // nil would be NULL
	}
	if _, err := tx.Exec(ctx, s.sql.outboxAdd, m.Room.Tenant, m.Room.Name, m.ID, m.Sender, m.To, m.Kind, body, m.Binary); err != nil {
		return fmt.Errorf("postgres: publish in a transaction: %w", err)
	}
	select {
	case s.nudged <- struct{}{}:
	default: // nudged already
	}
	return nil
}

// Relay publishes what [Store.PublishTx] has written, through hub, until ctx
// ends, and returns ctx's error; with a pool of one connection, it returns an
// error at once. Run it in every process that has a hub on this
// store: one at a time works, in the order of the rows, and another takes over
// when its connection ends. What another process wrote is found within a
// second, what this one wrote within milliseconds of its commit.
//
// While it works it holds one connection of the pool beside those that the hub
// stores with. A failing database or hub is tried again. What the hub refuses
// for good stays in the table outbox with the reason in the column refused, and
// is logged; clear that column to have it tried again.
func (s *Store) Relay(ctx context.Context, hub *gohub.Hub) error {
	if s.pool.Config().MaxConns < 2 {
		return errors.New("postgres: Relay needs a pool of at least two connections")
	}
	pause := relaySoon
	failing := false
	for {
		n, err := s.relay(ctx, hub)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			if !failing {
				s.o.Logger.Warn("outbox cannot be relayed; trying again", "schema", s.o.Schema, "err", err)
			}
			failing = true
		case n > 0:
			failing, pause = false, relaySoon
			continue
		default:
			failing = false
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-s.nudged:
			pause = relaySoon
		case <-timer.C:
			pause = min(2*pause, relayLate)
		}
		timer.Stop()
	}
}

// An outboxRow is a message that waits to be published.
type outboxRow struct {
	n int64
	m gohub.Message
}

// relay publishes one batch and gives its size. The rows go when they are
// published and their deletion commits; if that fails they are published again,
// which their ids make one message.
func (s *Store) relay(ctx context.Context, hub *gohub.Hub) (n int, err error) {
	tx, batch, err := s.take(ctx)
	if tx != nil {
		defer func() { // after Commit it does nothing
			ctx, cancel := s.within(context.WithoutCancel(ctx))
			defer cancel()
			_ = tx.Rollback(ctx)
		}()
	}
	if err != nil || len(batch) == 0 {
		return 0, err
	}
	done, refused, why, failed := s.publish(ctx, hub, batch)
	ctx, cancel := s.within(ctx)
	defer cancel()
	if len(refused) > 0 {
		if _, err := tx.Exec(ctx, s.sql.outboxRefuse, refused, why); err != nil {
			return 0, err
		}
	}
	if len(done) > 0 {
		if _, err := tx.Exec(ctx, s.sql.outboxDone, done); err != nil {
			return 0, err
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return 0, err
	}
	if failed != nil {
		return 0, failed
	}
	return len(batch), nil
}

// take begins a transaction and takes rows in it, none if another process is
// at it. The caller ends tx if there is one.
func (s *Store) take(ctx context.Context) (tx pgx.Tx, batch []outboxRow, err error) {
	ctx, cancel := s.within(ctx)
	defer cancel()
	if tx, err = s.pool.Begin(ctx); err != nil {
		return nil, nil, err
	}
	var mine bool
	err = tx.QueryRow(ctx, `select pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended($1, 0)),
	pg_catalog.set_config('idle_in_transaction_session_timeout', $2, true)`,
		"gohub outbox of "+s.o.Schema, fmt.Sprint(relayHold.Milliseconds())).Scan(&mine, nil)
	if err != nil || !mine {
		return tx, nil, err
	}
	rows, err := tx.Query(ctx, s.sql.outboxTake, int64(relayBatch))
	if err != nil {
		return tx, nil, err
	}
	batch, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (o outboxRow, err error) {
		m := &o.m
		err = r.Scan(&o.n, &m.Room.Tenant, &m.Room.Name, &m.ID, &m.Sender, &m.To, &m.Kind, &m.Body, &m.Binary)
		return o, err
	})
	return tx, batch, err
}

// publish publishes rows, those of one room in order, several rooms at a time.
// A room ends with its first failure that may pass; failed is one of those.
func (s *Store) publish(ctx context.Context, hub *gohub.Hub, batch []outboxRow) (done, refused []int64, why []string, failed error) {
	rooms := make(map[gohub.RoomID][]outboxRow)
	for _, o := range batch {
		rooms[o.m.Room] = append(rooms[o.m.Room], o)
	}
	var (
		mu    sync.Mutex // guards the results
		wg    sync.WaitGroup
		slots = make(chan struct{}, relayRooms)
	)
	for _, rows := range rooms {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			for _, o := range rows {
				_, err := hub.Publish(ctx, o.m)
				mu.Lock()
				switch {
				case err == nil:
					done = append(done, o.n)
				case forGood(err):
					s.o.Logger.Error("outbox row cannot be published", "schema", s.o.Schema, "n", o.n, "room", o.m.Room, "id", o.m.ID, "err", err)
					refused, why = append(refused, o.n), append(why, err.Error())
				default:
					failed = fmt.Errorf("publish in room %v: %w", o.m.Room, err)
				}
				stop := err != nil && !forGood(err)
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	wg.Wait()
	return done, refused, why, failed
}

// forGood tells whether publishing again would fail again.
func forGood(err error) bool {
	var e *gohub.Error
	if errors.Is(err, gohub.ErrIDConflict) {
		return true
	}
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case gohub.CodeBadRequest, gohub.CodeBadRoom, gohub.CodeTooLarge, gohub.CodeForbidden, gohub.CodeIDConflict:
		return true
	default:
		return false
	}
}
