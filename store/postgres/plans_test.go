//go:build unix

package postgres_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub/internal/pgtest"
	"github.com/gohub/gohub/store/postgres"
)

// The big room has the seqs 1 … bigRows, one message in ten of them for user-2
// alone. The hidden room has one message for all and then 200,000 from user-4
// to user-2. In the own room writer has written 100,000, and read none. There are
// thousands of small rooms, of several tenants, and the planner takes these for
// such. In the big room a million users have watermarks.
const (
	bigRoom = "big"
	bigRows = 1_000_000
)

// fill makes the big room, without statistics: autovacuum has not been there
// yet.
func fill(tb testing.TB, pool *pgxpool.Pool) {
	tb.Helper()
	for _, sql := range []string{
		`do $$
declare t regclass;
begin
	for t in select oid from pg_class where relnamespace = 'gohub'::regnamespace and relkind = 'r' loop
		execute format('alter table %s set (autovacuum_enabled = false)', t);
	end loop;
end $$`, // a partitioned table has no such setting, its partitions have
		`insert into gohub.messages
select case when n % 5 = 0 then 'tenant-' || n % 37 else '' end, 'room-' || n % 999, gen_random_uuid()::text, n, 'user-' || n % 7, '', 'chat', '\x22612022', false
from generate_series(1, 100000) n order by random()`,
		`analyze gohub.messages`,
		fmt.Sprintf(`insert into gohub.messages
select '', '%s', '0199c2f4-4f8e-7cc1-8d6c-' || lpad(to_hex(n), 12, '0'), n, 'user-' || n %% 7, case when n %% 10 = 0 then 'user-2' else '' end, 'chat',
	convert_to('"' || repeat('x', 100) || '"', 'UTF8'), false from generate_series(1, %d) n`, bigRoom, bigRows),
		`insert into gohub.messages
select '', 'hidden', gen_random_uuid()::text, n, 'user-4', case when n = 1 then '' else 'user-2' end, 'chat', '\x22612022', false from generate_series(1, 200001) n`,
		`insert into gohub.messages
select '', 'own', gen_random_uuid()::text, n, 'writer', '', 'chat', '\x22612022', false from generate_series(1, 100000) n`,
		`insert into gohub.marks values ('', 'hidden', 'user-1', 0, 0, 1, false), ('', 'own', 'writer', 0, 0, 1, false)`,
		fmt.Sprintf(`insert into gohub.marks select '', '%s', 'user-' || n, n, n, 1, true from generate_series(1, %d) n`, bigRoom, bigRows),
	} {
		_, err := pool.Exec(tb.Context(), sql)
		require.NoError(tb, err)
	}
}

// What the hub reads takes an index in order, whatever the planner knows of
// the table: before statistics are taken, after, and with a plan made for any
// parameters. Of a partitioned table it takes the room's partition only.
func TestPlans(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]postgres.Options{"one table": {}, "partitions": {Partitions: 8}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := connect(t, pgtest.Shared(t).Database(t))
			open(t, pool, o)
			fill(t, pool)
			plans(t, pool, max(1, o.Partitions))
		})
	}
}

func plans(t *testing.T, pool *pgxpool.Pool, partitions int) {
	t.Helper()
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	exec := func(what, sql string) {
		_, err := conn.Exec(t.Context(), sql)
		require.NoError(t, err, what)
	}
	sql := postgres.StatementsOf("gohub")
	for _, known := range []bool{false, true} {
		if known {
			exec("statistics", `analyze gohub.messages, gohub.marks`)
		}
		for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
			exec(mode, "set plan_cache_mode = "+mode)
			for name, q := range map[string]struct {
				sql        string
				args       string
				partitions int // that may be touched
			}{
				"join replay":     {sql.History[1][1], `'', 'big', 0, 9223372036854775807, 21, 'user-1'`, 1},
				"ring":            {sql.History[1][0], `'', 'big', 0, 9223372036854775807, 201`, 1},
				"page back":       {sql.History[1][1], `'', 'big', 0, 500000, 101, 'user-1'`, 1},
				"page forward":    {sql.History[0][1], `'', 'big', 500000, 9223372036854775807, 101, 'user-1'`, 1},
				"program":         {sql.History[0][0], `'', 'big', 500000, 9223372036854775807, 101`, 1},
				"hidden back":     {sql.History[1][1], `'', 'hidden', 0, 9223372036854775807, 101, 'user-1'`, 1},
				"hidden":          {sql.History[0][1], `'', 'hidden', 0, 9223372036854775807, 101, 'user-1'`, 1},
				"to":              {sql.History[0][1], `'', 'hidden', 0, 9223372036854775807, 101, 'user-2'`, 1},
				"from":            {sql.History[1][1], `'', 'hidden', 0, 9223372036854775807, 101, 'user-4'`, 1},
				"lookup":          {sql.Lookup, `'', 'big', '0199c2f4-4f8e-7cc1-8d6c-000000000001'`, 1},
				"known":           {sql.Known, `array['',''], array['big','big'], array['0199c2f4-4f8e-7cc1-8d6c-000000000001','x']`, 1},
				"unread":          {sql.Rooms, `'', 'user-1'`, 2},
				"unread, own":     {sql.Rooms, `'', 'writer'`, 1},
				"furthest":        {sql.Furthest, `'', 'big', 200`, 0},
				"seen by":         {sql.SeenBy, `'', 'big', 200, '', 1`, 0},
				"seen by, on":     {sql.SeenBy, `'', 'big', 200, 'user-500000', 1`, 0},
				"trim: rooms":     {sql.TrimRooms, `'', 'room-5', 5`, partitions},
				"trim: bound":     {sql.TrimBound, `'', 'big', 500`, 1},
				"trim: some":      {sql.TrimChunk, `'', 'hidden', 1000000, 100, 1000000`, 1},
				"relay, no order": {sql.OutboxTake, `100`, 0},
			} {
				exec(name, "prepare q as "+q.sql)
				exec(name, "begin") // one of them deletes
				var plan string
				require.NoError(t, conn.QueryRow(t.Context(), "explain (analyze, buffers, timing off, format json) execute q ("+q.args+")").Scan(&plan), name)
				exec(name, "rollback")
				exec(name, "deallocate q")
				what := fmt.Sprintf("%s, %s, analyzed %t", name, mode, known)
				var explained []struct{ Plan node }
				require.NoError(t, json.Unmarshal([]byte(plan), &explained))
				root := explained[0].Plan
				messages := map[string]bool{}
				indexed := false
				root.walk(func(n node) {
					indexed = indexed || strings.HasPrefix(n.Type, "Index")
					require.NotContains(t, []string{"Seq Scan", "Bitmap Heap Scan"}, n.Type, "%s:%s", what, root)
					if n.Loops > 0 && strings.HasPrefix(n.Type, "Index") && strings.HasPrefix(n.Relation, "messages") {
						messages[n.Relation] = true
					}
				})
				require.True(t, indexed, "%s:%s", what, root)
				require.LessOrEqual(t, len(messages), q.partitions, "%s touches %v:%s", what, messages, root)
				// Sorting is for the few rows that are left: no more are read.
				require.Less(t, root.Hit+root.Read, 800+10*partitions, "%s reads too many pages:%s", what, root)
			}
		}
	}
}

// A node of a plan, as EXPLAIN shows it.
type node struct {
	Type     string  `json:"Node Type"`
	Relation string  `json:"Relation Name"`
	Index    string  `json:"Index Name"`
	Loops    float64 `json:"Actual Loops"` // 0: it was never run
	Hit      int     `json:"Shared Hit Blocks"`
	Read     int     `json:"Shared Read Blocks"`
	Plans    []node  `json:"Plans"`
}

// String shows the plan, a node a line.
func (n node) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s %s %s, %v times, %d pages", n.Type, n.Relation, n.Index, n.Loops, n.Hit+n.Read)
	for _, p := range n.Plans {
		b.WriteString(strings.ReplaceAll(p.String(), "\n", "\n  "))
	}
	return b.String()
}

func (n node) walk(f func(node)) {
	f(n)
	for _, p := range n.Plans {
		p.walk(f)
	}
}
