//go:build !unix

package sqlite_test

func runAsChild() bool { return false }
