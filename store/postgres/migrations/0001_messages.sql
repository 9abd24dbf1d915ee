-- Text is compared by its bytes: names that differ in case are different names,
-- and an operating system's new sort order cannot break an index.
create table $SCHEMA.messages (
	tenant    text collate "C" not null,
	room      text collate "C" not null,
	id        text collate "C" not null,
	seq       bigint not null,
	sender    text collate "C" not null,
	recipient text collate "C" not null, -- '': everybody in the room
	kind      text collate "C" not null,
	body      bytea not null,            -- JSON may hold what jsonb refuses, \u0000 for one
	is_binary boolean not null,
	primary key (tenant, room, id)
) $PARTITIONED;

-- Not unique: a room's order is the broker's business, and a message that
-- members have seen must not be refused for it. Partial, so that it serves only
-- those who say "seq >= 0", and never a lookup by id: a room that has grown
-- since the last statistics looks as small to this index as to the other.
create index messages_by_seq on $SCHEMA.messages (tenant, room, seq) where seq >= 0;

create table $SCHEMA.marks (
	tenant    text collate "C" not null,
	room      text collate "C" not null,
	user_id   text collate "C" not null,
	delivered bigint not null,
	seen      bigint not null,
	listing   smallint not null, -- 1: the room is in the user's list
	moved     boolean not null,  -- whether the last change moved delivered or seen: for its RETURNING
	primary key (tenant, user_id, room)
);

create index marks_by_room on $SCHEMA.marks (tenant, room, seen desc, delivered desc, user_id);

-- What PublishTx wrote and Relay has not published yet.
create table $SCHEMA.outbox (
	n         bigint generated always as identity primary key,
	tenant    text collate "C" not null,
	room      text collate "C" not null,
	id        text collate "C" not null,
	sender    text collate "C" not null,
	recipient text collate "C" not null,
	kind      text collate "C" not null,
	body      bytea not null,
	is_binary boolean not null,
	refused   text not null default '' -- why it can never be published; '': it waits
);

create index outbox_waiting on $SCHEMA.outbox (n) where refused = '';
