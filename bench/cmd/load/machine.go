package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/gohub/gohub/bench/internal/debug"
)

// snapshot is the CPU that everybody has used so far.
type snapshot struct {
	server, load debug.CPU
	machine      int64 // nanoseconds over all cores, stolen time included
}

func (b *bench) snapshot() (s snapshot, err error) {
	if err := b.get("/debug/cpu", &s.server); err != nil {
		return s, err
	}
	s.load = debug.Usage()
	s.machine, err = machineBusy()
	return s, err
}

// memory asks the server, after a collection or as it is.
func (b *bench) memory(collect bool) func() (debug.Mem, error) {
	return func() (m debug.Mem, err error) {
		path := "/debug/mem"
		if !collect {
			path += "?gc=0"
		}
		return m, b.get(path, &m)
	}
}

var client = &http.Client{Timeout: 30 * time.Second}

func (b *bench) get(path string, v any) error {
	resp, err := client.Get("http://" + b.options.debug + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(v)
}

// startProfile fetches a profile of the window, if one is asked for. The
// channel gives one value.
func (b *bench) startProfile() <-chan error {
	done := make(chan error, 1)
	if b.profile == "" {
		done <- nil
		return done
	}
	go func() { done <- b.fetchProfile() }() // ends with the window
	return done
}

func (b *bench) fetchProfile() error {
	c := &http.Client{Timeout: b.Window + 30*time.Second}
	resp, err := c.Get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", b.options.debug, max(1, int(b.Window.Seconds()))))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	f, err := os.Create(b.profile)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, resp.Body); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// machineBusy reads the first line of /proc/stat: user nice system idle iowait
// irq softirq steal, in hundredths of a second.
func machineBusy() (ns int64, err error) {
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
