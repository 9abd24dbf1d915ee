//go:build !unix

package pace

import "runtime"

func look() { runtime.Gosched() }
