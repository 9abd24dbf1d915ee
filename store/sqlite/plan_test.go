package sqlite

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPlans asserts that no question walks through the messages or the
// watermarks or sorts them: each is answered from runs of an index, wherever
// the page lies. A room has a million of either (SQLite's planner knows of
// that by statistics only, which it does not take by itself), and it is asked
// with and without them.
func TestPlans(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chat.db")
	s, err := Open(path, Options{})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	t.Run("new", func(t *testing.T) { plans(t, s) })
	rows := 1_000_000
	if raceEnabled || testing.Short() { // minutes under the race detector, for the same plans
		rows = 20_000
	}
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	exec := func(query string) {
		_, err := db.ExecContext(t.Context(), query)
		require.NoError(t, err)
	}
	many := fmt.Sprintf(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) `, rows)
	exec(`INSERT INTO messages (tenant, room, recipient, seq, id, sender, kind, binary, body) ` + many +
		`SELECT 't', 'r', iif(i % 10 = 0, 'u', ''), i, printf('%016x', i), iif(i % 3 = 0, 'u', 'v'), 'chat', 0, x'31' FROM n`)
	exec(`INSERT INTO members (tenant, room, user, delivered, seen, listed) ` + many +
		`SELECT 't', 'r', printf('u%07d', i), i, i - i % 2, 1 FROM n`)
	t.Run("full", func(t *testing.T) { plans(t, s) })
	exec(`ANALYZE`)
	// Connections read statistics when they are opened.
	require.NoError(t, s.Close())
	s, err = Open(path, Options{})
	require.NoError(t, err)
	t.Run("full, with statistics", func(t *testing.T) { plans(t, s) })
}

func plans(t *testing.T, s *Store) {
	t.Helper()
	const (
		public   = "SEARCH messages USING PRIMARY KEY (tenant=? AND room=? AND recipient=? AND seq>? AND seq<?)"
		sent     = "SEARCH messages USING INDEX messages_sent (tenant=? AND room=? AND sender=? AND seq>? AND seq<?)"
		private  = "SEARCH messages USING INDEX messages_private (tenant=? AND room=? AND seq>? AND seq<?)"
		byID     = "SEARCH messages USING INDEX message_ids (tenant=? AND room=? AND id=?)"
		furthest = "SEARCH members USING COVERING INDEX members_furthest (tenant=? AND room=?)"
		seenBy   = "SEARCH members USING PRIMARY KEY (tenant=? AND room=? AND user>?)"
		oneUsers = "SEARCH members USING PRIMARY KEY (tenant=? AND room=? AND user=?)"
	)
	const (
		head   = "SEARCH messages USING PRIMARY KEY (tenant=? AND room=? AND recipient=?)"
		unread = "SEARCH messages USING PRIMARY KEY (tenant=? AND room=? AND recipient=? AND seq>?)"
	)
	questions := map[string]struct {
		query string
		want  []string // the plan's lines that name an index
	}{
		"page forward":          {visible + oldestFirst, []string{public, public, sent}},
		"page back, join":       {visible + newestFirst, []string{public, public, sent}},
		"everything, forward":   {everything + oldestFirst, []string{public, private}},
		"everything, back":      {everything + newestFirst, []string{public, private}},
		"lookup":                {lookupSQL, []string{byID}},
		"known":                 {knownSQL, []string{byID}},
		"watermarks, furthest":  {furthestSQL, []string{furthest}},
		"watermarks, seen by":   {seenBySQL, []string{seenBy}},
		"a user's watermark":    {markSQL, []string{oneUsers}},
		"a user's listing":      {relistSQL, []string{oneUsers}},
		"trim: the next room":   {nextRoomSQL, []string{"SEARCH messages USING COVERING INDEX message_ids ((tenant,room)>(?,?))"}},
		"trim: one too many":    {overSQL, []string{public, strings.Replace(private, "USING INDEX", "USING COVERING INDEX", 1)}},
		"trim: their sizes":     {sizesSQL, []string{public, private}},
		"trim: the oldest ones": {trimSQL, nil},
		"rooms, head, unread": {roomsSQL, []string{
			"SEARCH m USING INDEX members_listed (tenant=? AND user=?)",
			head, head, "SEARCH messages USING COVERING INDEX messages_sent (tenant=? AND room=? AND sender=?)", unread, unread,
		}},
	}
	for _, query := range s.read.all() {
		found := false
		for _, q := range questions {
			found = found || q.query == query
		}
		require.True(t, found, "no plan is asserted for %s", query)
	}
	for name, q := range questions {
		t.Run(name, func(t *testing.T) {
			rows, err := s.db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+q.query, "t", "r", 1, 2, 3, "u", "x", "y", "z")
			require.NoError(t, err)
			defer rows.Close()
			var indices []string
			for rows.Next() {
				var id, parent, unused int
				var line string
				require.NoError(t, rows.Scan(&id, &parent, &unused, &line))
				if strings.HasPrefix(line, "SEARCH") {
					indices = append(indices, line)
				}
				// A subquery that has at most so many rows may be scanned and sorted; a table may not.
				assert.NotContains(t, line, "SCAN m", "a table is scanned")
				assert.NotContains(t, line, "(tenant=?)", "all of a tenant is read")
				assert.NotContains(t, line, "TEMP B-TREE")
				assert.NotContains(t, line, "AUTOMATIC")
			}
			require.NoError(t, rows.Err())
			require.NotEmpty(t, indices)
			if q.want != nil {
				assert.Equal(t, q.want, indices)
			}
		})
	}
}
