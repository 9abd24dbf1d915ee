package process

import (
	"strings"
	"testing"
	"time"
)

// A server that ends at once is not waited for as one that fills its store is.
func TestStartSaysWhyAServerEnded(t *testing.T) {
	began := time.Now()
	_, err := Start(t.Context(), []string{"sh", "-c", "echo it does not know -addr >&2; exit 2"}, 1, Place{})
	if err == nil || !strings.Contains(err.Error(), "it does not know -addr") {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("after %v", took)
	}
}
