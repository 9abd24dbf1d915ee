package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/internal/pgtest"
	"github.com/gohub/gohub/store/postgres"
)

// The big room has the rows 1 … bigRows, one in ten of them between user-1 and
// user-2, and nothing else is in the table but a hundred small rooms.
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
select '', 'room-' || n % 100, gen_random_uuid()::text, n, 'user-' || n % 7, '', 'chat', '\x22612022', false from generate_series(1, 1000) n`,
		`analyze gohub.messages`,
		fmt.Sprintf(`insert into gohub.messages
select '', '%s', '0199c2f4-4f8e-7cc1-8d6c-' || lpad(to_hex(n), 12, '0'), n, 'user-' || n %% 7, case when n %% 10 = 0 then 'user-2' else '' end, 'chat',
	convert_to('"' || repeat('x', 100) || '"', 'UTF8'), false from generate_series(1, %d) n`, bigRoom, bigRows),
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
				if name != "unread" { // which sorts the user's rooms
					require.NotContains(t, plan, `"Sort"`, "%s, %s, analyzed %t: %s", name, mode, known, plan)
				}
				pages := plan[strings.Index(plan, `"Shared Hit Blocks": `)+len(`"Shared Hit Blocks": `):]
				var n int
				_, err = fmt.Sscan(pages[:strings.IndexByte(pages, ',')], &n)
				require.NoError(t, err)
				require.Less(t, n, 400, "%s, %s, analyzed %t reads %d pages: %s", name, mode, known, n, plan)
			}
		}
	}
	_ = gohub.MaxUnread
}
