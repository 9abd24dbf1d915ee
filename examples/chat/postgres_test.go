//go:build unix

package main

import (
	"testing"

	"github.com/gohub/gohub/internal/pgtest"
)

func TestHistorySurvivesRestartsInPostgres(t *testing.T) {
	survives(t, "-postgres", pgtest.New(t).Database(t))
}
