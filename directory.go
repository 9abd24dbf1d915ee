package gohub

import (
	"context"
	"time"
)

// A Directory holds what the hubs of a cluster know of each other besides
// messages: which nodes there are, which session of a device is the newest,
// who is in a room, and tickets that another node will take. Without one a hub
// is a cluster of its own.
//
// The Redis broker is a Directory as well; [MemoryDirectory.Node] makes one for
// each of several hubs in one process. All methods are safe for concurrent use. Those that
// return an error may do I/O, and fail with ErrUnavailable while the Directory
// cannot be reached: nothing but the one answer depends on it then.
//
// A Directory may forget, as a Redis that restarts does. It says so to the
// listener, and the hub then tells it everything anew.
type Directory interface {
	// Serve says how clients reach this node, and takes the place of what was
	// said before; l, the same each time, is told what happens from the first
	// call on until Leave. It does no I/O: others know with the next beat.
	Serve(l Listener, self Node)
	// Leave says that this node has ended. Who was in a room here is there
	// for some seconds more, so that those who come back on another node are
	// not seen to leave. It may wait for ctx, and returns no error: a node that
	// cannot say so is found dead in time.
	Leave(ctx context.Context, l Listener)
	// Nodes lists the nodes that live and are not leaving, this one among
	// them if it serves, by name, each name once. It does no I/O; the slice is
	// shared and is not to be changed, and while nothing changes it is the
	// same one. Empty: not known now.
	Nodes() []Node

	// Claim makes c's session the one of its user and device. By ctx's deadline
	// it is made, or never will be, even if this process is stopped meanwhile
	// or the network holds it up: by then its client may be elsewhere. The
	// generation it returns is higher than every earlier one of theirs, even if
	// all was forgotten meanwhile, and is never 0. For a session that has been
	// claimed already and is still the device's, as where an answer was lost,
	// it is the same again.
	//
	// With c.Since it is the generation that a Claim at that time would have
	// given, or little more, even if that is not the highest by now: it is not
	// made the device's then. It is above c.Gen, the generation of a session
	// that this one has replaced; without Since c.Gen is 0.
	Claim(ctx context.Context, c Claim) (gen int64, err error)
	// Lost returns those of held of whose device a higher generation is known,
	// with that generation. What has been forgotten, or is lower, it writes
	// anew. What is not held anywhere may be forgotten after some minutes. With
	// an error, what it returns is so, and may not be all.
	Lost(ctx context.Context, held []Claim) ([]Claim, error)

	// Announce says how many sessions each of these users has in the room on
	// this node now; 0: none. The listeners of all hubs that have subscribed to
	// the room are told Members if that changes who is there at all: each change
	// once, in their order, those of some users in one call. The newest name of a
	// user holds. It returns how many users there are then, on all nodes. After
	// an error some of it may have been done; it does no harm to say it again.
	// After Leave it is ErrUnavailable, and nobody comes.
	//
	// again: this had been announced before, and was forgotten. Then nobody is
	// told of users whom others still take to be there.
	Announce(ctx context.Context, room RoomID, users []PresentUser, again bool) (count int, err error)
	// Present lists the users in the room on all nodes by id, at most limit
	// after cursor; limit 0: only how many they are.
	Present(ctx context.Context, room RoomID, cursor string, limit int) (PresencePage, error)

	// PutTicket keeps a ticket for life.
	PutTicket(ctx context.Context, id string, ticket []byte, life time.Duration) error
	// TakeTicket gives a ticket once: to one caller on one node. nil: there is
	// none, or it has been taken, or its life is over.
	TakeTicket(ctx context.Context, id string) ([]byte, error)
}

// A Listener is who a Directory tells what happens; the hub is one. Its methods
// only queue: they never block and never call the Directory.
type Listener interface {
	// Members tells who has come to a room and gone, seen over all nodes, and
	// how many are there now. Some of it may be lost: the count is right.
	Members(room RoomID, joined, left []string, count int)
	// Forgotten tells that the Directory has lost what this node told it:
	// claims and presence. everything: what all nodes did, so that counts are
	// too low until all have told it anew. Else it took this node for dead.
	Forgotten(everything bool)
}

// A Node is one hub of a cluster.
type Node struct {
	Name string // Config.Node, which no other node may have
	ID   string // of this run of it: random, another one after a restart
	// URL is where clients reach it: Config.URL. Empty: nobody is sent there.
	URL string
	// Weight is its share of what is spread over the nodes; see [RingNode].
	Weight int
	// Leaving: it is draining or not ready, and should get no new sessions.
	Leaving bool
	// Sessions is how many it has, as of some seconds ago.
	Sessions int
}

// A Claim says which session a user's device has.
type Claim struct {
	Tenant, User, Device string
	Session              string // its id
	Gen                  int64  // newer sessions of the device have a higher one; 0: not claimed yet
	// Since is, by this process's clock, when a session began that is claimed
	// only now. Zero: now.
	Since time.Time `json:"-"`
}
