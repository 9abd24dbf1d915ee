package postgres

import (
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/gohub/gohub"
)

// statements are those of one schema. Pools prepare them once a connection.
type statements struct {
	insert, insertDirect, known     string
	lookup                          string
	history                         [2][2]string // [newest][as a viewer sees it]
	advance, rooms                  string
	furthest, seenBy                string // watermarks
	outboxAdd, outboxTake           string
	outboxDone, outboxRefuse        string
	trimRooms, trimBound, trimChunk string
}

// The plans must be right whatever the planner believes about a room that has
// just grown. So a room's messages are named by the conditions of the index
// that shall serve (see migrations/0001), everything in order has a limit, and
// what is looked up key by key stands in a lateral of its own.
const (
	public  = "recipient = ''"
	private = "recipient <> '' and id > ''"
	from    = "recipient <> '' and sender > '' and sender = "
	to      = "recipient <> '' and recipient <> sender and recipient = "
)

func newStatements(schema string) statements {
	r := strings.NewReplacer("$S", pgx.Identifier{schema}.Sanitize(), "$MAXUNREAD", strconv.Itoa(gohub.MaxUnread))
	put := `with put as (
	insert into $S.messages as m (tenant, room, id, seq, sender, recipient, kind, body, is_binary)
	select * from unnest($1::text[], $2::text[], $3::text[], $4::int8[], $5::text[], $6::text[], $7::text[], $8::bytea[], $9::bool[])
	on conflict (tenant, room, id) do nothing
	returning m.tenant, m.room, m.id, m.sender, m.recipient
)`
	// How many were new, and which only if not all were.
	which := `
select c.n, put.tenant, put.room, put.id from (select count(*) as n from put) c left join put on c.n < cardinality($1::text[])`
	list := `, direct as (
	select distinct p.tenant, p.room, u.name
	from put p, lateral (values (split_part(substr(p.room, 2), ',', 1)), (split_part(substr(p.room, 2), ',', 2))) u (name)
	where p.room ~ '^@[A-Za-z0-9._:-]{1,63},[A-Za-z0-9._:-]{1,63}$' and (p.recipient = '' or u.name in (p.recipient, p.sender))
), listed as (
	insert into $S.marks as k (tenant, room, user_id, delivered, seen, listing, moved)
	select d.tenant, d.room, d.name, 0, 0, 1, false from direct d
	where not exists (select from $S.marks o where o.tenant = d.tenant and o.user_id = d.name and o.room = d.room and o.listing = 1)
	order by 1, 3, 2
	on conflict (tenant, user_id, room) do update set listing = 1, moved = false where k.listing <> 1
)`
	history := func(order string, which ...string) string {
		end := " order by seq" + order + " limit $5"
		for i, w := range which {
			which[i] = "(select id, seq, sender, recipient, kind, body, is_binary from $S.messages\n" +
				"where tenant = $1 and room = $2 and seq > $3 and seq < $4 and " + w + end + ")"
		}
		return r.Replace(strings.Join(which, "\nunion all\n") + "\n" + end)
	}
	// Of one of a user's rooms.
	head := func(which string) string {
		return "(select seq from $S.messages where tenant = k.tenant and room = k.room and " + which + " order by seq desc limit 1)"
	}
	unread := func(which string) string {
		return "(select count(*) from (select from (select sender from $S.messages where tenant = k.tenant and room = k.room and seq > k.seen and " + which +
			" order by seq desc limit 10 * $MAXUNREAD) as newest where sender <> k.user_id limit $MAXUNREAD) as unread)"
	}
	// A whole room, for Trim: its newest messages, and its oldest.
	room := func(columns, which, end string) string {
		return "(select " + columns + " from $S.messages where tenant = $1 and room = $2 and " + which + " " + end + ")"
	}
	both := func(columns, end string) string {
		return room(columns, public, end) + " union all " + room(columns, private, end)
	}
	return statements{
		insert:       r.Replace(put + which),
		insertDirect: r.Replace(put + list + which),
		known: r.Replace(`select r.i, m.seq, m.sender
from unnest($1::text[], $2::text[], $3::text[]) with ordinality as r (tenant, room, id, i)
cross join lateral (select seq, sender from $S.messages where tenant = r.tenant and room = r.room and id = r.id limit 1) m`),
		lookup: r.Replace(`select id, seq, sender, recipient, kind, body, is_binary from $S.messages where tenant = $1 and room = $2 and id = $3`),
		history: [2][2]string{
			{history("", public, private), history("", public, from+"$6", to+"$6")},
			{history(" desc", public, private), history(" desc", public, from+"$6", to+"$6")},
		},
		// moved says of a row that was there whether its marks moved under the
		// row's lock, whoever else was at it.
		advance: r.Replace(`insert into $S.marks as k (tenant, room, user_id, delivered, seen, listing, moved)
select w.*, w.delivered > 0 from unnest($1::text[], $2::text[], $3::text[], $4::int8[], $5::int8[], $6::int2[]) w (tenant, room, user_id, delivered, seen, listing)
on conflict (tenant, user_id, room) do update set
	delivered = greatest(k.delivered, excluded.delivered),
	seen = greatest(k.seen, excluded.seen),
	listing = case excluded.listing when 0 then k.listing else excluded.listing end,
	moved = excluded.delivered > k.delivered or excluded.seen > k.seen
where excluded.delivered > k.delivered or excluded.seen > k.seen or excluded.listing not in (0, k.listing)
returning tenant, room, user_id, delivered, seen, moved`),
		furthest: r.Replace(`select user_id, delivered, seen from $S.marks where tenant = $1 and room = $2 and delivered > 0
order by seen desc, delivered desc, user_id limit $3`),
		seenBy: r.Replace(`select user_id, delivered, seen from $S.marks
where tenant = $1 and room = $2 and user_id > '' and user_id > $4 and delivered >= $5
order by user_id limit $3`),
		rooms: r.Replace("select k.room, k.seen,\ngreatest(0, " + head(public) + ",\n" + head(from+"k.user_id") + ",\n" + head(to+"k.user_id") + "),\n" +
			"least($MAXUNREAD, " + unread(public) + " +\n" + unread(to+"k.user_id") + ")\n" +
			"from $S.marks k where k.tenant = $1 and k.user_id = $2 and k.listing = 1 order by k.room"),
		outboxAdd: r.Replace(`insert into $S.outbox (tenant, room, id, sender, recipient, kind, body, is_binary) values ($1, $2, $3, $4, $5, $6, $7, $8)`),
		outboxTake: r.Replace(`select n, tenant, room, id, sender, recipient, kind, body, is_binary from $S.outbox
where refused = '' order by n limit $1 for update skip locked`),
		outboxDone:   r.Replace(`delete from $S.outbox where n = any ($1::int8[])`),
		outboxRefuse: r.Replace(`update $S.outbox o set refused = r.why from unnest($1::int8[], $2::text[]) r (n, why) where o.n = r.n`),
		// The rooms after the one given, found by jumping from each to the next
		// in an index.
		trimRooms: r.Replace(`with recursive r as (
	(select tenant, room from $S.messages where (tenant, room) > ($1, $2) order by tenant, room limit 1)
	union all
	select n.tenant, n.room from r cross join lateral (
		select m.tenant, m.room from $S.messages m where (m.tenant, m.room) > (r.tenant, r.room) order by m.tenant, m.room limit 1
	) n
)
select tenant, room from r limit $3`),
		trimBound: r.Replace(`select seq from (` + both("seq", "order by seq desc limit $3") + `) m order by seq desc offset $3 - 1 limit 1`),
		// Its oldest ones, as many as are allowed together, and of how many that
		// was decided. The length of a body is told without reading it.
		trimChunk: r.Replace(`with found as (
	select id, coalesce(sum(octet_length(body)) over (order by seq, id rows between unbounded preceding and 1 preceding), 0) as before
	from (` + both("id, seq, body", "and seq < $3 order by seq limit $4") + ` order by seq limit $4) m
), gone as (
	delete from $S.messages where tenant = $1 and room = $2 and id = any (array(select id from found where before < $5)) returning 1
)
select (select count(*) from gone), (select count(*) from found)`),
	}
}
