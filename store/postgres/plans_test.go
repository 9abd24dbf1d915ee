//go:build unix

package postgres_test

import (
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
// to user-2. There are thousands of small rooms, of several tenants, and the
// planner takes these two for such.
const (
	bigRoom = "big"
	bigRows = 1_000_000
)

// fill makes the big room, without statistics: autovacuum has not been there
// yet.
func fill(tb testing.TB, pool *pgxpool.Pool) {
	tb.Helper()
	for _, sql := range []string{
		`alter table gohub.messages set (autovacuum_enabled = false)`,
		`insert into gohub.messages
select case when n % 5 = 0 then 'tenant-' || n % 37 else '' end, 'room-' || n % 999, gen_random_uuid()::text, n, 'user-' || n % 7, '', 'chat', '\x22612022', false
from generate_series(1, 100000) n order by random()`,
		`analyze gohub.messages`,
		fmt.Sprintf(`insert into gohub.messages
select '', '%s', '0199c2f4-4f8e-7cc1-8d6c-' || lpad(to_hex(n), 12, '0'), n, 'user-' || n %% 7, case when n %% 10 = 0 then 'user-2' else '' end, 'chat',
	convert_to('"' || repeat('x', 100) || '"', 'UTF8'), false from generate_series(1, %d) n`, bigRoom, bigRows),
		`insert into gohub.messages
select '', 'hidden', gen_random_uuid()::text, n, 'user-4', case when n = 1 then '' else 'user-2' end, 'chat', '\x22612022', false from generate_series(1, 200001) n`,
		`insert into gohub.marks values ('', 'hidden', 'user-1', 0, 0, 1, false)`,
		`insert into gohub.marks select '', '` + bigRoom + `', 'user-' || n, n, n, 1, true from generate_series(1, 20000) n`,
	} {
		_, err := pool.Exec(tb.Context(), sql)
		require.NoError(tb, err)
	}
}

// What the hub reads takes an index in order, whatever the planner knows of
// the table: before statistics are taken, after, and with a plan made for any
// parameters.
func TestPlans(t *testing.T) {
	t.Parallel()
	pool := connect(t, pgtest.Shared(t).Database(t))
	open(t, pool, postgres.Options{})
	fill(t, pool)
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	sql := postgres.StatementsOf("gohub")
	for _, known := range []bool{false, true} {
		if known {
			_, err := conn.Exec(t.Context(), `analyze gohub.messages, gohub.marks`)
			require.NoError(t, err)
		}
		for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
			_, err := conn.Exec(t.Context(), "set plan_cache_mode = "+mode)
			require.NoError(t, err)
			for name, q := range map[string]struct {
				sql  string
				args string
			}{
				"join replay":  {sql.History[1][1], `'', 'big', 0, 9223372036854775807, 21, 'user-1'`},
				"ring":         {sql.History[1][0], `'', 'big', 0, 9223372036854775807, 201`},
				"page back":    {sql.History[1][1], `'', 'big', 0, 500000, 101, 'user-1'`},
				"page forward": {sql.History[0][1], `'', 'big', 500000, 9223372036854775807, 101, 'user-1'`},
				"program":      {sql.History[0][0], `'', 'big', 500000, 9223372036854775807, 101`},
				"hidden back":  {sql.History[1][1], `'', 'hidden', 0, 9223372036854775807, 101, 'user-1'`},
				"hidden":       {sql.History[0][1], `'', 'hidden', 0, 9223372036854775807, 101, 'user-1'`},
				"to":           {sql.History[0][1], `'', 'hidden', 0, 9223372036854775807, 101, 'user-2'`},
				"from":         {sql.History[1][1], `'', 'hidden', 0, 9223372036854775807, 101, 'user-4'`},
				"lookup":       {sql.Lookup, `'', 'big', '0199c2f4-4f8e-7cc1-8d6c-000000000001'`},
				"known":        {sql.Known, `array['',''], array['big','big'], array['0199c2f4-4f8e-7cc1-8d6c-000000000001','x']`},
				"unread":       {sql.Rooms, `'', 'user-1'`},
				"watermarks":   {sql.Watermarks, `'', 'big', 100`},
			} {
				_, err := conn.Exec(t.Context(), "prepare q as "+q.sql)
				require.NoError(t, err, name)
				var plan string
				require.NoError(t, conn.QueryRow(t.Context(), "explain (analyze, buffers, timing off, format json) execute q ("+q.args+")").Scan(&plan), name)
				_, err = conn.Exec(t.Context(), "deallocate q")
				require.NoError(t, err)
				require.Contains(t, plan, `"Index`, "%s, %s, analyzed %t: %s", name, mode, known, plan)
				for _, bad := range []string{`"Seq Scan"`, `"Bitmap Heap Scan"`} {
					require.NotContains(t, plan, bad, "%s, %s, analyzed %t: %s", name, mode, known, plan)
				}
				// Sorting is for the few rows that are left: no more are read.
				pages := 0
				for _, kind := range []string{"Hit", "Read"} { // the first is the whole plan's
					var n int
					_, rest, found := strings.Cut(plan, `"Shared `+kind+` Blocks": `)
					require.True(t, found)
					_, err = fmt.Sscanf(rest, "%d", &n)
					require.NoError(t, err)
					pages += n
				}
				require.Less(t, pages, 800, "%s, %s, analyzed %t reads %d pages: %s", name, mode, known, pages, plan)
			}
		}
	}
}
