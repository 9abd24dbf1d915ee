// Package debug is what every measured server serves on a port of its own:
// its CPU and memory as it accounts for them itself, and profiles.
package debug

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof" // handlers on http.DefaultServeMux
	"os"
	"runtime"
	rtdebug "runtime/debug"
	"runtime/metrics"
	"strconv"
	"syscall"
	"time"
)

// CPU is what the process has used since it started, in nanoseconds, how many
// heap objects it has allocated, and how often it has called write(2) and its
// like.
type CPU struct {
	User   int64 `json:"cpu_user_ns"`
	Sys    int64 `json:"cpu_sys_ns"`
	Allocs int64 `json:"allocs"`
	Writes int64 `json:"writes"`
}

// Total is user and system time in nanoseconds.
func (c CPU) Total() int64 { return c.User + c.Sys }

// Mem is a moment of the process. Sizes are bytes.
type Mem struct {
	CPU
	RSS        int64 `json:"rss"`
	RSSPeak    int64 `json:"rss_peak"`   // since the start
	HeapAlloc  int64 `json:"heap_alloc"` // what is reachable, and garbage not yet collected
	HeapInuse  int64 `json:"heap_inuse"` // the same in whole spans
	StackInuse int64 `json:"stack_inuse"`
	Goroutines int   `json:"goroutines"`
	Conns      int   `json:"conns"` // open sockets, the listeners and this request's among them
}

// Heap is what Mem says of the heap and of RSS, asked for often.
type Heap struct {
	RSS       int64 `json:"rss"`
	HeapAlloc int64 `json:"heap_alloc"`
	HeapInuse int64 `json:"heap_inuse"`
}

// Glance is what of Mem can be asked several times a second while somebody's
// latency is timed.
type Glance struct {
	RSS   int64 `json:"rss"`
	Conns int   `json:"conns"`
}

// Serve listens on addr and answers until the process ends:
//
//	GET /debug/cpu        CPU
//	GET /debug/mem        Mem after two collections and returning what is free to the kernel
//	GET /debug/mem?gc=0   Mem as it is; stops the world for a moment
//	GET /debug/heap       Heap, which costs nothing to speak of
//	GET /debug/glance     Glance, the same
//	GET /debug/pprof/...  net/http/pprof
func Serve(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("debug listener: %w", err)
	}
	http.HandleFunc("GET /debug/cpu", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, Usage())
	})
	http.HandleFunc("GET /debug/mem", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("gc") != "0" {
			runtime.GC() // twice: the first only retires sync.Pool's contents
			rtdebug.FreeOSMemory()
		}
		answer(w, memory())
	})
	Handle("GET /debug/heap", func() any { return heap() })
	Handle("GET /debug/glance", func() any { return Glance{RSS: resident(), Conns: sockets()} })
	s := &http.Server{Handler: http.DefaultServeMux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.Serve(l) }() // for the life of the process
	return nil
}

// Handle answers a further pattern with what get returns, as JSON.
func Handle(pattern string, get func() any) {
	http.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) { answer(w, get()) })
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a client gone is its own problem
}

// Usage reads getrusage and the allocation counter of this process.
func Usage() CPU {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return CPU{}
	}
	allocs := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}}
	metrics.Read(allocs) // unlike ReadMemStats it does not stop the world
	c := CPU{User: ru.Utime.Nano(), Sys: ru.Stime.Nano(), Allocs: int64(allocs[0].Value.Uint64())}
	if b, err := os.ReadFile("/proc/self/io"); err == nil {
		c.Writes = field(b, "syscw:")
	}
	return c
}

// field is the number in a "name: number" line of a file in /proc.
func field(file []byte, name string) int64 {
	for line := range bytes.Lines(file) {
		if f := bytes.Fields(line); len(f) > 1 && string(f[0]) == name {
			n, _ := strconv.ParseInt(string(f[1]), 10, 64)
			return n
		}
	}
	return 0
}

func memory() Mem {
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	m := Mem{
		CPU: Usage(), Goroutines: runtime.NumGoroutine(), Conns: sockets(),
		HeapAlloc: int64(ms.HeapAlloc), HeapInuse: int64(ms.HeapInuse), StackInuse: int64(ms.StackInuse),
	}
	m.RSS, m.RSSPeak = status("VmRSS:"), status("VmHWM:")
	return m
}

// heap does without ReadMemStats, which stops the world: with one processor,
// ten of those a second were the p99 of everybody's latency.
func heap() Heap {
	v := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}}
	metrics.Read(v)
	objects := int64(v[0].Value.Uint64())
	return Heap{RSS: resident(), HeapAlloc: objects, HeapInuse: objects + int64(v[1].Value.Uint64())}
}

// resident is VmRSS by the shortest way.
func resident() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	if f := bytes.Fields(b); len(f) > 1 {
		pages, _ := strconv.ParseInt(string(f[1]), 10, 64)
		return pages * int64(os.Getpagesize())
	}
	return 0
}

// status reads one "Name:  123 kB" line of /proc/self/status, in bytes.
func status(name string) int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	return field(b, name) << 10
}

// sockets counts this process's open file descriptors, nearly all of them
// sockets: counting says when one goes without wrapping the server's net.Conn.
func sockets() int {
	d, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	return len(names)
}
