package gohub

import (
	"context"
	"iter"
)

// History reads a room's messages, page by page as they are asked for: what is
// ordered and not yet stored as well. They come ascending from q.After; with
// q.Newest descending, from before q.Before or the newest. q.Limit is the size
// of a page, not of the whole; a limit below 1 is 200.
//
// The last pair has an error if a page could not be read; what had come before
// it is right. A page is read when the one before is used up, so that messages
// which come meanwhile are in it. MayJoin is not asked: q.Viewer says whose eyes
// see it, and the empty one sees everything.
//
// In a cluster any hub will do; it need not have members in the room.
func (h *Hub) History(ctx context.Context, q Query) iter.Seq2[Message, error] {
	if q.Limit < 1 {
		q.Limit = historyMost
	}
	return func(yield func(Message, error) bool) {
		q := q // each range begins anew
		for {
			ms, more, err := h.read(ctx, q)
			if err != nil {
				yield(Message{}, err)
				return
			}
			for i := range ms {
				m := ms[i]
				if q.Newest {
					m = ms[len(ms)-1-i]
				}
				if !yield(m, nil) {
					return
				}
			}
			if !more || len(ms) == 0 {
				return
			}
			if q.Newest {
				q.Before = ms[0].Seq
			} else {
				q.After = ms[len(ms)-1].Seq
			}
		}
	}
}
