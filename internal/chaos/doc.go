// Package chaos runs a cluster of three processes, each a hub over a real Redis
// and a real Postgres, breaks what it stands on while hundreds of clients publish
// and read, and judges what they were shown and what is stored. It is tests only.
//
// A node is this test's binary once more (node_test.go) and reaches Redis and
// Postgres through proxies of its own (proxy_test.go). Clients keep to
// docs/protocol.md and note all they see (client_test.go, frames_test.go, direct_test.go).
// faults_test.go draws faults from a seed, judge_test.go holds the notes against
// the database, watch_test.go presence against where clients are, and
// scenarios_test.go has the failures that need an exact course.
//
// `make chaos SEED=n DURATION=10m` runs it for long; docs/cluster.md says what
// has to come out.
package chaos
