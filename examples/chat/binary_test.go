//go:build unix

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// build compiles the program.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "chat")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return binary
}

// command is the program without flags, in a directory of its own, on a free
// port, for a user without a home.
func command(t *testing.T, binary, dir string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Dir = dir
	cmd.Env = append([]string{"GOHUB_ADDR=127.0.0.1:0", "GOHUB_DRAIN=0", "GOHUB_RUN_MARK=" + os.Getenv("GOHUB_RUN_MARK")}, env...)
	return cmd
}

// started runs a command until end, which sends it a signal and says how it
// ended.
func started(t *testing.T, cmd *exec.Cmd) (url, said string, end func(os.Signal) *os.ProcessState) {
	t.Helper()
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	wait := sync.OnceFunc(func() { _ = cmd.Wait() })
	t.Cleanup(func() { _ = cmd.Process.Kill(); wait() })

	lines := bufio.NewReader(stdout)
	for range 2 {
		line, err := lines.ReadString('\n')
		if err != nil {
			wait()
			require.FailNow(t, "it ended", "%v: %s", err, &stderr)
		}
		said += line
	}
	url = regexp.MustCompile(`http://\S+/`).FindString(said)
	require.NotEmpty(t, url, said)
	return url, said, func(sig os.Signal) *os.ProcessState {
		require.NoError(t, cmd.Process.Signal(sig))
		_, _ = io.Copy(io.Discard, lines)
		wait()
		return cmd.ProcessState
	}
}

// refused runs a command that ends with 1 and one line, which has all parts.
func refused(t *testing.T, cmd *exec.Cmd, parts ...string) {
	t.Helper()
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Start())
	serves := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer serves.Stop()
	require.Error(t, cmd.Wait())
	assert.Equal(t, 1, cmd.ProcessState.ExitCode())
	assert.Empty(t, stdout.String())
	assert.Equal(t, 1, strings.Count(stderr.String(), "\n"), "one line: %s", &stderr)
	for _, part := range parts {
		assert.Contains(t, stderr.String(), part)
	}
}

// bodies says something in the lobby, and is all that was said there.
func bodies(t *testing.T, url, id, say string) (said []string) {
	t.Helper()
	alice, _ := chatter(t, url, "alice")
	alice.send(`{"type":"join","room":"lobby"}`)
	alice.expect("joined")
	alice.send(`{"type":"publish","id":"0199c2f4-4f8e-7cc1-8d6c-3f0a8f6f2b` + id + `","room":"lobby","body":"` + say + `"}`)
	for acked := false; !acked || !slices.Contains(said, say); { // whichever comes first
		switch f := alice.expect("message", "ack"); f["type"] {
		case "message":
			said = append(said, fmt.Sprint(f["body"]))
		default:
			acked = true
		}
	}
	return said
}

// Without flags history is in ./chat-data: it survives a shutdown and a
// SIGKILL, and is one server's at a time.
func TestHistorySurvivesByDefault(t *testing.T) {
	binary, dir := build(t), t.TempDir()
	data := filepath.Join(dir, "chat-data")

	url, says, end := started(t, command(t, binary, dir))
	assert.Contains(t, says, "History is in "+data+".\n")
	assert.Equal(t, []string{"one"}, bodies(t, url, "01", "one"))

	refused(t, command(t, binary, dir), data, "another chat server", "-data DIR", "-data memory")
	for _, elsewhere := range []string{"GOHUB_DATA=other", "GOHUB_DATA=memory"} {
		_, _, endOther := started(t, command(t, binary, dir, elsewhere))
		assert.True(t, endOther(syscall.SIGTERM).Success())
	}

	assert.False(t, end(syscall.SIGKILL).Exited())
	url, _, end = started(t, command(t, binary, dir))
	assert.Equal(t, []string{"one", "two"}, bodies(t, url, "02", "two"))

	assert.True(t, end(syscall.SIGTERM).Success())
	url, _, end = started(t, command(t, binary, dir))
	assert.Equal(t, []string{"one", "two", "three"}, bodies(t, url, "03", "three"))
	assert.True(t, end(syscall.SIGTERM).Success())
}

// In memory nothing is kept, and nothing is left behind.
func TestMemoryLeavesNothing(t *testing.T) {
	binary, dir := build(t), t.TempDir()
	for range 2 {
		url, says, end := started(t, command(t, binary, dir, "GOHUB_DATA=memory"))
		assert.Contains(t, says, "History is in memory, and ends with this process.\n")
		assert.Equal(t, []string{"one"}, bodies(t, url, "01", "one"))
		assert.True(t, end(syscall.SIGTERM).Success())
	}
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, files)
}

// A directory that this user may not write to holds no history: the server
// says so and does not start.
func TestRefusesWhereItMayNotWrite(t *testing.T) {
	binary, dir := build(t), t.TempDir()
	cmd := command(t, binary, dir)
	if os.Getuid() == 0 { // who may write everywhere, so it is somebody else who tries
		require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	require.NoError(t, os.Chmod(dir, 0o555))
	t.Cleanup(func() { _ = os.Chmod(dir, 0o755) })
	refused(t, cmd, filepath.Join(dir, "chat-data"), "permission denied", "-data DIR", "-data memory")
}

// A browser may have opened a connection that it has no request for yet.
func TestAConnectionWithoutARequest(t *testing.T) {
	t.Parallel()
	url, _, end := started(t, command(t, build(t), t.TempDir(), "GOHUB_DATA=memory"))
	conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/"))
	require.NoError(t, err)
	defer conn.Close()
	res, err := http.Get(url) // the server has accepted that one before
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	assert.True(t, end(os.Interrupt).Success())
}

// A client that ignores goaway is waited for, unless a second signal says not to.
func TestSecondSignalExitsAtOnce(t *testing.T) {
	const drain = time.Minute
	cmd := command(t, build(t), t.TempDir(), "GOHUB_DATA=memory", "GOHUB_DRAIN="+drain.String())
	url, _, end := started(t, cmd)
	alice, _ := chatter(t, url, "alice")
	alice.expect("welcome")
	ended := make(chan *os.ProcessState, 1)
	go func() { ended <- end(os.Interrupt) }()
	alice.expect("goaway")
	// The program may take a moment to give signals back their own effect.
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		_ = cmd.Process.Signal(syscall.SIGTERM) // which no shell has it ignore, as it may SIGINT
		select {
		case state := <-ended:
			assert.False(t, state.Success())
			assert.False(t, state.Exited(), "it has drained, and was not ended by the signal: %s", state)
			return
		case <-again.C:
		}
	}
}
