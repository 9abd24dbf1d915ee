package postgres

// Statements are the statements that tests of plans look at.
type Statements struct {
	History                          [2][2]string
	Lookup, Known, Rooms, Watermarks string
}

// StatementsOf gives the statements of a schema.
func StatementsOf(schema string) Statements {
	s := newStatements(schema)
	return Statements{History: s.history, Lookup: s.lookup, Known: s.known, Rooms: s.rooms, Watermarks: s.watermarks}
}
