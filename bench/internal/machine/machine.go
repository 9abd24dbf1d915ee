// Package machine says what the machine is and how busy it is.
package machine

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Busy is CPU time that all processes on all cores have used since boot, in
// nanoseconds, time stolen by the host among it: the first line of /proc/stat,
// user nice system idle iowait irq softirq steal, in hundredths of a second.
func Busy() (ns int64, err error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	f := bytes.Fields(line)
	if len(f) < 9 || string(f[0]) != "cpu" {
		return 0, fmt.Errorf("/proc/stat: %q", line)
	}
	for i, v := range f[1:9] {
		if i == 3 || i == 4 { // idle, iowait
			continue
		}
		ticks, err := strconv.ParseInt(string(v), 10, 64)
		if err != nil {
			return 0, err
		}
		ns += ticks * int64(10*time.Millisecond)
	}
	return ns, nil
}

// Tree lists a process and its children, itself first; nothing if it is gone.
func Tree(pid int) (pids []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if len(lists) == 0 {
		return nil
	}
	pids = []int{pid}
	for _, path := range lists {
		b, _ := os.ReadFile(path)
		for f := range bytes.FieldsSeq(b) {
			if n, err := strconv.Atoi(string(f)); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}

// Used is the CPU time that a process and its children have used, those that
// have ended among them, in nanoseconds: fields 14 to 17 of /proc/pid/stat, in
// hundredths of a second.
func Used(pid int) (ns int64) {
	for i, p := range Tree(pid) {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
		f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:]) // from the third on: a name may hold anything
		if len(f) < 15 {
			continue // it has just ended, and is in its parent's
		}
		last := 13
		if i == 0 {
			last = 15 // those that ended
		}
		for _, v := range f[11:last] {
			ticks, _ := strconv.ParseInt(string(v), 10, 64)
			ns += ticks * int64(10*time.Millisecond)
		}
	}
	return ns
}

// look is how long the machine must have been quiet: 50 ticks of two cores.
const look = 250 * time.Millisecond

// AwaitQuiet waits, for so long at most, for a moment in which the machine used
// no more than a share of its CPU. Whether it stays quiet the run itself says.
func AwaitQuiet(ctx context.Context, patience time.Duration, share float64) {
	for end := time.Now().Add(patience); time.Now().Before(end) && ctx.Err() == nil; {
		before, err := Busy()
		began := time.Now()
		time.Sleep(look)
		after, err2 := Busy()
		if err != nil || err2 != nil || float64(after-before) < share*float64(time.Since(began))*float64(runtime.NumCPU()) {
			return
		}
	}
}

// Description says where figures are from.
type Description struct {
	Time   time.Time `json:"time"`
	CPU    string    `json:"cpu"`
	Cores  int       `json:"cores"`
	Kernel string    `json:"kernel"`
	Go     string    `json:"go"`
	Commit string    `json:"commit"` // empty outside a repository; "+" where files were changed
	Quick  bool      `json:"quick,omitempty"`
}

// Describe describes this machine, this toolchain and the repository around
// the working directory.
func Describe() Description {
	m := Description{Time: time.Now().UTC(), Cores: runtime.NumCPU(), Go: runtime.Version()}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for l := range strings.Lines(string(b)) {
			if name, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(v)
				break
			}
		}
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel, _, _ = strings.Cut(strings.TrimSpace(string(b)), "-") // what follows is who built it
	}
	if b, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output(); err == nil {
		m.Commit = string(bytes.TrimSpace(b))
		if b, err := exec.Command("git", "status", "--porcelain").Output(); err != nil || len(b) > 0 {
			m.Commit += "+"
		}
	}
	return m
}
