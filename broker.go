package gohub

import "context"

// A Broker puts the messages of each room in one order and carries them to
// every hub that has members in it. The default orders in this process; the
// Redis broker makes several processes behave as one hub.
//
// All methods are safe for concurrent use. Outside Run they fail with
// ErrUnavailable.
type Broker interface {
	// Run connects r until ctx ends. Several receivers (hubs) may run on one
	// Broker value if the implementation says so.
	Run(ctx context.Context, r Receiver) error

	// Publish orders msgs, all of one room and one sender, as given. Each Seq
	// exceeds floor and every earlier Seq of the room. When it returns, or
	// shortly after, each subscribed receiver gets each message through
	// Deliver, in order; the publisher's hub learns of it in no other way.
	//
	// A (room, id) seen within the dedup window from the same sender is not
	// ordered again: Duplicate and the first Seq. From another sender:
	// ErrIDConflict. ErrUnavailable: surely not ordered. ErrUnknown: the
	// caller repeats it, with the same ids, before that sender's next.
	Publish(ctx context.Context, floor int64, msgs ...Message) []Ordered

	// Stored tells that msgs are durable, or refused for good, so that the
	// log may let them go. It does no I/O.
	Stored(msgs ...Message)

	// Subscribe returns once every later message of the room reaches Deliver.
	Subscribe(ctx context.Context, r Receiver, room RoomID) error

	// Unsubscribe ends what Subscribe began. It does not wait.
	Unsubscribe(r Receiver, room RoomID)

	// Log reads at most limit messages of the log with Seq > after,
	// ascending. All messages of the room > base are in the log, all <= base
	// are in the Store. Read the log before the Store, and merge.
	Log(ctx context.Context, room RoomID, after int64, limit int) (ms []Message, base int64, err error)

	// Orphans hands store the messages that dead nodes ordered and did not
	// store, and forgets them when store returns nil.
	Orphans(ctx context.Context, store func([]Message) error) error

	// Signal carries a frame that may be lost to the sessions that to names,
	// on every receiver. It never blocks. frame is a finished WebSocket frame
	// or, to a Target with no more than a Tenant, what hubs tell each other: a
	// Revoke, for one, so as little as possible should be lost. Brokers carry
	// both as they are.
	Signal(to Target, frame []byte)
}

// A Receiver takes what a Broker carries; the hub is one. Its methods only
// queue: they never block and never call the Broker. Calls for one room come
// one at a time, in order.
type Receiver interface {
	// Deliver brings one message. prev is the Seq before it in the room's
	// order. Where the Broker does not know that, at a room's first publish or
	// after it has forgotten, it is the floor or more: a Seq that nothing of
	// what was before is above. Where prev is higher than what the receiver
	// has, frames may be lost: it reads the log, then the Store.
	Deliver(m Message, prev int64)
	// Signal brings a frame that another hub, or this one, signalled.
	Signal(to Target, frame []byte)
	// Suspect tells that messages of these rooms may have been lost; with no
	// room named, of all.
	Suspect(rooms ...RoomID)
}

// A Target names the sessions a signal is for.
type Target struct {
	Tenant string
	Room   string // the members of this room; empty: anywhere
	User   string // only this user's sessions; empty, as Room: it is for every receiver itself
	// Outside, with Room and User: the user's sessions that have not joined
	// the room.
	Outside bool
	Except  string // a session's id that is left out
}
