package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/gohub/gohub/bench/internal/debug"
	"github.com/gohub/gohub/bench/internal/machine"
	"github.com/gohub/gohub/bench/internal/result"
)

// snapshot is the CPU that everybody has used so far.
type snapshot struct {
	at           time.Time
	server, load debug.CPU
	store        int64 // nanoseconds of the database server
	redis        int64 // of the Redis
	machine      int64 // the same over all cores, stolen time included
	counts       result.Store
}

// others is what everybody else used between two snapshots, in seconds.
func (s snapshot) others(to snapshot) float64 {
	ours := to.server.Total() - s.server.Total() + to.load.Total() - s.load.Total() + to.store - s.store + to.redis - s.redis
	return max(0, float64(to.machine-s.machine-ours)/1e9)
}

func (b *bench) snapshot() (s snapshot, err error) {
	var counts result.Store
	_ = b.get("/debug/store", &counts) // most servers have none
	s, err = b.cpu()
	s.counts = counts
	return s, err
}

// cpu is a snapshot without counts, which a database that stands still does
// not tell.
func (b *bench) cpu() (s snapshot, err error) {
	for _, n := range b.nodes {
		var c debug.CPU
		if err := get(n.debug, "/debug/cpu", &c); err != nil {
			return s, err
		}
		s.server.User += c.User
		s.server.Sys += c.Sys
		s.server.Allocs += c.Allocs
		s.server.Writes += c.Writes
	}
	if b.redis > 0 {
		s.redis = machine.Used(b.redis)
	}
	if b.store > 0 {
		s.store = machine.Used(b.store)
	}
	s.at, s.load = time.Now(), debug.Usage()
	s.machine, err = machine.Busy()
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

func (b *bench) get(path string, v any) error { return get(b.options.debug, path, v) }

func get(at, path string, v any) error {
	resp, err := client.Get("http://" + at + path)
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
