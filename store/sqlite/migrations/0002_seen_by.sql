-- Who has got how far with a message is read by room and user, and receipts
-- come by room: members lie in that order. The list of a user's rooms, which
-- changes when rooms are joined and left only, has the index.
CREATE TABLE members_by_room (
  tenant    TEXT NOT NULL,
  room      TEXT NOT NULL,
  user      TEXT NOT NULL,
  delivered INTEGER NOT NULL DEFAULT 0,
  seen      INTEGER NOT NULL DEFAULT 0,
  listed    INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant, room, user)
) WITHOUT ROWID;

INSERT INTO members_by_room (tenant, room, user, delivered, seen, listed)
SELECT tenant, room, user, delivered, seen, listed FROM members ORDER BY tenant, room, user;

DROP TABLE members;
ALTER TABLE members_by_room RENAME TO members;

CREATE INDEX members_listed ON members (tenant, user, room) WHERE listed;
CREATE INDEX members_furthest ON members (tenant, room, seen DESC, delivered DESC, user) WHERE delivered > 0;

PRAGMA user_version = 2;
