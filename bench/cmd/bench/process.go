package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/gohub/gohub/bench/internal/process"
	"github.com/gohub/gohub/bench/internal/result"
)

// load plays a scenario against a server and returns what it said.
func load(ctx context.Context, program string, args []string, at process.Place) (r result.Run, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute) // its own limit is below
	defer cancel()
	argv := at.Of(append([]string{program}, args...))
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=2")
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	process.DieWithParent(cmd)
	runErr := cmd.Run()
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return r, errors.Join(runErr, fmt.Errorf("load said %.200q, %.500s", out.String(), stderr.String()))
	}
	if r.Error != "" {
		return r, errors.New(r.Error)
	}
	return r, runErr
}
