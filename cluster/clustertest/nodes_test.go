package clustertest

import (
	"testing"

	"github.com/gohub/gohub"
)

func memoryDirectory(*testing.T) func() gohub.Directory {
	return gohub.NewMemoryDirectory().Node
}

func TestNodes(t *testing.T)   { RunNodes(t, memoryDirectory) }
func TestTickets(t *testing.T) { RunTickets(t, memoryDirectory) }
