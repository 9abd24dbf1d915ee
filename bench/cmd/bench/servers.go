package main

// server is one program under test. A peer needs one of these and a program
// that takes -addr HOST:PORT (the WebSocket at /ws), -debug HOST:PORT (see
// package debug) and, for TLS, -cert and -key, and takes the user's name from
// ?user=.
type server struct {
	name    string
	dialect string   // of cmd/load; empty: gohub.v1
	pkg     string   // Go package in this module to build and run; or
	cmd     []string // a finished command
	args    []string // further arguments
	npm     string   // directory whose locked packages it needs

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
	peer("gorilla", "lines"),
	with(peer("gorilla", "lines"), "tuned", "-tuned"),
	peer("melody", ""),
	peer("gws", ""),
	peer("coder", ""),
	peer("centrifuge", "centrifuge"),
	with(peer("centrifuge", "centrifuge"), "tuned", "-tuned"),
	with(peer("centrifuge", "centrifuge"), "history", "-history"),
	with(peer("centrifuge", "centrifuge"), "tuned-history", "-tuned", "-history"),
	with(peer("centrifuge", "centrifuge"), "presence", "-presence"),
	with(peer("centrifuge", "centrifuge"), "tuned-presence", "-tuned", "-presence"),
	with(peer("centrifuge", "centrifuge"), "history-presence", "-history", "-presence"),
	with(peer("centrifuge", "centrifuge"), "tuned-history-presence", "-tuned", "-history", "-presence"),
	in(inRedis, with(peer("centrifuge", "centrifuge"), "redis")),
	in(inRedis, with(peer("centrifuge", "centrifuge"), "redis-history", "-history")),
	socketIO(),
	with(socketIO(), "recovery", "-recovery", "1"),
	{name: "sqlite", pkg: "./cmd/gohubserver", store: inSQLite},
	{name: "memory", pkg: "./cmd/gohubserver", store: beside},
	{name: "redis", pkg: "./cmd/gohubserver", store: inRedis},
	{name: "floor-1", pkg: "./cmd/floor", args: []string{"-batch", "1"}},
	{name: "floor-net", pkg: "./cmd/floor", args: []string{"-batch", "1", "-plain"}}, // the same with net.Conn
	{name: "floor-8", pkg: "./cmd/floor", args: []string{"-batch", "8"}},
	{name: "floor-16", pkg: "./cmd/floor", args: []string{"-batch", "16"}},
	{name: "floor-64", pkg: "./cmd/floor", args: []string{"-batch", "64"}},
}

// peer is a hub of cmd/peer's.
func peer(name, dialect string) server {
	return server{name: name, pkg: "./cmd/peer", args: []string{"-peer", name}, dialect: dialect}
}

// with is that server with further options.
func with(s server, name string, options ...string) server {
	s.name += "-" + name
	s.args = append(s.args, options...)
	return s
}

func in(store string, s server) server {
	s.store = store
	return s
}

func socketIO() server {
	const dir = "peers/socketio"
	return server{
		name: "socketio", dialect: "socketio", npm: dir,
		cmd: []string{"node", "--expose-gc", dir + "/server.js"},
	}
}

func serverByName(name string) (server, bool) {
	for _, s := range servers {
		if s.name == name {
			return s, true
		}
	}
	return server{}, false
}
