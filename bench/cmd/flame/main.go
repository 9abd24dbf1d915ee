// Command flame draws a CPU profile as a flame graph, an SVG without a script.
//
//	flame cpu.pprof >cpu.svg
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gohub/gohub/bench/internal/flame"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: flame PROFILE >SVG")
		os.Exit(2)
	}
	stacks, err := flame.Read(context.Background(), os.Args[1])
	if err == nil {
		_, err = os.Stdout.Write(flame.SVG(strings.TrimSuffix(filepath.Base(os.Args[1]), ".pprof"), stacks))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "flame:", err)
		os.Exit(1)
	}
}
