-- Who has got how far with a message is read by user: a page goes on behind the
-- last one, who may have moved on meanwhile. delivered tells here already who
-- has not got so far. The condition always holds, see 0001.
create index if not exists marks_by_user on $SCHEMA.marks (tenant, room, user_id, delivered) where user_id > '';
