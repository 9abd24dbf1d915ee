package machine

import (
	"bufio"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"
)

// Children count while they run, and after they have ended.
func TestUsedCountsChildren(t *testing.T) {
	const busy = `i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo done; read -r x`
	cmd := exec.CommandContext(t.Context(), "sh", "-c", busy)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	before := Used(os.Getpid())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if tree := Tree(os.Getpid()); tree[0] != os.Getpid() || !slices.Contains(tree, cmd.Process.Pid) {
		t.Errorf("the tree of %d, with child %d: %v", os.Getpid(), cmd.Process.Pid, tree)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	// The loop takes several times that, and this process next to nothing.
	if used := time.Duration(Used(os.Getpid()) - before); used < 50*time.Millisecond {
		t.Errorf("%v with a child that is still there", used)
	}
	_ = in.Close()
	_ = cmd.Wait() // 1: end of input
	took := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if used := time.Duration(Used(os.Getpid()) - before); used < took-20*time.Millisecond { // ticks are 10 ms
		t.Errorf("%v with a child that has ended after %v of CPU", used, took)
	}
	if tree := Tree(cmd.Process.Pid); tree != nil {
		t.Errorf("the tree of one that has ended: %v", tree)
	}
}
