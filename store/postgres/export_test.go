package postgres

// Statements are the statements that tests of plans look at.
type Statements struct {
	History                                     [2][2]string
	Lookup, Known, Rooms, Furthest, SeenBy      string
	OutboxTake, TrimRooms, TrimBound, TrimChunk string
}

// StatementsOf gives the statements of a schema.
func StatementsOf(schema string) Statements {
	s := newStatements(schema)
	return Statements{
		History: s.history, Lookup: s.lookup, Known: s.known, Rooms: s.rooms, Furthest: s.furthest, SeenBy: s.seenBy,
		OutboxTake: s.outboxTake, TrimRooms: s.trimRooms, TrimBound: s.trimBound, TrimChunk: s.trimChunk,
	}
}
