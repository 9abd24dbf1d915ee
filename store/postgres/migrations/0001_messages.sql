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

-- A room in order: what everybody sees, and for private messages all of them,
-- those of a sender and those to somebody else. What a user may see is merged
-- from three of these, so that messages that are hidden from them, however
-- many, are never read over.
--
-- None is unique: a room's order is the broker's business, and a message that
-- members have seen must not be refused for it. The second conditions always
-- hold. They tie each index to the statement that repeats them: to a planner
-- whose statistics are older than the room, all would look the same, the
-- primary key included.
create index messages_public on $SCHEMA.messages (tenant, room, seq) where recipient = '';
create index messages_private on $SCHEMA.messages (tenant, room, seq) where recipient <> '' and id > '';
create index messages_from on $SCHEMA.messages (tenant, room, sender, seq) where recipient <> '' and sender > '';
create index messages_to on $SCHEMA.messages (tenant, room, recipient, seq) where recipient <> '' and recipient <> sender;

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
