package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"github.com/gohub/gohub"
)

const (
	announceMost = 256 // users in one call of the script
	presentMost  = 256
)

// Announce says who is in a room here, 256 users in one call of a script; see
// [gohub.Directory].
func (b *Broker) Announce(ctx context.Context, room gohub.RoomID, users []gohub.PresentUser, again bool) (count int, err error) {
	p, l, err := b.inTouch(ctx, roomKey(room))
	if err != nil {
		return 0, err
	}
	if p.n.left.Load() {
		return 0, fmt.Errorf("%w: this node has left", gohub.ErrUnavailable)
	}
	for first := true; first || len(users) > 0; first = false {
		some := users[:min(announceMost, len(users))]
		users = users[len(some):]
		if count, err = p.announce(ctx, l, room, some, again && l.quiet); err != nil {
			return 0, err
		}
	}
	return count, nil
}

// inTouch is at for what a hub does all the time, or what has something wait that
// could go on without: that shall not wait for a server that has not answered
// the last beat.
func (b *Broker) inTouch(ctx context.Context, key string) (*part, *lease, error) {
	p, l, err := b.at(ctx, key)
	if err == nil {
		err = p.away()
	}
	return p, l, err
}

func (p *part) announce(ctx context.Context, l *lease, id gohub.RoomID, users []gohub.PresentUser, quiet bool) (count int, err error) {
	room := roomKey(id)
	args := make([]string, 0, 4+3*len(users))
	args = append(args, l.gen, digits(l.beat+p.b.t.stale.Microseconds()), room, "")
	if quiet {
		args[3] = "quiet"
	}
	for _, u := range users {
		args = append(args, u.User, strconv.Itoa(max(u.Sessions, 0)), u.Name)
	}
	c := p.b.client
	answer, err := p.ask(ctx, l, c.B().Evalsha().Sha1(p.scripts.announce.sha).Numkeys(6).
		Key(p.keys.meta(), p.keys.here(room), p.keys.users(room), p.keys.owned(l.owner, room), p.keys.rooms(l.owner), p.keys.room(room)).
		Arg(args...).Build())
	if err != nil {
		return 0, err
	}
	return intOf(answer, 1)
}

// Present lists who is in a room; see [gohub.Directory]. It takes time for the
// page alone, however many users there are.
func (b *Broker) Present(ctx context.Context, room gohub.RoomID, cursor string, limit int) (gohub.PresencePage, error) {
	p, l, err := b.inTouch(ctx, roomKey(room))
	if err != nil {
		return gohub.PresencePage{}, err
	}
	page, err := p.present(ctx, l, room, cursor, min(limit, presentMost))
	for err == nil && page.Cursor != "" && len(page.Users) < limit {
		var next gohub.PresencePage
		next, err = p.present(ctx, l, room, page.Cursor, min(limit-len(page.Users), presentMost))
		page = gohub.PresencePage{Count: next.Count, Users: append(page.Users, next.Users...), Cursor: next.Cursor}
	}
	if err != nil {
		return gohub.PresencePage{}, err
	}
	return page, nil
}

func (p *part) present(ctx context.Context, l *lease, id gohub.RoomID, cursor string, limit int) (page gohub.PresencePage, err error) {
	room := roomKey(id)
	c := p.b.client
	limit = max(limit, 0)
	answer, err := p.ask(ctx, l, c.B().EvalshaRo().Sha1(p.scripts.present.sha).Numkeys(3).
		Key(p.keys.meta(), p.keys.here(room), p.keys.users(room)).
		Arg(l.gen, cursor, strconv.Itoa(limit+1)).Build())
	if err != nil {
		return page, err
	}
	if page.Count, err = intOf(answer, 1); err != nil || limit == 0 {
		return page, err
	}
	for i := 2; i+1 < len(answer); i += 2 {
		if len(page.Users) == limit {
			page.Cursor = page.Users[limit-1].User
			break
		}
		u := gohub.PresentUser{}
		u.User, _ = answer[i].ToString()
		is, _ := answer[i+1].ToString() // "nodes sessions name"
		_, is, _ = strings.Cut(is, " ")
		sessions, name, _ := strings.Cut(is, " ")
		u.Name = name
		if u.Sessions, err = strconv.Atoi(sessions); err != nil {
			return page, fmt.Errorf("%w: %w", gohub.ErrUnavailable, err)
		}
		page.Users = append(page.Users, u)
	}
	return page, nil
}

// ask calls a script whose first element says how it went.
func (p *part) ask(ctx context.Context, l *lease, cmd rueidis.Completed) ([]rueidis.RedisMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, p.b.o.Timeout)
	defer cancel()
	answer, err := p.b.client.Do(ctx, cmd).ToArray()
	if err != nil {
		if forgot(err) {
			p.alarm(l, "the server does not know the script")
		}
		return nil, fmt.Errorf("%w: %w", gohub.ErrUnavailable, err)
	}
	code, err := intOf(answer, 0)
	switch {
	case err != nil:
		return nil, err
	case code == answerGen:
		p.alarm(l, "another generation runs")
		return nil, fmt.Errorf("%w: Redis has forgotten", gohub.ErrUnavailable)
	case code == answerStale:
		p.poke()
		return nil, fmt.Errorf("%w: this node has been silent", gohub.ErrUnavailable)
	}
	return answer, nil
}

func intOf(answer []rueidis.RedisMessage, at int) (int, error) {
	if at >= len(answer) {
		return 0, fmt.Errorf("%w: an answer of %d parts", gohub.ErrUnavailable, len(answer))
	}
	n, err := answer[at].AsInt64()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", gohub.ErrUnavailable, err)
	}
	return int(n), nil
}

// memberNews marks what the scripts send to a room's channel when users have
// come or gone: "m count +user -user …". A message begins with a digit.
const memberNews = "m "

var errNews = errors.New("redis: news of members that this version cannot read")

func parseNews(s string) (joined, left []string, count int, err error) {
	words := strings.Split(strings.TrimPrefix(s, memberNews), " ")
	if count, err = strconv.Atoi(words[0]); err != nil {
		return nil, nil, 0, errNews
	}
	for _, w := range words[1:] {
		switch {
		case strings.HasPrefix(w, "+"):
			joined = append(joined, w[1:])
		case strings.HasPrefix(w, "-"):
			left = append(left, w[1:])
		default:
			return nil, nil, 0, errNews
		}
	}
	return joined, left, count, nil
}

// tell hands news of members to the listener.
func (n *node) tell(room gohub.RoomID, news string) {
	joined, left, count, err := parseNews(news)
	if err != nil {
		n.b.o.Logger.Error("news cannot be read", "room", room, "err", err)
		return
	}
	n.b.tell(func(l gohub.Listener) { l.Members(room, joined, left, count) })
}
