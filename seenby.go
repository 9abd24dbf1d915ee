package gohub

import (
	"context"
	"iter"
)

// Status says how far one user has got with one message. It only moves
// forward.
type Status string

// The statuses of a message, in the words of the protocol.
const (
	StatusSaved     Status = "saved"     // stored; it has reached none of the user's devices
	StatusDelivered Status = "delivered" // it has reached one
	StatusSeen      Status = "seen"      // it has been read
)

// Status derives how far w's user has got with the message at seq. Whether the
// user may see that message, or has written it, a watermark does not know.
func (w Watermark) Status(seq int64) Status {
	switch {
	case seq <= w.Seen:
		return StatusSeen
	case seq <= w.Delivered:
		return StatusDelivered
	}
	return StatusSaved
}

// A Receipt says that a message has reached a user.
type Receipt struct {
	User   string `json:"user"`
	Status Status `json:"status"` // delivered or seen
}

// SeenBy reads whom the message at q.Seq has reached, and who of them has read
// it: each user once, ascending by user from q.After, page by page as they are
// asked for. q.Limit is the size of a page, not of the whole; a limit below 1
// is 200. Its author is not among them, nor is anybody who may not see it.
// Reached is what clients report with "receipt": that a socket took the message
// does not count.
//
// viewer is who asks; the empty one is the program, which sees everything. A
// message that is not there, any more, or not for the viewer's eyes is an
// [*Error] with code not_found. MayJoin is not asked: whether the viewer may
// know of the room at all is for the caller to say.
//
// The last pair has an error if a page could not be read; what had come before
// it is right. What sessions of this hub have reported is in it, and what
// those of others have up to a quarter of a second later.
func (h *Hub) SeenBy(ctx context.Context, viewer string, q MarkQuery) iter.Seq2[Receipt, error] {
	if q.Limit < 1 {
		q.Limit = marksMost
	}
	return func(yield func(Receipt, error) bool) {
		q := q // each range begins anew
		m, err := h.messageAt(ctx, viewer, q)
		if err != nil {
			yield(Receipt{}, err)
			return
		}
		if m.To != "" { // one other user, of the many who may have got past it in a large room
			if m.To == m.Sender || m.To <= q.After {
				return
			}
			q.After, q.Limit = justBefore(m.To), 1
		}
		h.marks.flush(ctx)
		for {
			ws, err := h.store.Watermarks(ctx, q)
			if err != nil {
				yield(Receipt{}, err)
				return
			}
			for _, w := range ws {
				if w.User != m.Sender && m.VisibleTo(w.User) && !yield(Receipt{w.User, w.Status(q.Seq)}, nil) {
					return
				}
			}
			if len(ws) < q.Limit || m.To != "" {
				return
			}
			q.After = ws[len(ws)-1].User
		}
	}
}

// messageAt reads the message at q.Seq, if viewer may see it.
func (h *Hub) messageAt(ctx context.Context, viewer string, q MarkQuery) (Message, error) {
	if q.After != "" && !validUser(q.After) {
		return Message{}, Errorf(CodeBadRequest, "%q is no user id to go on from", clip(q.After))
	}
	if q.Seq > 0 {
		ms, _, err := h.read(ctx, Query{Room: q.Room, Viewer: viewer, After: q.Seq - 1, Before: q.Seq + 1, Limit: 1})
		if err != nil {
			return Message{}, err
		}
		if len(ms) > 0 {
			return ms[0], nil
		}
	}
	return Message{}, Errorf(CodeNotFound, "room %q has no message %d for you", clip(q.Room.Name), q.Seq)
}

// justBefore is a string with no user id between it and user: '~' stands
// behind every byte of one.
func justBefore(user string) string {
	last := len(user) - 1
	return user[:last] + string(rune(user[last]-1)) + "~"
}
