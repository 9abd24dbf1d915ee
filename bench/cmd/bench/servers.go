package main

// server is one program under test. A peer needs one of these and a program
// that takes -addr HOST:PORT (the WebSocket at /ws) and -debug HOST:PORT (see
// package debug), speaks as much of gohub.v1 as cmd/load does and takes the
// user's name from ?user=.
type server struct {
	name string
	pkg  string   // Go package in this module to build and run; or
	cmd  []string // a finished command
	args []string // further arguments

	// store is where a gohubserver keeps things; empty: as the plan says.
	store string
}

// Stores of a server.
const (
	inPostgres = "postgres" // a private server, with fsync on
	inSQLite   = "sqlite"   // a file in the temporary directory
	inCluster  = "cluster"  // inPostgres, for three servers that a Redis joins
	inRedis    = "redis"    // in memory, each server in its own, for three that a Redis joins
	beside     = "beside"   // memory; a Postgres that nothing is asked of runs beside
)

var servers = []server{
	{name: "gohub", pkg: "./cmd/gohubserver"},
	{name: "sqlite", pkg: "./cmd/gohubserver", store: inSQLite},
	{name: "memory", pkg: "./cmd/gohubserver", store: beside},
	{name: "redis", pkg: "./cmd/gohubserver", store: inRedis},
	{name: "floor-1", pkg: "./cmd/floor", args: []string{"-batch", "1"}},
	{name: "floor-net", pkg: "./cmd/floor", args: []string{"-batch", "1", "-plain"}}, // the same with net.Conn
	{name: "floor-16", pkg: "./cmd/floor", args: []string{"-batch", "16"}},
	{name: "floor-64", pkg: "./cmd/floor", args: []string{"-batch", "64"}},
}

func serverByName(name string) (server, bool) {
	for _, s := range servers {
		if s.name == name {
			return s, true
		}
	}
	return server{}, false
}
