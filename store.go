package gohub

import "context"

// A Store keeps messages and watermarks. gohub answers a publish with "ack"
// only after Append has returned nil for it, so what Append promises is what
// users are promised.
//
// All methods are safe for concurrent use and honour ctx: a method that
// returns ctx's error has either done all or nothing. A room that was never
// written to is an empty room, not an error. The tenant of a [RoomID] is part
// of every key: nothing of one tenant is ever read through another's ids.
// Returned slices belong to the caller; message bodies are shared and never
// changed by either side.
type Store interface {
	// Append stores batch, all of it or nothing. A nil error means that every
	// message is durable to the degree Durable says. Messages of one room may
	// arrive in any order of Seq, and the same message may arrive again, also
	// from another process at the same time.
	//
	// The result has one entry for each message, in order. A (room, id) that
	// is known from the same sender is left as it is and answered with its
	// first Seq and Duplicate; one known from another sender with
	// ErrIDConflict in its entry. Both leave the rest of the batch alone; the
	// first of two in the same batch counts as known for the second.
	//
	// A *RowError names a message that can never be stored; nothing of the
	// batch has been stored then, and the hub tries again without it. Any
	// other error is taken as passing: the hub repeats the batch until it
	// works.
	//
	// A message of a direct room (RoomID.Direct) lists the room, as Advance
	// does with ListJoin, for those of its two users who may see it.
	Append(ctx context.Context, batch []Message) ([]Ordered, error)

	// Lookup finds a message by its id.
	Lookup(ctx context.Context, room RoomID, id string) (m Message, found bool, err error)

	// History reads a page, ascending by Seq, of only what q.Viewer may see.
	// more tells that the range holds further messages: past the page's end,
	// or before its beginning when q.Newest.
	History(ctx context.Context, q Query) (ms []Message, more bool, err error)

	// Advance moves watermarks forward, never back, whatever the order they
	// arrive in, and lists or unlists rooms. It returns the resulting
	// watermarks of those whose Delivered or Seen really moved.
	Advance(ctx context.Context, ws []Watermark) ([]Watermark, error)

	// Watermarks reads watermarks of a room, those that q asks for. Users whose
	// watermarks never moved have none.
	Watermarks(ctx context.Context, q MarkQuery) ([]Watermark, error)

	// Rooms lists the rooms that are listed for a user, by name. Head, and
	// Unread counted no further than MaxUnread, are of what the user may see;
	// a user's own messages are never unread. So that a user who writes and
	// never reads costs no more than others, a Store need not look for unread
	// messages behind the 10*MaxUnread newest.
	Rooms(ctx context.Context, tenant, user string) ([]RoomState, error)

	// Durable reports whether what Append returned nil for outlives this
	// process. Clients are told in "welcome".
	Durable() bool
}

// MaxUnread is where counting unread messages stops: a user with more is told
// this number.
const MaxUnread = 100

// A Query asks for a page of a room's history.
type Query struct {
	Room   RoomID
	Viewer string // only what this user may see; empty: everything
	After  int64  // exclusive lower bound; 0: from the start
	Before int64  // exclusive upper bound; 0: none
	Limit  int    // at most so many messages; at least 1
	// Newest asks for the newest Limit messages of the range rather than the
	// oldest. The page is ascending either way.
	Newest bool
}

// A MarkQuery asks for watermarks of a room: of the users who have got furthest,
// or of those who have got as far as Seq.
type MarkQuery struct {
	Room  RoomID
	Limit int // at most so many; below 1: none
	// Seq asks for those with Delivered ≥ Seq, ascending by user, and so for
	// each of them once, however they move on between two pages. 0: those who
	// have got furthest (highest Seen, then highest Delivered, then user) first.
	Seq int64
	// After is where a page by user goes on: behind this user. Empty: from the
	// first. Users are compared by their bytes.
	After string
}

// A Watermark says how far a user has got in a room: every message up to
// Delivered has reached one of the user's devices, every message up to Seen
// has been read. One row a user and room, however many messages.
type Watermark struct {
	Room      RoomID
	User      string
	Delivered int64
	Seen      int64 // implies Delivered: Store keeps Delivered ≥ Seen
	Listing   Listing
}

// Listing says whether a room shall appear in a user's list of rooms.
type Listing int8

// Changes to a user's list of rooms.
const (
	ListKeep  Listing = iota // as it is
	ListJoin                 // list it
	ListLeave                // no longer; the watermarks stay
)

// RoomState is one line of a user's list of rooms.
type RoomState struct {
	Room   RoomID
	Head   int64 // Seq of the newest message the user may see; 0: none
	Seen   int64
	Unread int // visible messages of others after Seen, counted to MaxUnread
}
