package main

import (
	"fmt"
	"os"

	"github.com/gohub/gohub/internal/pgtest"
	"github.com/gohub/gohub/internal/redistest"
)

// kept is where a server keeps things for one run.
type kept struct {
	args   []string // of gohubserver
	pid    int      // of Postgres' first process; 0: it is none
	redis  int      // of the Redis; 0: there is none
	nodes  int      // of the cluster; 0: one server
	remove func()
}

// keep makes an empty store. Whoever calls it removes it after the server.
func keep(store, dir string) (kept, error) {
	switch store {
	case inPostgres, beside:
		s, err := pgtest.Launch()
		if err != nil {
			return kept{}, err
		}
		k := kept{pid: s.PID(), remove: func() {
			if err := s.Close(); err != nil {
				fmt.Fprintln(os.Stderr, "bench:", err)
			}
		}}
		if store == inPostgres {
			k.args = []string{"-postgres", s.URL("postgres") + "&pool_max_conns=16"}
		}
		return k, nil
	case inCluster, inRedis:
		k := kept{remove: func() {}}
		if store == inCluster {
			var err error
			if k, err = keep(inPostgres, dir); err != nil {
				return kept{}, err
			}
		}
		s, err := redistest.Launch()
		if err != nil {
			k.remove()
			return kept{}, err
		}
		k.args = append(k.args, "-redis", s.Addr())
		k.redis, k.nodes = s.PID(), 3
		others := k.remove
		k.remove = func() {
			if err := s.Close(); err != nil {
				fmt.Fprintln(os.Stderr, "bench:", err)
			}
			others()
		}
		return k, nil
	case inSQLite:
		dir, err := os.MkdirTemp(dir, "sqlite-")
		if err != nil {
			return kept{}, err
		}
		return kept{args: []string{"-sqlite", dir}, remove: func() { _ = os.RemoveAll(dir) }}, nil
	}
	return kept{remove: func() {}}, nil
}
