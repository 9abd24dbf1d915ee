//go:build unix

package pgtest_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/gohub/gohub/internal/atrest"
	"github.com/gohub/gohub/internal/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(atrest.M(pgtest.Main(m), goleak.Find)) }

func TestServer(t *testing.T) {
	t.Parallel()
	s := pgtest.New(t, "work_mem='7MB'")
	require.Equal(t, "7MB", s.SQL(t, "show work_mem"))
	require.Equal(t, "on", s.SQL(t, "show fsync"))
	one, two := s.Database(t), s.Database(t)
	require.NotEqual(t, one, two)
	for _, end := range []func() error{s.Kill9, func() error { return s.Stop(true) }, func() error { return s.Stop(false) }} {
		require.NoError(t, end())
		require.NoError(t, s.Start())
		require.Equal(t, "3", s.SQL(t, "select count(*) from pg_database where datname ~ '^(t[0-9]+|postgres)$'"))
	}
	require.NoError(t, s.Freeze())
	require.NoError(t, s.Thaw())
	require.Equal(t, "1", s.SQL(t, "select 1"))
}

func TestShared(t *testing.T) {
	t.Parallel()
	s := pgtest.Shared(t)
	require.Same(t, s, pgtest.Shared(t))
}

// childVariable makes TestChild a process that starts a server and waits to be
// killed.
const childVariable = "GOHUB_TEST_PGTEST"

func TestChild(t *testing.T) {
	if os.Getenv(childVariable) == "" {
		t.Skip("only as a child of TestKilled")
	}
	s := pgtest.Shared(t)
	_, _ = os.Stdout.WriteString("data: " + s.SQL(t, "show data_directory") + "\n")
	select {}
}

// A test binary that is killed leaves neither a server nor files.
func TestKilled(t *testing.T) {
	t.Parallel()
	pgtest.Shared(t) // skips where there is no Postgres
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$")
	child.Env = append(os.Environ(), childVariable+"=1")
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	var data string
	for lines := bufio.NewScanner(out); data == "" && lines.Scan(); {
		_, data, _ = strings.Cut(lines.Text(), "data: ")
	}
	require.NotEmpty(t, data)
	pid, err := os.ReadFile(data + "/postmaster.pid")
	require.NoError(t, err)
	number, _, _ := strings.Cut(string(pid), "\n")
	require.DirExists(t, "/proc/"+number)
	require.NoError(t, child.Process.Kill())
	_, _ = io.Copy(io.Discard, out)
	_ = child.Wait()
	require.Eventually(t, func() bool {
		_, files := os.Stat(data)
		status, _ := os.ReadFile("/proc/" + number + "/stat") // a zombie is dead
		return os.IsNotExist(files) && (len(status) == 0 || strings.Contains(string(status), ") Z "))
	}, 30*time.Second, 10*time.Millisecond)
}
