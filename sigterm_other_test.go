//go:build !unix

package gohub_test

// runAsChild: there is no SIGTERM here.
func runAsChild() bool { return false }
