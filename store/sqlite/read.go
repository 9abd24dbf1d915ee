package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gohub/gohub"
)

// What somebody may see of a room are up to three runs of rows, each in the
// order of an index: what all may see, what was sent to the reader alone, and
// what the reader sent to one user. SQLite merges them as it goes and stops at
// the limit, so that a page costs the same however much others say in private,
// and wherever it lies.
const (
	columns = `seq, id, sender, recipient, kind, binary, body FROM messages`
	within  = ` WHERE tenant = ?1 AND room = ?2 AND seq > ?3 AND seq < ?4`

	public   = `SELECT ` + columns + within + ` AND recipient = ''`
	received = `SELECT ` + columns + within + ` AND recipient = ?6`
	sent     = `SELECT ` + columns + ` INDEXED BY messages_sent` + within + ` AND sender = ?6 AND recipient <> '' AND recipient <> ?6`
	private  = `SELECT ` + columns + ` INDEXED BY messages_private` + within + ` AND recipient <> ''`

	visible    = public + "\nUNION ALL " + received + "\nUNION ALL " + sent
	everything = public + "\nUNION ALL " + private

	oldestFirst = "\nORDER BY seq, id LIMIT ?5"
	newestFirst = "\nORDER BY seq DESC, id DESC LIMIT ?5"

	lookupSQL = `SELECT ` + columns + ` WHERE tenant = ?1 AND room = ?2 AND id = ?3`

	furthestSQL = `SELECT user, delivered, seen FROM members
WHERE tenant = ?1 AND room = ?2 AND delivered > 0
ORDER BY seen DESC, delivered DESC, user LIMIT ?3`

	seenBySQL = `SELECT user, delivered, seen FROM members
WHERE tenant = ?1 AND room = ?2 AND user > ?4 AND delivered >= ?5
ORDER BY user LIMIT ?3`
)

// roomsSQL looks up a user's rooms by themselves: the newest seq of each run,
// and at most so many unread messages, of the newest of each run. What the user
// has sent is never unread, and is stepped over no further than that. The
// planner would rather read all of a tenant than the list of its user.
var roomsSQL = strings.NewReplacer("{here}", "tenant = m.tenant AND room = m.room",
	"{most}", fmt.Sprint(gohub.MaxUnread), "{newest}", fmt.Sprint("ORDER BY seq DESC LIMIT ", 10*gohub.MaxUnread)).Replace(`
SELECT room, seen,
  max(
    ifnull((SELECT max(seq) FROM messages WHERE {here} AND recipient = ''), 0),
    ifnull((SELECT max(seq) FROM messages WHERE {here} AND recipient = m.user), 0),
    ifnull((SELECT max(seq) FROM messages INDEXED BY messages_sent WHERE {here} AND sender = m.user AND recipient <> ''), 0)),
  (SELECT count(*) FROM (
    SELECT 1 FROM (SELECT sender FROM messages WHERE {here} AND recipient = '' AND seq > m.seen {newest}) WHERE sender <> m.user
    UNION ALL
    SELECT 1 FROM (SELECT sender FROM messages WHERE {here} AND recipient = m.user AND seq > m.seen {newest}) WHERE sender <> m.user
    LIMIT {most}))
FROM members AS m INDEXED BY members_listed
WHERE tenant = ?1 AND user = ?2 AND listed
ORDER BY room`)

// statements are what readers ask, prepared once a connection.
type statements struct {
	visible, everything [2]*sql.Stmt // oldest first, newest first
	lookup, rooms       *sql.Stmt
	furthest, seenBy    *sql.Stmt // watermarks
}

func (s *statements) all() map[**sql.Stmt]string {
	return map[**sql.Stmt]string{
		&s.visible[0]:    visible + oldestFirst,
		&s.visible[1]:    visible + newestFirst,
		&s.everything[0]: everything + oldestFirst,
		&s.everything[1]: everything + newestFirst,
		&s.lookup:        lookupSQL,
		&s.rooms:         roomsSQL,
		&s.furthest:      furthestSQL,
		&s.seenBy:        seenBySQL,
	}
}

func (s *statements) prepare(ctx context.Context, db *sql.DB) (err error) {
	for stmt, query := range s.all() {
		if *stmt, err = db.PrepareContext(ctx, query); err != nil {
			return err
		}
	}
	return nil
}

func (s *statements) close() (err error) {
	for stmt := range s.all() {
		if *stmt != nil {
			err = errors.Join(err, (*stmt).Close())
		}
	}
	return err
}

// scanner is a *sql.Row or *sql.Rows.
type scanner interface{ Scan(dest ...any) error }

func scan(row scanner, room gohub.RoomID) (gohub.Message, error) {
	m := gohub.Message{Room: room}
	err := row.Scan(&m.Seq, &m.ID, &m.Sender, &m.To, &m.Kind, &m.Binary, &m.Body)
	return m, err
}

// Lookup finds a message by its id; see [gohub.Store].
func (s *Store) Lookup(ctx context.Context, room gohub.RoomID, id string) (m gohub.Message, found bool, err error) {
	m, err = scan(s.read.lookup.QueryRowContext(ctx, room.Tenant, room.Name, id), room)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return gohub.Message{}, false, nil
	case err != nil:
		return gohub.Message{}, false, failed("look up a message", err)
	}
	return m, true, nil
}

// History reads a page; see [gohub.Store]. A Limit below 1 counts as 1.
func (s *Store) History(ctx context.Context, q gohub.Query) (ms []gohub.Message, more bool, err error) {
	limit := min(max(q.Limit, 1), math.MaxInt32)
	before := q.Before
	if before <= 0 {
		before = math.MaxInt64
	}
	args := []any{q.Room.Tenant, q.Room.Name, q.After, before, limit + 1, q.Viewer}
	stmts := &s.read.visible
	if q.Viewer == "" {
		stmts, args = &s.read.everything, args[:5]
	}
	stmt := stmts[0]
	if q.Newest {
		stmt = stmts[1]
	}
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return nil, false, failed("read history", err)
	}
	defer func() { _ = rows.Close() }() // whose error is Err's
	for rows.Next() {
		if len(ms) == limit {
			more = true
			break
		}
		m, err := scan(rows, q.Room)
		if err != nil {
			return nil, false, failed("read history", err)
		}
		ms = append(ms, m)
	}
	if err := rows.Err(); err != nil {
		return nil, false, failed("read history", err)
	}
	if q.Newest {
		slices.Reverse(ms)
	}
	return ms, more, nil
}

// Watermarks reads a room's watermarks; see [gohub.Store].
func (s *Store) Watermarks(ctx context.Context, q gohub.MarkQuery) (ws []gohub.Watermark, err error) {
	stmt, args := s.read.furthest, []any{q.Room.Tenant, q.Room.Name, max(q.Limit, 0)}
	if q.Seq > 0 {
		stmt, args = s.read.seenBy, append(args, q.After, q.Seq)
	}
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return nil, failed("read watermarks", err)
	}
	defer func() { _ = rows.Close() }() // whose error is Err's
	for rows.Next() {
		w := gohub.Watermark{Room: q.Room}
		if err := rows.Scan(&w.User, &w.Delivered, &w.Seen); err != nil {
			return nil, failed("read watermarks", err)
		}
		ws = append(ws, w)
	}
	if err := rows.Err(); err != nil {
		return nil, failed("read watermarks", err)
	}
	return ws, nil
}

// Rooms lists a user's rooms; see [gohub.Store]. Its cost grows with their
// number, with unread messages up to MaxUnread each, and with the user's own
// among the 1,000 newest after the last it has read.
func (s *Store) Rooms(ctx context.Context, tenant, user string) (list []gohub.RoomState, err error) {
	rows, err := s.read.rooms.QueryContext(ctx, tenant, user)
	if err != nil {
		return nil, failed("list rooms", err)
	}
	defer func() { _ = rows.Close() }() // whose error is Err's
	for rows.Next() {
		st := gohub.RoomState{Room: gohub.RoomID{Tenant: tenant}}
		if err := rows.Scan(&st.Room.Name, &st.Seen, &st.Head, &st.Unread); err != nil {
			return nil, failed("list rooms", err)
		}
		list = append(list, st)
	}
	if err := rows.Err(); err != nil {
		return nil, failed("list rooms", err)
	}
	return list, nil
}
