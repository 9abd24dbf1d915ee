-- Messages lie in the order in which they are read: a page of what all of a
-- room may see is one run of rows, and so is a page of what somebody alone may
-- see (recipient; empty: all). Two messages of one seq are possible, if only
-- because two processes without a common broker write to the file: the id
-- keeps both.
CREATE TABLE messages (
  tenant    TEXT NOT NULL,
  room      TEXT NOT NULL,
  recipient TEXT NOT NULL,
  seq       INTEGER NOT NULL CHECK (seq > 0),
  id        TEXT NOT NULL,
  sender    TEXT NOT NULL,
  kind      TEXT NOT NULL,
  binary    INTEGER NOT NULL,
  body      BLOB NOT NULL,
  PRIMARY KEY (tenant, room, recipient, seq, id)
) WITHOUT ROWID;

CREATE UNIQUE INDEX message_ids ON messages (tenant, room, id);

-- The private messages of a room, and of a sender in it.
CREATE INDEX messages_private ON messages (tenant, room, seq, id) WHERE recipient <> '';
CREATE INDEX messages_sent ON messages (tenant, room, sender, seq, id) WHERE recipient <> '';

-- One row for each user and room: how far the user has got, and whether the
-- room is in the user's list.
CREATE TABLE members (
  tenant    TEXT NOT NULL,
  user      TEXT NOT NULL,
  room      TEXT NOT NULL,
  delivered INTEGER NOT NULL DEFAULT 0,
  seen      INTEGER NOT NULL DEFAULT 0,
  listed    INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant, user, room)
) WITHOUT ROWID;

CREATE INDEX members_furthest ON members (tenant, room, seen DESC, delivered DESC, user) WHERE delivered > 0;

PRAGMA application_id = 0x67687562; -- "ghub"
PRAGMA user_version = 1;
