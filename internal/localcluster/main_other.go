//go:build !unix

package main

import "log"

func main() { log.Fatal("localcluster: this system cannot run its own Postgres") }
