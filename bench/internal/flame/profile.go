// Package flame reads CPU profiles: it draws them as flame graphs, and says what
// the time went into.
package flame

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// A Stack is what was sampled: functions from the outermost in, and the CPU time.
type Stack struct {
	Frames []string
	Nanos  int64
}

// Samples is how many there were; the profiler takes one in 10 ms of CPU.
func Samples(stacks []Stack) (n int64) {
	for _, s := range stacks {
		n += s.Nanos
	}
	return n / 10e6
}

// Read reads a profile with the toolchain's own pprof.
func Read(ctx context.Context, path string) ([]Stack, error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", "tool", "pprof", "-raw", path)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("pprof of %s: %w: %s", path, err, &stderr)
	}
	return parse(bytes.NewReader(out))
}

// parse reads what pprof -raw writes: samples as "count nanoseconds: places", the
// innermost first, and then places as "number: address mapping function
// file:line:column start", with a line more for each function that it is inlined in.
func parse(r io.Reader) ([]Stack, error) {
	type sample struct {
		nanos  int64
		places []string
	}
	var samples []sample
	functions := map[string][]string{} // of a place, the innermost first
	part, place := "", ""
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		line := s.Text()
		switch line {
		case "Samples:", "Locations", "Mappings":
			part = line
			continue
		}
		f := strings.Fields(line)
		switch {
		case part == "Samples:" && len(f) > 2 && strings.HasSuffix(f[1], ":"):
			n, err := strconv.ParseInt(strings.TrimSuffix(f[1], ":"), 10, 64)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", line, err)
			}
			samples = append(samples, sample{n, f[2:]})
		case part == "Locations" && len(f) > 2:
			if strings.HasSuffix(f[0], ":") && strings.HasPrefix(f[1], "0x") {
				place = strings.TrimSuffix(f[0], ":")
				f = f[2:]
				if strings.HasPrefix(f[0], "M=") {
					f = f[1:]
				}
			}
			name := "?" // the vDSO's have none
			if len(f) > 2 {
				name = strings.Join(f[:len(f)-2], " ")
			}
			functions[place] = append(functions[place], name)
		}
	}
	var out []Stack
	for _, sample := range samples {
		var frames []string
		for _, place := range sample.places {
			frames = append(frames, functions[place]...)
		}
		slices.Reverse(frames)
		out = append(out, Stack{frames, sample.nanos})
	}
	return out, s.Err()
}

// Class is whose a function is.
type Class string

// Classes of functions.
const (
	Kernel  Class = "kernel" // system calls
	Ours    Class = "ours"
	Socket  Class = "socket" // coder/websocket
	Net     Class = "net"    // net, net/http and what is below
	TLS     Class = "tls"
	Runtime Class = "runtime"
	Other   Class = "other"
)

// classes by what a function's name begins with; the first counts.
var classes = []struct {
	prefix string
	class  Class
}{
	{"runtime.netpollblock", Runtime},
	{"syscall.", Kernel},
	{"internal/runtime/syscall", Kernel},
	{"golang.org/x/sys/unix.", Kernel},
	{"runtime.futex", Kernel},
	{"runtime.epoll", Kernel},
	{"runtime.netpoll", Kernel},
	{"runtime.usleep", Kernel},
	{"runtime.write1", Kernel},
	{"runtime.madvise", Kernel},
	{"runtime.sysMmap", Kernel},
	{"runtime.read", Kernel},
	{"runtime.tgkill", Kernel},
	{"github.com/gohub/gohub", Ours},
	{"main.", Ours},
	{"github.com/coder/websocket", Socket},
	{"crypto/", TLS},
	{"internal/poll.", Net},
	{"net.", Net},
	{"net/", Net},
	{"runtime.", Runtime},
	{"runtime/", Runtime},
	{"internal/runtime/", Runtime},
	{"gogo", Runtime},
	{"sync.", Runtime},
	{"internal/sync", Runtime},
}

func classOf(function string) Class {
	for _, c := range classes {
		if strings.HasPrefix(function, c.prefix) {
			return c.class
		}
	}
	return Other
}

// Items is what the time went into, in nanoseconds: system calls by name, then
// collection and allocation, then by the package that is not the runtime's.
func Items(stacks []Stack) map[string]int64 {
	out := map[string]int64{}
	for _, s := range stacks {
		out[item(s.Frames)] += s.Nanos
	}
	return out
}

// calls are system calls by a function that is in the stack of each.
var calls = []struct{ function, name string }{
	{"syscall.write", "write"},
	{"syscall.Write", "write"},
	{"unix.Write", "write"},
	{"syscall.writev", "write"},
	{"syscall.read", "read"},
	{"syscall.Read", "read"},
	{"unix.Read", "read"},
	{"syscall.accept", "accept"},
	{"syscall.Accept", "accept"},
	{"runtime.netpoll", "epoll"},
	{"syscall.EpollWait", "epoll"},
	{"syscall.EpollCtl", "epoll"},
	{"runtime.futex", "futex"},
	{"syscall.Close", "close"},
	{"syscall.setsockopt", "setsockopt"},
	{"gohub/internal/wsconn.writeFD", "write"},
	{"gohub/internal/wsconn.readFD", "read"},
	{"gohub/internal/wsconn.goneFD", "poll"},
	{"main.(*conn).write", "write"}, // raw ones, the last the floor's
}

func item(frames []string) string {
	kernel, collects, allocates := false, false, false
	for _, f := range frames {
		kernel = kernel || classOf(f) == Kernel
		collects = collects || strings.HasPrefix(f, "runtime.gc") || strings.HasPrefix(f, "runtime.bgs")
		allocates = allocates || strings.HasPrefix(f, "runtime.mallocgc") || strings.HasPrefix(f, "runtime.newobject")
	}
	if kernel {
		for _, c := range calls {
			for _, f := range frames {
				if strings.Contains(f, c.function) && classOf(f) != Runtime {
					return c.name + "(2)"
				}
			}
		}
		return "other system calls"
	}
	switch {
	case collects:
		return "collection"
	case allocates:
		return "allocation"
	}
	for _, f := range slices.Backward(frames) {
		switch c := classOf(f); c {
		case Runtime:
		case TLS:
			return "crypto"
		default:
			return packageOf(f)
		}
	}
	return "runtime"
}

func packageOf(function string) string {
	dir, last := "", function
	if i := strings.LastIndexByte(function, '/'); i >= 0 {
		dir, last = function[:i+1], function[i+1:]
	}
	last, _, _ = strings.Cut(last, ".")
	return strings.TrimPrefix(strings.TrimPrefix(dir+last, "github.com/gohub/"), "github.com/")
}
